"""The deeds of ``hfmedia generate``: from what was written to a request, from its events to what is said.

Whatever stops it, what happened to each job is told.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NoReturn

from hfmedia.client import MediaClient
from hfmedia.core.errors import (
    DeadlineExceededError,
    HfmediaError,
    InDoubtError,
    InvalidRequestError,
    JobCancelledError,
)
from hfmedia.core.job import CancelledEntry, Job
from hfmedia.core.request import parse_model_spec, parse_task, validate_output_count
from hfmedia.core.sizes import parse_ratio, parse_resolution, parse_size
from hfmedia.engine import Event, FailedOver, JobFailed, MediaReady, Started

from . import EXIT_INTERRUPTED
from .job_format import JobSnapshot, next_step
from .progress import NullProgress, RunSummary, job_progress, relative_path
from .reporter import Reporter, stderr_is_terminal
from .runtime import InterruptHandler, command_environment, run

# What the library knows by name and has no option of its own here; anything else in --param goes to the provider.
OPTION_NAMES = frozenset(
    {"negative_prompt", "num_inference_steps", "guidance_scale", "seed", "width", "height", "aspect_ratio",
     "resolution", "scheduler", "num_frames", "seconds", "fps"}
)  # fmt: skip
RESUMABLE_EXIT_CODES = (
    DeadlineExceededError.exit_code,
    InDoubtError.exit_code,
    EXIT_INTERRUPTED,
)  # ends that leave something to do


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
    """Makes what the options say and leaves with the exit code. ``client`` are the options of the MediaClient."""

    async def command(interrupts: InterruptHandler) -> int:
        prompt = read_prompt(prompt_args)
        dimensions = parse_size(size) if size is not None else None
        size_options = {"width": dimensions.width, "height": dimensions.height} if dimensions else {}
        request_options = merge_params({**options, **size_options}, params)
        validate_options(request_options)
        async with (
            command_environment(sandbox, reporter) as environ,
            MediaClient(**client_options, environ=environ) as client,
        ):
            code = await generate_all(
                client, prompt, request_options, resumable=not sandbox, interrupts=interrupts, reporter=reporter
            )
        if sandbox and code in RESUMABLE_EXIT_CODES:
            reporter.info(
                "the simulation has ended, and its jobs with it: here there is nothing to resume or to resolve"
            )
        return code

    run(command, reporter)


def read_prompt(args: Sequence[str] | None) -> str | None:
    """The prompt out of the command line, or from stdin when it is ``-``; several words need no quotes."""
    if not args:
        return None
    if list(args) != ["-"]:
        return " ".join(args)
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the prompt on stdin is not text in UTF-8: {error.reason}") from error


def merge_params(options: Mapping[str, Any], pairs: Sequence[str]) -> dict[str, Any]:
    """The options with each ``key=value`` added: by name where it is known here, else for the provider's JSON."""
    merged = {name: value for name, value in options.items() if value is not None}
    extra_body: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise InvalidRequestError(f"--param {pair!r} is not KEY=VALUE, such as -p scheduler=euler")
        (merged if key in OPTION_NAMES else extra_body)[key.strip()] = _parse_value(text)
    return {**merged, "extra_body": extra_body} if extra_body else merged


def _parse_value(text: str) -> Any:
    """JSON where it is JSON, else the text itself; NaN and Infinity are no JSON."""

    def reject_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=reject_constant)
    except (ValueError, RecursionError):
        return text


def validate_options(options: Mapping[str, Any]) -> None:
    """InvalidRequestError for what can be seen to be wrong before anything else is loaded, let alone sent."""
    validate_output_count(options["n"])
    parsers: tuple[tuple[str, Callable[[Any], object]], ...] = (
        ("model", parse_model_spec),
        ("task", parse_task),
        ("aspect_ratio", parse_ratio),
        ("resolution", parse_resolution),
    )
    for name, parse in parsers:
        if isinstance(value := options.get(name), str):
            parse(value)


