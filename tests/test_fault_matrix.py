"""Every fault that the sandbox can make, at every provider and every step: what comes of it, and the money.

Whatever happens, a call ends, with a medium or one of hfmedia's own errors, and nothing is bought twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from PIL import Image

from hfmedia.catalog import hub_client
from hfmedia.client import MediaClient
from hfmedia.core import retry
from hfmedia.core.errors import (
    AuthenticationError,
    DeadlineExceededError,
    DownloadError,
    HfmediaError,
    HubError,
    InDoubtError,
    InvalidResponseError,
    JobCancelledError,
    ModelNotFoundError,
    ResultExpiredError,
    UnsafeUrlError,
)
from hfmedia.engine import Accepted, Event, FailedOver, JobFailed, MediaReady, Timeouts, runner
from hfmedia.sandbox import Sandbox, faults
from hfmedia.storage import Media
from tests.support.waiting_jobs import finish_waiting_jobs

SPEED = 200  # times the demo's pace: a replicate hold lasts 0.3 s
PATIENCE = Timeouts(total=60)  # whatever ends by itself has ended by then, on any machine
HANGS = 4.0  # seconds until a caller gives up what never ends; a machine that stalls meanwhile is back before
COLD = 100_000  # seconds at speed 1 until a cold job starts: never, unless it is thawed
BOUND = 90.0  # seconds that no call here may last, however slow the machine
SCHNELL = "black-forest-labs/FLUX.1-schnell"
FILM = "Wan-AI/Wan2.2-T2V-A14B"


class Errand(Struct, frozen=True):
    """A job that leads through a provider's steps."""

    task: str
    model: str
    provider: str

    async def run(self, client: MediaClient) -> Media:
        """Its medium, as small as the provider makes it."""
        call = getattr(client, self.task.replace("-", "_"))
        given = (picture(),) if self.task.startswith("image") else ()
        short = {"num_frames": 9, "seconds": 1} if self.task.endswith("video") else {}
        media = await call(*given, "a fox", model=f"{self.model}:{self.provider}", width=256, height=256, **short)
        assert isinstance(media, Media)
        return media


QUEUED = tuple(
    Errand(*words)
    for words in (
        ("image-to-image", "black-forest-labs/FLUX.1-Kontext-dev", "fal-ai"),
        ("text-to-image", SCHNELL, "replicate"),
        ("text-to-video", FILM, "together"),
        ("text-to-video", FILM, "novita"),
        ("text-to-image", SCHNELL, "wavespeed"),
        ("text-to-image", SCHNELL, "zai-org"),
    )
)
SYNCHRONOUS = tuple(Errand("text-to-image", SCHNELL, name) for name in ("nscale", "hf-inference", "acme-images"))
AT_ONCE = tuple(Errand("text-to-image", SCHNELL, name) for name in ("fal-ai", "together"))
ROUNDS = (QUEUED + SYNCHRONOUS, AT_ONCE)  # in one round each provider is asked once
ROUTED_ONLY = ("hf-inference", "acme-images")
DETAILS: dict[str, dict[str, Any]] = {
    "rate-limit": {"retry_after": 0.05},
    "slow": {"seconds": 0.2},
    "huge": {"megabytes": 2},
    "gzip-bomb": {"megabytes": 2},
}


