"""Watching and keeping: trouble while a job runs is never the end of the job; only the provider's word is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hfmedia.core import job as life
from hfmedia.core.answers import Cancelled, Finished, Handle, Output, Pending, Progress
from hfmedia.core.errors import (
    CredentialError,
    DownloadError,
    ExpiredError,
    FailedError,
    JobCancelledError,
    LostError,
    OutOfTimeError,
    StoreError,
    UnreadableReplyError,
)
from hfmedia.core.ports import Place
from hfmedia.core.retry import CHECK_RETRIES
from hfmedia.engine import Accepted, JobFailed, MediaReady, Queued, Running, Started, Submitting, Timeouts

from .conftest import DONE, RUNNING, WISH, Scene, Script, failed, route


async def test_a_queue_tells_its_position_its_fraction_and_its_log(scene: Scene, script: Script) -> None:
    """Each thing a provider tells becomes an event of its own kind, in order."""
    handle = Handle("p1")
    script.says(
        "one",
        Pending(handle=handle, after=0, progress=Progress(position=3)),
        Pending(handle=handle, after=0, progress=Progress(fraction=0.4, message="step 4/10")),
        DONE,
    )
    events = await scene.run(route("one"))
    assert [type(event) for event in events] == [Started, Submitting, Accepted, Queued, Running, MediaReady]
    assert events[3].position == 3  # type: ignore[attr-defined]
    assert (events[4].fraction, events[4].message) == (0.4, "step 4/10")  # type: ignore[attr-defined]
    assert events[-1].media.seed == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["unsent", "lost", "busy", "server", "gateway", "unreadable"])
async def test_trouble_while_polling_is_ridden_out(scene: Scene, script: Script, kind: str) -> None:
    """One failed poll of whatever kind costs nothing but a little time; nothing is bought again."""
    script.says("one", RUNNING, failed(kind), DONE)
    events = await scene.run(route("one"))
    assert isinstance(events[-1], MediaReady)
    assert script.asked("one") == 1


@pytest.mark.parametrize(
    ("kind", "polls", "error"),
    [
        ("server", CHECK_RETRIES + 1, None),
        ("unreadable", 3, UnreadableReplyError),
        ("credential", 1, CredentialError),
    ],
)
async def test_trouble_that_stays_lets_go_of_the_job_without_ending_it(
    scene: Scene, script: Script, kind: str, polls: int, error: type[Exception] | None
) -> None:
    """Patience ends, the job does not: it can be resumed, and the error says so."""
    script.says("one", RUNNING, failed(kind))
    events = await scene.run(route("one"))
    assert isinstance(events[-1], JobFailed)
    assert script.asked("one", "check") == polls
    assert (await scene.job()).state == "running"
    assert "`hfmedia jobs resume job1`" in str(events[-1].error)
    assert events[-1].error.retryable
    assert error is None or isinstance(events[-1].error, error)

    script.says("one", DONE)
    place = Place(folder=Path("/nowhere"))
    again = [event async for event in scene.engine.resume("job1", place=place)]
    assert isinstance(again[-1], MediaReady)
    assert (await scene.job()).state == "stored"
    assert script.asked("one") == 1


async def test_the_providers_own_word_ends_the_job(scene: Scene, script: Script) -> None:
    """Accepted, then failed: told as such, nobody else is asked."""
    script.says("one", RUNNING, failed("failed"))
    script.says("two", DONE)
    events = await scene.run(route("one"), route("two"))
    assert isinstance(events[-1].error, FailedError)  # type: ignore[attr-defined]
    assert script.asked("two") == 0
    assert (await scene.job()).state == "failed"


async def test_out_of_time_while_running_detaches_the_job(scene: Scene, script: Script) -> None:
    """The deadline lets go of a job that runs; it is resumed without paying again."""
    script.says("one", Pending(handle=Handle("p1"), after=3600))
    scene.engine.world = scene.engine.world.__class__(
        **{name: getattr(scene.engine.world, name) for name in scene.engine.world.__struct_fields__ if name != "sleep"}
    )
    events = await scene.run(route("one"), timeout=0.05)
    error = events[-1].error  # type: ignore[attr-defined]
    assert isinstance(error, OutOfTimeError)
    assert (error.exit_code, error.job_id) == (7, "job1")
    assert (await scene.job()).state == "running"


async def test_a_broken_download_is_not_a_lost_job(scene: Scene, script: Script) -> None:
    """The media can be fetched again for nothing; an expired one says that it is over."""
    script.says("one", DONE)
    script.keep = [DownloadError("cut")]
    events = await scene.run(route("one"))
    assert isinstance(events[-1].error, DownloadError)  # type: ignore[attr-defined]
    assert (await scene.job()).state == "finished"
    again = [event async for event in scene.engine.resume("job1", place=Place(folder=Path("/nowhere")))]
    assert isinstance(again[-1], MediaReady)

    script.keep = [ExpiredError("gone")]
    await scene.run(route("one"))
    assert (await scene.job(2)).state == "failed"


async def test_several_outputs_have_seeds_of_their_own_and_one_failure_costs_no_other(
    scene: Scene, script: Script
) -> None:
    """Three of four arrive: three results and one error, as events, each when it happens."""
    script.says("one", DONE, failed("content"), DONE, DONE)
    wish = WISH.__class__(task="text-to-image", model="acme/kite", prompt="a kite", seed=40)
    events = await scene.run(route("one"), n=4, wish=wish)
    assert [event.seed for event in events if isinstance(event, Started)] == [40, 41, 42, 43]
    assert sum(isinstance(event, MediaReady) for event in events) == 3
    assert [event.index for event in events if isinstance(event, JobFailed)] == [1]


async def test_several_outputs_without_a_seed_are_not_the_same_picture(scene: Scene, script: Script) -> None:
    """Providers that draw the same picture for the same request are given different requests."""
    script.says("one", DONE)
    events = await scene.run(route("one"), n=3)
    seeds = [event.seed for event in events if isinstance(event, Started)]
    assert len(set(seeds)) == 3
    assert None not in seeds


async def test_results_come_as_each_one_finishes(scene: Scene, script: Script) -> None:
    """The second output does not wait for the first."""
    gate = asyncio.Event()

    async def late() -> Finished:
        await gate.wait()
        return DONE

    script.says("one", late, DONE)
    order: list[int] = []
    async for event in scene.engine.generate(WISH, [route("one")], place=Place(folder=Path("/nowhere")), n=2):
        if isinstance(event, MediaReady):
            order.append(event.index)
            gate.set()
    assert order == [1, 0]


async def test_every_output_of_one_job_is_kept(scene: Scene, script: Script) -> None:
    """A provider that made two where one was asked for was paid for two."""
    script.says("one", Finished(outputs=(Output(url="https://a/1"), Output(url="https://a/2"))))
    events = await scene.run(route("one"))
    assert sum(isinstance(event, MediaReady) for event in events) == 2


async def test_cancelling_reaches_the_provider(scene: Scene, script: Script) -> None:
    """A running job is stopped where it runs, and the ledger tells that the provider agreed."""
    script.says("one", RUNNING, _forever, Cancelled(True, "stopping"))
    events = []
    async for event in scene.engine.generate(WISH, [route("one")], place=Place(folder=Path("/nowhere"))):
        events.append(event)
        if isinstance(event, Running):
            canceller = asyncio.create_task(scene.engine.cancel("job1"))
    job = await canceller
    assert (job.state, script.asked("one", "cancel")) == ("cancelled", 1)
    assert isinstance(events[-1].error, JobCancelledError)
    facts = await scene.engine.world.ledger.facts("job1")
    assert facts[-1].reached is True  # type: ignore[attr-defined]


async def test_cancelling_during_a_submission_learns_what_became_of_it(scene: Scene, script: Script) -> None:
    """The answer that is on its way is awaited a moment, so that the job can be stopped rather than doubted."""
    sent, answer = asyncio.Event(), asyncio.Event()

    async def slow() -> Pending:
        sent.set()
        await answer.wait()
        return RUNNING

    script.says("one", slow, Cancelled(True, "stopping"))

    async def interrupt() -> None:
        await sent.wait()
        task = asyncio.create_task(scene.engine.cancel("job1"))
        await asyncio.sleep(0.01)
        answer.set()
        await task

    async with asyncio.TaskGroup() as group:
        group.create_task(interrupt())
        await scene.run(route("one"))
    assert (await scene.job()).state == "cancelled"
    assert script.log.index("write accepted") < script.log.index("cancel one") < script.log.index("write stopped")


async def test_letting_go_stops_nothing_at_the_provider(scene: Scene, script: Script) -> None:
    """A detached job goes on there, is told as such, and is resumed without paying again."""
    script.says("one", RUNNING, _forever)
    events = []
    async for event in scene.engine.generate(WISH, [route("one")], place=Place(folder=Path("/nowhere"))):
        events.append(event)
        if isinstance(event, Running):
            letting_go = asyncio.create_task(scene.engine.detach("job1"))
    assert (await letting_go).state == "running"
    assert "goes on at one" in str(events[-1].error)
    script.says("one", DONE)
    again = [event async for event in scene.engine.resume("job1", place=Place(folder=Path("/nowhere")))]
    assert isinstance(again[-1], MediaReady)
    assert (script.asked("one"), script.asked("one", "cancel")) == (1, 0)


async def test_an_answer_lost_to_a_cancel_is_a_doubt(
    scene: Scene, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the provider does not answer in time, nobody claims that nothing was bought."""
    monkeypatch.setattr("hfmedia.engine.buy.CANCEL_GRACE", 0.01)
    script.says("one", _forever)
    async for event in scene.engine.generate(WISH, [route("one")], place=Place(folder=Path("/nowhere"))):
        if isinstance(event, Submitting):
            await asyncio.sleep(0.01)
            break
    await scene.engine.aclose()
    await asyncio.sleep(0.05)
    assert (await scene.job()).state == "doubt"


