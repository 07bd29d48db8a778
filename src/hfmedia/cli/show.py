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
    JobFailed,
    MediaReady,
    Moved,
    Queued,
    Retrying,
    Running,
    Started,
    Submitting,
)

from .voice import Tone, Voice, plain

if TYPE_CHECKING:
    from rich.progress import TaskID

    from hfmedia.core.answers import Cost
    from hfmedia.core.errors import HfmediaError
    from hfmedia.store import Media

STATE_WIDTH = 44  # characters of a job's state: with its number, provider, bar and clock it fits into 80 columns
BAR_WIDTH = 12
ALMOST = 0.99  # of a bar, until the file is there; a full one would stop its clock


def words(event: Event) -> str:
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
            return " ".join(("running", *_percent(fraction), *((message or "").split())))
        case Retrying(after=after, reason=reason):
            return f"again in {after:.0f} s: {reason}"
        case Moved(before=before):
            return f"moved here from {before}"
        case Downloading(received=received, total=total):
            return f"downloading {megabytes(received, total)}"
        case MediaReady(media=media):
            return f"done: {media.path.name}"
        case JobFailed(error=error):
            return fault(error)
        case _:
            return ""


def fault(error: HfmediaError) -> str:
    """The sort of an error in two words, by its class: ``content refused``, ``out of time``."""
    name = type(error).__name__.removesuffix("Error").removeprefix("Hfmedia")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower() or "failed"


def _percent(fraction: float | None) -> tuple[str, ...]:
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


def _fraction(event: Event) -> float | None:
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


def costs(known: Iterable[Cost | None]) -> str:
    """The cost of several results: a sum for each unit, and how many told none. An unknown cost is never a zero."""
    sums: dict[str, float] = {}
    silent = 0
    for cost in known:
        if cost is None:
            silent += 1
        else:
            sums[cost.unit] = sums.get(cost.unit, 0.0) + cost.amount
    if not sums:
        return "cost not told"
    parts = [f"${amount:.6g}" if unit == "USD" else f"{amount:.6g} {unit}" for unit, amount in sums.items()]
    return f"cost {' + '.join(parts)}" + (f" (and {silent} not told)" if silent else "")


class Tally:
    """What came of a run: the media by output, the errors by output, and the seconds it took."""

    def __init__(self) -> None:
        self.made: dict[int, list[Media]] = {}
        self.failed: dict[int, HfmediaError] = {}
        self._began = time.monotonic()

    def hear(self, event: Event) -> None:
        """Counts what ends a job."""
        if isinstance(event, MediaReady):
            self.made.setdefault(event.index, []).append(event.media)
        elif isinstance(event, JobFailed):
            self.failed[event.index] = event.error

    def line(self) -> str:
        """The totals in one line."""
        media = [one for some in self.made.values() for one in some]
        parts = [f"{len(media)} made"]
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += [costs(one.cost for one in media)] if media else []
        return f"{', '.join(parts)}, {time.monotonic() - self._began:.1f} s"


class Unseen:
    """Progress that nobody watches: only the results are said."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice

    def hear(self, event: Event) -> None:
        """Nothing is shown."""

    def result(self, line: str | Mapping[str, Any]) -> None:
        """One result, on stdout."""
        self.voice.result(line)

    def close(self, totals: str) -> None:
        """The end; where nobody watches, nobody counts."""


class Bars(Unseen):
    """Progress on a terminal: one line per job while they run, and the totals at the end."""

    def __init__(self, voice: Voice, n: int) -> None:
        super().__init__(voice)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        self._n = n
        self._rows: dict[int, TaskID] = {}
        self._providers: dict[int, str] = {}
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        state = Column(no_wrap=True, overflow="ellipsis", min_width=12, max_width=STATE_WIDTH)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[provider]}", style="cyan", markup=False),
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.fields[state]}", markup=False, table_column=state),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # stdout may be a pipe, and results belong there
            redirect_stderr=False,
        )
        self._both = sys.stdout.isatty()
        self._before, voice.write = voice.write, self._write
        self._progress.start()

    def hear(self, event: Event) -> None:
        """The job's line says what it does now."""
        row = self._rows.get(event.index)
        if row is None:
            row = self._progress.add_task(f"{event.index + 1}/{self._n}", total=None, provider="", state="")
            self._rows[event.index] = row
        fraction, ended = _fraction(event), isinstance(event, MediaReady | JobFailed)
        provider = plain(getattr(event, "provider", "") or self._providers.get(event.index, ""))
        self._providers[event.index] = provider
        state = plain(words(event)).replace("\n", " ")
        self._progress.update(row, provider=provider, state=state)
        if fraction is not None:  # until then the bar has no total and swings to and fro
            self._progress.update(row, total=1.0, completed=fraction if ended else min(fraction, ALMOST))
        if ended:
            self._progress.stop_task(row)

    def result(self, line: str | Mapping[str, Any]) -> None:
        """One result on stdout; the bars step aside when both are the same terminal."""
        if not self._both:
            self.voice.result(line)
            return
        self._progress.stop()
        self.voice.result(line)
        self._progress.start()

    def close(self, totals: str) -> None:
        """The last state of each job stays on the screen, and the totals below."""
        self._progress.live.transient = False
        self._progress.stop()
        self.voice.write = self._before
        if totals:
            self.voice.note(totals)

    def _write(self, text: str, tone: Tone) -> None:
        """A line above the bars, its first word in colour."""
        from rich.text import Text

        style = {"note": "dim", "warning": "yellow", "error": "red"}[tone]
        head, colon, rest = text.partition(":")
        line = Text.assemble((head + colon, style), rest) if colon else Text(text, style=style)
        self._console.print(line, soft_wrap=True)


def progress(voice: Voice, n: int, *, watched: bool) -> Unseen:
    """How progress is shown: bars where a person watches, else nothing."""
    return Bars(voice, n) if watched and not voice.quiet else Unseen(voice)


def relative(path: Path) -> str:
    """A path as a shell user would write it: from the current folder where it lies below it."""
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except (OSError, ValueError):  # the current folder is gone, or on another drive
        return str(path)
