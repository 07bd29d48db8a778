"""Every kind of fault, ordered in each of the five ways that the help text names, does what its line there says.

One submission to a provider with jobs is asked, one of its polls, or its medium: wherever the kind strikes first.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from PIL import Image

from hfmedia.sandbox.faults import FAULT_KINDS, help_text

from .conftest import SPEED, PlainHttp, ReceivedResponse
from .fault_scenario import CHANNELS, FaultScenario, fault_scenario, read_json

Check = Callable[[ReceivedResponse, FaultScenario], Awaitable[None]]


def answers(status: int, **said: Any) -> Check:
    """An answer of that status, in wavespeed's envelope; nothing was accepted."""

    async def check(response: ReceivedResponse, here: FaultScenario) -> None:
        assert (response.error, response.status) == ("", status)
        assert response.json["code"] == status
        assert {name: response.headers.get(name) for name in said} == said
        assert not here.sandbox.submissions

    return check


def breaks(*errors: str) -> Check:
    """No whole answer, though the job was accepted and is billed."""

    async def check(response: ReceivedResponse, here: FaultScenario) -> None:
        assert response.error in errors
        assert dict(here.sandbox.submissions) == {"wavespeed": 1}
        assert len(here.sandbox.jobs) == 1

    return check


def body(test: Callable[[ReceivedResponse], Any], type_: str = "application/json") -> Check:
    """A 200 with something else in it; the job was accepted."""

    async def check(response: ReceivedResponse, here: FaultScenario) -> None:
        assert (response.error, response.status, response.type) == ("", 200, type_)
        assert test(response)
        assert dict(here.sandbox.submissions) == {"wavespeed": 1}

    return check


def instead(test: Callable[[ReceivedResponse], Any]) -> Check:
    """Something else where the medium should be; the next time the medium is there."""

    async def check(response: ReceivedResponse, here: FaultScenario) -> None:
        assert test(response)
        again = await here.fetch()
        assert (again.status, Image.open(io.BytesIO(again.body)).size) == (200, (320, 320))

    return check


async def the_routers_402(response: ReceivedResponse, here: FaultScenario) -> None:
    assert (response.status, not here.sandbox.submissions) == (402, True)
    assert "monthly included credits" in response.json["error"]


async def plain_404(response: ReceivedResponse, here: FaultScenario) -> None:
    assert (response.status, response.type) == (404, "text/plain")
    assert response.body.startswith(b"Cannot POST /")
    assert not here.sandbox.submissions


async def moderated(response: ReceivedResponse, here: FaultScenario) -> None:
    assert response.status == 200
    assert (await here.wait_done())["status"] == "failed"
    assert (await here.poll()).json["code"] == 1200


async def blacked_out(response: ReceivedResponse, here: FaultScenario) -> None:
    data = await here.wait_done()
    assert (data["status"], data["has_nsfw_contents"]) == ("completed", [True])
    (here.url,) = data["outputs"]
    drawn = Image.open(io.BytesIO((await here.fetch()).body)).convert("L")
    assert drawn.getextrema() == (0, 0)


async def failed(response: ReceivedResponse, here: FaultScenario) -> None:
    data = await here.wait_done()
    assert (data["status"], data["outputs"]) == ("failed", [])
    assert data["error"]


async def late(response: ReceivedResponse, here: FaultScenario) -> None:
    (job,) = here.sandbox.jobs.values()
    assert job.queue_seconds == pytest.approx(65 / SPEED)
    assert (await here.poll()).json["data"]["status"] == "created"


async def forgotten(response: ReceivedResponse, here: FaultScenario) -> None:
    assert response.status == 404
    assert (await here.poll()).status == 404
    assert not here.sandbox.jobs


async def undocumented(response: ReceivedResponse, here: FaultScenario) -> None:
    assert (response.status, response.json["data"]["status"]) == (200, "pondering")
    assert (await here.wait_done())["status"] == "completed"


async def unsaid(response: ReceivedResponse, here: FaultScenario) -> None:
    assert (response.status, "status" in response.json["data"]) == (200, False)
    assert (await here.wait_done())["status"] == "completed"


async def slow(response: ReceivedResponse, here: FaultScenario) -> None:
    assert response.seconds >= 0.15
    assert (response.status, response.json["message"]) == (200, "success")


