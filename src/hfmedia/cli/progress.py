"""Progress: what each job is doing now, as one line per job on a terminal, as nothing at all where nobody watches.

It only listens to events and counts what came of them; it decides nothing.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

from .reporter import Reporter, Severity, strip_control

if TYPE_CHECKING:
    from rich.progress import TaskID

    from hfmedia.core.errors import HfmediaError
    from hfmedia.core.protocol import Cost
    from hfmedia.storage import Media

STATUS_WIDTH = 44  # characters of a job's state: with its number, provider, bar and clock it fits into 80 columns
BAR_WIDTH = 12
MAX_INCOMPLETE_PROGRESS = 0.99  # of a bar, until the file is there; a full one would stop its clock


def describe_event(event: Event) -> str:
    """What a job is doing, in a few words."""
    match event:
        case Started():
            return "waiting"
        case Submitting(attempt=attempt):
            return f"asked{'' if attempt == 1 else f' again ({attempt})'}, waiting for the answer"
        case Accepted():
            return "accepted"
        case Queued(position=position):
            return "queued" if position is None else f"queued, {ordinal(position)}"
        case Running(fraction=fraction, message=message):
            return " ".join(("running", *_format_percent(fraction), *((message or "").split())))
        case Retrying(delay=after, reason=reason):
            return f"again in {after:.0f} s: {reason}"
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
    """The sort of an error in two words, by its class: ``content refused``, ``out of time``."""
    name = type(error).__name__.removesuffix("Error").removeprefix("Hfmedia")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower() or "failed"


def _format_percent(fraction: float | None) -> tuple[str, ...]:
    return () if fraction is None else (f"{fraction:.0%}".replace("%", " %"),)


def ordinal(position: int) -> str:
    """A place in a queue: ``next``, ``1st``, ``2nd``, ``11th``."""
    if position <= 0:
        return "next"
    teens = 10 <= position % 100 <= 20
    return f"{position}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(position % 10, 'th')}"


def megabytes(received: int, total: int | None) -> str:
    """``1.2 of 3.4 MB``."""
    return f"{received / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{received / 1e6:.1f} MB"


def _progress_fraction(event: Event) -> float | None:
    """How much of the present step is done, 0 to 1; None where nobody can tell."""
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


def format_costs(reported: Iterable[Cost | None]) -> str:
    """The cost of several results: a sum for each unit, and how many told none. An unknown cost is never a zero."""
    totals: dict[str, float] = {}
    unreported = 0
    for cost in reported:
        if cost is None:
            unreported += 1
        else:
            totals[cost.unit] = totals.get(cost.unit, 0.0) + cost.amount
    if not totals:
        return "cost not told"
    parts = [f"${amount:.6g}" if unit == "USD" else f"{amount:.6g} {unit}" for unit, amount in totals.items()]
    return f"cost {' + '.join(parts)}" + (f" (and {unreported} not told)" if unreported else "")


class RunSummary:
    """What came of a run: the media by output, the errors by output, and the seconds it took."""

    def __init__(self) -> None:
        self.media_by_output: dict[int, list[Media]] = {}
        self.errors_by_output: dict[int, HfmediaError] = {}
        self._started_at = time.monotonic()

    def on_event(self, event: Event) -> None:
        """Counts what ends a job."""
        if isinstance(event, MediaReady):
            self.media_by_output.setdefault(event.index, []).append(event.media)
        elif isinstance(event, JobFailed):
            self.errors_by_output[event.index] = event.error

    def summary_line(self) -> str:
        """The totals in one line."""
        media = [item for outputs in self.media_by_output.values() for item in outputs]
        parts = [f"{len(media)} made"]
        parts += [f"{len(self.errors_by_output)} failed"] if self.errors_by_output else []
        parts += [format_costs(item.cost for item in media)] if media else []
        return f"{', '.join(parts)}, {time.monotonic() - self._started_at:.1f} s"


class NullProgress:
    """Progress that nobody watches: only the results are said."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def update(self, event: Event) -> None:
        """Nothing is shown."""

    def result(self, line: str | Mapping[str, Any]) -> None:
        """One result, on stdout."""
        self.reporter.result(line)

    def close(self, totals: str) -> None:
        """The end; where nobody watches, nobody counts."""


class JobBars(NullProgress):
    """Progress on a terminal: one line per job while they run, and the totals at the end."""

    def __init__(self, reporter: Reporter, n: int) -> None:
        super().__init__(reporter)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        self._n = n
        self._task_ids: dict[int, TaskID] = {}
        self._providers: dict[int, str] = {}
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        status_column = Column(no_wrap=True, overflow="ellipsis", min_width=12, max_width=STATUS_WIDTH)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[provider]}", style="cyan", markup=False),
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.fields[state]}", markup=False, table_column=status_column),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # stdout may be a pipe, and results belong there
            redirect_stderr=False,
        )
        self._shares_terminal = sys.stdout.isatty()
        self._previous_write, reporter.write = reporter.write, self._write
        self._progress.start()

    def update(self, event: Event) -> None:
        """The job's line says what it does now."""
        task_id = self._task_ids.get(event.index)
        if task_id is None:
            task_id = self._progress.add_task(f"{event.index + 1}/{self._n}", total=None, provider="", state="")
            self._task_ids[event.index] = task_id
        fraction, is_finished = _progress_fraction(event), isinstance(event, MediaReady | JobFailed)
        provider = strip_control(getattr(event, "provider", "") or self._providers.get(event.index, ""))
        self._providers[event.index] = provider
        status = strip_control(describe_event(event)).replace("\n", " ")
        self._progress.update(task_id, provider=provider, state=status)
        if fraction is not None:  # until then the bar has no total and swings to and fro
            self._progress.update(
                task_id, total=1.0, completed=fraction if is_finished else min(fraction, MAX_INCOMPLETE_PROGRESS)
            )
        if is_finished:
            self._progress.stop_task(task_id)

    def result(self, line: str | Mapping[str, Any]) -> None:
        """One result on stdout; the bars step aside when both are the same terminal."""
        if not self._shares_terminal:
            self.reporter.result(line)
            return
        self._progress.stop()
        self.reporter.result(line)
        self._progress.start()

    def close(self, totals: str) -> None:
        """The last state of each job stays on the screen, and the totals below."""
        self._progress.live.transient = False
        self._progress.stop()
        self.reporter.write = self._previous_write
        if totals:
            self.reporter.info(totals)

    def _write(self, text: str, severity: Severity) -> None:
        """A line above the bars, its first word in colour."""
        from rich.text import Text

        style = {"note": "dim", "warning": "yellow", "error": "red"}[severity]
        head, colon, rest = text.partition(":")
        line = Text.assemble((head + colon, style), rest) if colon else Text(text, style=style)
        self._console.print(line, soft_wrap=True)


def job_progress(reporter: Reporter, n: int, *, interactive: bool) -> NullProgress:
    """How progress is shown: bars where a person watches, else nothing."""
    return JobBars(reporter, n) if interactive and not reporter.quiet else NullProgress(reporter)


def relative_path(path: Path) -> str:
    """A path as a shell user would write it: from the current folder where it lies below it."""
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except (OSError, ValueError):  # the current folder is gone, or on another drive
        return str(path)
