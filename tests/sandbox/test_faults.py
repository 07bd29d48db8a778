"""Every kind of fault, injected through each of the five channels in the help text, has its documented effect.

The request is a submission, a poll or a media download of a provider with jobs: the first step of the kind.
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


def responds(status: int, **headers: Any) -> Check:
    """Expect this status in wavespeed's envelope, and no accepted job."""

    async def check(response: ReceivedResponse, scenario: FaultScenario) -> None:
        assert (response.error, response.status) == ("", status)
        assert response.json["code"] == status
        assert {name: response.headers.get(name) for name in headers} == headers
        assert not scenario.sandbox.submissions

    return check


def breaks(*errors: str) -> Check:
    """Expect no complete response, although the job was accepted and billed."""

    async def check(response: ReceivedResponse, scenario: FaultScenario) -> None:
        assert response.error in errors
        assert dict(scenario.sandbox.submissions) == {"wavespeed": 1}
        assert len(scenario.sandbox.jobs) == 1

    return check


def body(test: Callable[[ReceivedResponse], Any], type_: str = "application/json") -> Check:
    """Expect a 200 with another body; the job was accepted."""

    async def check(response: ReceivedResponse, scenario: FaultScenario) -> None:
        assert (response.error, response.status, response.type) == ("", 200, type_)
        assert test(response)
        assert dict(scenario.sandbox.submissions) == {"wavespeed": 1}

    return check


def replaces(test: Callable[[ReceivedResponse], Any]) -> Check:
    """Expect another response in place of the media file; the next request succeeds."""

    async def check(response: ReceivedResponse, scenario: FaultScenario) -> None:
        assert test(response)
        again = await scenario.fetch()
        assert (again.status, Image.open(io.BytesIO(again.body)).size) == (200, (320, 320))

    return check


async def the_routers_402(response: ReceivedResponse, scenario: FaultScenario) -> None:
    assert (response.status, not scenario.sandbox.submissions) == (402, True)
    assert "monthly included credits" in response.json["error"]


async def plain_404(response: ReceivedResponse, scenario: FaultScenario) -> None:
    assert (response.status, response.type) == (404, "text/plain")
    assert response.body.startswith(b"Cannot POST /")
    assert not scenario.sandbox.submissions


async def moderated(response: ReceivedResponse, scenario: FaultScenario) -> None:
    assert response.status == 200
    assert (await scenario.wait_done())["status"] == "failed"
    assert (await scenario.poll()).json["code"] == 1200


async def blacked_out(response: ReceivedResponse, scenario: FaultScenario) -> None:
    data = await scenario.wait_done()
    assert (data["status"], data["has_nsfw_contents"]) == ("completed", [True])
    (scenario.url,) = data["outputs"]
    drawn = Image.open(io.BytesIO((await scenario.fetch()).body)).convert("L")
    assert drawn.getextrema() == (0, 0)


async def failed(response: ReceivedResponse, scenario: FaultScenario) -> None:
    data = await scenario.wait_done()
    assert (data["status"], data["outputs"]) == ("failed", [])
    assert data["error"]


async def queued_for_long(response: ReceivedResponse, scenario: FaultScenario) -> None:
    (job,) = scenario.sandbox.jobs.values()
    assert job.queue_seconds == pytest.approx(65 / SPEED)
    assert (await scenario.poll()).json["data"]["status"] == "created"


async def removed(response: ReceivedResponse, scenario: FaultScenario) -> None:
    assert response.status == 404
    assert (await scenario.poll()).status == 404
    assert not scenario.sandbox.jobs


async def undocumented_status(response: ReceivedResponse, scenario: FaultScenario) -> None:
    assert (response.status, response.json["data"]["status"]) == (200, "pondering")
    assert (await scenario.wait_done())["status"] == "completed"


async def missing_status(response: ReceivedResponse, scenario: FaultScenario) -> None:
    assert (response.status, "status" in response.json["data"]) == (200, False)
    assert (await scenario.wait_done())["status"] == "completed"


async def slow(response: ReceivedResponse, scenario: FaultScenario) -> None:
    assert response.seconds >= 0.15
    assert (response.status, response.json["message"]) == (200, "success")


