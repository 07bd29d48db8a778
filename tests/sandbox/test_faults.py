"""Every kind of fault, ordered in each of the five ways that the help text names, does what its line there says.

One submission to a provider with jobs is asked, one of its polls, or its medium: wherever the kind strikes first.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from PIL import Image

from hfmedia.sandbox import Sandbox, faults
from hfmedia.sandbox.faults import KINDS, SYNC_ONLY, OrderError, help_text, order, read

from .asks import WISHES, door, is_media, look, submit, texts
from .conftest import SPEED, Asking, Heard

ASKED = ("wavespeed", "text-to-image")
WAYS = ("Python", "command", "environment", "header", "HTTP")
IMPATIENT = 0.25  # seconds after which a silence is one


class Ground:
    """One world with one fault in it, ordered in one of the ways, and a journey that meets it."""

    def __init__(self, world: Sandbox, ask: Asking, header: dict[str, str]) -> None:
        self.world, self.ask, self.header = world, ask, header
        self.said: Any = None
        self.url = ""

    async def submit(self, *, struck: bool = False, patience: float = 10.0) -> Heard:
        """One submission."""
        more = self.header if struck else {}
        wish = WISHES[ASKED]
        base, headers = door(self.world, ASKED[0], wish, "router")
        made = await self.ask("POST", base + wish.path, json=wish.body, headers={**headers, **more}, patience=patience)
        if made.status == 200 and made.type == "application/json":
            self.said = _read(made.body)
        return made

    async def poll(self, *, struck: bool = False) -> Heard:
        """One question after the job."""
        return await look(self.ask, self.world, *ASKED, self.said, more=self.header if struck else {})

    async def end(self) -> Any:
        """What the job says when it is over."""
        for _ in range(400):
            data = (await self.poll()).json["data"]
            if data["status"] not in ("created", "processing"):
                return data
            await asyncio.sleep(0.01)
        raise AssertionError("the job never ended")

    async def fetch(self, *, struck: bool = False, **headers: str) -> Heard:
        """The medium, or a part of it."""
        return await self.ask("GET", self.url, headers={**(self.header if struck else {}), **headers})

    async def meet(self, step: str) -> Heard:
        """The answer that the fault strikes."""
        if step == "submit":
            return await self.submit(struck=True, patience=IMPATIENT if self.hangs else 10)
        await self.submit()
        if step == "poll":
            return await self.poll(struck=True)
        (self.url,) = (await self.end())["outputs"]
        return await self.fetch(struck=True)

    hangs = False


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


@asynccontextmanager
async def ground(
    way: str, kind: str, ask: Asking, monkeypatch: pytest.MonkeyPatch, **details: Any
) -> AsyncIterator[Ground]:
    """A world in which that fault is ordered in that way."""
    tail = "".join(f";{name}={value}" for name, value in details.items())
    line = f"wavespeed:{kind}{tail}"
    if way == "environment":
        monkeypatch.setenv("HFMEDIA_SANDBOX_FAULTS", f"together:empty, {line}")
    header = {"x-sandbox-fault": kind + tail} if way == "header" else {}
    async with Sandbox(speed=SPEED, faults=[line] if way == "command" else []) as world:
        if way == "Python":
            world.fault("wavespeed", kind, **details)
        elif way == "HTTP":
            told = await ask(
                "POST", f"{world.url}/sandbox/faults", json={"provider": "wavespeed", "kind": kind, **details}
            )
            assert told.json == {"ok": True}
        yield Ground(world, ask, header)


# -- what each kind does ----------------------------------------------------------------------------------------------

Check = Callable[[Heard, Ground], Awaitable[None]]


def answers(status: int, **said: Any) -> Check:
    """An answer of that status, in wavespeed's envelope; nothing was accepted."""

    async def check(heard: Heard, here: Ground) -> None:
        assert (heard.error, heard.status) == ("", status)
        assert heard.json["code"] == status
        assert {name: heard.headers.get(name) for name in said} == said
        assert not here.world.submissions

    return check


