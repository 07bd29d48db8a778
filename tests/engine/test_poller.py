"""Polling and storing: an error while a job runs never ends the job; only the provider's answer does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hfmedia.core import job as life
from hfmedia.core.errors import (
    AuthenticationError,
    DeadlineExceededError,
    DownloadError,
    GenerationFailedError,
    InvalidResponseError,
    JobCancelledError,
    ResponseLostError,
    ResultExpiredError,
    StorageError,
)
from hfmedia.core.ports import OutputTarget
from hfmedia.core.protocol import CancelResult, Completed, JobHandle, Output, Pending, Progress
from hfmedia.core.retry import POLL_RETRIES
from hfmedia.engine import Accepted, JobFailed, MediaReady, Queued, Running, Started, Submitting, Timeouts

from .conftest import DONE, REQUEST, RUNNING, EngineHarness, ScriptedProviders, expect_failed, route, until_idle


async def test_a_queue_tells_its_position_its_fraction_and_its_log(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """Each thing a provider tells becomes an event of its own kind, in order."""
    handle = JobHandle("p1")
    script.script(
        "one",
        Pending(handle=handle, poll_after=0, progress=Progress(position=3)),
        Pending(handle=handle, poll_after=0, progress=Progress(fraction=0.4, message="step 4/10")),
        DONE,
    )
    events = await scene.run(route("one"))
    assert [type(event) for event in events] == [Started, Submitting, Accepted, Queued, Running, MediaReady]
    assert events[3].position == 3  # type: ignore[attr-defined]
    assert (events[4].fraction, events[4].message) == (0.4, "step 4/10")  # type: ignore[attr-defined]
    assert events[-1].media.seed == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "kind", ["not_sent", "no_response", "rate_limited", "server_error", "gateway_error", "invalid_response"]
)
async def test_errors_while_polling_are_retried(scene: EngineHarness, script: ScriptedProviders, kind: str) -> None:
    """A failed poll of any kind costs only a little time; nothing is submitted again."""
    script.script("one", RUNNING, expect_failed(kind), DONE)
    events = await scene.run(route("one"))
    assert isinstance(events[-1], MediaReady)
    assert script.call_count("one") == 1


@pytest.mark.parametrize(
    ("kind", "polls", "error"),
    [
        ("server_error", POLL_RETRIES + 1, None),
        ("invalid_response", 3, InvalidResponseError),
        ("authentication", 1, AuthenticationError),
    ],
)
async def test_errors_that_persist_detach_the_job_without_ending_it(
    scene: EngineHarness, script: ScriptedProviders, kind: str, polls: int, error: type[Exception] | None
) -> None:
    """The retries end, the job does not: it can be resumed, and the error says so."""
    script.script("one", RUNNING, expect_failed(kind))
    events = await scene.run(route("one"))
    assert isinstance(events[-1], JobFailed)
    assert script.call_count("one", "check") == polls
    assert (await scene.job()).state == "running"
    assert "`hfmedia jobs resume job1`" in str(events[-1].error)
    assert events[-1].error.retryable
    assert error is None or isinstance(events[-1].error, error)

    script.script("one", DONE)
    place = OutputTarget(folder=Path("/nowhere"))
    again = [event async for event in scene.engine.resume("job1", target=place)]
    assert isinstance(again[-1], MediaReady)
    assert (await scene.job()).state == "stored"
    assert script.call_count("one") == 1


async def test_the_providers_own_word_ends_the_job(scene: EngineHarness, script: ScriptedProviders) -> None:
    """Accepted, then failed: reported as such, and no other provider is tried."""
    script.script("one", RUNNING, expect_failed("generation_failed"))
    script.script("two", DONE)
    events = await scene.run(route("one"), route("two"))
    assert isinstance(events[-1].error, GenerationFailedError)  # type: ignore[attr-defined]
    assert script.call_count("two") == 0
    assert (await scene.job()).state == "failed"


async def test_out_of_time_while_running_detaches_the_job(scene: EngineHarness, script: ScriptedProviders) -> None:
    """The deadline lets go of a job that runs; it is resumed without paying again."""
    script.script("one", Pending(handle=JobHandle("p1"), poll_after=3600))
    scene.engine.deps = scene.engine.deps.__class__(
        **{name: getattr(scene.engine.deps, name) for name in scene.engine.deps.__struct_fields__ if name != "sleep"}
    )
    events = await scene.run(route("one"), timeout=0.5)  # it is accepted by then, on any machine
    error = events[-1].error  # type: ignore[attr-defined]
    assert isinstance(error, DeadlineExceededError)
    assert (error.exit_code, error.job_id) == (7, "job1")
    assert (await scene.job()).state == "running"


async def test_a_broken_download_is_not_a_lost_job(scene: EngineHarness, script: ScriptedProviders) -> None:
    """The media can be fetched again for nothing; an expired one says that it is over."""
    script.script("one", DONE)
    script.storage_steps = [DownloadError("cut")]
    events = await scene.run(route("one"))
    assert isinstance(events[-1].error, DownloadError)  # type: ignore[attr-defined]
    assert (await scene.job()).state == "completed"
    again = [event async for event in scene.engine.resume("job1", target=OutputTarget(folder=Path("/nowhere")))]
    assert isinstance(again[-1], MediaReady)

    script.storage_steps = [ResultExpiredError("gone")]
    await scene.run(route("one"))
    assert (await scene.job(2)).state == "failed"


async def test_several_outputs_have_seeds_of_their_own_and_one_failure_costs_no_other(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """Three of four arrive: three results and one error, as events, each when it happens."""
    script.script("one", DONE, expect_failed("content_policy"), DONE, DONE)
    request = REQUEST.__class__(task="text-to-image", model="acme/kite", prompt="a kite", seed=40)
    events = await scene.run(route("one"), n=4, request=request)
    assert [event.seed for event in events if isinstance(event, Started)] == [40, 41, 42, 43]
    assert sum(isinstance(event, MediaReady) for event in events) == 3
    assert [event.index for event in events if isinstance(event, JobFailed)] == [1]


async def test_several_outputs_without_a_seed_are_not_the_same_picture(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """Providers that draw the same picture for the same request are given different requests."""
    script.script("one", DONE)
    events = await scene.run(route("one"), n=3)
    seeds = [event.seed for event in events if isinstance(event, Started)]
    assert len(set(seeds)) == 3
    assert None not in seeds


async def test_results_come_as_each_one_finishes(scene: EngineHarness, script: ScriptedProviders) -> None:
    """The second output does not wait for the first."""
    gate = asyncio.Event()

    async def late() -> Completed:
        await gate.wait()
        return DONE

    script.script("one", late, DONE)
    order: list[int] = []
    async for event in scene.engine.generate(
        REQUEST, [route("one")], target=OutputTarget(folder=Path("/nowhere")), n=2
    ):
        if isinstance(event, MediaReady):
            order.append(event.index)
            gate.set()
    assert order == [1, 0]


async def test_every_output_of_one_job_is_kept(scene: EngineHarness, script: ScriptedProviders) -> None:
    """A provider that made two where one was asked for was paid for two."""
    script.script("one", Completed(outputs=(Output(url="https://a/1"), Output(url="https://a/2"))))
    events = await scene.run(route("one"))
    assert sum(isinstance(event, MediaReady) for event in events) == 2


async def test_cancelling_reaches_the_provider(scene: EngineHarness, script: ScriptedProviders) -> None:
    """A running job is stopped where it runs, and the ledger tells that the provider agreed."""
    script.script("one", RUNNING, _forever, CancelResult(True, "stopping"))
    events = []
    async for event in scene.engine.generate(REQUEST, [route("one")], target=OutputTarget(folder=Path("/nowhere"))):
        events.append(event)
        if isinstance(event, Running):
            canceller = asyncio.create_task(scene.engine.cancel("job1"))
    job = await canceller
    assert (job.state, script.call_count("one", "cancel")) == ("cancelled", 1)
    assert isinstance(events[-1].error, JobCancelledError)  # type: ignore[attr-defined]
    entries = await scene.engine.deps.ledger.entries("job1")
    assert entries[-1].provider_confirmed is True  # type: ignore[attr-defined]


async def test_cancelling_during_a_submission_learns_what_became_of_it(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """The answer that is on its way is awaited a moment, so that the job can be stopped rather than doubted."""
    sent, answer = asyncio.Event(), asyncio.Event()

    async def slow() -> Pending:
        sent.set()
        await answer.wait()
        return RUNNING

    script.script("one", slow, CancelResult(True, "stopping"))

    async def interrupt() -> None:
        await sent.wait()
        task = asyncio.create_task(scene.engine.cancel("job1"))
        await until_idle()
        answer.set()
        await task

    async with asyncio.TaskGroup() as group:
        group.create_task(interrupt())
        await scene.run(route("one"))
    assert (await scene.job()).state == "cancelled"
    assert script.log.index("write accepted") < script.log.index("cancel one") < script.log.index("write cancelled")


async def test_detaching_stops_nothing_at_the_provider(scene: EngineHarness, script: ScriptedProviders) -> None:
    """A detached job keeps running there, is reported as such, and is resumed without paying again."""
    script.script("one", RUNNING, _forever)
    events = []
    async for event in scene.engine.generate(REQUEST, [route("one")], target=OutputTarget(folder=Path("/nowhere"))):
        events.append(event)
        if isinstance(event, Running):
            letting_go = asyncio.create_task(scene.engine.detach("job1"))
    assert (await letting_go).state == "running"
    assert "keeps running at one" in str(events[-1].error)
    script.script("one", DONE)
    again = [event async for event in scene.engine.resume("job1", target=OutputTarget(folder=Path("/nowhere")))]
    assert isinstance(again[-1], MediaReady)
    assert (script.call_count("one"), script.call_count("one", "cancel")) == (1, 0)


async def test_a_response_lost_to_a_cancel_leaves_the_job_in_doubt(
    scene: EngineHarness, script: ScriptedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the provider does not answer in time, the job does not count as unsent."""
    monkeypatch.setattr("hfmedia.engine.submit.CANCEL_GRACE_PERIOD", 0.01)
    script.script("one", _forever)
    async for event in scene.engine.generate(REQUEST, [route("one")], target=OutputTarget(folder=Path("/nowhere"))):
        if isinstance(event, Submitting):
            await until_idle()
            break
    await scene.engine.aclose()
    async with asyncio.timeout(10):
        while (await scene.job()).state == "submitting":  # noqa: ASYNC110 - the ledger notifies no one
            await asyncio.sleep(0.01)
    assert (await scene.job()).state == "in_doubt"