@pytest.fixture
async def world() -> AsyncIterator[Sandbox]:
    async with Sandbox(port=0, speed=SPEED) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are as long as the machine needs, not as a provider would want."""
    for name, seconds in (("BACKOFF_INITIAL", 0.02), ("BACKOFF_MAX", 0.1), ("POLL_MIN", 0.02)):
        monkeypatch.setattr(retry, name, seconds)
    monkeypatch.setattr(runner, "CANCEL_TIMEOUT", 0.4)


def patience(kind: str, limit: str = "submit") -> Timeouts:
    """How long is waited where this fault strikes: briefly for what never ends, at the step that never ends."""
    if kind == "hang":
        return Timeouts(total=PATIENCE.total, **{limit: HANGS})
    return Timeouts(total=15) if kind == "loading" else PATIENCE  # hf-inference asks for 20 s: more than there are


def picture() -> bytes:
    made = BytesIO()
    Image.new("RGB", (64, 64), "teal").save(made, "PNG")
    return made.getvalue()


def client_of(world: Sandbox, environ: dict[str, str], errand: Errand, via: str = "router", **more: Any) -> MediaClient:
    """A client with a memory of its own, and one way alone to the provider."""
    environ = {name: value for name, value in environ.items() if via == "router" or name != "HF_TOKEN"}
    keys = {errand.provider: world.keys[errand.provider]} if via == "direct" else {}
    return MediaClient(environ=environ, provider_keys=keys, **{"timeout": PATIENCE, "ledger": None, **more})


@asynccontextmanager
async def clients_of(
    world: Sandbox, environ: dict[str, str], errands: Sequence[Errand], via: str = "router", **more: Any
) -> AsyncIterator[list[MediaClient]]:
    """One client for each errand."""
    async with AsyncExitStack() as stack:
        made = [client_of(world, environ, errand, via, **more) for errand in errands]
        yield [await stack.enter_async_context(client) for client in made]


async def ends_of(clients: Sequence[MediaClient], errands: Sequence[Errand]) -> list[tuple[str, str | None]]:
    """What comes of all errands, run side by side."""
    return list(await asyncio.gather(*(outcome(*pair) for pair in zip(clients, errands, strict=True))))


async def resumed_ends(clients: Sequence[MediaClient], ends: Sequence[tuple[str, str | None]]) -> set[str]:
    """What comes of resuming all that were let go of."""
    again = (resumed(client, job, end) for client, (end, job) in zip(clients, ends, strict=True))
    return set(await asyncio.gather(*again))


def asked(world: Sandbox, provider: str, kind: str = "submit") -> int:
    """How many requests of a kind a provider saw."""
    return sum(seen.kind == kind and seen.provider == provider for seen in world.requests)


async def thawed_once_all_have_struck(world: Sandbox) -> None:
    """Until every fault has struck no job is done, however late it is asked for; then all of them are."""
    while world.state.faults.pending:  # noqa: ASYNC110 - the sandbox rings no bell
        await asyncio.sleep(0.005)
    finish_waiting_jobs(world.state)


async def outcome(client: MediaClient, errand: Errand) -> tuple[str, str | None]:
    """``ok`` or the error's class, and the job's id. Anything that is no HfmediaError, or no end, is raised."""
    async with asyncio.timeout(BOUND):
        try:
            media = await errand.run(client)
        except HfmediaError as error:
            assert "\n" not in error.message
            assert error.exit_code in (3, 4, 6, 7, 8)
            return type(error).__name__, error.job_id
    assert media.path.stat().st_size == media.bytes > 0
    return "ok", media.job_id


def no_rests(environ: Mapping[str, str]) -> list[str]:
    """Half files anywhere below the home."""
    return [str(path) for path in Path(environ["HFMEDIA_HOME"]).rglob("*.part*")]


# -- buying -------------------------------------------------------------------------------------------------------

# What comes of a fault that strikes one submission, where nobody else is asked: the rule first, then who differs.
Rule = tuple[str, dict[str, str]]
ROUTED_RETRY = "ok"  # the router bills no 5xx, so it is asked once more
INLINE = {"hf-inference": "DownloadError"}  # its answer is the picture itself, and half of it is no picture
SUBMIT: dict[str, Rule] = {
    "status": (ROUTED_RETRY, {"direct": "ProviderServerError"}),
    "server": (ROUTED_RETRY, {"direct": "ProviderServerError"}),
    "gateway": (ROUTED_RETRY, {"direct": "InDoubtError"}),
    "loading": (ROUTED_RETRY, {"direct": "ProviderServerError", "hf-inference": "ProviderBusyError"}),  # which says 20 s
    "credit": ("InsufficientCreditError", {}),
    "unauthorized": ("AuthenticationError", {}),
    "forbidden": ("PermissionDeniedError", {}),
    "rate-limit": ("ok", {"nscale": "InsufficientCreditError"}),  # where 429 means exactly that
    "no-route": ("RequestRejectedError", {}),
    "moderated": ("ContentPolicyError", {}),
    "nsfw": ("ContentPolicyError", {"fal-ai": "ok", "wavespeed": "ok"}),  # they black it out and say so
    "fail": ("GenerationFailedError", {"nscale": "ok", "hf-inference": "ok", "acme-images": "ok", "fal-ai at once": "ok",
                             "together at once": "ok", "nscale direct": "ProviderServerError",
                             "fal-ai at once direct": "ProviderServerError", "together at once direct": "ProviderServerError"}),
    "cold": ("ok", {}),
    "unknown-status": ("InvalidResponseError", {"replicate": "ok", "novita": "ok", "fal-ai at once": "ok",
                                                "together at once": "ok"}),  # the output is there, or no status was
    "no-status": ("ok", {"wavespeed": "InvalidResponseError", "zai-org": "InvalidResponseError"}),
    "disconnect": ("InDoubtError", {}),
    "reset": ("InDoubtError", {}),
    "hang": ("InDoubtError", {}),
    "truncated": ("InDoubtError", {}),
    "slow": ("ok", {}),
    "truncated-json": ("InvalidResponseError", INLINE),
    "html": ("InvalidResponseError", {}),
    "empty": ("InvalidResponseError", {}),
    "null": ("InvalidResponseError", {}),
    "huge": ("InvalidResponseError", {}),
    "gzip-bomb": ("InvalidResponseError", {}),
    "wrong-content-type": ("ok", {}),
}  # fmt: skip


def expected(rule: Rule, errand: Errand, via: str) -> str:
    """What a rule says of an errand: the most particular of its words."""
    usual, others = rule
    name = f"{errand.provider} at once" if errand in AT_ONCE else errand.provider
    keys = (f"{name} {via}", name, f"{errand.provider} {via}", errand.provider, via)
    return next((others[key] for key in keys if key in others), usual)


def test_the_tables_name_every_fault_there_is() -> None:
    """A kind or a step that is added to the sandbox must be added here."""
    struck = {(step, kind.name) for kind in faults.FAULT_KINDS.values() for step in kind.steps}
    told = {("submit", kind) for kind in SUBMIT} | {("poll", kind) for kind in POLL} | {("cdn", kind) for kind in CDN}
    told |= {("result", kind) for kind in RESULT} | {("cancel", kind) for kind in CANCEL} | {("hub", k) for k in HUB}
    assert told == struck


SAME_EITHER_WAY = set(
    [
        "truncated-json",
        "html",
        "empty",
        "null",
        "huge",
        "gzip-bomb",
        "wrong-content-type",
        "slow",
        "cold",
        "unknown-status",
    ]
)


@pytest.mark.parametrize(
    ("kind", "via"),
    [(kind, via) for kind in SUBMIT for via in ("router", "direct") if via == "router" or kind not in SAME_EITHER_WAY],
)
async def test_a_fault_while_buying_ends_as_the_table_says_and_never_buys_twice(
    world: Sandbox, environ: dict[str, str], kind: str, via: str
) -> None:
    """Every provider at once, each struck once; what may have been accepted is never sent again."""
    seen: dict[str, str] = {}
    wanted: dict[str, str] = {}
    for number, errands in enumerate(ROUNDS):
        world.clear()
        able = [one for one in errands if faults.is_possible(one.provider, kind)]
        able = [one for one in able if via == "router" or one.provider not in ROUTED_ONLY]
        for errand in able:
            world.fault(errand.provider, kind, step="submit", **DETAILS.get(kind, {}))
        async with clients_of(world, environ, able, via, timeout=patience(kind)) as clients:
            ends = await ends_of(clients, able)
            for errand, client, (end, job_id) in zip(able, clients, ends, strict=True):
                name = f"{errand.provider} ({errand.task}, {number})"
                seen[name], wanted[name] = end, expected(SUBMIT[kind], errand, via)
                check_money(world, errand.provider, kind, end)
                await check_ledger(client, job_id, end)
    assert seen == wanted
    assert world.leaks == []
    assert no_rests(environ) == []


def check_money(world: Sandbox, provider: str, kind: str, end: str) -> None:
    """At most one accepted, but for a provider that told its own failure by a 5xx, which nobody bills."""
    refused = 1 if kind == "fail" and end == "ok" else 0
    assert world.submissions[provider] - refused <= 1
    assert world.submissions[provider] >= (end == "ok")
    if end in ("InDoubtError", "InvalidResponseError", "DownloadError", "GenerationFailedError", "ContentPolicyError"):
        assert asked(world, provider) == 1


async def check_ledger(client: MediaClient, job_id: str | None, end: str) -> None:
    """The ledger tells the same end as the caller heard."""
    (job,) = await client.jobs()
    assert job.id == job_id
    states = {"ok": "stored", "InDoubtError": "in_doubt", "DownloadError": "completed"}
    assert job.state == states.get(end, "failed")


ALWAYS: dict[str, tuple[str, int]] = {  # the error when it never ends, and how often it is asked through the router
    "status": ("ProviderServerError", 2),
    "server": ("ProviderServerError", 2),
    "gateway": ("ProviderServerError", 2),
    "rate-limit": ("ProviderBusyError", 1 + retry.SUBMIT_RETRIES),
}


@pytest.mark.parametrize("kind", ALWAYS)
async def test_what_is_refused_again_and_again_is_asked_a_bounded_number_of_times(
    world: Sandbox, environ: dict[str, str], kind: str
) -> None:
    """The provider is left alone in the end, and nothing was bought."""
    error, times = ALWAYS[kind]
    able = [one for one in ROUNDS[0] if (one.provider, kind) != ("nscale", "rate-limit")]
    world.fault("*", kind, step="submit", times=None, **DETAILS.get(kind, {}))
    async with clients_of(world, environ, able) as clients:
        ends = await ends_of(clients, able)
    assert {end for end, _ in ends} == {error}
    assert {asked(world, errand.provider) for errand in able} == {times}
    assert not world.submissions


@pytest.mark.parametrize(("kind", "megabytes"), [("huge", 130), ("gzip-bomb", 130)])
async def test_a_reply_beyond_every_limit_is_dropped_and_not_bought_again(
    world: Sandbox, environ: dict[str, str], kind: str, megabytes: int
) -> None:
    """Counted as it unpacks, not as it is announced."""
    world.fault("wavespeed", kind, step="submit", megabytes=megabytes)
    async with MediaClient(environ=environ) as client:
        with pytest.raises(InvalidResponseError) as caught:
            await Errand("text-to-image", SCHNELL, "wavespeed").run(client)
    assert len(caught.value.raw) <= 64 * 1024
    assert (world.submissions["wavespeed"], asked(world, "wavespeed")) == (1, 1)


# -- moving on ----------------------------------------------------------------------------------------------------

ONWARD = ("credit", "rate-limit", "forbidden", "server", "status", "gateway", "no-route", "loading")
HALT = {"moderated": "ContentPolicyError", "disconnect": "InDoubtError", "reset": "InDoubtError",
        "hang": "InDoubtError", "truncated": "InDoubtError", "truncated-json": "InvalidResponseError",
        "html": "InvalidResponseError", "empty": "InvalidResponseError", "null": "InvalidResponseError",
        "unauthorized": "AuthenticationError"}  # fmt: skip


async def told(client: MediaClient, model: str = SCHNELL, **more: Any) -> list[Event]:
    return [event async for event in client.generate("a fox", model=model, width=256, height=256, **more)]


@pytest.mark.parametrize("kind", ONWARD)
async def test_a_refusal_moves_on_to_the_next_provider_and_the_result_says_so(
    world: Sandbox, environ: dict[str, str], kind: str
) -> None:
    """The first says no, the second draws; who was asked before, and why, stands on the result."""
    world.fault("fal-ai", kind, step="submit", times=None)
    async with MediaClient(environ=environ, timeout=patience(kind)) as client:
        events = await told(client)
        (media,) = [event.media for event in events if isinstance(event, MediaReady)]
        (moved,) = [event for event in events if isinstance(event, FailedOver)]
        assert (await client.jobs())[0].state == "stored"
    assert media.provider == "replicate"
    assert media.attempts
    assert all("fal-ai" in words for words in media.attempts)
    assert (moved.previous_provider, moved.provider) == ("fal-ai", "replicate")
    assert dict(world.submissions) == {"replicate": 1}


async def test_when_all_refuse_the_error_is_the_last_and_names_them_all(
    world: Sandbox, environ: dict[str, str]
) -> None:
    """Nobody is left out, nobody asked twice."""
    world.fault("*", "credit", step="submit", times=None)
    async with MediaClient(environ=environ) as client:
        (failed,) = [event for event in await told(client) if isinstance(event, JobFailed)]
    assert failed.error.exit_code == 4
    for name in ("fal-ai", "replicate", "together", "nscale", "wavespeed", "zai-org", "hf-inference", "acme-images"):
        assert name in str(failed.error)
        assert asked(world, name) == 1
    assert not world.submissions


@pytest.mark.parametrize("kind", HALT)
async def test_what_may_have_been_accepted_or_was_refused_on_purpose_goes_nowhere_else(
    world: Sandbox, environ: dict[str, str], kind: str
) -> None:
    """Seven other providers are live, and none of them hears of it."""
    world.fault("fal-ai", kind, step="submit", times=None)
    async with MediaClient(environ=environ, timeout=patience(kind)) as client:
        (failed,) = [event for event in await told(client) if isinstance(event, JobFailed)]
        assert type(failed.error).__name__ == HALT[kind]
        if isinstance(failed.error, InDoubtError):
            with pytest.raises(InDoubtError):
                await client.resume(failed.job_id)
    assert [seen.provider for seen in world.requests if seen.kind == "submit"] == ["fal-ai"]
    assert sum(world.submissions.values()) <= 1


async def test_a_doubt_of_a_direct_gateway_goes_nowhere_else(world: Sandbox, environ: dict[str, str]) -> None:
    """A 502 of a provider's own front says nothing of what stands behind it."""
    world.fault("fal-ai", "gateway", step="submit", accepted=True)
    async with MediaClient(environ=environ, provider_keys={"fal-ai": world.keys["fal-ai"]}) as client:
        (failed,) = [event for event in await told(client) if isinstance(event, JobFailed)]
    assert isinstance(failed.error, InDoubtError)
    assert [seen.provider for seen in world.requests if seen.kind == "submit"] == ["fal-ai"]