def breaks(*errors: str) -> Check:
    """No whole answer, though the job was accepted and is billed."""

    async def check(heard: Heard, here: Ground) -> None:
        assert heard.error in errors
        assert dict(here.world.submissions) == {"wavespeed": 1}
        assert len(here.world.jobs) == 1

    return check


def body(test: Callable[[Heard], Any], type_: str = "application/json") -> Check:
    """A 200 with something else in it; the job was accepted."""

    async def check(heard: Heard, here: Ground) -> None:
        assert (heard.error, heard.status, heard.type) == ("", 200, type_)
        assert test(heard)
        assert dict(here.world.submissions) == {"wavespeed": 1}

    return check


def instead(test: Callable[[Heard], Any]) -> Check:
    """Something else where the medium should be; the next time the medium is there."""

    async def check(heard: Heard, here: Ground) -> None:
        assert test(heard)
        again = await here.fetch()
        assert (again.status, Image.open(io.BytesIO(again.body)).size) == (200, (320, 320))

    return check


async def the_routers_402(heard: Heard, here: Ground) -> None:
    assert (heard.status, not here.world.submissions) == (402, True)
    assert "monthly included credits" in heard.json["error"]


async def plain_404(heard: Heard, here: Ground) -> None:
    assert (heard.status, heard.type) == (404, "text/plain")
    assert heard.body.startswith(b"Cannot POST /")
    assert not here.world.submissions


async def moderated(heard: Heard, here: Ground) -> None:
    assert heard.status == 200
    assert (await here.end())["status"] == "failed"
    assert (await here.poll()).json["code"] == 1200


async def blacked_out(heard: Heard, here: Ground) -> None:
    data = await here.end()
    assert (data["status"], data["has_nsfw_contents"]) == ("completed", [True])
    (here.url,) = data["outputs"]
    drawn = Image.open(io.BytesIO((await here.fetch()).body)).convert("L")
    assert drawn.getextrema() == (0, 0)


async def failed(heard: Heard, here: Ground) -> None:
    data = await here.end()
    assert (data["status"], data["outputs"]) == ("failed", [])
    assert data["error"]


async def late(heard: Heard, here: Ground) -> None:
    (job,) = here.world.jobs.values()
    assert job.queue == pytest.approx(65 / SPEED)
    assert (await here.poll()).json["data"]["status"] == "created"


async def forgotten(heard: Heard, here: Ground) -> None:
    assert heard.status == 404
    assert (await here.poll()).status == 404
    assert not here.world.jobs


async def undocumented(heard: Heard, here: Ground) -> None:
    assert (heard.status, heard.json["data"]["status"]) == (200, "pondering")
    assert (await here.end())["status"] == "completed"


async def unsaid(heard: Heard, here: Ground) -> None:
    assert (heard.status, "status" in heard.json["data"]) == (200, False)
    assert (await here.end())["status"] == "completed"


async def slow(heard: Heard, here: Ground) -> None:
    assert heard.seconds >= 0.15
    assert (heard.status, heard.json["message"]) == (200, "success")