async def test_closing_the_stream_cancels_what_is_left(scene: EngineHarness, script: ScriptedProviders) -> None:
    """A closed stream cancels its jobs."""
    script.script("one", RUNNING, _forever, CancelResult(True))
    stream = scene.engine.generate(REQUEST, [route("one")], target=OutputTarget(folder=Path("/nowhere")))
    async for event in stream:
        if isinstance(event, Running):
            await until_idle()  # until the first poll is on its way
            break
    await stream.aclose()
    assert (await scene.job()).state == "cancelled"


async def test_a_slot_is_held_from_the_submission_to_the_providers_done(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """With one place at a provider, the second job is not even sent before the first is done there."""
    gate = asyncio.Semaphore(1)
    world = scene.engine.deps
    fields = {name: getattr(world, name) for name in world.__struct_fields__}
    scene.engine.deps = world.__class__(**{**fields, "slot": lambda provider: gate})
    script.script("one", RUNNING, RUNNING, DONE, RUNNING, DONE)
    await scene.run(route("one"), n=2)
    asks = [line for line in script.log if line.endswith(" one")]
    assert asks == ["submit one", "check one", "check one", "submit one", "check one"]
    assert not gate.locked()


@pytest.mark.parametrize("bad", [-1, "soon", float("nan"), float("inf"), True, 1e9])
def test_a_timeout_that_is_none_is_refused(bad: object) -> None:
    """An invalid timeout is reported before anything is sent."""
    with pytest.raises(ValueError, match="timeout"):
        Timeouts.parse(bad)  # type: ignore[arg-type]


async def test_a_defect_of_ours_in_one_job_does_not_cost_the_others(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """An unexpected exception becomes that job's error; its neighbours arrive."""
    script.script("one", DONE)
    script.storage_steps = [RuntimeError("a bug")]
    events = await scene.run(route("one"), n=2)
    assert sum(isinstance(event, MediaReady) for event in events) == 1
    wrong = next(event.error for event in events if isinstance(event, JobFailed))
    assert wrong.exit_code == 1
    assert wrong.job_id


async def test_a_defect_of_ours_while_sending_is_a_doubt(scene: EngineHarness, script: ScriptedProviders) -> None:
    """When hfmedia itself fails in the middle of a submission, the job does not count as unsent."""
    script.script("one", RuntimeError("a bug"))
    script.script("two", DONE)
    events = await scene.run(route("one"), route("two"))
    assert events[-1].error.exit_code == 8  # type: ignore[attr-defined]
    assert ((await scene.job()).state, script.call_count("two")) == ("in_doubt", 0)


async def test_inline_media_that_could_not_be_stored_is_not_thrown_away(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """What came inside a reply cannot be fetched again, so it waits in memory for a better place."""
    seen: list[Output] = []
    keep = script.save_file

    async def watched(output: Output, place: OutputTarget, **more: object) -> object:
        seen.append(output)
        return await keep(output, place, **more)

    script.save_file = watched  # type: ignore[method-assign, assignment]
    script.script("one", Completed(outputs=(Output(data=b"pixels"),)))
    script.storage_steps = [StorageError("the disk is full")]
    events = await scene.run(route("one"))
    assert isinstance(events[-1].error, StorageError)  # type: ignore[attr-defined]
    again = [event async for event in scene.engine.resume("job1", target=OutputTarget(folder=Path("/elsewhere")))]
    assert isinstance(again[-1], MediaReady)
    assert [output.data for output in seen] == [b"pixels", b"pixels"]
    assert script.call_count("one") == 1


async def test_cancelling_while_the_media_is_on_its_way_leaves_it_to_be_fetched(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """The provider is done and paid; a cancel here does not throw that away."""
    script.script("one", DONE)
    script.storage_steps = [_forever]
    stream = scene.engine.generate(REQUEST, [route("one")], target=OutputTarget(folder=Path("/nowhere")))
    async for event in stream:
        if isinstance(event, Submitting):
            await until_idle()
            canceller = asyncio.create_task(scene.engine.cancel("job1"))
        elif isinstance(event, JobFailed):
            assert "resuming" in str(event.error)
    assert (await canceller).state == "completed"
    again = [event async for event in scene.engine.resume("job1", target=OutputTarget(folder=Path("/nowhere")))]
    assert isinstance(again[-1], MediaReady)


async def _forever() -> None:
    await asyncio.sleep(3600)
    raise ResponseLostError("woken too late")


async def test_a_result_that_comes_after_the_cancel_is_kept(scene: EngineHarness, script: ScriptedProviders) -> None:
    """Media that is paid for and already in memory becomes a file, although its caller is gone."""
    sent, answer = asyncio.Event(), asyncio.Event()

    async def slow() -> Completed:
        sent.set()
        await answer.wait()
        return Completed(outputs=(Output(data=b"pixels"),))

    script.script("one", slow)

    async def interrupt() -> None:
        await sent.wait()
        task = asyncio.create_task(scene.engine.cancel("job1"))
        await until_idle()
        answer.set()
        await task

    async with asyncio.TaskGroup() as group:
        group.create_task(interrupt())
        events = await scene.run(route("one"))
    assert (await scene.job()).state == "stored"
    assert "is stored" in str(events[-1].error)  # type: ignore[attr-defined]


async def test_a_cancel_between_announcing_and_sending_is_no_doubt(
    scene: EngineHarness, script: ScriptedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intent is in the ledger, the request is not sent: that is known, and reported as such."""
    ledger, canceller = scene.engine.deps.ledger, []
    append = ledger.append

    async def watched(*entries: life.LedgerEntry) -> life.Job:
        job = await append(*entries)
        if isinstance(entries[-1], life.SubmittingEntry):
            canceller.append(asyncio.create_task(scene.engine.cancel("job1")))
            await until_idle()
        return job

    monkeypatch.setattr(ledger, "append", watched)
    script.script("one", DONE)
    await scene.run(route("one"))
    await canceller[0]
    assert ((await scene.job()).state, script.call_count("one")) == ("cancelled", 0)