async def test_closing_the_stream_cancels_what_is_left(scene: Scene, script: Script) -> None:
    """Whoever stops listening stops paying."""
    script.says("one", RUNNING, _forever, Cancelled(True))
    told = scene.engine.generate(WISH, [route("one")], place=Place(folder=Path("/nowhere")))
    async for event in told:
        if isinstance(event, Running):
            await asyncio.sleep(0.01)  # until the first poll is on its way
            break
    await told.aclose()
    assert (await scene.job()).state == "cancelled"


async def test_a_slot_is_held_from_the_submission_to_the_providers_done(scene: Scene, script: Script) -> None:
    """With one place at a provider, the second job is not even sent before the first is done there."""
    gate = asyncio.Semaphore(1)
    world = scene.engine.world
    fields = {name: getattr(world, name) for name in world.__struct_fields__}
    scene.engine.world = world.__class__(**{**fields, "slot": lambda provider: gate})
    script.says("one", RUNNING, RUNNING, DONE, RUNNING, DONE)
    await scene.run(route("one"), n=2)
    asks = [line for line in script.log if line.endswith(" one")]
    assert asks == ["submit one", "check one", "check one", "submit one", "check one"]
    assert not gate.locked()


@pytest.mark.parametrize("bad", [-1, "soon", float("nan"), float("inf"), True, 1e9])
def test_a_timeout_that_is_none_is_refused(bad: object) -> None:
    """A bad limit of patience is told before anything is sent."""
    with pytest.raises(ValueError, match="timeout"):
        Timeouts.of(bad)  # type: ignore[arg-type]


