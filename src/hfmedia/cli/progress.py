"""Progress: one bar per job or one bar per batch on a terminal, log lines or nothing where stderr is not one.

Displays only reflect events and statistics; they decide nothing.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfmedia.core.costs import format_cost
from hfmedia.core.text import strip_control
from hfmedia.engine.events import (
    Accepted,
    Downloading,
    Event,
    FailedOver,
    JobFailed,
    MediaReady,
    Queued,
    Retrying,
    Running,
    Started,
    Submitting,
)

from .reporter import Reporter, Severity, stderr_is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

    from hfmedia.batch import BatchStats
    from hfmedia.core.errors import HfmediaError
    from hfmedia.core.protocol import Cost
    from hfmedia.storage import Media

STATUS_WIDTH = 44  # characters of a job's status: with its number, provider, bar and clock it fits into 80 columns
JOB_BAR_WIDTH, BATCH_BAR_WIDTH = 12, 20  # characters
MAX_INCOMPLETE_PROGRESS = 0.99  # of a bar, until the file is there; a full one would stop its clock
LOG_INTERVAL = 30.0  # seconds between two lines in a log
REDRAW_INTERVAL = 0.1  # seconds between two updates of a batch's bar
DURATION_UNITS = ((5400, 3600, "h"), (90, 60, "min"), (0, 1, "s"))  # from, seconds, unit
STYLES: dict[Severity, str] = {"note": "dim", "warning": "yellow", "error": "red"}


# -- texts ------------------------------------------------------------------------------------------------------------


def describe_event(event: Event) -> str:
    """Describe what a job is doing, in a few words."""
    match event:
        case Started():
            return "waiting"
        case Submitting(attempt=attempt):
            return "submitting" if attempt == 1 else f"submitting, attempt {attempt}"
        case Accepted():
            return "accepted"
        case Queued(position=position):
            return "queued" if position is None else f"queued, {ordinal(position)}"
        case Running(fraction=fraction, message=message):
            return " ".join(("running", *_format_percent(fraction), *((message or "").split())))
        case Retrying(delay=delay, reason=reason):
            return f"retrying in {delay:.0f} s: {reason}"
        case FailedOver(previous_provider=previous):
            return f"moved here from {previous}"
        case Downloading(received=received, total=total):
            return f"downloading {megabytes(received, total)}"
        case MediaReady(media=media):
            return f"done: {media.path.name}"
        case JobFailed(error=error):
            return describe_error_kind(error)
        case _:
            return ""


def describe_error_kind(error: HfmediaError) -> str:
    """Describe the kind of an error by its class, in two words: ``content policy``, ``deadline exceeded``."""
    name = type(error).__name__.removesuffix("Error").removeprefix("Hfmedia")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower() or "failed"


def _format_percent(fraction: float | None) -> tuple[str, ...]:
    return () if fraction is None else (f"{fraction:.0%}",)


def ordinal(position: int) -> str:
    """Format a position in a queue: ``next``, ``1st``, ``2nd``, ``11th``."""
    if position <= 0:
        return "next"
    teens = 10 <= position % 100 <= 20
    return f"{position}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(position % 10, 'th')}"


def megabytes(received: int, total: int | None) -> str:
    """Format a download's size: ``1.2 of 3.4 MB``, or ``1.2 MB`` without a total."""
    return f"{received / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{received / 1e6:.1f} MB"


def format_duration(seconds: float) -> str:
    """Format a duration in its largest unit: ``40 s``, ``12 min``, ``3 h``."""
    size, unit = next((size, unit) for threshold, size, unit in DURATION_UNITS if seconds >= threshold)
    return f"{seconds / size:.0f} {unit}"


def format_batch_stats(stats: BatchStats, now: float) -> str:
    """Format the progress of a batch: ``12/300, 45/min, 2 failed, cost $1.25 (3 unknown), 6 min left``."""
    rate, seconds_left = stats.outputs_per_minute(now), stats.seconds_left(now)
    parts = [f"{stats.done:,}/{stats.total:,}"]
    parts += [f"{rate:.0f}/min"] if rate is not None else []
    parts += [f"{stats.failed:,} failed"] if stats.failed else []
    parts += [f"cost {stats.cost_line()}"] if stats.costs or stats.unknown_costs else []
    parts += [f"{format_duration(seconds_left)} left"] if seconds_left is not None else []
    return ", ".join(parts)