async def goes_on(response: ReceivedResponse, here: FaultScenario) -> None:
    assert "Payload" in response.error
    total = int(response.headers["Content-Length"])
    headers: dict[str, Any] = {"Range": f"bytes={total // 2}-", "If-Range": response.headers["ETag"]}
    rest = await here.fetch(**headers)
    assert (rest.status, len(rest.body)) == (206, total - total // 2)


async def starts_over(response: ReceivedResponse, here: FaultScenario) -> None:
    assert "Payload" in response.error
    for _ in range(2):
        again = await here.fetch(Range="bytes=100-")
        assert (again.status, len(again.body)) == (200, int(response.headers["Content-Length"]))


async def changed(response: ReceivedResponse, here: FaultScenario) -> None:
    again = await here.fetch()
    assert (again.body, again.headers["ETag"]) == (response.body, response.headers["ETag"])
    entry = here.sandbox.state.media_cache.entries[here.url.rpartition("/")[2]]
    assert entry.version == 1
    assert entry.spec.digest() not in response.headers["ETag"]


async def trickles(response: ReceivedResponse, here: FaultScenario) -> None:
    assert (response.status, response.headers.get("Transfer-Encoding")) == (200, "chunked")
    assert response.seconds >= 0.3 * len(response.body) / 100_000
    assert response.body == (await here.fetch()).body


CHECKS: dict[str, tuple[Check, dict[str, Any]]] = {
    "status": (answers(418), {"status": 418}),
    "credit": (the_routers_402, {}),
    "unauthorized": (answers(401), {}),
    "forbidden": (answers(403), {}),
    "rate-limit": (answers(429, **{"Retry-After": "3"}), {"retry_after": 3}),
    "server": (answers(503), {"status": 503}),
    "gateway": (answers(502), {}),
    "loading": (answers(503), {}),
    "no-route": (plain_404, {}),
    "moderated": (moderated, {}),
    "nsfw": (blacked_out, {}),
    "fail": (failed, {}),
    "cold": (late, {}),
    "job-not-found": (forgotten, {}),
    "unknown-status": (undocumented, {}),
    "no-status": (unsaid, {}),
    "disconnect": (breaks("ServerDisconnectedError", "ClientOSError"), {}),
    "reset": (breaks("ClientOSError", "ConnectionResetError", "ServerDisconnectedError"), {}),
    "hang": (breaks("TimeoutError"), {}),
    "slow": (slow, {"seconds": 0.15}),
    "truncated-json": (
        body(lambda response: read_json(response.body) is None and int(response.headers["Content-Length"]) > 100),
        {},
    ),
    "truncated": (breaks("ClientPayloadError"), {}),
    "html": (body(lambda response: b"<html>" in response.body, "text/html"), {}),
    "empty": (body(lambda response: response.body == b""), {}),
    "null": (body(lambda response: response.body == b"null"), {}),
    "huge": (
        body(lambda response: len(response.body) == 2**21 and response.headers["Transfer-Encoding"] == "chunked"),
        {"megabytes": 2},
    ),
    "gzip-bomb": (
        body(lambda response: len(response.body) < 20_000 and len(zlib.decompress(response.body, 31)) == 2**21),
        {"megabytes": 2},
    ),
    "wrong-content-type": (body(lambda response: response.json["message"] == "success", "text/html"), {}),
    "expired": (instead(lambda response: response.status == 410), {"status": 410}),
    "cdn-disconnect": (goes_on, {}),
    "cdn-no-range": (starts_over, {}),
    "cdn-html": (instead(lambda response: (response.status, response.type) == (200, "text/html")), {}),
    "cdn-json-error": (instead(lambda response: response.status == 200 and "error" in response.json), {}),
    "cdn-empty": (instead(lambda response: (response.status, response.body) == (200, b"")), {}),
    "cdn-truncated": (
        instead(
            lambda response: (response.error, len(response.body), response.headers["Content-Length"]) == ("", 99, "99")
        ),
        {"at": 99},
    ),
    "cdn-redirect": (
        instead(lambda response: (response.status, "169.254.169.254" in response.headers["Location"]) == (302, True)),
        {},
    ),
    "cdn-slow": (trickles, {"rate": 100_000}),
    "cdn-changed": (changed, {}),
}


def test_every_kind_is_checked_here_and_explained_in_the_help() -> None:
    """A kind that is added must be added here; the help names it, what it does and where."""
    assert set(CHECKS) == set(FAULT_KINDS)
    lines = help_text()
    for kind in FAULT_KINDS.values():
        assert f"  {kind.name} " in lines
        assert kind.description in lines
    assert all(words in lines for words in ("sandbox.fault", "--fault", "HFMEDIA_SANDBOX_FAULTS", "x-sandbox-fault"))
    assert "/sandbox/faults" in lines


@pytest.mark.parametrize("way", CHANNELS)
@pytest.mark.parametrize("kind", CHECKS)
async def test_a_fault_does_what_the_help_says_however_it_was_ordered(
    http: PlainHttp, monkeypatch: pytest.MonkeyPatch, kind: str, way: str
) -> None:
    """It strikes once, where its kind strikes by itself, and is used up."""
    check, details = CHECKS[kind]
    async with fault_scenario(way, kind, http, monkeypatch, **details) as here:
        here.hangs = kind == "hang"
        response = await here.trigger(FAULT_KINDS[kind].steps[0])
        await check(response, here)
        assert [one for one in here.sandbox.state.faults.pending if one.provider == "wavespeed"] == []
        here.header = {}
        here.hangs = False
        assert (await here.submit()).status == 200