async def test_a_defect_of_ours_in_one_job_does_not_cost_the_others(scene: Scene, script: Script) -> None:
    """An unexpected exception becomes that job's error; its neighbours arrive."""
    script.says("one", DONE)
    script.keep = [RuntimeError("a bug")]
    events = await scene.run(route("one"), n=2)
    assert sum(isinstance(event, MediaReady) for event in events) == 1
    wrong = next(event.error for event in events if isinstance(event, JobFailed))
    assert wrong.exit_code == 1
    assert wrong.job_id


async def test_a_defect_of_ours_while_sending_is_a_doubt(scene: Scene, script: Script) -> None:
    """Where our own code fails in the middle of a submission, nobody claims that nothing was bought."""
    script.says("one", RuntimeError("a bug"))
    script.says("two", DONE)
    events = await scene.run(route("one"), route("two"))
    assert events[-1].error.exit_code == 8  # type: ignore[attr-defined]
    assert ((await scene.job()).state, script.asked("two")) == ("doubt", 0)


async def test_inline_media_that_could_not_be_stored_is_not_thrown_away(scene: Scene, script: Script) -> None:
    """What came inside a reply cannot be fetched again, so it waits in memory for a better place."""
    seen: list[Output] = []
    keep = script.keep_file

    async def watched(output: Output, place: Place, **more: object) -> object:
        seen.append(output)
        return await keep(output, place, **more)

    script.keep_file = watched  # type: ignore[method-assign, assignment]
    script.says("one", Finished(outputs=(Output(data=b"pixels"),)))
    script.keep = [StoreError("the disk is full")]
    events = await scene.run(route("one"))
    assert isinstance(events[-1].error, StoreError)  # type: ignore[attr-defined]
    again = [event async for event in scene.engine.resume("job1", place=Place(folder=Path("/elsewhere")))]
    assert isinstance(again[-1], MediaReady)
    assert [output.data for output in seen] == [b"pixels", b"pixels"]
    assert script.asked("one") == 1