def format_costs(costs: Iterable[Cost | None]) -> str:
    """Format the cost of several results: a sum per unit, and the number of unknown ones, which never count as zero."""
    totals: dict[str, float] = {}
    unknown = 0
    for cost in costs:
        if cost is None:
            unknown += 1
        else:
            totals[cost.unit] = totals.get(cost.unit, 0.0) + cost.amount
    return f"cost {format_cost(totals)}" + (f" ({unknown:,} unknown)" if totals and unknown else "")


def relative_path(path: Path) -> str:
    """Return a path relative to the current folder where it is inside it, else the absolute one."""
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except (OSError, ValueError):  # the current folder does not exist any more, or is on another drive
        return str(path)


# -- displays ---------------------------------------------------------------------------------------------------------


class RunSummary:
    """Outcome of a run: media by output, errors by output, and the elapsed time."""

    def __init__(self) -> None:
        self.media_by_output: dict[int, list[Media]] = {}
        self.errors_by_output: dict[int, HfmediaError] = {}
        self._started_at = time.monotonic()

    def on_event(self, event: Event) -> None:
        """Count an event that ends an output."""
        if isinstance(event, MediaReady):
            self.media_by_output.setdefault(event.index, []).append(event.media)
        elif isinstance(event, JobFailed):
            self.errors_by_output[event.index] = event.error

    def summary_line(self) -> str:
        """Return the totals: ``2 images saved, 1 failed; cost $0.02; 4.1 s``."""
        media = [item for outputs in self.media_by_output.values() for item in outputs]
        counts = [f"{_count(media)} saved"]
        counts += [f"{len(self.errors_by_output)} failed"] if self.errors_by_output else []
        costs = [format_costs(item.cost for item in media)] if media else []
        return "; ".join([", ".join(counts), *costs, f"{time.monotonic() - self._started_at:.1f} s"])


def _count(media: list[Media]) -> str:
    kinds = {"video" if item.mime.startswith("video/") else "image" for item in media}
    noun = kinds.pop() if len(kinds) == 1 else "file"
    return f"{len(media)} {noun}{'' if len(media) == 1 else 's'}"


class NullProgress:
    """Progress of jobs without a display: prints only the results."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def update(self, event: Event) -> None:
        """Ignore an event."""

    def result(self, line: str | Mapping[str, Any]) -> None:
        """Print one result on stdout."""
        self.reporter.result(line)

    def close(self, totals: str) -> None:
        """End the display; without one, the totals are not shown."""


class LogProgress:
    """Progress of a batch without a bar: a line every half minute."""

    def __init__(self, reporter: Reporter, stats: BatchStats) -> None:
        self.reporter, self.stats = reporter, stats
        self._next_log_at = time.monotonic() + LOG_INTERVAL

    def update(self) -> None:
        """Show the statistics, if it is time to."""
        now = time.monotonic()
        if now >= self._next_log_at:
            self._next_log_at = now + LOG_INTERVAL
            self.reporter.info(format_batch_stats(self.stats, now))

    def result(self, line: str | Mapping[str, Any]) -> None:
        """Print one result on stdout."""
        self.reporter.result(line)

    def close(self) -> None:
        """End the display."""


class TerminalBars:
    """Bars on a terminal that leave room for lines: results on stdout and messages above them."""

    def __init__(self, reporter: Reporter, *columns: ProgressColumn) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._reporter = reporter
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self.progress: Progress = Progress(
            *columns,
            console=self._console,
            transient=True,
            redirect_stdout=False,  # stdout may be a pipe, and results belong there
            redirect_stderr=False,
        )
        self._shares_terminal = sys.stdout.isatty()
        self._previous_write, reporter.write = reporter.write, self._write

    def result(self, line: str | Mapping[str, Any]) -> None:
        """Print one result on stdout; the bars are hidden meanwhile when stdout is the same terminal."""
        if self._shares_terminal:
            self.progress.stop()
        self._reporter.result(line)
        if self._shares_terminal:
            self.progress.start()

    def close(self, *, keep: bool) -> None:
        """End the bars; ``keep`` leaves their last state on the screen."""
        self.progress.live.transient = not keep
        self.progress.stop()
        self._reporter.write = self._previous_write

    def _write(self, text: str, severity: Severity) -> None:
        """Print a line above the bars, its first word in color."""
        from rich.text import Text

        style = STYLES[severity]
        head, colon, rest = text.partition(":")
        line = Text.assemble((head + colon, style), rest) if colon else Text(text, style=style)
        self._console.print(line, soft_wrap=True)


class JobBars(NullProgress):
    """Progress of jobs on a terminal: one bar per job, and the totals at the end."""

    def __init__(self, reporter: Reporter, n: int) -> None:
        super().__init__(reporter)
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        self._n = n
        self._task_ids: dict[int, TaskID] = {}
        self._providers: dict[int, str] = {}
        status_column = Column(no_wrap=True, overflow="ellipsis", min_width=12, max_width=STATUS_WIDTH)
        self._bars = TerminalBars(
            reporter,
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[provider]}", style="cyan", markup=False),
            BarColumn(bar_width=JOB_BAR_WIDTH),
            TextColumn("{task.fields[status]}", markup=False, table_column=status_column),
            TimeElapsedColumn(),
        )
        self._bars.progress.start()

    def update(self, event: Event) -> None:
        """Show an event in its job's line."""
        progress = self._bars.progress
        task_id = self._task_ids.get(event.index)
        if task_id is None:
            task_id = progress.add_task(f"{event.index + 1}/{self._n}", total=None, provider="", status="")
            self._task_ids[event.index] = task_id
        fraction, has_ended = _progress_fraction(event), isinstance(event, MediaReady | JobFailed)
        provider = strip_control(getattr(event, "provider", "") or self._providers.get(event.index, ""))
        self._providers[event.index] = provider
        progress.update(task_id, provider=provider, status=strip_control(describe_event(event)).replace("\n", " "))
        if fraction is not None:  # until then the bar has no total and swings to and fro
            completed = fraction if has_ended else min(fraction, MAX_INCOMPLETE_PROGRESS)
            progress.update(task_id, total=1.0, completed=completed)
        if has_ended:
            progress.stop_task(task_id)

    def result(self, line: str | Mapping[str, Any]) -> None:
        """Print one result on stdout."""
        self._bars.result(line)

    def close(self, totals: str) -> None:
        """Leave the last state of each job on the screen, and the totals below."""
        self._bars.close(keep=True)
        if totals:
            self.reporter.info(totals)


