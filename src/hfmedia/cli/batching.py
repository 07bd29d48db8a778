"""The deeds of ``hfmedia batch``: from the options to a batch, from its events to what is said.

However it ends, it says what is there, what is not, and how to go on.
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

from hfmedia.batch import Batch, BatchEvent, BatchPlan, CostGroup, InputSource, open_input
from hfmedia.client import MediaClient
from hfmedia.core.errors import (
    HfmediaError,
    InsufficientCreditError,
    InvalidRequestError,
    JobCancelledError,
    StorageError,
)
from hfmedia.engine import FailedOver, JobFailed, MediaReady

from . import EXIT_INTERRUPTED
from .gauge import LogProgress, batch_progress
from .generating import merge_params
from .progress import relative_path
from .reporter import Reporter, error_to_dict
from .runtime import InterruptHandler, command_environment, run

RERUN_HINT = "run the same command again to go on"
SANDBOX_NAMESPACE = "sandbox"  # the realm of results that a simulated world drew
STOP_MESSAGES = {
    "cost": "stopped at --max-cost; raise it and {again}",
    "failures": "stopped at --max-failures; when the cause is mended, {again}",
    "hopeless": "stopped, since nothing gets through any more; when the cause is mended, {again}",
    "stopped": "interrupted; {again}",
    "trouble": "stopped; when the cause is mended, {again}",
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
    """Does what the file says and leaves with the exit code. ``client`` are the options of the MediaClient."""

    async def command(interrupts: InterruptHandler) -> int:
        validate_limits(limits)
        defaults = to_column_defaults(options, params)
        if not folder.strip():
            raise InvalidRequestError("-o names no folder; say where the results shall lie")
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
    """The options as defaults of a batch's columns."""
    defaults = merge_params(options, params)
    if "extra_body" in defaults:
        defaults["extra"] = defaults.pop("extra_body")
    if isinstance(image := defaults.get("image"), str) and "://" not in image and not image.startswith("data:"):
        defaults["image"] = os.path.abspath(os.path.expanduser(image))  # noqa: PTH100, PTH111 - an empty one stays empty
    return defaults


def validate_limits(limits: Mapping[str, Any]) -> None:
    """InvalidRequestError for limits that limit nothing, by the names of their options."""
    max_cost = limits["max_cost"]
    if max_cost is not None and not (math.isfinite(max_cost) and max_cost > 0):
        raise InvalidRequestError(f"--max-cost is {max_cost:g}, but must be an amount in USD above 0")
    for name in ("concurrency", "max_failures"):
        if limits[name] is not None and limits[name] < 1:
            raise InvalidRequestError(f"--{name.replace('_', '-')} is {limits[name]}, but must be at least 1")


async def _open_input(file: str, input_format: str | None) -> InputSource:
    """The sheet; what is piped in is waited for in a thread that an interrupt need not wait for."""
    if file != "-":
        return await asyncio.to_thread(open_input, file, input_format)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[InputSource] = loop.create_future()

    def open_in_thread() -> None:
        try:
            source = open_input(file, input_format)
        except OSError as error:
            storage_error = StorageError(f"stdin cannot be put aside: {(error.strerror or str(error)).lower()}")
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
    """Says what comes until nothing more does; the exit code is 0 only when all of it is there.

    ``leaving``: an interrupt does not wait for jobs that a provider has; the next start finds them.
    """
    progress = batch_progress(reporter, batch.stats)
    detach_tasks: list[asyncio.Task[None]] = []

    def on_interrupt() -> None:
        batch.stop()
        if detach_on_interrupt:
            detach_tasks.append(asyncio.create_task(_detach_and_exit(batch, progress, reporter)))
        else:
            reporter.info("interrupted: what is under way is waited for; once more leaves at once")

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
    """Ends the process as soon as no request is without an answer. The ledger knows all the rest: to end the process
    in order would tell the providers to cancel what is paid for already."""
    active_count = await batch.wait_until_safe_to_exit()
    progress.close()
    print_summary(batch, active_count, reporter)
    sys.stdout.flush()
    os._exit(EXIT_INTERRUPTED)