async def test_another_credential_is_tried_when_the_first_is_refused(world: Sandbox, environ: dict[str, str]) -> None:
    """A provider's own key is wrong; the router's token is not."""
    async with MediaClient(environ=environ, provider_keys={"fal-ai": "wrong-key"}) as client:
        (media,) = [event.media for event in await told(client) if isinstance(event, MediaReady)]
        with pytest.raises(AuthenticationError):
            world.fault("*", "unauthorized", step="submit", times=None)
            await client.text_to_image("a fox", model=SCHNELL)
    assert media.attempts
    assert "wrong-key" not in str(media.attempts)
    assert sum(world.submissions.values()) == 1


async def test_a_provider_that_cannot_be_reached_is_not_asked_and_the_next_one_is(
    world: Sandbox, environ: dict[str, str]
) -> None:
    """Where nobody listens nothing was sent, so nothing can have been bought there."""
    nowhere = {"https://fal.run": "http://127.0.0.1:9", "https://queue.fal.run": "http://127.0.0.1:9"}
    keys = {"fal-ai": world.keys["fal-ai"]}
    async with MediaClient(environ=environ, provider_keys=keys, base_urls=nowhere) as client:
        (media,) = [event.media for event in await told(client) if isinstance(event, MediaReady)]
        end, _ = await outcome(client, Errand("image-to-image", "black-forest-labs/FLUX.1-Kontext-dev", "replicate"))
    assert (media.provider, end) == ("fal-ai" if asked(world, "fal-ai") else "replicate", "ok")
    assert "could not be reached" in media.attempts[0]
    assert sum(world.submissions.values()) == 2


