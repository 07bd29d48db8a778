"""``hfmedia jobs list``, ``show`` and ``costs``: views of the ledger. Sends nothing to any provider."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from hfmedia.client import MediaClient
from hfmedia.core.costs import COST_GROUPINGS, CostGrouping, CostSummary, format_cost, summarize_costs, total_cost
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import STATES, TERMINAL_STATES, Job, LedgerEntry, State
from hfmedia.core.text import strip_control, truncate
from hfmedia.storage.sanitize import to_plain_json

from . import job_format, job_json
from .job_format import JobSnapshot
from .reporter import Reporter
from .runtime import InterruptHandler, run
from .tables import print_table

WATCH_INTERVAL = 1.0  # seconds between two reads of the ledger with --watch
COLUMNS = ("id", "state", "provider", "model", "prompt", "age", "cost", "attempts", "next")
LINE_BREAKS = str.maketrans("\n\t", "  ")  # characters that separate rows and columns; a path may contain them
MIN_PROMPT_WIDTH, MAX_PROMPT_WIDTH = 16, 60  # characters of a prompt: at least on a terminal, at most anywhere
DataT = TypeVar("DataT")
LABEL_WIDTH = 20  # characters of the first column of one job


@asynccontextmanager
async def open_client(proxy: str | None = None) -> AsyncGenerator[MediaClient, None]:
    """Open a client whose ledger is the one under HFMEDIA_HOME."""
    async with MediaClient(proxy=proxy, environ=os.environ) as client:
        yield client


# -- list -------------------------------------------------------------------------------------------------------------


def show_jobs(
    states: Sequence[str],
    filters: Mapping[str, str | None],
    *,
    since: str | None,
    limit: int | None,
    watch: bool,
    reporter: Reporter,
) -> NoReturn:
    """List the matching jobs, active ones first, and exit with code 0."""

    async def command(interrupts: InterruptHandler) -> int:
        selected_states = job_format.parse_states(states)
        async with open_client() as client:
            now = client.engine.deps.clock
            created_since = None if since is None else job_format.parse_when(since, now(), option="--since")
            query: dict[str, Any] = {**filters, "since": created_since}

            async def fetch() -> tuple[list[JobSnapshot], bool]:
                matching = await _latest_jobs(client, selected_states, query, limit)
                return await load_snapshots(client, matching[:limit]), limit is not None and len(matching) > limit

            if watch:
                seen: dict[str, tuple[object, ...]] = {}

                def changes(current: Sequence[JobSnapshot]) -> list[JobSnapshot]:
                    changed = [
                        snapshot
                        for snapshot in current
                        if seen.get(snapshot.job.id) != (snapshot.job.updated_at, snapshot.owner_pid)
                    ]
                    seen.update(
                        {snapshot.job.id: (snapshot.job.updated_at, snapshot.owner_pid) for snapshot in changed}
                    )
                    return changed

                async def fetch_all() -> tuple[list[JobSnapshot], bool]:
                    return (await fetch())[0], False

                await _watch(
                    interrupts, fetch_all, format_wide, lambda snapshots: _print_snapshots(changes(snapshots), reporter)
                )
                return 0
            snapshots, has_more = await fetch()
            _print_snapshots(snapshots, reporter)
            if not snapshots:
                reporter.info("No matching jobs." if any((states, since, *filters.values())) else "No jobs yet.")
            if has_more:
                reporter.info(f"Only the latest {limit} are shown; --all shows every job.")
        return 0

    run(command, reporter)


async def _latest_jobs(
    client: MediaClient, states: Sequence[State] | None, query: Mapping[str, Any], limit: int | None
) -> list[Job]:
    """Return active jobs, then ended ones, each newest first; one more than the limit where there are more."""
    matching: list[Job] = []
    for terminal in (False, True):
        remaining = None if limit is None else limit + 1 - len(matching)
        selected: list[State] = [
            state for state in (STATES if states is None else states) if (state in TERMINAL_STATES) is terminal
        ]
        if selected and (remaining is None or remaining > 0):
            matching += reversed(await client.jobs(states=selected, limit=remaining, **query))
    return matching


async def load_snapshots(client: MediaClient, jobs: Sequence[Job]) -> list[JobSnapshot]:
    """Return the jobs with the processes that run them and their missing files."""
    now = client.engine.deps.clock()
    claims = await client.ledger.claims()
    missing_files = await asyncio.to_thread(_missing_files, jobs)
    return [
        JobSnapshot(job=job, owner_pid=claims.get(job.id, "").partition("-")[0], missing_files=missing, now=now)
        for job, missing in zip(jobs, missing_files, strict=True)
    ]


def _missing_files(jobs: Sequence[Job]) -> list[tuple[str, ...]]:
    return [tuple(path for path in job.stored_paths() if not Path(path).exists()) for job in jobs]


def _print_snapshots(snapshots: Sequence[JobSnapshot], reporter: Reporter) -> None:
    if reporter.as_json:
        for snapshot in snapshots:
            reporter.result(to_plain_json(job_json.job_to_dict(snapshot)))
    elif stdout_is_terminal():
        for line in format_wide(snapshots):
            reporter.result(line)
    else:
        print_table(reporter, COLUMNS, [table_row(snapshot) for snapshot in snapshots])


def stdout_is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def table_row(snapshot: JobSnapshot) -> tuple[str, ...]:
    """Return a job as the cells of one table row."""
    job = snapshot.job
    prompt = truncate(job_format.format_line(job.request.prompt), MAX_PROMPT_WIDTH)
    identity = (
        job.id,
        job_format.state_label(job),
        job_format.provider_label(job),
        job_format.format_line(job.request.model),
        prompt,
    )
    cells = (
        *identity,
        job_format.format_age(snapshot.now - job.created_at),
        job_format.format_job_cost(job),
        str(job.attempts),
        job_format.list_hint(snapshot),
    )
    return tuple(cell.translate(LINE_BREAKS) for cell in cells)


def format_wide(snapshots: Sequence[JobSnapshot], width: int | None = None) -> list[str]:
    """Format jobs for a terminal of ``width`` columns: a line each, and below it what to do or to know."""
    width = width or shutil.get_terminal_size().columns
    if not snapshots:
        return []
    rows = [(*cells[:3], cells[3].rpartition("/")[2], *cells[4:]) for cells in map(table_row, snapshots)]
    header = tuple(name.upper() for name in COLUMNS[:-1])
    widths = [max(len(cells[column]) for cells in (header, *rows)) for column in range(len(header))]
    prompt_column = COLUMNS.index("prompt")
    spare_width = width - sum(widths) - 2 * (len(widths) - 1)
    widths[prompt_column] = max(
        min(MIN_PROMPT_WIDTH, widths[prompt_column]), widths[prompt_column] + min(0, spare_width)
    )
    lines: list[str] = []
    for cells in (header, *rows):
        padded = [truncate(cell, size).ljust(size) for cell, size in zip(cells[: len(widths)], widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
        lines += [f"    {cells[-1]}"] if len(cells) > len(widths) and cells[-1] else []
    return lines


# -- show -------------------------------------------------------------------------------------------------------------


def show_job(text: str, *, watch: bool, reporter: Reporter) -> NoReturn:
    """Show one job and exit with code 0; with ``watch``, once it has ended."""

    async def command(interrupts: InterruptHandler) -> int:
        async with open_client() as client:
            job_id = await find_job_id(client, text)

            async def fetch() -> tuple[tuple[JobSnapshot, list[LedgerEntry]], bool]:
                (snapshot,) = await load_snapshots(client, [await client.engine.get_job(job_id)])
                return (snapshot, await client.history(job_id)), snapshot.job.is_terminal

            view, _ = await fetch()
            if not watch:
                _print_job(*view, reporter)
                return 0
            printed = 0

            def print_new(latest: tuple[JobSnapshot, list[LedgerEntry]]) -> None:
                nonlocal printed
                for entry in latest[1][printed:]:
                    reporter.result(job_json.entry_to_dict(entry) if reporter.as_json else _format_entry(entry))
                printed = len(latest[1])

            await _watch(interrupts, fetch, lambda latest: render_job(*latest), print_new)
        return 0

    run(command, reporter)


async def find_job_id(client: MediaClient, text: str) -> str:
    """Return the id of the one job with this id or prefix."""
    await client.engine.mark_orphans_in_doubt()
    prefix = text.strip().lower()
    if prefix and await client.ledger.get(prefix):
        return prefix
    return job_format.select_job_id(text, [job.id async for job in client.ledger.iter_jobs()])


def _print_job(snapshot: JobSnapshot, entries: Sequence[LedgerEntry], reporter: Reporter) -> None:
    if reporter.as_json:
        details = {**job_json.job_to_dict(snapshot), **job_json.details_to_dict(snapshot.job)}
        reporter.result(to_plain_json({**details, "events": [*map(job_json.entry_to_dict, entries)]}))
        return
    for text in render_job(snapshot, entries):
        reporter.result(text)


def render_job(snapshot: JobSnapshot, entries: Sequence[LedgerEntry]) -> list[str]:
    """Render all details of a job and its history, one line each; unknown ones are omitted, except the cost."""
    lines = [f"{name:<{LABEL_WIDTH}}{text}" for name, text in job_format.detail_rows(snapshot) if text]
    return [*lines, "", "history:", *(f"  {_format_entry(entry)}" for entry in entries)]


def _format_entry(entry: LedgerEntry) -> str:
    return f"{job_format.format_time(entry.timestamp)}  {job_format.describe_entry(entry)}"


# -- costs ------------------------------------------------------------------------------------------------------------


def show_costs(by: str, filters: Mapping[str, str | None], *, since: str | None, reporter: Reporter) -> NoReturn:
    """Print the reported costs by group and exit with code 0."""

    async def command(interrupts: InterruptHandler) -> int:
        grouping: CostGrouping | None = next((name for name in COST_GROUPINGS if name == by), None)
        if grouping is None:
            raise InvalidRequestError(f"--by {by!r} is not one of {', '.join(COST_GROUPINGS)}")
        async with open_client() as client:
            now = client.engine.deps.clock()
            created_since = None if since is None else job_format.parse_when(since, now, option="--since")
            jobs = await client.jobs(since=created_since, provider=filters["provider"], model=filters["model"])
        rows = summarize_costs(jobs, grouping, format_day=job_format.format_day)
        if reporter.as_json:
            for summary in rows:
                reporter.result(_cost_to_dict(grouping, summary))
            return 0
        print_table(
            reporter,
            (grouping, "jobs", "reported", "unknown", "nothing to pay"),
            [_cost_row(summary) for summary in rows],
        )
        overall = total_cost(jobs)
        if overall.jobs_without_cost:
            count = f"{overall.jobs_without_cost} of {overall.jobs} jobs"
            reporter.info(f"For {count} the provider reported no price; they may still be billed.")
        if not jobs:
            reporter.info("No jobs to sum up.")
        return 0

    run(command, reporter)


def _cost_row(summary: CostSummary) -> tuple[str, ...]:
    reported = "-" if not summary.reported and not summary.jobs_without_cost else format_cost(summary.reported)
    return strip_control(summary.name), str(summary.jobs), reported, str(summary.jobs_without_cost), str(summary.free)


def _cost_to_dict(grouping: str, summary: CostSummary) -> dict[str, Any]:
    counts = {
        "jobs": summary.jobs,
        "known": summary.jobs_with_cost,
        "unknown": summary.jobs_without_cost,
        "nothing_to_pay": summary.free,
    }
    return {grouping: summary.name, "reported": summary.reported, **counts}


# -- watching ---------------------------------------------------------------------------------------------------------


async def _watch(
    interrupts: InterruptHandler,
    fetch: Callable[[], Awaitable[tuple[DataT, bool]]],
    render: Callable[[DataT], Sequence[str]],
    print_changes: Callable[[DataT], None],
) -> None:
    """Fetch repeatedly until ``fetch`` reports that its data is final, or Ctrl-C.

    On a terminal the whole view is redrawn each time; elsewhere only changes are printed.
    """
    interrupted = asyncio.Event()
    interrupts.on_interrupt = interrupted.set
    with _live_screen() as draw:
        while True:
            data, is_final = await fetch()
            if draw is None:
                print_changes(data)
            else:
                draw(render(data))
            if is_final or interrupted.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(interrupted.wait(), WATCH_INTERVAL)


@contextmanager
def _live_screen() -> Generator[Callable[[Sequence[str]], None] | None]:
    """Yield a function that redraws the screen; None where stdout is not a terminal that can."""
    if not stdout_is_terminal() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False) as live:
        yield lambda lines: live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
