"""The engine: carries a job from its wish to its file, and tells what happens on the way."""

from __future__ import annotations

from .engine import Engine
from .events import (
    Accepted,
    Downloading,
    Event,
    JobFailed,
    MediaReady,
    FailedOver,
    Queued,
    Retrying,
    Running,
    Started,
    Submitting,
)
from .world import Timeouts, EngineDependencies

__all__ = [
    "Accepted",
    "Downloading",
    "Engine",
    "Event",
    "JobFailed",
    "MediaReady",
    "FailedOver",
    "Queued",
    "Retrying",
    "Running",
    "Started",
    "Submitting",
    "Timeouts",
    "EngineDependencies",
]
