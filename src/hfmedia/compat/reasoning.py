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
    FailedOver,
    JobFailed,
    MediaReady,
    Queued,
    Retrying,
    Running,
    Started,
    Submitting,
)

from .responses import Reasoning

MEGABYTE = 1_000_000
HEARTBEAT_INTERVAL = (
    1.0  # seconds of silence after which a chat is told that the work goes on, so that nothing cuts its connection
)


def _format_started(event: Started) -> str | None:
    return "; ".join(event.warnings) or None


def _format_submitting(event: Submitting) -> str:
    return f"asking {event.provider}" + (f", attempt {event.attempt}" if event.attempt > 1 else "")


def _format_queued(event: Queued) -> str:
    return f"at {event.provider}" + (f", position {event.position}" if event.position is not None else "")


def _format_running(event: Running) -> str:
    fraction = f", {event.fraction:.0%}" if event.fraction is not None else ""
    remaining = f", about {event.eta:.0f} s left" if event.eta is not None else ""
    return f"at {event.provider}{fraction}{remaining}" + (f": {event.message}" if event.message else "")


def _format_retrying(event: Retrying) -> str:
    return f"in {event.delay:.1f} s, because {event.reason}"


def _format_failed_over(event: FailedOver) -> str:
    return f"from {event.previous_provider} to {event.provider}, because {event.reason}"


def _format_downloading(event: Downloading) -> str:
    total = f" of {event.total / MEGABYTE:.1f}" if event.total else ""
    return f"{event.received / MEGABYTE:.1f}{total} MB from {event.provider}"


FORMATTERS: dict[type[Event], tuple[str, Callable[[Any], str | None]]] = {
    Started: ("Note", _format_started),
    Submitting: ("Generating", _format_submitting),
    Accepted: ("Generating", lambda event: f"accepted by {event.provider}"),
    Queued: ("Queued", _format_queued),
    Running: ("Running", _format_running),
    Retrying: ("Retrying", _format_retrying),
    FailedOver: ("Moved", _format_failed_over),
    Downloading: ("Downloading", _format_downloading),
    MediaReady: ("Finished", lambda event: f"{event.media.timings.get('total', 0):.2f}s"),
    JobFailed: ("Failed", lambda event: str(event.error)),
}


def to_reasoning(event: Event, n: int) -> Reasoning | None:
    """An event in words, with which of the ``n`` it is about where there are several; None for nothing to tell."""
    label, format_status = FORMATTERS.get(type(event), ("", lambda _: None))
    status = format_status(event)
    if status is None:
        return None
    return Reasoning(label=label, status=f"{event.index + 1}/{n}: {status}" if n > 1 else status)


async def with_heartbeat(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event | None, None]:
    """The events, and None after each second in which nothing was heard. Closing it stops the events."""
    next_event: asyncio.Task[Event | None] | None = None
    try:
        while True:
            next_event = next_event or asyncio.create_task(_next_or_none(events))
            done, _ = await asyncio.wait({next_event}, timeout=HEARTBEAT_INTERVAL)
            if not done:
                yield None
                continue
            event, next_event = next_event.result(), None
            if event is None:
                return
            yield event
    finally:
        if next_event is not None:
            next_event.cancel()
            await asyncio.gather(next_event, return_exceptions=True)
        await events.aclose()


async def _next_or_none(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)
