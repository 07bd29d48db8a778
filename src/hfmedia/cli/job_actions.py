"""``hfmedia jobs resume``, ``cancel``, ``resolve`` and ``prune``.

Nothing that may have been accepted is submitted again, unless the user decides so with ``resolve --resend``.
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
from hfmedia.core.job import CancelledEntry, Job
from hfmedia.engine import Event, JobFailed
from hfmedia.storage.sanitize import to_plain_json

from . import job_format, job_json
from .generating import stream_events
from .job_views import find_job_id, load_snapshots, open_client
from .reporter import Reporter
from .runtime import InterruptHandler, run

RESUME_CONCURRENCY = 100  # jobs resumed in parallel; as many as one call may generate
Decision = Literal["resend", "drop", "ask"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)


# -- resume -----------------------------------------------------------------------------------------------------------


def resume_jobs(
    ids: Sequence[str], *, all_jobs: bool, output: str | None, proxy: str | None, reporter: Reporter
) -> NoReturn:
    """Resume jobs and exit with the code that generate would have."""

    async def command(interrupts: InterruptHandler) -> int:
        if ids and all_jobs:
            raise InvalidRequestError("pass job IDs or --all, not both")
        async with open_client(proxy) as client:
            if ids:
                job_ids = list(dict.fromkeys([await find_job_id(client, text) for text in ids]))
                jobs = [await client.engine.get_job(job_id) for job_id in job_ids]
            else:
                jobs = await _resumable_jobs(client, reporter)
            if not jobs:
                await _print_nothing_to_resume(client, reporter)
                return 0
            unsent = sum(job.state in ("created", "routed") for job in jobs)
            if unsent:
                verb = "was" if unsent == 1 else "were"
                reporter.info(f"{unsent} of {len(jobs)} jobs {verb} not sent before and will be sent now.")
            started_jobs = {index: job.id for index, job in enumerate(jobs)}
            events = resume_concurrently(client, list(started_jobs.values()), output)
            return await stream_events(
                client, events, len(jobs), started_jobs=started_jobs, interrupts=interrupts, reporter=reporter
            )

    run(command, reporter)


async def _resumable_jobs(client: MediaClient, reporter: Reporter) -> list[Job]:
    """Return the jobs that can be resumed; warn about those that cannot succeed, and skip them."""
    snapshots = await load_snapshots(client, await client.resumable_jobs())
    for snapshot in snapshots:
        if reason := job_format.unrecoverable_reason(snapshot):
            reporter.warning(f"job {snapshot.job.id} is skipped: {reason}")
    return [snapshot.job for snapshot in snapshots if not job_format.unrecoverable_reason(snapshot)]


async def _print_nothing_to_resume(client: MediaClient, reporter: Reporter) -> None:
    """Print that nothing can be resumed, and the jobs in doubt, which need a decision of the user."""
    reporter.info("Nothing to resume.")
    for snapshot in await load_snapshots(client, await client.jobs(states=["in_doubt"])):
        reporter.info(f"job {snapshot.job.id} is in doubt: {job_format.next_step(snapshot)}")


async def resume_concurrently(
    client: MediaClient, ids: Sequence[str], output: str | None
) -> AsyncGenerator[Event, None]:
    """Yield the events of several jobs as they happen, each with its position in the list as its index."""
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    semaphore = asyncio.Semaphore(RESUME_CONCURRENCY)

    async def resume_one(index: int, job_id: str) -> None:
        try:
            async with semaphore, aclosing(client.resume_stream(job_id, output=output)) as events:
                async for event in events:
                    queue.put_nowait(structs.replace(event, index=index))
        except HfmediaError as error:  # before its first event, for example because another process runs it
            error.job_id = error.job_id or job_id
            queue.put_nowait(JobFailed(job_id=job_id, index=index, error=error))
        finally:
            queue.put_nowait(None)

    tasks = [asyncio.create_task(resume_one(index, job_id)) for index, job_id in enumerate(ids)]
    try:
        for _ in tasks:
            while (event := await queue.get()) is not None:
                yield event
        await asyncio.gather(*tasks)  # raises if one failed unexpectedly
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# -- cancel -----------------------------------------------------------------------------------------------------------


def cancel_jobs(ids: Sequence[str], *, proxy: str | None, reporter: Reporter) -> NoReturn:
    """Cancel jobs; exit with 0 when each is cancelled or had ended, 6 where one may continue, 8 for one in doubt."""

    async def command(interrupts: InterruptHandler) -> int:
        codes: list[int] = []
        async with open_client(proxy) as client:
            job_ids = dict.fromkeys([await find_job_id(client, text) for text in ids])
            for job_id in job_ids:
                before = await client.engine.get_job(job_id)
                after = before if before.is_terminal else await client.cancel(job_id)
                entries = await client.history(job_id)
                cancel_entry = entries[-1] if isinstance(entries[-1], CancelledEntry) else None
                code, description = _describe_cancel(before, after, cancel_entry)
                codes.append(code)
                outcome = {
                    "job_id": job_id,
                    "state": after.state,
                    "provider_confirmed": cancel_entry.provider_confirmed if cancel_entry else None,
                    "message": description,
                }
                reporter.result(outcome if reporter.as_json else f"{job_id}: {description}")
        return max(codes, default=0)

    run(command, reporter)


def _describe_cancel(before: Job, after: Job, cancel_entry: CancelledEntry | None) -> tuple[int, str]:
    """Return the exit code and a description of a cancellation."""
    if before.is_terminal:
        return 0, f"already {job_format.state_label(before)}; nothing to cancel"
    next_step = job_format.next_step(job_format.JobSnapshot(job=after))
    if cancel_entry is not None:
        return (
            ProviderError.exit_code if cancel_entry.provider_confirmed is False else 0,
            f"cancelled: {job_format.describe_cancellation(cancel_entry)}",
        )
    if after.state == "in_doubt":
        return InDoubtError.exit_code, f"in doubt, so it cannot be cancelled; {next_step}"
    description = f"not cancelled: {job_format.state_label(after)}"
    return (
        0 if after.is_terminal else ProviderError.exit_code,
        f"{description}; {next_step}" if next_step else description,
    )


# -- resolve ----------------------------------------------------------------------------------------------------------


def resolve_job(text: str, decisions: Sequence[str], *, proxy: str | None, yes: bool, reporter: Reporter) -> NoReturn:
    """Resolve a job in doubt as decided, and print the next step."""
    decision: Decision | None = next((choice for choice in DECISIONS if [choice] == list(decisions)), None)
    question = f"Job {text} may have been accepted already; if it is resent, it may be billed twice. Resend it?"

    async def command(interrupts: InterruptHandler) -> int:
        if decision is None:
            raise InvalidRequestError(
                "choose one of --resend, --drop and --ask; `hfmedia jobs show ID` shows the details"
            )
        async with open_client(proxy) as client:
            job = await client.resolve(await find_job_id(client, text), decision)
            (snapshot,) = await load_snapshots(client, [job])
        if reporter.as_json:
            reporter.result(to_plain_json(job_json.job_to_dict(snapshot)))
            return 0
        outcome = {
            "resend": "to be resent",
            "drop": "dropped",
            "ask": f"found at {job_format.provider_label(job)}",
        }[decision]
        next_step = job_format.next_step(snapshot)
        reporter.result(f"{job.id}: {outcome}; {next_step}" if next_step else f"{job.id}: {outcome}")
        return 0

    if decision == "resend" and not yes and not confirm(question):
        raise typer.Exit(InvalidRequestError.exit_code)
    run(command, reporter)


def confirm(question: str) -> bool:
    """Ask for confirmation on a terminal; elsewhere the command itself is the confirmation."""
    return not is_interactive() or typer.confirm(question, err=True)


def is_interactive() -> bool:
    """Whether a user can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


# -- prune ------------------------------------------------------------------------------------------------------------


def prune_jobs(before: str, *, yes: bool, reporter: Reporter) -> NoReturn:
    """Delete old jobs that have ended from the ledger, and print their number."""

    async def command(interrupts: InterruptHandler) -> int:
        async with open_client() as client:
            cutoff = job_format.parse_when(before, client.engine.deps.clock(), option="--before")
            pruned = await client.prune(cutoff)
        result: dict[str, Any] = {"pruned": pruned, "before": job_format.format_iso(cutoff)}
        count_text = f"{pruned} job{'' if pruned == 1 else 's'}"
        text = f"deleted {count_text} that ended before {job_format.format_time(cutoff)}"
        reporter.result(result if reporter.as_json else text)
        return 0

    question = f"Delete all ended jobs last updated before {before} from the ledger? Media files stay."
    if not yes and not confirm(question):
        raise typer.Exit(InvalidRequestError.exit_code)
    run(command, reporter)
