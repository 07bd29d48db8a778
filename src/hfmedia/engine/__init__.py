"""The engine: runs a job from its request to its file, and emits events on the way."""

from __future__ import annotations

from hfmedia.core.timeouts import Timeouts

from .dependencies import EngineDependencies
from .engine import Engine
from .event_stream import EventStream
from .events import (
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

__all__ = [
    "Accepted",
    "Downloading",
    "Engine",
    "EngineDependencies",
    "Event",
    "EventStream",
    "FailedOver",
    "JobFailed",
    "MediaReady",
    "Queued",
    "Retrying",
    "Running",
    "Started",
    "Submitting",
    "Timeouts",
]