# -- watching -----------------------------------------------------------------------------------------------------

AGAIN = "ok"  # asking is free: a hiccup is asked away
POLL: dict[str, Rule] = {
    "status": (AGAIN, {}),
    "server": (AGAIN, {}),
    "gateway": (AGAIN, {}),
    "rate-limit": (AGAIN, {}),
    "credit": ("InsufficientCreditError", {}),
    "unauthorized": ("AuthenticationError", {}),
    "forbidden": ("PermissionDeniedError", {}),
    "no-route": ("PermissionDeniedError", {}),  # a proxy without that address says nothing of the job
    "moderated": ("ContentPolicyError", {}),
    "job-not-found": ("ResultExpiredError", {}),
    "unknown-status": (AGAIN, {}),
    "no-status": (AGAIN, {}),
    "disconnect": (AGAIN, {}),
    "reset": (AGAIN, {}),
    "hang": ("DeadlineExceededError", {}),
    "slow": (AGAIN, {}),
    "truncated-json": (AGAIN, {}),
    "truncated": (AGAIN, {}),
    "html": (AGAIN, {}),
    "empty": (AGAIN, {}),
    "null": (AGAIN, {}),
    "huge": (AGAIN, {}),
    "gzip-bomb": (AGAIN, {}),
    "wrong-content-type": (AGAIN, {}),
}
RESULT: dict[str, str] = {kind: end for kind, (end, _) in POLL.items() if kind not in ("unknown-status", "no-status")}
RESULT |= dict.fromkeys(
    ("status", "server", "gateway"), "GenerationFailedError"
)  # on a result, fal's 5xx is the job's own end
OVER = frozenset({"ContentPolicyError", "ResultExpiredError", "GenerationFailedError"})  # the provider's own last word