async def goes_on(heard: Heard, here: Ground) -> None:
    assert "Payload" in heard.error
    total = int(heard.headers["Content-Length"])
    rest = await here.fetch(Range=f"bytes={total // 2}-", **{"If-Range": heard.headers["ETag"]})
    assert (rest.status, len(rest.body)) == (206, total - total // 2)


async def starts_over(heard: Heard, here: Ground) -> None:
    assert "Payload" in heard.error
    for _ in range(2):
        again = await here.fetch(Range="bytes=100-")
        assert (again.status, len(again.body)) == (200, int(heard.headers["Content-Length"]))


async def changed(heard: Heard, here: Ground) -> None:
    again = await here.fetch()
    assert (again.body, again.headers["ETag"]) == (heard.body, heard.headers["ETag"])
    entry = here.world.world.shelf.entries[here.url.rpartition("/")[2]]
    assert entry.changed == 1
    assert entry.recipe.digest() not in heard.headers["ETag"]


async def trickles(heard: Heard, here: Ground) -> None:
    assert (heard.status, heard.headers.get("Transfer-Encoding")) == (200, "chunked")
    assert heard.seconds >= 0.3 * len(heard.body) / 100_000
    assert heard.body == (await here.fetch()).body


CHECKS: dict[str, tuple[Check, dict[str, Any]]] = {
    "status": (answers(418), {"status": 418}),
    "credit": (the_routers_402, {}),
    "credential": (answers(401), {}),
    "forbidden": (answers(403), {}),
    "busy": (answers(429, **{"Retry-After": "3"}), {"retry_after": 3}),
    "server": (answers(503), {"status": 503}),
    "gateway": (answers(502), {}),
    "loading": (answers(503), {}),
    "no-route": (plain_404, {}),
    "moderated": (moderated, {}),
    "nsfw": (blacked_out, {}),
    "fail": (failed, {}),
    "cold": (late, {}),
    "lost": (forgotten, {}),
    "unknown-status": (undocumented, {}),
    "no-status": (unsaid, {}),
    "disconnect": (breaks("ServerDisconnectedError", "ClientOSError"), {}),
    "reset": (breaks("ClientOSError", "ConnectionResetError", "ServerDisconnectedError"), {}),
    "hang": (breaks("TimeoutError"), {}),
    "slow": (slow, {"seconds": 0.15}),
    "half": (body(lambda heard: _read(heard.body) is None and int(heard.headers["Content-Length"]) > 100), {}),
    "cut": (breaks("ClientPayloadError"), {}),
    "garbage": (body(lambda heard: b"<html>" in heard.body, "text/html"), {}),
    "empty": (body(lambda heard: heard.body == b""), {}),
    "null": (body(lambda heard: heard.body == b"null"), {}),
    "huge": (
        body(lambda heard: len(heard.body) == 2**21 and heard.headers["Transfer-Encoding"] == "chunked"),
        {"megabytes": 2},
    ),
    "bomb": (
        body(lambda heard: len(heard.body) < 20_000 and len(zlib.decompress(heard.body, 31)) == 2**21),
        {"megabytes": 2},
    ),
    "wrong-type": (body(lambda heard: heard.json["message"] == "success", "text/html"), {}),
    "expired": (instead(lambda heard: heard.status == 410), {"status": 410}),
    "cdn-cut": (goes_on, {}),
    "cdn-norange": (starts_over, {}),
    "cdn-html": (instead(lambda heard: (heard.status, heard.type) == (200, "text/html")), {}),
    "cdn-json-error": (instead(lambda heard: heard.status == 200 and "error" in heard.json), {}),
    "cdn-empty": (instead(lambda heard: (heard.status, heard.body) == (200, b"")), {}),
    "cdn-truncated": (
        instead(lambda heard: (heard.error, len(heard.body), heard.headers["Content-Length"]) == ("", 99, "99")),
        {"at": 99},
    ),
    "cdn-redirect": (
        instead(lambda heard: (heard.status, "169.254.169.254" in heard.headers["Location"]) == (302, True)),
        {},
    ),
    "cdn-slow": (trickles, {"rate": 100_000}),
    "cdn-changed": (changed, {}),
}


def test_every_kind_is_checked_here_and_explained_in_the_help() -> None:
    """A kind that is added must be added here; the help names it, what it does and where."""
    assert set(CHECKS) == set(KINDS)
    lines = help_text()
    for kind in KINDS.values():
        assert f"  {kind.name} " in lines
        assert kind.does in lines
    assert all(words in lines for words in ("world.fault", "--fault", "HFMEDIA_SANDBOX_FAULTS", "x-sandbox-fault"))
    assert "/sandbox/faults" in lines


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", CHECKS)
async def test_a_fault_does_what_the_help_says_however_it_was_ordered(
    ask: Asking, monkeypatch: pytest.MonkeyPatch, kind: str, way: str
) -> None:
    """It strikes once, where its kind strikes by itself, and is used up."""
    check, details = CHECKS[kind]
    async with ground(way, kind, ask, monkeypatch, **details) as here:
        here.hangs = kind == "hang"
        heard = await here.meet(KINDS[kind].steps[0])
        await check(heard, here)
        assert [one for one in here.world.world.faults.orders if one.provider == "wavespeed"] == []
        here.header = {}
        here.hangs = False
        assert (await here.submit()).status == 200


# -- details ----------------------------------------------------------------------------------------------------------

NO_CREDIT = {
    "fal-ai": (403, "Exhausted balance"),
    "replicate": (402, "Insufficient credit"),
    "together": (402, "credit_limit"),
    "novita": (400, "BILLING_BALANCE_NOT_ENOUGH"),
    "nscale": (429, "insufficient_quota"),
    "wavespeed": (402, '"code":402'),
    "zai-org": (429, "1113"),
}


@pytest.mark.parametrize("via", ["direct", "router"])
@pytest.mark.parametrize("provider", NO_CREDIT)
async def test_each_provider_has_its_own_words_for_an_empty_account(
    world: Sandbox, ask: Asking, provider: str, via: str
) -> None:
    """Directly always, and through the router when ``by=provider`` says so."""
    task = "text-to-video" if provider == "novita" else "text-to-image"
    world.fault(provider, "credit", by="provider")
    heard = await submit(ask, world, provider, task, via)
    status, words = NO_CREDIT[provider]
    assert (heard.status, words in heard.body.decode()) == (status, True)
    assert not world.submissions


@pytest.mark.parametrize(
    ("details", "expected"),
    [({}, "1"), ({"retry_after": 0.5}, "0.5"), ({"retry_after": "none"}, None)],
)
async def test_busy_says_when_to_come_back_unless_told_not_to(
    world: Sandbox, ask: Asking, details: dict[str, Any], expected: str | None
) -> None:
    """In seconds by default."""
    world.fault("wavespeed", "busy", **details)
    assert (await submit(ask, world, *ASKED)).headers.get("Retry-After") == expected


async def test_busy_can_say_it_as_a_date(world: Sandbox, ask: Asking) -> None:
    """As HTTP allows."""
    world.fault("wavespeed", "busy", retry_after=120, date=True)
    told = parsedate_to_datetime((await submit(ask, world, *ASKED)).headers["Retry-After"]).timestamp()
    assert told - time.time() == pytest.approx(120, abs=10)


async def test_a_refusal_can_be_of_a_job_that_was_accepted_all_the_same(world: Sandbox, ask: Asking) -> None:
    """``accepted=true``: the answer says no, and it is billed."""
    world.fault("wavespeed", "gateway", status=504, accepted=True)
    assert (await submit(ask, world, *ASKED)).status == 504
    assert dict(world.submissions) == {"wavespeed": 1}


@pytest.mark.parametrize(
    ("times", "after", "statuses"),
    [
        (1, 0, [500, 200, 200, 200]),
        (2, 0, [500, 500, 200, 200]),
        (1, 2, [200, 200, 500, 200]),
        (2, 1, [200, 500, 500, 200]),
        (None, 1, [200, 500, 500, 500]),
    ],
)
async def test_an_order_lets_some_pass_and_strikes_so_many(
    world: Sandbox, ask: Asking, times: int | None, after: int, statuses: list[int]
) -> None:
    """``after`` and ``times`` count the requests of its step alone."""
    world.fault("wavespeed", "server", times=times, after=after)
    assert [(await submit(ask, world, *ASKED)).status for _ in statuses] == statuses


async def test_an_order_for_anybody_strikes_the_first_who_comes(world: Sandbox, ask: Asking) -> None:
    """``*`` is every provider; an order for one leaves the others alone."""
    world.fault("*", "server")
    world.fault("novita", "server", times=None)
    assert (await submit(ask, world, "together", "text-to-image")).status == 500
    assert (await submit(ask, world, *ASKED)).status == 200


@pytest.mark.parametrize(
    ("header", "step", "test"),
    [
        ("server;status=503;step=poll", "poll", lambda heard: heard.status == 503),
        ("server;status=503;step=cdn", "cdn", lambda heard: heard.status == 503),
        ("garbage;step=poll", "poll", lambda heard: heard.type == "text/html"),
        ("moderated;step=poll", "poll", lambda heard: heard.json["code"] == 1200),
        ("lost", "poll", lambda heard: heard.status == 404),
        ("cdn-empty", "cdn", lambda heard: heard.body == b""),
    ],
)
async def test_a_header_on_a_submission_can_strike_a_later_step_of_its_job(
    world: Sandbox, ask: Asking, header: str, step: str, test: Any
) -> None:
    """That job's alone, and then alone: the submission goes through, and so does another job asked meanwhile."""
    here, other = Ground(world, ask, {"x-sandbox-fault": header}), Ground(world, ask, {})
    begun = await here.submit(struck=True)
    assert (begun.status, begun.json["message"]) == (200, "success")
    assert (await other.submit()).status == 200
    if step == "poll":
        good = await other.poll()
        assert (good.status, good.json["code"]) == (200, 200)
        assert test(await here.poll())
    (other.url,) = (await other.end())["outputs"]
    assert len((await other.fetch()).body) > 1000
    if step == "cdn":
        (here.url,) = (await here.end())["outputs"]
        assert test(await here.fetch())
        assert len((await here.fetch()).body) > 1000
    assert world.world.faults.orders == []


@pytest.mark.parametrize(("kind", "status"), [("busy", 429), ("credential", 401), ("server", 500), ("gateway", 502)])
async def test_the_hub_can_be_struck_too(world: Sandbox, ask: Asking, kind: str, status: int) -> None:
    """``hub`` as the provider; then it is well again."""
    world.fault("hub", kind)
    assert [(await ask("GET", f"{world.url}/api/models?limit=1")).status for _ in range(2)] == [status, 200]


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        ("half", lambda heard: _read(heard.body) is None),
        ("garbage", lambda heard: heard.type == "text/html"),
        ("empty", lambda heard: heard.body == b""),
        ("cut", lambda heard: heard.error == "ClientPayloadError"),
        ("disconnect", lambda heard: heard.error != ""),
    ],
)
async def test_the_wire_to_the_hub_can_break(world: Sandbox, ask: Asking, kind: str, test: Any) -> None:
    """The same faults of the wire as at a provider."""
    world.fault("hub", kind, times=2)  # aiohttp asks once more by itself when nothing came back
    assert test(await ask("GET", f"{world.url}/api/models?limit=3"))