def print_event(batch_event: BatchEvent, batch: Batch, progress: LogProgress, reporter: Reporter) -> None:
    """What is said of one event: results, warnings and errors, each with its line."""
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
    """The totals, why it ended, how to go on; and the exit code."""
    stats = batch.stats
    if batch.fatal_error is not None:
        reporter.error(batch.fatal_error)
    parts = [f"{stats.done:,} of {stats.total:,} there"]
    parts += [f"{stats.previously_done:,} of them from before"] if stats.previously_done else []
    parts += [f"{stats.failed - stats.in_doubt:,} failed"] if stats.failed > stats.in_doubt else []
    parts += [f"{stats.in_doubt:,} in doubt"] if stats.in_doubt else []
    parts += [f"{active_count:,} go on at their providers"] if active_count else []
    parts += [f"cost {stats.cost_line()}"] if stats.costs or stats.unknown_costs else []
    reporter.info(", ".join(parts))
    if batch.stop_reason is not None and stats.done < stats.total:
        reporter.outcome(
            STOP_MESSAGES[batch.stop_reason].format(again=RERUN_HINT), reason=batch.stop_reason, hint=RERUN_HINT
        )
    elif stats.failed > stats.in_doubt:
        reporter.info("to try once more what failed, run the same command again")
    if stats.in_doubt:
        reporter.info("what is in doubt is never sent again by itself: `hfmedia jobs --state doubt` shows it")
    return exit_code(batch)


def exit_code(batch: Batch) -> int:
    """0 when all is there; else that of what stopped it, or of the commonest failure."""
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
    """The plan on stdout, and the exit code: 0 when every line could be sent to somebody."""
    if reporter.as_json:
        reporter.result(plan_to_dict(plan))
    else:
        for line in format_plan(plan):
            reporter.result(line)
    exit_codes = [group.exit_code for group in plan.groups if group.error]
    return exit_codes[0] if exit_codes else 0


def format_plan(plan: BatchPlan) -> list[str]:
    """The plan for a person."""
    status_labels = {"done": "there already", "fetch": "made, to be fetched again", "under way": "under way",
              "in doubt": "in doubt: decide with `hfmedia jobs resolve`", "to do": "to be made"}  # fmt: skip
    lines = [f"{plan.lines:,} lines, {plan.outputs:,} outputs"]
    lines += [f"  {count:,} {status_labels[name]}" for name, count in plan.by_status.items() if count]
    lines += ["to be made:"] if plan.groups else []
    lines += [f"  {_format_group(group)}" for group in plan.groups]
    if plan.by_status["done"]:
        lines.append(f"cost told so far: {plan.reported_cost}")
    if plan.groups:
        totals, unknown_count = plan.estimate(), plan.outputs_of_unknown_cost()
        parts = [_format_amount(amount, unit) for unit, amount in sorted(totals.items())]
        parts += [f"{unknown_count:,} outputs of unknown cost"] if unknown_count else []
        lines.append(f"estimate for what is to be made: {' + '.join(parts)}")
    lines.append("nothing was sent")
    return lines


def _format_group(group: CostGroup) -> str:
    label = f"{group.outputs:,} x {group.model}" + (f", {group.task}" if group.task else "")
    if group.error:
        return f"{label}: {group.error}"
    if group.provider is None:
        return f"{label}: not looked up"
    fallbacks = f", else {', '.join(group.fallback_providers)}" if group.fallback_providers else ""
    unit_cost = " + ".join(_format_amount(amount, unit) for unit, amount in sorted(group.unit_cost.items()))
    price = f"about {unit_cost} each, by {group.samples} past jobs" if group.unit_cost else "cost unknown"
    return f"{label}: {group.provider}{fallbacks}; {price}"


def _format_amount(amount: float, unit: str) -> str:
    return f"${amount:.4g}" if unit == "USD" else f"{amount:.4g} {unit}"


def plan_to_dict(plan: BatchPlan) -> dict[str, Any]:
    """The plan for a program."""
    groups = [{name: getattr(group, name) for name in group.__struct_fields__} for group in plan.groups]
    counts = {"lines": plan.lines, "outputs": plan.outputs, **plan.by_status}
    return {
        **counts,
        "groups": groups,
        "estimate": plan.estimate(),
        "unknown_cost": plan.outputs_of_unknown_cost(),
        "told": plan.reported_cost,
    }
