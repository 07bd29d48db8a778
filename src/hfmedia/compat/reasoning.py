"""Job events as Reasoning, the progress text that a chat shows while it waits.

One table row per event type; events without a row are not shown.
"""

from __future__ import annotations

from collections.abc import Callable
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


def _format_started(event: Started) -> str | None:
    return "; ".join(event.warnings) or None


def _format_submitting(event: Submitting) -> str:
    return f"submitting to {event.provider}" + (f", attempt {event.attempt}" if event.attempt > 1 else "")


def _format_queued(event: Queued) -> str:
    return f"at {event.provider}" + (f", position {event.position}" if event.position is not None else "")


def _format_running(event: Running) -> str:
    fraction = f", {event.fraction:.0%}" if event.fraction is not None else ""
    remaining = f", about {event.eta:.0f} s left" if event.eta is not None else ""
    return f"at {event.provider}{fraction}{remaining}" + (f": {event.message}" if event.message else "")


def _format_retrying(event: Retrying) -> str:
    return f"in {event.delay:.1f} s: {event.reason}"


def _format_failed_over(event: FailedOver) -> str:
    return f"from {event.previous_provider} to {event.provider}: {event.reason}"


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
    FailedOver: ("Failover", _format_failed_over),
    Downloading: ("Downloading", _format_downloading),
    MediaReady: ("Finished", lambda event: f"{event.media.timings.get('total', 0):.2f}s"),
    JobFailed: ("Failed", lambda event: str(event.error)),
}


def to_reasoning(event: Event, n: int) -> Reasoning | None:
    """Format an event, with the number of its output where there are several; None if there is nothing to show."""
    label, format_status = FORMATTERS.get(type(event), ("", lambda _: None))
    status = format_status(event)
    if status is None:
        return None
    return Reasoning(label=label, status=f"{event.index + 1}/{n}: {status}" if n > 1 else status)
