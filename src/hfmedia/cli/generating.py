"""``hfmedia generate``: options and prompt to a request, events to results, messages and an exit code.

However it ends, the outcome of every job is reported.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NoReturn

from hfmedia.batch.columns import validate_options
from hfmedia.client import MediaClient
from hfmedia.core.errors import (
    DeadlineExceededError,
    HfmediaError,
    InDoubtError,
    InvalidRequestError,
    JobCancelledError,
)
from hfmedia.core.job import CancelledEntry, Job
from hfmedia.core.parameters import PARAMETERS_BY_NAME
from hfmedia.core.request import validate_output_count
from hfmedia.core.sizes import parse_size
from hfmedia.engine import Event, FailedOver, JobFailed, MediaReady, Started

from .exit_codes import EXIT_INTERRUPTED
from .job_format import JobSnapshot, next_step
from .progress import NullProgress, RunSummary, job_progress, relative_path
from .reporter import Reporter, stderr_is_terminal
from .runtime import InterruptHandler, command_environment, run

# Exit codes of runs that leave a job to resume or to resolve.
RESUMABLE_EXIT_CODES = (DeadlineExceededError.exit_code, InDoubtError.exit_code, EXIT_INTERRUPTED)


def run_generate(
    prompt_args: Sequence[str] | None,
    options: Mapping[str, Any],
    *,
    size: str | None,
    params: Sequence[str],
    client_options: Mapping[str, Any],
    sandbox: bool,
    reporter: Reporter,
) -> NoReturn:
    """Generate what the options describe and exit; ``client_options`` are those of the MediaClient."""

    async def command(interrupts: InterruptHandler) -> int:
        prompt = read_prompt(prompt_args)
        dimensions = parse_size(size) if size is not None else None
        size_options = {"width": dimensions.width, "height": dimensions.height} if dimensions else {}
        request_options = merge_params({**options, **size_options}, params)
        validate_output_count(request_options["n"])
        validate_options({"prompt": prompt, **{k: v for k, v in request_options.items() if k not in ("n", "output")}})
        async with (
            command_environment(sandbox, reporter) as environ,
            MediaClient(**client_options, environ=environ) as client,
        ):
            code = await generate_all(
                client, prompt, request_options, resumable=not sandbox, interrupts=interrupts, reporter=reporter
            )
        if sandbox and code in RESUMABLE_EXIT_CODES:
            reporter.info("The sandbox has shut down; its jobs cannot be resumed or resolved.")
        return code

    run(command, reporter)


def read_prompt(args: Sequence[str] | None) -> str | None:
    """Return the prompt from the arguments, several words joined, or from stdin for ``-``; None without arguments."""
    if not args:
        return None
    if list(args) != ["-"]:
        return " ".join(args)
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the prompt on stdin is not valid UTF-8: {error.reason}") from error


def merge_params(options: Mapping[str, Any], pairs: Sequence[str]) -> dict[str, Any]:
    """Add ``key=value`` pairs to the options that are set: known parameters by name, others for the provider's JSON."""
    merged = {name: value for name, value in options.items() if value is not None}
    extra_body: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        name = key.strip()
        if not equals or not name:
            raise InvalidRequestError(f"--param {pair!r} is not KEY=VALUE, such as -p scheduler=euler")
        (merged if name in PARAMETERS_BY_NAME else extra_body)[name] = _parse_value(text)
    return {**merged, "extra_body": extra_body} if extra_body else merged


def _parse_value(text: str) -> Any:
    """Parse a value as JSON where it is valid JSON, else as the text itself; NaN and Infinity are not JSON."""

    def reject_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=reject_constant)
    except (ValueError, RecursionError):
        return text


async def generate_all(
    client: MediaClient,
    prompt: str | None,
    options: Mapping[str, Any],
    *,
    resumable: bool = True,
    interrupts: InterruptHandler,
    reporter: Reporter,
) -> int:
    """Generate all outputs of a request and report them; the exit code is 0 only when all were saved."""
    return await stream_events(
        client,
        client.generate(prompt, **options),
        options["n"],
        resumable=resumable,
        interrupts=interrupts,
        reporter=reporter,
    )


async def stream_events(
    client: MediaClient,
    events: AsyncGenerator[Event, None],
    n: int,
    *,
    started_jobs: Mapping[int, str] | None = None,
    resumable: bool = True,
    interrupts: InterruptHandler,
    reporter: Reporter,
) -> int:
    """Report the events of n outputs until all have ended; the exit code is 0 only when all were saved.

    Args:
        client: runs the jobs.
        events: their events.
        n: the number of outputs.
        started_jobs: jobs, by output, that were started before.
        resumable: an interrupt detaches from the jobs, so that they can be resumed; without it (the sandbox ends with
            this process), it cancels them.
        interrupts: receives what an interrupt does.
        reporter: prints results and messages.
    """
    summary, display = RunSummary(), job_progress(reporter, n, interactive=stderr_is_terminal())
    try:
        active_jobs = ActiveJobs(client, interrupts, started_jobs or {}, resumable=resumable)
        async with aclosing(events):
            async for event in events:
                active_jobs.on_event(event)
                summary.on_event(event)
                display.update(event)
                _print_event(event, n, display, reporter, interrupted=interrupts.interrupted)
        if interrupts.interrupted:
            await _print_interrupted(active_jobs, summary, n, reporter)
    except BaseException:
        display.close("")
        raise
    display.close(summary.summary_line())
    if interrupts.interrupted:
        return EXIT_INTERRUPTED
    return next((error.exit_code for _, error in sorted(summary.errors_by_output.items())), 0)


