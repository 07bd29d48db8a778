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
from hfmedia.core.costs import BYS, By, Sum, sums, total
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import ENDED, STATES, Fact, Job, State
from hfmedia.store.facts import plain as cleaned

from . import story
from .look import table
from .run import Stop, run
from .story import Standing
from .voice import Voice, plain

WATCH_EVERY = 1.0  # seconds between two looks into the ledger while somebody watches
COLUMNS = ("id", "state", "provider", "model", "prompt", "age", "cost", "tries", "next")
BREAKS = str.maketrans("\n\t", "  ")  # what would begin another row or another column; a path may hold them
NARROW, WIDE = 16, 60  # characters of a prompt: at least on a terminal, at most anywhere
Seen = TypeVar("Seen")
TAB = 20  # characters of the first column of one job


@asynccontextmanager
async def opened(proxy: str | None = None) -> AsyncGenerator[MediaClient, None]:
    """A client of the ledger under HFMEDIA_HOME."""
    async with MediaClient(proxy=proxy, environ=os.environ) as client:
        yield client


# -- many -------------------------------------------------------------------------------------------------------------


def show_list(
    states: Sequence[str],
    filters: Mapping[str, str | None],
    *,
    since: str | None,
    limit: int | None,
    watch: bool,
    voice: Voice,
) -> NoReturn:
    """Lists the jobs that fit, live ones first, and leaves with exit code 0."""

    async def work(stop: Stop) -> int:
        wanted = story.named_states(states)
        async with opened() as client:
            now = client.engine.world.clock
            after = None if since is None else story.moment(since, now(), option="--since")
            given: dict[str, Any] = {**filters, "since": after}

            async def look() -> tuple[list[Standing], bool]:
                found = await _latest(client, wanted, given, limit)
                return await stand(client, found[:limit]), limit is not None and len(found) > limit

            if watch:
                told: dict[str, tuple[object, ...]] = {}

                def news(found: Sequence[Standing]) -> list[Standing]:
                    fresh = [one for one in found if told.get(one.job.id) != (one.job.updated, one.carrier)]
                    told.update({one.job.id: (one.job.updated, one.carrier) for one in fresh})
                    return fresh

                async def every() -> tuple[list[Standing], bool]:
                    return (await look())[0], False

                await _watch(stop, every, wide, lambda found: _say_list(news(found), voice))
                return 0
            found, more = await look()
            _say_list(found, voice)
            if not found:
                voice.note("no job fits" if any((states, since, *filters.values())) else "there are no jobs yet")
            if more:
                voice.note(f"these are the latest {limit}; --all shows every one")
        return 0

    run(work, voice)


async def _latest(
    client: MediaClient, states: Sequence[State] | None, given: Mapping[str, Any], limit: int | None
) -> list[Job]:
    """Live jobs, then ended ones, the newest first in each; one more than the limit where there is one more."""
    found: list[Job] = []
    for ended in (False, True):
        room = None if limit is None else limit + 1 - len(found)
        wanted: list[State] = [one for one in (STATES if states is None else states) if (one in ENDED) is ended]
        if wanted and (room is None or room > 0):
            found += reversed(await client.jobs(states=wanted, limit=room, **given))
    return found


async def stand(client: MediaClient, jobs: Sequence[Job]) -> list[Standing]:
    """The jobs with what the ledger alone cannot tell: who carries them, and which files are gone."""
    now = client.engine.world.clock()
    carried = await client.ledger.carried()
    gone = await asyncio.to_thread(_gone, jobs)
    return [
        Standing(job=job, carrier=carried.get(job.id, "").partition("-")[0], gone=missing, now=now)
        for job, missing in zip(jobs, gone, strict=True)
    ]


def _gone(jobs: Sequence[Job]) -> list[tuple[str, ...]]:
    return [tuple(path for path in story.files(job) if not Path(path).exists()) for job in jobs]


def _say_list(found: Sequence[Standing], voice: Voice) -> None:
    if voice.as_json:
        for one in found:
            voice.result(cleaned(story.facts(one)))
    elif on_terminal():
        for line in wide(found):
            voice.result(line)
    else:
        table(voice, COLUMNS, [row(one) for one in found])


def on_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def row(one: Standing) -> tuple[str, ...]:
    """A job as the cells of one line."""
    job = one.job
    prompt = story.cut(story.line(job.request.prompt), WIDE)
    known = (job.id, story.state(job), story.provider(job), story.line(job.request.model), prompt)
    cells = (*known, story.age(one.now - job.created), story.cost(job), str(job.attempts), story.hint(one))
    return tuple(cell.translate(BREAKS) for cell in cells)


