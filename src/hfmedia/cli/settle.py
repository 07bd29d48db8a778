"""The deeds of ``hfmedia jobs resume``, ``cancel``, ``resolve`` and ``prune``: what may still be done with a job.

What was bought is never bought again here, but where a person says so.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Literal, NoReturn, get_args

import typer
from msgspec import structs

from hfmedia.client import MediaClient
from hfmedia.core.errors import HfmediaError, InDoubtError, InvalidRequestError, ProviderError
from hfmedia.core.job import Job, Stopped
from hfmedia.engine import Event, JobFailed
from hfmedia.store.facts import plain as cleaned

from . import story
from .browse import find, opened, stand
from .make import see_through
from .run import Stop, run
from .voice import Voice

AT_ONCE = 100  # jobs carried side by side; as many as one call may ask for
Decision = Literal["resend", "drop", "ask"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)


# -- resume -----------------------------------------------------------------------------------------------------------


def carry_on(ids: Sequence[str], *, every: bool, output: str | None, proxy: str | None, voice: Voice) -> NoReturn:
    """Carries jobs on and leaves with the exit code that generate would have."""

    async def work(stop: Stop) -> int:
        if ids and every:
            raise InvalidRequestError("name jobs, or say --all; both together mean nothing")
        async with opened(proxy) as client:
            if ids:
                named = list(dict.fromkeys([await find(client, text) for text in ids]))
                jobs = [await client.engine.job(job_id) for job_id in named]
            else:
                jobs = await _unfinished(client, voice)
            if not jobs:
                await _say_idle(client, voice)
                return 0
            unsent = sum(job.state in ("new", "ready") for job in jobs)
            if unsent:
                voice.note(
                    f"of {len(jobs)} to carry on, {unsent} not sent before {'is' if unsent == 1 else 'are'} sent now"
                )
            begun = {index: job.id for index, job in enumerate(jobs)}
            told = side_by_side(client, list(begun.values()), output)
            return await see_through(client, told, len(jobs), begun=begun, stop=stop, voice=voice)

    run(work, voice)


async def _unfinished(client: MediaClient, voice: Voice) -> list[Job]:
    """The jobs that can be carried on; one of which nothing can come any more is told of, and left alone."""
    found = await stand(client, await client.unfinished())
    for one in found:
        if why := story.lost(one):
            voice.warning(f"job {one.job.id} is left alone: {why}")
    return [one.job for one in found if not story.lost(one)]


async def _say_idle(client: MediaClient, voice: Voice) -> None:
    """There is nothing to carry on; but there may be doubts, which only a person can settle."""
    voice.note("nothing to carry on: no job is unfinished that nobody carries")
    for one in await stand(client, await client.jobs(states=["doubt"])):
        voice.note(f"job {one.job.id} is in doubt: {story.next_step(one)}")


async def side_by_side(client: MediaClient, ids: Sequence[str], output: str | None) -> AsyncGenerator[Event, None]:
    """The events of several jobs as they happen, each under its place in the list."""
    told: asyncio.Queue[Event | None] = asyncio.Queue()
    room = asyncio.Semaphore(AT_ONCE)

    async def carry(index: int, job_id: str) -> None:
        try:
            async with room, aclosing(client.resume_events(job_id, output=output)) as events:
                async for event in events:
                    told.put_nowait(structs.replace(event, index=index))
        except HfmediaError as error:  # before it began: another process carries it, say
            error.job_id = error.job_id or job_id
            told.put_nowait(JobFailed(job_id=job_id, index=index, error=error))
        finally:
            told.put_nowait(None)

    tasks = [asyncio.create_task(carry(index, job_id)) for index, job_id in enumerate(ids)]
    try:
        for _ in tasks:
            while (event := await told.get()) is not None:
                yield event
        await asyncio.gather(*tasks)  # a defect of ours is not passed over in silence
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# -- cancel -----------------------------------------------------------------------------------------------------------


def stop_jobs(ids: Sequence[str], *, proxy: str | None, voice: Voice) -> NoReturn:
    """Stops jobs; exit code 0 when each has stopped or had ended, 6 where a provider may go on, 8 for a doubt."""

    async def work(stop: Stop) -> int:
        codes: list[int] = []
        async with opened(proxy) as client:
            named = dict.fromkeys([await find(client, text) for text in ids])
            for job_id in named:
                before = await client.engine.job(job_id)
                after = before if before.ended else await client.cancel(job_id)
                facts = await client.story(job_id)
                last = facts[-1] if isinstance(facts[-1], Stopped) else None
                code, words = _stopped(before, after, last)
                codes.append(code)
                told = {
                    "job_id": job_id,
                    "state": after.state,
                    "reached": last.reached if last else None,
                    "words": words,
                }
                voice.result(told if voice.as_json else f"{job_id}: {words}")
        return max(codes, default=0)

    run(work, voice)


def _stopped(before: Job, after: Job, last: Stopped | None) -> tuple[int, str]:
    """An exit code and a sentence for what came of a cancel."""
    if before.ended:
        return 0, f"{story.state(before)} already; there is nothing to stop"
    step = story.next_step(story.Standing(job=after))
    if last is not None:
        return ProviderError.exit_code if last.reached is False else 0, f"cancelled: {story.stopped(last)}"
    if after.state == "doubt":
        return InDoubtError.exit_code, f"in doubt, so nobody knows what to stop; {step}"
    words = f"not stopped, it is {story.state(after)}"
    return 0 if after.ended else ProviderError.exit_code, f"{words}; {step}" if step else words


# -- resolve ----------------------------------------------------------------------------------------------------------


def settle_doubt(text: str, said: Sequence[str], *, proxy: str | None, yes: bool, voice: Voice) -> NoReturn:
    """Settles a doubt as it was said, and tells what follows."""
    decision: Decision | None = next((one for one in DECISIONS if [one] == list(said)), None)
    question = f"Job {text} may have been accepted already; sent again, it may be paid twice. Let it be sent again?"

    async def work(stop: Stop) -> int:
        if decision is None:
            raise InvalidRequestError("say one of --resend, --drop and --ask; `hfmedia jobs show ID` tells more")
        async with opened(proxy) as client:
            job = await client.resolve(await find(client, text), decision)
            (one,) = await stand(client, [job])
        if voice.as_json:
            voice.result(cleaned(story.facts(one)))
            return 0
        known = {"resend": "it will be sent again", "drop": "dropped", "ask": f"{story.provider(job)} has it"}[decision]
        step = story.next_step(one)
        voice.result(f"{job.id}: {known}; {step}" if step else f"{job.id}: {known}")
        return 0

    if decision == "resend" and not yes and not agreed(question):
        raise typer.Exit(InvalidRequestError.exit_code)
    run(work, voice)


def agreed(question: str) -> bool:
    """Whether the person at the terminal says yes; where there is none to ask, the command itself was the word."""
    return not watched() or typer.confirm(question, err=True)


def watched() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


# -- prune ------------------------------------------------------------------------------------------------------------


def forget(before: str, *, yes: bool, voice: Voice) -> NoReturn:
    """Forgets old jobs that have ended, and tells how many."""

    async def work(stop: Stop) -> int:
        async with opened() as client:
            until = story.moment(before, client.engine.world.clock(), option="--before")
            gone = await client.prune(until)
        told: dict[str, Any] = {"pruned": gone, "before": story.iso(until)}
        jobs = f"{gone} job{'' if gone == 1 else 's'}"
        voice.result(told if voice.as_json else f"forgot {jobs} that had ended before {story.clock(until)}")
        return 0

    question = f"Forget every job that has ended and was last touched before {before}? Media files stay."
    if not yes and not agreed(question):
        raise typer.Exit(InvalidRequestError.exit_code)
    run(work, voice)
