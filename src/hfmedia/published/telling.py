"""Events in words: what a job tells becomes the Reasoning that a chat shows while it waits.

A table, one line for each kind of event; what has no line is not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from hfmedia.engine import (
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

from .responses import Reasoning

MEGABYTE = 1_000_000
PULSE = 1.0  # seconds of silence after which a chat is told that the work goes on, so that nothing cuts its connection


def _started(event: Started) -> str | None:
    return "; ".join(event.notes) or None


def _submitting(event: Submitting) -> str:
    return f"asking {event.provider}" + (f", attempt {event.attempt}" if event.attempt > 1 else "")


def _queued(event: Queued) -> str:
    return f"at {event.provider}" + (f", position {event.position}" if event.position is not None else "")


def _running(event: Running) -> str:
    fraction = f", {event.fraction:.0%}" if event.fraction is not None else ""
    left = f", about {event.eta:.0f} s left" if event.eta is not None else ""
    return f"at {event.provider}{fraction}{left}" + (f": {event.message}" if event.message else "")


def _retrying(event: Retrying) -> str:
    return f"in {event.after:.1f} s, because {event.reason}"


def _moved(event: Moved) -> str:
    return f"from {event.before} to {event.provider}, because {event.reason}"


def _downloading(event: Downloading) -> str:
    total = f" of {event.total / MEGABYTE:.1f}" if event.total else ""
    return f"{event.received / MEGABYTE:.1f}{total} MB from {event.provider}"


TOLD: dict[type[Event], tuple[str, Callable[[Any], str | None]]] = {
    Started: ("Note", _started),
    Submitting: ("Generating", _submitting),
    Accepted: ("Generating", lambda event: f"accepted by {event.provider}"),
    Queued: ("Queued", _queued),
    Running: ("Running", _running),
    Retrying: ("Retrying", _retrying),
    Moved: ("Moved", _moved),
    Downloading: ("Downloading", _downloading),
    MediaReady: ("Finished", lambda event: f"{event.media.timings.get('total', 0):.2f}s"),
    JobFailed: ("Failed", lambda event: str(event.error)),
}


def reasoning(event: Event, n: int) -> Reasoning | None:
    """An event in words, with which of the ``n`` it is about where there are several; None for nothing to tell."""
    label, words = TOLD.get(type(event), ("", lambda _: None))
    status = words(event)
    if status is None:
        return None
    return Reasoning(label=label, status=f"{event.index + 1}/{n}: {status}" if n > 1 else status)


async def with_pulse(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event | None, None]:
    """The events, and None after each second in which nothing was heard. Closing it stops the events."""
    following: asyncio.Task[Event | None] | None = None
    try:
        while True:
            following = following or asyncio.create_task(_next(events))
            done, _ = await asyncio.wait({following}, timeout=PULSE)
            if not done:
                yield None
                continue
            event, following = following.result(), None
            if event is None:
                return
            yield event
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await events.aclose()


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)