async def test_the_cdn_can_be_struck_whoever_made_the_medium(world: Sandbox, ask: Asking) -> None:
    """``cdn`` as the provider is any provider's medium."""
    world.fault("cdn", "expired", status=403)
    said = (await submit(ask, world, "together", "text-to-image")).json
    (url,) = [text for text in texts(said) if is_media(world, text)]
    assert [(await ask("GET", url)).status for _ in range(2)] == [403, 200]


# -- orders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "kind", "more", "words"),
    [
        ("fal-ai", "earthquake", {}, "no fault is called 'earthquake'"),
        ("nobody", "busy", {}, "nobody is called 'nobody'"),
        ("fal-ai", "busy", {"step": "lunch"}, "no step is called 'lunch'"),
        ("fal-ai", "busy", {"step": "cdn"}, "cannot strike at cdn"),
        ("fal-ai", "cdn-html", {"step": "submit"}, "cannot strike at submit"),
        ("hub", "cdn-html", {}, "cannot strike at hub"),
        ("nscale", "lost", {}, "has no jobs"),
        ("fal-ai", "busy", {"times": 0}, "at least 1"),
    ],
)
async def test_an_order_that_cannot_be_is_refused_when_it_is_given(
    world: Sandbox, ask: Asking, provider: str, kind: str, more: dict[str, Any], words: str
) -> None:
    """In Python and over HTTP, with the reason; nothing is written into the book."""
    with pytest.raises(OrderError, match=words):
        world.fault(provider, kind, **more)
    heard = await ask("POST", f"{world.url}/sandbox/faults", json={"provider": provider, "kind": kind, **more})
    assert (heard.status, words in heard.json["error"]) == (400, True)
    assert world.world.faults.orders == []


