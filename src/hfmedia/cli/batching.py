"""``hfmedia batch``: options to a batch, its events to results, messages and an exit code.

However it ends, it reports what is done, what is not, and how to continue.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, NoReturn

from msgspec import structs

from hfmedia.batch import Batch, BatchEvent, BatchPlan, CostGroup, InputSource, open_input
from hfmedia.client import MediaClient
from hfmedia.core.errors import (
    HfmediaError,
    InsufficientCreditError,
    InvalidRequestError,
    JobCancelledError,
    StorageError,
)
from hfmedia.core.text import format_amount
from hfmedia.engine import FailedOver, JobFailed, MediaReady

from .exit_codes import EXIT_INTERRUPTED
from .generating import merge_params
from .progress import LogProgress, batch_progress, relative_path
from .reporter import Reporter, error_to_dict
from .runtime import InterruptHandler, command_environment, run

RERUN_HINT = "run the same command again to continue"
SANDBOX_NAMESPACE = "sandbox"  # hashed into keys: separates simulated results from real ones, and must not change
STOP_MESSAGES = {
    "cost": "stopped at --max-cost; raise it and {again}",
    "failures": "stopped at --max-failures; fix the cause, then {again}",
    "repeated_auth_failures": "stopped after repeated fatal errors; fix the cause, then {again}",
    "stopped": "interrupted; {again}",
    "fatal_error": "stopped; fix the cause, then {again}",
}
STATUS_LABELS = {
    "done": "done",
    "to_download": "completed, to be downloaded again",
    "in_progress": "in progress",
    "in_doubt": "in doubt: decide with `hfmedia jobs resolve`",
    "pending": "to be generated",
}


def run_batch(
    file: str,
    folder: str,
    options: Mapping[str, Any],
    *,
    params: Sequence[str],
    input_format: str | None,
    limits: Mapping[str, Any],
    client_options: Mapping[str, Any],
    dry_run: bool,
    sandbox: bool,
    reporter: Reporter,
) -> NoReturn:
    """Run the requests of a file and exit; ``client_options`` are those of the MediaClient."""

    async def command(interrupts: InterruptHandler) -> int:
        validate_limits(limits)
        defaults = to_column_defaults(options, params)
        if not folder.strip():
            raise InvalidRequestError("-o is empty; name a folder for the results")
        source = await _open_input(file, input_format)
        with closing(source):
            async with (
                command_environment(sandbox, reporter) as environ,
                MediaClient(**client_options, environ=environ) as client,
            ):
                namespace = SANDBOX_NAMESPACE if sandbox else ""
                async with Batch(client, source, folder, defaults=defaults, namespace=namespace, **limits) as batch:
                    for warning in (await batch.check()).warnings():
                        reporter.warning(warning)
                    if dry_run:
                        return print_plan(await batch.plan(), reporter)
                    return await stream_results(
                        batch, interrupts=interrupts, detach_on_interrupt=not sandbox, reporter=reporter
                    )

    run(command, reporter)


def to_column_defaults(options: Mapping[str, Any], params: Sequence[str]) -> dict[str, Any]:
    """Return the options as defaults for a batch's columns; a path to an image becomes absolute."""
    defaults = merge_params(options, params)
    if "extra_body" in defaults:
        defaults["extra"] = defaults.pop("extra_body")
    if isinstance(image := defaults.get("image"), str) and "://" not in image and not image.startswith("data:"):
        defaults["image"] = os.path.abspath(os.path.expanduser(image))  # noqa: PTH100, PTH111 - an empty one stays empty
    return defaults


def validate_limits(limits: Mapping[str, Any]) -> None:
    """Raise InvalidRequestError for limits that make no sense, by the names of their options."""
    max_cost = limits["max_cost"]
    if max_cost is not None and not (math.isfinite(max_cost) and max_cost > 0):
        raise InvalidRequestError(f"--max-cost is {max_cost:g}, but must be an amount in USD above 0")
    for name in ("concurrency", "max_failures"):
        if limits[name] is not None and limits[name] < 1:
            raise InvalidRequestError(f"--{name.replace('_', '-')} is {limits[name]}, but must be at least 1")