async def generate_all(
    client: MediaClient,
    prompt: str | None,
    options: Mapping[str, Any],
    *,
    resumable: bool = True,
    interrupts: InterruptHandler,
    reporter: Reporter,
) -> int:
    """Makes what was asked for and says it; the exit code is 0 only when all of it arrived."""
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
    """Says the events of n outputs until the last one ended; the exit code is 0 only when all of them arrived.

    ``begun`` are the jobs, by output, that had begun before. An interrupt lets go of all jobs, so that they can be
    resumed; without ``keep`` (a world that ends with this process) it cancels them.
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
    """What is said of an event beside the progress: results, warnings, and the errors that no interrupt explains."""
    prefix = f"{event.index + 1}/{n}: " if n > 1 else ""
    match event:
        case Started(warnings=warnings):
            for warning_text in warnings:
                _print_warning(reporter, warning_text)
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
    if not reporter.as_json:  # there, the result itself names its warnings
        reporter.warning(text, prefix)


class ActiveJobs:
    """The jobs that have begun and not ended, and what an interrupt does with them.

    What a provider accepted is let go of, not cancelled: it is paid for, and the ledger knows how to go on.
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
        """Keeps count of who is under way."""
        if isinstance(event, Started):
            self.job_ids[event.index] = event.job_id
            self._active.add(event.job_id)
            if self._interrupts.interrupted:
                self.stop_all()
        elif isinstance(event, MediaReady | JobFailed):
            self._active.discard(event.job_id)

    def stop_all(self) -> None:
        """Lets go of every job under way; before the first one there is only the asking to stop."""
        if not self.job_ids:
            self._cancel_command()
            return
        for job_id in self._active - self._stopping.keys():
            self._stopping[job_id] = asyncio.create_task(self._end_job(job_id))

    async def describe_outcome(self, job_id: str) -> str:
        """What became of a job that was told to stop, in one sentence."""
        if stopping := self._stopping.get(job_id):
            await asyncio.wait({stopping})
        job = await self.client.engine.get_job(job_id)
        cancel_entry = next(
            (entry for entry in reversed(await self.client.history(job_id)) if isinstance(entry, CancelledEntry)), None
        )
        id_note = f" ({job.route.provider}'s id for it: {job.handle.id})" if job.handle and job.route else ""
        if cancel_entry is not None and cancel_entry.provider_confirmed is None:
            return "not sent; there is nothing to pay"
        if cancel_entry is not None and cancel_entry.provider_confirmed and job.route:
            return f"cancelled at {job.route.provider}{id_note}"
        if cancel_entry is not None:
            return f"{cancel_entry.message}{id_note}"
        return _describe_remaining(job, id_note)


def _describe_remaining(job: Job, id_note: str) -> str:
    """How a job stands that could not be cancelled, and what to do."""
    provider = job.route.provider if job.route else "the provider"
    description = {
        "doubt": f"in doubt: {job.error}",
        "running": f"it goes on at {provider}{id_note}, and may still be billed",
        "finished": f"{provider} was already done{id_note}, and it may be billed",
    }.get(job.state, job.error or job.state)
    hint = next_step(JobSnapshot(job=job))
    return f"{description}; {hint}" if hint else description


async def _print_interrupted(active_jobs: ActiveJobs, summary: RunSummary, n: int, reporter: Reporter) -> None:
    """One line for each job after an interrupt, in their order."""
    for index, job_id in sorted(active_jobs.job_ids.items()):
        error = summary.errors_by_output.get(index)
        if index in summary.media_by_output:
            outcome = f"done, {', '.join(relative_path(media.path) for media in summary.media_by_output[index])}"
        elif isinstance(error, JobCancelledError):
            outcome = await active_jobs.describe_outcome(job_id)
        else:
            outcome = error.message if isinstance(error, HfmediaError) else "nobody knows"
        reporter.outcome(
            f"interrupted: {index + 1}/{n}, job {job_id}: {outcome}", index=index, job_id=job_id, fate=outcome
        )
