"""How far a batch is, in one line: a bar on a terminal, now and then a line of text where stderr is a file.

It only shows what the tally counts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from hfmedia.batch import Tally

from .voice import Tone, Voice, is_terminal

SAY_EVERY = 30.0  # seconds between two lines in a log
DRAW_EVERY = 0.1  # seconds between two states of the bar
SPANS = ((5400, 3600, "h"), (90, 60, "min"), (0, 1, "s"))  # from, seconds, unit


def span(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h``."""
    size, unit = next((size, unit) for least, size, unit in SPANS if seconds >= least)
    return f"{seconds / size:.0f} {unit}"


def standing(tally: Tally, now: float) -> str:
    """``12/300, 45/min, 2 failed, cost $1.25 (3 not told), 6 min left``."""
    rate, left = tally.rate(now), tally.time_left(now)
    parts = [f"{tally.there:,}/{tally.total:,}"]
    parts += [f"{rate:.0f}/min"] if rate is not None else []
    parts += [f"{tally.failed:,} failed"] if tally.failed else []
    parts += [f"cost {tally.cost_line()}"] if tally.costs or tally.unknown else []
    parts += [f"{span(left)} left"] if left is not None else []
    return ", ".join(parts)


class Lines:
    """Progress where nobody watches: a note every half minute."""

    def __init__(self, voice: Voice, tally: Tally) -> None:
        self.voice, self.tally = voice, tally
        self._next = time.monotonic() + SAY_EVERY

    def beat(self) -> None:
        """Something happened."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SAY_EVERY
            self.voice.note(standing(self.tally, now))

    def result(self, line: str | Mapping[str, Any]) -> None:
        """One result, on stdout."""
        self.voice.result(line)

    def close(self) -> None:
        """The end."""


class Bar(Lines):
    """Progress on a terminal."""

    def __init__(self, voice: Voice, tally: Tally) -> None:
        super().__init__(voice, tally)
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
        self._row = self._progress.add_task("", total=tally.total or None, standing="looking at what is there")
        self._both, self._drawn = sys.stdout.isatty(), 0.0
        self._before, voice.write = voice.write, self._write
        self._progress.start()

    def beat(self) -> None:
        """Something happened."""
        now = time.monotonic()
        if now - self._drawn < DRAW_EVERY:
            return
        self._drawn = now
        ended = self.tally.there + self.tally.failed
        told = standing(self.tally, now)
        self._progress.update(self._row, total=self.tally.total, completed=ended, standing=told)

    def result(self, line: str | Mapping[str, Any]) -> None:
        """One result on stdout; the bar steps aside when both are the same terminal."""
        if self._both:
            self._progress.stop()
        self.voice.result(line)
        if self._both:
            self._progress.start()

    def close(self) -> None:
        """The bar goes; what was said stays."""
        self._progress.stop()
        self.voice.write = self._before

    def _write(self, text: str, tone: Tone) -> None:
        """A line above the bar, its first word in colour."""
        from rich.text import Text

        style = {"note": "dim", "warning": "yellow", "error": "red"}[tone]
        head, colon, rest = text.partition(":")
        line = Text.assemble((head + colon, style), rest) if colon else Text(text, style=style)
        self._console.print(line, soft_wrap=True)


def gauge(voice: Voice, tally: Tally) -> Lines:
    """A bar where a person watches, else lines now and then."""
    return Bar(voice, tally) if is_terminal() and not voice.quiet and not voice.as_json else Lines(voice, tally)