async def resumed(client: MediaClient, job_id: str | None, end: str) -> str:
    """What resuming a job that was let go of brings: its medium, or why it is over."""
    if end == "ok":
        return "ok"
    try:
        media = await client.resume(job_id or "")
    except HfmediaError as error:
        return type(error).__name__
    return "ok" if media.path.exists() else "no file"


@pytest.mark.parametrize("kind", POLL)
async def test_a_fault_while_watching_loses_nothing_that_was_bought(
    world: Sandbox, environ: dict[str, str], kind: str
) -> None:
    """It is asked again, or let go of and resumed later; only the provider's own word ends a job. One submission."""
    for errand in QUEUED:
        world.fault(errand.provider, "cold", seconds=COLD)  # so that every one of them is polled
        world.fault(errand.provider, kind, step="poll", **DETAILS.get(kind, {}))
    async with clients_of(world, environ, QUEUED, timeout=patience(kind, "run")) as clients:
        thawing = asyncio.create_task(thawed_once_all_have_struck(world))
        try:
            ends = await ends_of(clients, QUEUED)
        finally:
            thawing.cancel()
        seen = {errand.provider: end for errand, (end, _) in zip(QUEUED, ends, strict=True)}
        assert seen == {errand.provider: expected(POLL[kind], errand, "router") for errand in QUEUED}
        assert not world.state.faults.pending  # every one has struck
        finish_waiting_jobs(world.state)  # those that were let go of before anybody looked
        later = await resumed_ends(clients, ends)
    assert later == ({"GenerationFailedError"} if set(seen.values()) & OVER else {"ok"})
    assert world.submissions == Counter(errand.provider for errand in QUEUED)