async def _open_input(file: str, input_format: str | None) -> InputSource:
    """Open the input; stdin is read in a daemon thread, so that an interrupt need not wait for it."""
    if file != "-":
        return await asyncio.to_thread(open_input, file, input_format)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[InputSource] = loop.create_future()

    def open_in_thread() -> None:
        try:
            source = open_input(file, input_format)
        except OSError as error:
            storage_error = StorageError(
                f"stdin cannot be copied to a temporary file: {(error.strerror or str(error)).lower()}"
            )
            loop.call_soon_threadsafe(_resolve_future, future, None, storage_error)
        except HfmediaError as error:
            loop.call_soon_threadsafe(_resolve_future, future, None, error)
        else:
            loop.call_soon_threadsafe(_resolve_future, future, source, None)

    threading.Thread(target=open_in_thread, daemon=True).start()
    return await future


def _resolve_future(
    future: asyncio.Future[InputSource], source: InputSource | None, error: HfmediaError | None
) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    elif source is not None:
        future.set_result(source)


async def stream_results(
    batch: Batch, *, interrupts: InterruptHandler, detach_on_interrupt: bool, reporter: Reporter
) -> int:
    """Report the events of a batch until it ends; the exit code is 0 only when every output is done.

    ``detach_on_interrupt``: an interrupt does not wait for jobs at a provider; the next run continues them.
    """
    progress = batch_progress(reporter, batch.stats)
    detach_tasks: list[asyncio.Task[None]] = []

    def on_interrupt() -> None:
        batch.stop()
        if detach_on_interrupt:
            detach_tasks.append(asyncio.create_task(_detach_and_exit(batch, progress, reporter)))
        else:
            reporter.info("interrupted: waiting for jobs in progress; interrupt again to exit immediately")

    interrupts.on_interrupt = on_interrupt
    try:
        async with aclosing(batch.run()) as events:
            async for event in events:
                print_event(event, batch, progress, reporter)
                progress.update()
    finally:
        progress.close()
    return print_summary(batch, 0, reporter)


async def _detach_and_exit(batch: Batch, progress: LogProgress, reporter: Reporter) -> None:
    """End the process once every submission is answered; the ledger knows the jobs.

    ``os._exit``, because an orderly exit would cancel jobs at their providers that are already paid for.
    """
    active_count = await batch.wait_until_safe_to_exit()
    progress.close()
    print_summary(batch, active_count, reporter)
    sys.stdout.flush()
    os._exit(EXIT_INTERRUPTED)


def print_event(batch_event: BatchEvent, batch: Batch, progress: LogProgress, reporter: Reporter) -> None:
    """Print the results, warnings and errors of one event, each with its line."""
    prefix = f"{batch.source.unit} {batch_event.item.line}: "
    match batch_event.event:
        case MediaReady(media=media):
            result = {**media.to_dict(), "line": batch_event.item.line, "key": batch_event.item.key}
            progress.result(result if reporter.as_json else relative_path(media.path))
            for warning in media.warnings if not reporter.as_json else ():
                reporter.warning(warning, prefix)
        case FailedOver(previous_provider=previous, provider=provider, reason=reason) if not reporter.as_json:
            reporter.warning(f"{reason}; moved from {previous} to {provider}", prefix)
        case JobFailed(error=error) if not (isinstance(error, JobCancelledError) and batch.stop_reason == "stopped"):
            if reporter.as_json:
                reporter.outcome("", **error_to_dict(error), line=batch_event.item.line, key=batch_event.item.key)
            else:
                reporter.error(error, prefix)
        case _:
            pass


