"""The engine: carries a job from its wish to its file, and tells what happens on the way."""

from __future__ import annotations

from .dependencies import EngineDependencies, Timeouts
from .engine import Engine
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