async def resumes(response: ReceivedResponse, scenario: FaultScenario) -> None:
    assert "Payload" in response.error
    total = int(response.headers["Content-Length"])
    rest = await scenario.fetch(Range=f"bytes={total // 2}-", **{"If-Range": response.headers["ETag"]})
    assert (rest.status, len(rest.body)) == (206, total - total // 2)


async def restarts(response: ReceivedResponse, scenario: FaultScenario) -> None:
    assert "Payload" in response.error
    for _ in range(2):
        again = await scenario.fetch(Range="bytes=100-")
        assert (again.status, len(again.body)) == (200, int(response.headers["Content-Length"]))


async def changed(response: ReceivedResponse, scenario: FaultScenario) -> None:
    again = await scenario.fetch()
    assert (again.body, again.headers["ETag"]) == (response.body, response.headers["ETag"])
    entry = scenario.sandbox.state.media_cache.entries[scenario.url.rpartition("/")[2]]
    assert entry.version == 1
    assert entry.spec.digest() not in response.headers["ETag"]


async def throttled(response: ReceivedResponse, scenario: FaultScenario) -> None:
    assert (response.status, response.headers.get("Transfer-Encoding")) == (200, "chunked")
    assert response.seconds >= 0.3 * len(response.body) / 100_000
    assert response.body == (await scenario.fetch()).body


CHECKS: dict[str, tuple[Check, dict[str, Any]]] = {
    "status": (responds(418), {"status": 418}),
    "credit": (the_routers_402, {}),
    "unauthorized": (responds(401), {}),
    "forbidden": (responds(403), {}),
    "rate-limit": (responds(429, **{"Retry-After": "3"}), {"retry_after": 3}),
    "server": (responds(503), {"status": 503}),
    "gateway": (responds(502), {}),
    "loading": (responds(503), {}),
    "no-route": (plain_404, {}),
    "moderated": (moderated, {}),
    "nsfw": (blacked_out, {}),
    "fail": (failed, {}),
    "cold": (queued_for_long, {}),
    "job-not-found": (removed, {}),
    "unknown-status": (undocumented_status, {}),
    "no-status": (missing_status, {}),
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
    "expired": (replaces(lambda response: response.status == 410), {"status": 410}),
    "cdn-disconnect": (resumes, {}),
    "cdn-no-range": (restarts, {}),
    "cdn-html": (replaces(lambda response: (response.status, response.type) == (200, "text/html")), {}),
    "cdn-json-error": (replaces(lambda response: response.status == 200 and "error" in response.json), {}),
    "cdn-empty": (replaces(lambda response: (response.status, response.body) == (200, b"")), {}),
    "cdn-truncated": (
        replaces(
            lambda response: (response.error, len(response.body), response.headers["Content-Length"]) == ("", 99, "99")
        ),
        {"at": 99},
    ),
    "cdn-redirect": (
        replaces(lambda response: (response.status, "169.254.169.254" in response.headers["Location"]) == (302, True)),
        {},
    ),
    "cdn-slow": (throttled, {"rate": 100_000}),
    "cdn-changed": (changed, {}),
}


def test_every_kind_is_tested_here_and_documented_in_the_help() -> None:
    """A new kind must be added here; the help lists its name, effect and steps."""
    assert set(CHECKS) == set(FAULT_KINDS)
    lines = help_text()
    for kind in FAULT_KINDS.values():
        assert f"  {kind.name} " in lines
        assert kind.description in lines
    assert all(text in lines for text in ("sandbox.fault", "--fault", "HFMEDIA_SANDBOX_FAULTS", "x-sandbox-fault"))
    assert "/sandbox/faults" in lines


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("kind", CHECKS)
async def test_a_fault_has_its_documented_effect_through_every_channel(
    http: PlainHttp, monkeypatch: pytest.MonkeyPatch, kind: str, channel: str
) -> None:
    """It occurs once, at the default step of its kind."""
    check, details = CHECKS[kind]
    async with fault_scenario(channel, kind, http, monkeypatch, **details) as scenario:
        scenario.hangs = kind == "hang"
        response = await scenario.trigger(FAULT_KINDS[kind].steps[0])
        await check(response, scenario)
        assert [fault for fault in scenario.sandbox.state.faults.pending if fault.provider == "wavespeed"] == []
        scenario.header = {}
        scenario.hangs = False
        assert (await scenario.submit()).status == 200