@pytest.mark.parametrize("kind", ["unknown-status", "html", "server", "rate-limit", "disconnect"])
async def test_polling_errors_that_persist_detach_the_job_and_it_can_be_resumed(
    world: Sandbox, environ: dict[str, str], kind: str
) -> None:
    """Patience ends, the job does not."""
    for errand in QUEUED:
        world.fault(errand.provider, "cold", seconds=COLD)
    world.fault("*", kind, step="poll", times=None, **DETAILS.get(kind, {}))
    async with clients_of(world, environ, QUEUED) as clients:
        ends = await ends_of(clients, QUEUED)
        happy = [errand.provider for errand, (end, _) in zip(QUEUED, ends, strict=True) if end == "ok"]
        assert happy == []
        # aiohttp itself asks a GET once more when a connection that it kept turns out to be dead
        assert max(asked(world, errand.provider, "poll") for errand in QUEUED) <= 2 * (1 + retry.POLL_RETRIES)
        world.state.faults.clear()
        finish_waiting_jobs(world.state)
        assert await resumed_ends(clients, ends) == {"ok"}
    assert world.submissions == Counter(errand.provider for errand in QUEUED)


@pytest.mark.parametrize("kind", RESULT)
async def test_a_fault_at_fals_result_ends_as_the_table_says(
    world: Sandbox, environ: dict[str, str], kind: str
) -> None:
    """The one provider with an address of its own for the result."""
    world.fault("fal-ai", kind, step="result", **DETAILS.get(kind, {}))
    errand = QUEUED[0]
    async with client_of(world, environ, errand, "direct", timeout=patience(kind, "run")) as client:
        end, job_id = await outcome(client, errand)
        assert end == RESULT[kind]
        assert await resumed(client, job_id, end) == ("GenerationFailedError" if end in OVER else "ok")
    assert dict(world.submissions) == {"fal-ai": 1}


# -- stopping -----------------------------------------------------------------------------------------------------

CANCEL = tuple(kind.name for kind in faults.FAULT_KINDS.values() if "cancel" in kind.steps)


@pytest.mark.parametrize("kind", CANCEL)
async def test_a_fault_while_cancelling_neither_hangs_nor_breaks_the_cancel(
    world: Sandbox, environ: dict[str, str], kind: str
) -> None:
    """The caller's own wish comes first: the job is cancelled here, and the ledger says what the provider answered."""
    for errand in QUEUED[:2]:
        world.fault(errand.provider, "cold", seconds=2000)
        world.fault(errand.provider, kind, step="cancel", **DETAILS.get(kind, {}))
        async with client_of(world, environ, errand, "router") as client:
            given: dict[str, Any] = {"image": picture()} if errand.task.startswith("image") else {}
            model = f"{errand.model}:{errand.provider}"
            async with aclosing(client.generate("a fox", model=model, task=errand.task, **given)) as events:
                async for event in events:
                    if isinstance(event, Accepted):
                        break
            began = time.monotonic()
            (job,) = await client.jobs()
            assert job.state == "cancelled", errand.provider
            with pytest.raises(JobCancelledError):
                await client.resume(job.id)
            assert time.monotonic() - began < 12
        assert 1 <= asked(world, errand.provider, "cancel") <= 2  # aiohttp asks a PUT again on a dead connection
        assert world.submissions[errand.provider] == 1
    assert no_rests(environ) == []