def print_summary(batch: Batch, active_count: int, reporter: Reporter) -> int:
    """Print the totals, why the batch stopped and how to continue; return the exit code."""
    stats = batch.stats
    if batch.fatal_error is not None:
        reporter.error(batch.fatal_error)
    existed = f" ({stats.previously_done:,} already existed)" if stats.previously_done else ""
    counts = [f"{stats.done:,} of {stats.total:,} done{existed}"]
    counts += [f"{stats.failed - stats.in_doubt:,} failed"] if stats.failed > stats.in_doubt else []
    counts += [f"{stats.in_doubt:,} in doubt"] if stats.in_doubt else []
    counts += [f"{active_count:,} still running at their providers"] if active_count else []
    cost = f"; cost {stats.cost_line()}" if stats.costs or stats.unknown_costs else ""
    reporter.info(", ".join(counts) + cost)
    if batch.stop_reason is not None and stats.done < stats.total:
        reporter.outcome(
            STOP_MESSAGES[batch.stop_reason].format(again=RERUN_HINT), reason=batch.stop_reason, hint=RERUN_HINT
        )
    elif stats.failed > stats.in_doubt:
        reporter.info("Run the same command again to retry the failed lines.")
    if stats.in_doubt:
        reporter.info("Jobs in doubt are never resent automatically; list them with `hfmedia jobs --state in_doubt`.")
    return exit_code(batch)


def exit_code(batch: Batch) -> int:
    """Return 0 when every output is done, else the code of what stopped the batch, or of the most frequent failure."""
    if batch.stats.done >= batch.stats.total and batch.fatal_error is None:
        return 0
    if batch.stop_reason == "stopped":
        return EXIT_INTERRUPTED
    if batch.fatal_error is not None:
        return batch.fatal_error.exit_code
    return batch.stats.exit_code() or (
        InsufficientCreditError.exit_code if batch.stop_reason == "cost" else HfmediaError.exit_code
    )


def print_plan(plan: BatchPlan, reporter: Reporter) -> int:
    """Print the plan on stdout; the exit code is 0 when every line has a provider."""
    if reporter.as_json:
        reporter.result(plan_to_dict(plan))
    else:
        for line in format_plan(plan):
            reporter.result(line)
    exit_codes = [group.exit_code for group in plan.groups if group.error]
    return exit_codes[0] if exit_codes else 0


def format_plan(plan: BatchPlan) -> list[str]:
    """Format the plan as lines of text."""
    lines = [f"{plan.lines:,} lines, {plan.outputs:,} outputs"]
    lines += [f"  {count:,} {STATUS_LABELS[name]}" for name, count in plan.by_status.items() if count]
    lines += ["to be generated:"] if plan.groups else []
    lines += [f"  {_format_group(group)}" for group in plan.groups]
    if plan.by_status["done"]:
        lines.append(f"cost so far: {plan.reported_cost}")
    if plan.groups:
        totals, unknown_count = plan.estimate(), plan.outputs_of_unknown_cost()
        parts = [format_amount(amount, unit, digits=4) for unit, amount in sorted(totals.items())]
        parts += [f"{unknown_count:,} outputs of unknown cost"] if unknown_count else []
        lines.append(f"estimated cost: {' + '.join(parts)}")
    lines.append("nothing was sent")
    return lines


def _format_group(group: CostGroup) -> str:
    label = f"{group.outputs:,} x {group.model}" + (f", {group.task}" if group.task else "")
    if group.error:
        return f"{label}: {group.error}"
    if group.provider is None:
        return f"{label}: too many models to look up"
    fallbacks = f", then {', '.join(group.fallback_providers)}" if group.fallback_providers else ""
    unit_cost = " + ".join(format_amount(amount, unit, digits=4) for unit, amount in sorted(group.unit_cost.items()))
    jobs = f"{group.samples} past job{'' if group.samples == 1 else 's'}"
    price = f"about {unit_cost} each, from {jobs}" if group.unit_cost else "cost unknown"
    return f"{label}: {group.provider}{fallbacks}; {price}"


def plan_to_dict(plan: BatchPlan) -> dict[str, Any]:
    """Return the plan as plain JSON data."""
    counts = {"lines": plan.lines, "outputs": plan.outputs, **plan.by_status}
    return {
        **counts,
        "groups": [structs.asdict(group) for group in plan.groups],
        "estimate": plan.estimate(),
        "unknown_cost": plan.outputs_of_unknown_cost(),
        "reported_cost": plan.reported_cost,
    }
