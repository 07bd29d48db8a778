"""How far a batch is, in one line: a bar on a terminal, now and then a line of text where stderr is a file.

It only shows what the tally counts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from hfmedia.batch import BatchStats

from .reporter import Reporter, Severity, stderr_is_terminal

LOG_INTERVAL = 30.0  # seconds between two lines in a log
REDRAW_INTERVAL = 0.1  # seconds between two states of the bar
DURATION_UNITS = ((5400, 3600, "h"), (90, 60, "min"), (0, 1, "s"))  # from, seconds, unit


def format_duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h``."""
    size, unit = next((size, unit) for threshold, size, unit in DURATION_UNITS if seconds >= threshold)
    return f"{seconds / size:.0f} {unit}"


def format_batch_stats(stats: BatchStats, now: float) -> str:
    """``12/300, 45/min, 2 failed, cost $1.25 (3 not told), 6 min left``."""
    rate, seconds_left = stats.outputs_per_minute(now), stats.seconds_left(now)
    parts = [f"{stats.done:,}/{stats.total:,}"]
    parts += [f"{rate:.0f}/min"] if rate is not None else []
    parts += [f"{stats.failed:,} failed"] if stats.failed else []
    parts += [f"cost {stats.cost_line()}"] if stats.costs or stats.unknown_costs else []
    parts += [f"{format_duration(seconds_left)} left"] if seconds_left is not None else []
    return ", ".join(parts)


class LogProgress:
    """Progress where nobody watches: a note every half minute."""

    def __init__(self, reporter: Reporter, stats: BatchStats) -> None:
        self.reporter, self.stats = reporter, stats
        self._next_log_at = time.monotonic() + LOG_INTERVAL

    def update(self) -> None:
        """Something happened."""
        now = time.monotonic()
        if now >= self._next_log_at:
            self._next_log_at = now + LOG_INTERVAL
            self.reporter.info(format_batch_stats(self.stats, now))

    def result(self, line: str | Mapping[str, Any]) -> None:
        """One result, on stdout."""
        self.reporter.result(line)

    def close(self) -> None:
        """The end."""


class BatchBar(LogProgress):
    """Progress on a terminal."""

    def __init__(self, reporter: Reporter, stats: BatchStats) -> None:
        super().__init__(reporter, stats)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._progress = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.fields[standing]}", markup=False),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # stdout may be a pipe, and results belong there
            redirect_stderr=False,
        )
        self._task_id = self._progress.add_task("", total=stats.total or None, standing="looking at what is there")
        self._shares_terminal, self._drawn_at = sys.stdout.isatty(), 0.0
        self._previous_write, reporter.write = reporter.write, self._write
        self._progress.start()

    def update(self) -> None:
        """Something happened."""
        now = time.monotonic()
        if now - self._drawn_at < REDRAW_INTERVAL:
            return
        self._drawn_at = now
        finished = self.stats.done + self.stats.failed
        status = format_batch_stats(self.stats, now)
        self._progress.update(self._task_id, total=self.stats.total, completed=finished, standing=status)

    def result(self, line: str | Mapping[str, Any]) -> None:
        """One result on stdout; the bar steps aside when both are the same terminal."""
        if self._shares_terminal:
            self._progress.stop()
        self.reporter.result(line)
        if self._shares_terminal:
            self._progress.start()

    def close(self) -> None:
        """The bar goes; what was said stays."""
        self._progress.stop()
        self.reporter.write = self._previous_write

    def _write(self, text: str, severity: Severity) -> None:
        """A line above the bar, its first word in colour."""
        from rich.text import Text

        style = {"note": "dim", "warning": "yellow", "error": "red"}[severity]
        head, colon, rest = text.partition(":")
        line = Text.assemble((head + colon, style), rest) if colon else Text(text, style=style)
        self._console.print(line, soft_wrap=True)


def batch_progress(reporter: Reporter, stats: BatchStats) -> LogProgress:
    """A bar where a person watches, else lines now and then."""
    return (
        BatchBar(reporter, stats)
        if stderr_is_terminal() and not reporter.quiet and not reporter.as_json
        else LogProgress(reporter, stats)
    )