# -- fetching -----------------------------------------------------------------------------------------------------

CDN: dict[str, str] = {
    "status": "ok",
    "server": "ok",
    "gateway": "ok",
    "disconnect": "ok",
    "reset": "ok",
    "hang": "DeadlineExceededError",
    "slow": "ok",
    "huge": "DownloadError",
    "gzip-bomb": "DownloadError",
    "wrong-content-type": "ok",  # the bytes decide
    "expired": "ResultExpiredError",
    "cdn-disconnect": "ok",
    "cdn-no-range": "ok",
    "cdn-html": "DownloadError",
    "cdn-json-error": "DownloadError",
    "cdn-empty": "DownloadError",
    "cdn-truncated": "DownloadError",
    "cdn-redirect": "UnsafeUrlError",
    "cdn-slow": "ok",
    "cdn-changed": "ok",
}


@pytest.mark.parametrize("kind", CDN)
async def test_a_fault_of_the_cdn_ends_as_the_table_says_and_costs_nothing_more(
    world: Sandbox, environ: dict[str, str], kind: str
) -> None:
    """The result exists and is paid for: it is fetched again, now or when resumed, and never bought again."""
    details = {"cdn-slow": {"rate": 2_000_000}, **DETAILS}.get(kind, {})
    for errand in QUEUED:
        world.fault(errand.provider, kind, step="cdn", **details)
    async with clients_of(world, environ, QUEUED, timeout=patience(kind, "download")) as clients:
        ends = await ends_of(clients, QUEUED)
        seen = {errand.provider: end for errand, (end, _) in zip(QUEUED, ends, strict=True)}
        assert seen == {errand.provider: CDN[kind] for errand in QUEUED}
        assert not world.state.faults.pending
        assert no_rests(environ) == []
        later = await resumed_ends(clients, ends)
    assert later == ({"GenerationFailedError"} if CDN[kind] in OVER else {"ok"})
    assert world.submissions == Counter(errand.provider for errand in QUEUED)
    assert world.leaks == []


def ranges(world: Sandbox) -> list[str | None]:
    """The Range header of each request for media."""
    return [seen.headers.get("Range") for seen in world.requests if seen.kind == "cdn"]


async def bought(world: Sandbox, environ: dict[str, str]) -> tuple[Media, bytes]:
    """A picture from wavespeed, and the bytes that the CDN has for it in the end."""
    async with MediaClient(environ=environ) as client:
        media = await Errand("text-to-image", SCHNELL, "wavespeed").run(client)
    (job,) = world.jobs.values()
    return media, (await world.state.media_bytes(job))[0]


async def test_a_download_that_breaks_off_goes_on_where_it_stopped(world: Sandbox, environ: dict[str, str]) -> None:
    """With Range, and with proof that it is still the same file."""
    world.fault("wavespeed", "cdn-disconnect", at=3000)
    media, whole = await bought(world, environ)
    assert media.path.read_bytes() == whole
    first, second = ranges(world)
    assert first is None
    assert second is not None
    assert second.startswith("bytes=")
    assert 0 < int(second[6:-1]) <= 3000
    assert any("If-Range" in seen.headers for seen in world.requests)


async def test_a_server_that_ignores_ranges_is_asked_for_the_whole(world: Sandbox, environ: dict[str, str]) -> None:
    """The beginning that was there already is not glued to it."""
    world.fault("wavespeed", "cdn-no-range", at=3000)
    media, whole = await bought(world, environ)
    assert media.path.read_bytes() == whole
    assert len(ranges(world)) == 2


async def test_a_file_that_changes_under_its_address_comes_whole(world: Sandbox, environ: dict[str, str]) -> None:
    """Half of the old one and half of the new one make no picture."""
    world.fault("wavespeed", "cdn-disconnect", at=3000)
    world.fault("wavespeed", "cdn-changed", step="cdn")
    media, whole = await bought(world, environ)
    assert media.path.read_bytes() == whole
    assert ranges(world)[0] is None