@pytest.mark.parametrize(
    "text", ["", "fal-ai", "fal-ai:", ":busy:x", "fal-ai:busy:soon", "fal-ai:busy:1.5", "fal-ai:busy;after=x", "a b"]
)
def test_a_line_that_is_no_order_is_refused(text: str) -> None:
    """OrderError, which is a ValueError; never something else."""
    with pytest.raises(OrderError):
        read(text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fal-ai:busy", ("fal-ai", "busy", "submit", 1, 0, {})),
        ("hub:server:all", ("hub", "server", "hub", None, 0, {})),
        ("cdn:slow:3;seconds=2", ("cdn", "slow", "cdn", 3, 0, {"seconds": "2"})),
        (" * : status : 2 ; status=418 ; after=4 ; step=poll", None),
        ("*:status:2; status=418; after=4; step=poll", ("*", "status", "poll", 2, 4, {"status": "418"})),
    ],
)
def test_a_line_is_read_as_the_help_says(line: str, expected: Any) -> None:
    """PROVIDER:KIND[:TIMES][;detail=value…]; blanks are allowed around details alone."""
    if expected is None:
        with pytest.raises(OrderError):
            read(line)
        return
    made = read(line)
    assert (made.provider, made.kind, made.step, made.times, made.after, made.details) == expected