def wide(found: Sequence[Standing], width: int | None = None) -> list[str]:
    """Jobs on a terminal of so many columns: a line for each, and below it what there is to do or to know."""
    width = width or shutil.get_terminal_size().columns
    if not found:
        return []
    rows = [(*cells[:3], cells[3].rpartition("/")[2], *cells[4:]) for cells in map(row, found)]
    heads = tuple(name.upper() for name in COLUMNS[:-1])
    widths = [max(len(cells[column]) for cells in (heads, *rows)) for column in range(len(heads))]
    prompt = COLUMNS.index("prompt")
    spare = width - sum(widths) - 2 * (len(widths) - 1)
    widths[prompt] = max(min(NARROW, widths[prompt]), widths[prompt] + min(0, spare))
    lines: list[str] = []
    for cells in (heads, *rows):
        shown = [story.cut(cell, size).ljust(size) for cell, size in zip(cells[: len(widths)], widths, strict=True)]
        lines.append("  ".join(shown).rstrip())
        lines += [f"    {cells[-1]}"] if len(cells) > len(widths) and cells[-1] else []
    return lines


# -- one --------------------------------------------------------------------------------------------------------------


def show_one(text: str, *, watch: bool, voice: Voice) -> NoReturn:
    """Shows one job and leaves with exit code 0; watched, until it has ended."""

    async def work(stop: Stop) -> int:
        async with opened() as client:
            job_id = await find(client, text)

            async def look() -> tuple[tuple[Standing, list[Fact]], bool]:
                (one,) = await stand(client, [await client.engine.job(job_id)])
                return (one, await client.story(job_id)), one.job.ended

            seen, _ = await look()
            if not watch:
                _say_one(*seen, voice)
                return 0
            said = 0

            def news(seen: tuple[Standing, list[Fact]]) -> None:
                nonlocal said
                for fact in seen[1][said:]:
                    voice.result(story.event(fact) if voice.as_json else _happened(fact))
                said = len(seen[1])

            await _watch(stop, look, lambda seen: page(*seen), news)
        return 0

    run(work, voice)


async def find(client: MediaClient, text: str) -> str:
    """The id of the one job that begins so."""
    await client.engine.settle()
    said = text.strip().lower()
    if said and await client.ledger.job(said):
        return said
    return story.chosen(text, [job.id async for job in client.ledger.jobs()])


def _say_one(one: Standing, events: Sequence[Fact], voice: Voice) -> None:
    if voice.as_json:
        voice.result(cleaned({**story.facts(one), **story.more(one.job), "events": [*map(story.event, events)]}))
        return
    for text in page(one, events):
        voice.result(text)


def page(one: Standing, events: Sequence[Fact]) -> list[str]:
    """Everything about one job, a line for each fact; what is not known is left out, but for the cost."""
    lines = [f"{name:<{TAB}}{text}" for name, text in story.about(one) if text]
    return [*lines, "", "what happened:", *(f"  {_happened(fact)}" for fact in events)]


def _happened(fact: Fact) -> str:
    return f"{story.clock(fact.at)}  {story.deed(fact)}"


# -- costs ------------------------------------------------------------------------------------------------------------


def show_costs(by: str, filters: Mapping[str, str | None], *, since: str | None, voice: Voice) -> NoReturn:
    """Adds up what providers reported and leaves with exit code 0."""

    async def work(stop: Stop) -> int:
        wanted: By | None = next((one for one in BYS if one == by), None)
        if wanted is None:
            raise InvalidRequestError(f"--by {by!r} is none of {', '.join(BYS)}")
        async with opened() as client:
            now = client.engine.world.clock()
            after = None if since is None else story.moment(since, now, option="--since")
            jobs = await client.jobs(since=after, provider=filters["provider"], model=filters["model"])
        rows = sums(jobs, wanted, day=story.day)
        if voice.as_json:
            for one in rows:
                voice.result(_summed(wanted, one))
            return 0
        table(voice, (wanted, "jobs", "reported", "unknown", "nothing to pay"), [_cells(one) for one in rows])
        every = total(jobs)
        if every.unknown:
            voice.note(f"of {every.jobs} jobs, {every.unknown} may be billed at a price that nobody told")
        if not jobs:
            voice.note("there are no jobs to add up")
        return 0

    run(work, voice)


def _cells(one: Sum) -> tuple[str, ...]:
    reported = story.money(one.told) if one.told else "-" if not one.unknown else "unknown"
    return plain(one.name), str(one.jobs), reported, str(one.unknown), str(one.free)


def _summed(by: str, one: Sum) -> dict[str, Any]:
    counts = {"jobs": one.jobs, "known": one.known, "unknown": one.unknown, "nothing_to_pay": one.free}
    return {by: one.name, "reported": one.told, **counts}


# -- watching ---------------------------------------------------------------------------------------------------------


async def _watch(
    stop: Stop,
    look: Callable[[], Awaitable[tuple[Seen, bool]]],
    paint: Callable[[Seen], Sequence[str]],
    news: Callable[[Seen], None],
) -> None:
    """Looks again and again, until the look says that this was the last, or Ctrl-C.

    On a terminal the picture is painted anew each time; elsewhere only what is new is said.
    """
    over = asyncio.Event()
    stop.gently = over.set
    with _screen() as show:
        while True:
            seen, last = await look()
            if show is None:
                news(seen)
            else:
                show(paint(seen))
            if last or over.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), WATCH_EVERY)


@contextmanager
def _screen() -> Generator[Callable[[Sequence[str]], None] | None]:
    """What paints lines over the ones before; None where stdout is no terminal that could."""
    if not on_terminal() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False) as live:
        yield lambda lines: live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