async def test_a_redirect_into_a_private_network_is_never_followed(world: Sandbox, environ: dict[str, str]) -> None:
    """Not to the machine's own metadata, and not to this very host on a port that nobody trusts."""
    contacted: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        contacted.append(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as trap, MediaClient(environ=environ) as client:
        port = trap.sockets[0].getsockname()[1]
        for to in ("http://169.254.169.254/latest/meta-data/", f"http://127.0.0.1:{port}/", f"http://[::1]:{port}/"):
            world.fault("wavespeed", "cdn-redirect", to=to)
            with pytest.raises(UnsafeUrlError) as caught:
                await Errand("text-to-image", SCHNELL, "wavespeed").run(client)
            assert (await client.resume(caught.value.job_id or "")).path.exists()
    assert contacted == []
    assert world.submissions["wavespeed"] == 3


async def test_redirects_within_the_cdn_are_followed_but_not_in_circles(
    world: Sandbox, environ: dict[str, str]
) -> None:
    """One hop is fine; a circle ends, and the job can be resumed."""
    errand = Errand("text-to-image", SCHNELL, "wavespeed")
    async with MediaClient(environ=environ) as client:
        world.fault("wavespeed", "cdn-redirect", to="same")
        assert (await errand.run(client)).path.exists()
        world.fault("wavespeed", "cdn-redirect", to="loop", times=None)
        with pytest.raises(DownloadError) as caught:
            await errand.run(client)
        world.state.faults.clear()
        assert (await client.resume(caught.value.job_id or "")).path.exists()
    assert world.submissions["wavespeed"] == 2


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_result_that_has_expired_says_so(world: Sandbox, environ: dict[str, str], status: int) -> None:
    """Nobody has it any more, and no patience brings it back."""
    world.fault("replicate", "expired", status=status)
    async with MediaClient(environ=environ) as client:
        with pytest.raises(ResultExpiredError):
            await Errand("text-to-image", SCHNELL, "replicate").run(client)
    assert asked(world, "replicate", "cdn") == 1


# -- the Hub ------------------------------------------------------------------------------------------------------

HUB: dict[str, str] = {kind.name: "ok" for kind in faults.FAULT_KINDS.values() if "hub" in kind.steps}
HUB |= dict.fromkeys(("truncated-json", "html", "empty", "null", "huge", "gzip-bomb"), "HubError")  # untrusted
HUB |= {"forbidden": "ModelNotFoundError"}  # it hides the model from this token


@pytest.mark.parametrize("kind", HUB)
async def test_a_hiccup_of_the_hub_is_asked_away_before_anything_is_bought(
    world: Sandbox, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Nothing is known yet, and one answer goes wrong."""
    monkeypatch.setattr(hub_client, "RESPONSE_TIMEOUT", 0.4)
    world.fault("hub", kind, **DETAILS.get(kind, {}))
    async with MediaClient(environ=environ) as client:
        try:
            end = (await client.text_to_image("a fox", model=SCHNELL, width=256, height=256)).provider
        except (ModelNotFoundError, HubError) as error:
            end = type(error).__name__
    assert end == ("fal-ai" if HUB[kind] == "ok" else HUB[kind])
    assert sum(world.submissions.values()) == (HUB[kind] == "ok")


@pytest.mark.parametrize("kind", ["server", "gateway", "html", "disconnect", "hang"])
async def test_a_hub_that_stays_away_is_a_hub_error_unless_an_older_answer_is_there(
    world: Sandbox, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A newcomer is told; who asked yesterday goes on with yesterday's mapping, and is told that too."""
    monkeypatch.setattr(hub_client, "RESPONSE_TIMEOUT", 0.2)
    monkeypatch.setattr(hub_client, "MAX_ATTEMPTS", 2)
    world.fault("hub", kind, times=None)
    async with MediaClient(environ=environ) as client:
        with pytest.raises(HubError):
            await client.text_to_image("a fox", model=SCHNELL)
        assert not world.submissions
        world.state.faults.clear()
        known = await client.mapping(SCHNELL)
        world.fault("hub", kind, times=None)
        assert await client.catalog.model(SCHNELL, fresh=True) == known
        assert (await client.text_to_image("a fox", model=SCHNELL, width=256, height=256)).provider == "fal-ai"


async def test_a_job_detached_by_its_deadline_comes_back_without_a_second_submission(
    world: Sandbox, environ: dict[str, str]
) -> None:
    """The deadline is the caller's; the job is the provider's."""
    world.fault("novita", "cold", seconds=COLD)
    errand = Errand("text-to-video", FILM, "novita")
    async with MediaClient(environ=environ, timeout=HANGS) as client:
        with pytest.raises(DeadlineExceededError) as caught:
            await errand.run(client)
        finish_waiting_jobs(world.state)
        client.timeouts = Timeouts()
        media = await client.resume(caught.value.job_id or "")
    assert media.mime == "video/mp4"
    assert dict(world.submissions) == {"novita": 1}