def _progress_fraction(event: Event) -> float | None:
    """Return the completed fraction of the current step, 0 to 1; None where it is unknown."""
    match event:
        case Running(fraction=fraction):
            return fraction
        case Downloading(received=received, total=total):
            return received / total if total else None
        case JobFailed():
            return 0.0
        case MediaReady():
            return 1.0
        case _:
            return None


class BatchBar(LogProgress):
    """Progress of a batch on a terminal: one bar with its statistics."""

    def __init__(self, reporter: Reporter, stats: BatchStats) -> None:
        super().__init__(reporter, stats)
        from rich.progress import BarColumn, TextColumn

        self._drawn_at = 0.0
        status_column = TextColumn("{task.fields[status]}", markup=False)
        self._bars = TerminalBars(reporter, BarColumn(bar_width=BATCH_BAR_WIDTH), status_column)
        self._task_id = self._bars.progress.add_task("", total=stats.total or None, status="checking existing results")
        self._bars.progress.start()

    def update(self) -> None:
        """Show the statistics, at most ten times a second."""
        now = time.monotonic()
        if now - self._drawn_at < REDRAW_INTERVAL:
            return
        self._drawn_at = now
        ended = self.stats.done + self.stats.failed
        status = format_batch_stats(self.stats, now)
        self._bars.progress.update(self._task_id, total=self.stats.total, completed=ended, status=status)

    def result(self, line: str | Mapping[str, Any]) -> None:
        """Print one result on stdout."""
        self._bars.result(line)

    def close(self) -> None:
        """Remove the bar; printed lines stay."""
        self._bars.close(keep=False)


def job_progress(reporter: Reporter, n: int, *, interactive: bool) -> NullProgress:
    """Return bars for n jobs on a terminal, else a display that shows nothing."""
    return JobBars(reporter, n) if interactive and not reporter.quiet else NullProgress(reporter)


def batch_progress(reporter: Reporter, stats: BatchStats) -> LogProgress:
    """Return a bar on a terminal, else a display that logs a line now and then."""
    interactive = stderr_is_terminal() and not reporter.quiet and not reporter.as_json
    return BatchBar(reporter, stats) if interactive else LogProgress(reporter, stats)