async def test_cancelling_while_the_media_is_on_its_way_leaves_it_to_be_fetched(scene: Scene, script: Script) -> None:
    """The provider is done and paid; a cancel here does not throw that away."""
    script.says("one", DONE)
    script.keep = [_forever]
    told = scene.engine.generate(WISH, [route("one")], place=Place(folder=Path("/nowhere")))
    async for event in told:
        if isinstance(event, Submitting):
            await asyncio.sleep(0.01)
            canceller = asyncio.create_task(scene.engine.cancel("job1"))
        elif isinstance(event, JobFailed):
            assert "resuming" in str(event.error)
    assert (await canceller).state == "finished"
    again = [event async for event in scene.engine.resume("job1", place=Place(folder=Path("/nowhere")))]
    assert isinstance(again[-1], MediaReady)


async def _forever() -> None:
    await asyncio.sleep(3600)
    raise LostError("woken too late")


async def test_a_result_that_comes_after_the_cancel_is_kept(scene: Scene, script: Script) -> None:
    """What was paid for and is already in our hands becomes a file, although nobody waits for it any more."""
    sent, answer = asyncio.Event(), asyncio.Event()

    async def slow() -> Finished:
        sent.set()
        await answer.wait()
        return Finished(outputs=(Output(data=b"pixels"),))

    script.says("one", slow)

    async def interrupt() -> None:
        await sent.wait()
        task = asyncio.create_task(scene.engine.cancel("job1"))
        await asyncio.sleep(0.01)
        answer.set()
        await task

    async with asyncio.TaskGroup() as group:
        group.create_task(interrupt())
        events = await scene.run(route("one"))
    assert (await scene.job()).state == "stored"
    assert "kept" in str(events[-1].error)  # type: ignore[attr-defined]


async def test_a_cancel_between_announcing_and_sending_is_no_doubt(
    scene: Scene, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intent is in the ledger, the request is not out: that is known, and told as such."""
    ledger, canceller = scene.engine.world.ledger, []
    append = ledger.append

    async def watched(*facts: life.Fact) -> life.Job:
        job = await append(*facts)
        if isinstance(facts[-1], life.Sending):
            canceller.append(asyncio.create_task(scene.engine.cancel("job1")))
            await asyncio.sleep(0.05)
        return job

    monkeypatch.setattr(ledger, "append", watched)
    script.says("one", DONE)
    await scene.run(route("one"))
    await canceller[0]
    assert ((await scene.job()).state, script.asked("one")) == ("cancelled", 0)