@pytest.mark.parametrize("header", ["earthquake", "", "busy;step=lunch", "cdn-html;step=submit"])
async def test_a_header_that_is_no_order_is_told_to_whoever_sent_it(world: Sandbox, ask: Asking, header: str) -> None:
    """400 in plain words, and nothing was accepted."""
    heard = await submit(ask, world, *ASKED, more={"x-sandbox-fault": header})
    assert (heard.status, heard.type) == (400, "text/plain")
    assert heard.body.startswith(b"hfmedia sandbox:")
    assert not world.submissions


@pytest.mark.parametrize("body_", [b"", b"[]", b"{}", b'{"provider": "fal-ai"}', b'{"provider": 1, "kind": []}'])
async def test_a_request_that_is_no_order_is_refused(world: Sandbox, ask: Asking, body_: bytes) -> None:
    """400 with the reason."""
    heard = await ask("POST", f"{world.url}/sandbox/faults", data=body_)
    assert (heard.status, "no order" in heard.json["error"]) == (400, True)


async def test_orders_can_be_read_and_taken_back_over_http(world: Sandbox, ask: Asking) -> None:
    """GET shows the book, DELETE empties it."""
    world.fault("wavespeed", "server", times=None)
    (shown,) = (await ask("GET", f"{world.url}/sandbox/faults")).json
    assert (shown["provider"], shown["kind"], shown["times"]) == ("wavespeed", "server", None)
    assert (await ask("DELETE", f"{world.url}/sandbox/faults")).json == {"ok": True}
    assert (await submit(ask, world, *ASKED)).status == 200


def test_each_kind_may_be_ordered_at_exactly_the_steps_it_names() -> None:
    """Every pair of kind and step, for a provider with jobs and for those without."""
    for kind in KINDS.values():
        for step in faults.STEPS:
            possible = step in kind.steps
            try:
                assert order("wavespeed", kind.name, step=step).step == step
            except OrderError:
                assert not possible
            else:
                assert possible
        for provider in SYNC_ONLY:
            try:
                order(provider, kind.name)
            except OrderError:
                assert kind.jobs_only
            else:
                assert not kind.jobs_only