def _print_event(event: Event, n: int, display: NullProgress, reporter: Reporter, *, interrupted: bool) -> None:
    """Print results, warnings, and errors that no interrupt explains."""
    prefix = f"{event.index + 1}/{n}: " if n > 1 else ""
    match event:
        case Started(warnings=warnings):
            for warning in warnings:
                _print_warning(reporter, warning)
        case FailedOver(previous_provider=previous, provider=provider, reason=reason):
            _print_warning(reporter, f"{reason}; moved from {previous} to {provider}", prefix)
        case MediaReady(media=media):
            display.result(media.to_dict() if reporter.as_json else relative_path(media.path))
            for warning in media.warnings:
                _print_warning(reporter, warning, prefix)
        case JobFailed(error=error) if not (interrupted and isinstance(error, JobCancelledError)):
            reporter.error(error, prefix)
        case _:
            pass


def _print_warning(reporter: Reporter, text: str, prefix: str = "") -> None:
    if not reporter.as_json:  # there, the result itself has its warnings
        reporter.warning(text, prefix)


class ActiveJobs:
    """Jobs that have started and not ended, and what an interrupt does with them.

    Jobs that a provider accepted are detached, not cancelled: they are paid for, and the ledger can resume them.
    """

    def __init__(
        self, client: MediaClient, interrupts: InterruptHandler, started_jobs: Mapping[int, str], *, resumable: bool
    ) -> None:
        self.client, self._interrupts, self._cancel_command = client, interrupts, interrupts.on_interrupt
        self._end_job = client.detach if resumable else client.cancel
        self.job_ids: dict[int, str] = dict(started_jobs)
        self._active: set[str] = set(started_jobs.values())
        self._stopping: dict[str, asyncio.Task[Job]] = {}
        interrupts.on_interrupt = self.stop_all

    def on_event(self, event: Event) -> None:
        """Track which jobs are in progress."""
        if isinstance(event, Started):
            self.job_ids[event.index] = event.job_id
            self._active.add(event.job_id)
            if self._interrupts.interrupted:
                self.stop_all()
        elif isinstance(event, MediaReady | JobFailed):
            self._active.discard(event.job_id)

    def stop_all(self) -> None:
        """Detach from every job in progress (or cancel it); before the first job, cancel the command."""
        if not self.job_ids:
            self._cancel_command()
            return
        for job_id in self._active - self._stopping.keys():
            self._stopping[job_id] = asyncio.create_task(self._end_job(job_id))

    async def describe_outcome(self, job_id: str) -> str:
        """Describe the outcome of a stopped job in one sentence."""
        if stopping := self._stopping.get(job_id):
            await asyncio.wait({stopping})
        job = await self.client.engine.get_job(job_id)
        cancel_entry = next(
            (entry for entry in reversed(await self.client.history(job_id)) if isinstance(entry, CancelledEntry)), None
        )
        id_note = f" ({job.route.provider} job {job.handle.id})" if job.handle and job.route else ""
        if cancel_entry is not None and cancel_entry.provider_confirmed is None:
            return "not sent; nothing is billed"
        if cancel_entry is not None and cancel_entry.provider_confirmed and job.route:
            return f"cancelled at {job.route.provider}{id_note}"
        if cancel_entry is not None:
            return f"{cancel_entry.message}{id_note}"
        return _describe_remaining(job, id_note)


def _describe_remaining(job: Job, id_note: str) -> str:
    """Describe the state of a job that was not cancelled, and what to do next."""
    provider = job.route.provider if job.route else "the provider"
    description = {
        "in_doubt": f"in doubt: {job.error}",
        "running": f"still running at {provider}{id_note}; it may be billed",
        "completed": f"{provider} has already completed it{id_note}; it may be billed",
    }.get(job.state, job.error or job.state)
    hint = next_step(JobSnapshot(job=job))
    return f"{description}; {hint}" if hint else description


async def _print_interrupted(active_jobs: ActiveJobs, summary: RunSummary, n: int, reporter: Reporter) -> None:
    """Print one line per job after an interrupt, in their order."""
    for index, job_id in sorted(active_jobs.job_ids.items()):
        error = summary.errors_by_output.get(index)
        if index in summary.media_by_output:
            outcome = f"done, {', '.join(relative_path(media.path) for media in summary.media_by_output[index])}"
        elif isinstance(error, JobCancelledError):
            outcome = await active_jobs.describe_outcome(job_id)
        else:
            outcome = error.message if isinstance(error, HfmediaError) else "unknown"
        reporter.outcome(
            f"interrupted: {index + 1}/{n}, job {job_id}: {outcome}", index=index, job_id=job_id, outcome=outcome
        )
