"""The deeds of ``hfmedia jobs list``, ``show`` and ``costs``: what the ledger knows, in words.

Nothing is asked of a provider here, and nothing is sent.
"""

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
from hfmedia.core.costs import COST_GROUPINGS, CostGrouping, CostSummary, summarize_costs, total_cost
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import STATES, TERMINAL_STATES, Job, LedgerEntry, State
from hfmedia.storage.sanitize import to_plain_json as to_plain_json

from . import job_format
from .commands.models import print_table
from .job_format import JobSnapshot
from .reporter import Reporter, strip_control
from .runtime import InterruptHandler, run

WATCH_INTERVAL = 1.0  # seconds between two looks into the ledger while somebody watches
COLUMNS = ("id", "state", "provider", "model", "prompt", "age", "cost", "tries", "next")
LINE_BREAKS = str.maketrans("\n\t", "  ")  # what would begin another row or another column; a path may hold them
MIN_PROMPT_WIDTH, MAX_PROMPT_WIDTH = 16, 60  # characters of a prompt: at least on a terminal, at most anywhere
DataT = TypeVar("DataT")
LABEL_WIDTH = 20  # characters of the first column of one job


@asynccontextmanager
async def open_client(proxy: str | None = None) -> AsyncGenerator[MediaClient, None]:
    """A client of the ledger under HFMEDIA_HOME."""
    async with MediaClient(proxy=proxy, environ=os.environ) as client:
        yield client


# -- many -------------------------------------------------------------------------------------------------------------


def show_jobs(
    states: Sequence[str],
    filters: Mapping[str, str | None],
    *,
    since: str | None,
    limit: int | None,
    watch: bool,
    reporter: Reporter,
) -> NoReturn:
    """Lists the jobs that fit, live ones first, and leaves with exit code 0."""

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
                    interrupts, fetch_all, format_wide, lambda found: _print_snapshots(changes(found), reporter)
                )
                return 0
            snapshots, has_more = await fetch()
            _print_snapshots(snapshots, reporter)
            if not snapshots:
                reporter.info("no job fits" if any((states, since, *filters.values())) else "there are no jobs yet")
            if has_more:
                reporter.info(f"these are the latest {limit}; --all shows every one")
        return 0

    run(command, reporter)


async def _latest_jobs(
    client: MediaClient, states: Sequence[State] | None, query: Mapping[str, Any], limit: int | None
) -> list[Job]:
    """Live jobs, then ended ones, the newest first in each; one more than the limit where there is one more."""
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
    """The jobs with what the ledger alone cannot tell: who carries them, and which files are gone."""
    now = client.engine.deps.clock()
    claims = await client.ledger.claims()
    missing_files = await asyncio.to_thread(_missing_files, jobs)
    return [
        JobSnapshot(job=job, owner_pid=claims.get(job.id, "").partition("-")[0], missing_files=missing, now=now)
        for job, missing in zip(jobs, missing_files, strict=True)
    ]


def _missing_files(jobs: Sequence[Job]) -> list[tuple[str, ...]]:
    return [tuple(path for path in job_format.file_paths(job) if not Path(path).exists()) for job in jobs]


def _print_snapshots(snapshots: Sequence[JobSnapshot], reporter: Reporter) -> None:
    if reporter.as_json:
        for snapshot in snapshots:
            reporter.result(to_plain_json(job_format.job_to_dict(snapshot)))
    elif stdout_is_terminal():
        for line in format_wide(snapshots):
            reporter.result(line)
    else:
        print_table(reporter, COLUMNS, [table_row(snapshot) for snapshot in snapshots])


def stdout_is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def table_row(snapshot: JobSnapshot) -> tuple[str, ...]:
    """A job as the cells of one line."""
    job = snapshot.job
    prompt = job_format.truncate(job_format.format_line(job.request.prompt), MAX_PROMPT_WIDTH)
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
        job_format.format_cost(job),
        str(job.attempts),
        job_format.list_hint(snapshot),
    )
    return tuple(cell.translate(LINE_BREAKS) for cell in cells)


def format_wide(snapshots: Sequence[JobSnapshot], width: int | None = None) -> list[str]:
    """Jobs on a terminal of so many columns: a line for each, and below it what there is to do or to know."""
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
        padded = [
            job_format.truncate(cell, size).ljust(size) for cell, size in zip(cells[: len(widths)], widths, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
        lines += [f"    {cells[-1]}"] if len(cells) > len(widths) and cells[-1] else []
    return lines


# -- one --------------------------------------------------------------------------------------------------------------


def show_job(text: str, *, watch: bool, reporter: Reporter) -> NoReturn:
    """Shows one job and leaves with exit code 0; watched, until it has ended."""

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
                    reporter.result(job_format.entry_to_dict(entry) if reporter.as_json else _format_entry(entry))
                printed = len(latest[1])

            await _watch(interrupts, fetch, lambda seen: render_job(*seen), print_new)
        return 0

    run(command, reporter)


async def find_job_id(client: MediaClient, text: str) -> str:
    """The id of the one job that begins so."""
    await client.engine.mark_orphans_in_doubt()
    prefix = text.strip().lower()
    if prefix and await client.ledger.get(prefix):
        return prefix
    return job_format.select_job_id(text, [job.id async for job in client.ledger.iter_jobs()])


def _print_job(snapshot: JobSnapshot, entries: Sequence[LedgerEntry], reporter: Reporter) -> None:
    if reporter.as_json:
        reporter.result(
            to_plain_json(
                {
                    **job_format.job_to_dict(snapshot),
                    **job_format.details_to_dict(snapshot.job),
                    "events": [*map(job_format.entry_to_dict, entries)],
                }
            )
        )
        return
    for text in render_job(snapshot, entries):
        reporter.result(text)


def render_job(snapshot: JobSnapshot, entries: Sequence[LedgerEntry]) -> list[str]:
    """Everything about one job, a line for each fact; what is not known is left out, but for the cost."""
    lines = [f"{name:<{LABEL_WIDTH}}{text}" for name, text in job_format.detail_rows(snapshot) if text]
    return [*lines, "", "what happened:", *(f"  {_format_entry(entry)}" for entry in entries)]


def _format_entry(entry: LedgerEntry) -> str:
    return f"{job_format.format_time(entry.timestamp)}  {job_format.describe_entry(entry)}"


# -- costs ------------------------------------------------------------------------------------------------------------


def show_costs(by: str, filters: Mapping[str, str | None], *, since: str | None, reporter: Reporter) -> NoReturn:
    """Adds up what providers reported and leaves with exit code 0."""

    async def command(interrupts: InterruptHandler) -> int:
        grouping: CostGrouping | None = next((summary for summary in COST_GROUPINGS if summary == by), None)
        if grouping is None:
            raise InvalidRequestError(f"--by {by!r} is none of {', '.join(COST_GROUPINGS)}")
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
            reporter.info(
                f"of {overall.jobs} jobs, {overall.jobs_without_cost} may be billed at a price that nobody told"
            )
        if not jobs:
            reporter.info("there are no jobs to add up")
        return 0

    run(command, reporter)


def _cost_row(summary: CostSummary) -> tuple[str, ...]:
    reported = (
        job_format.format_money(summary.reported)
        if summary.reported
        else "-"
        if not summary.jobs_without_cost
        else "unknown"
    )
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
    """Looks again and again, until the look says that this was the last, or Ctrl-C.

    On a terminal the picture is painted anew each time; elsewhere only what is new is said.
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
    """What paints lines over the ones before; None where stdout is no terminal that could."""
    if not stdout_is_terminal() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False) as live:
        yield lambda lines: live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
