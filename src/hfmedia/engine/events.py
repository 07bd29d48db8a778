"""Progress events of running jobs. They are published, not stored; the ledger keeps entries instead.

Each event names its job and the index of its output, counted from 0.
"""

from __future__ import annotations

from msgspec import Struct

from hfmedia.core.errors import HfmediaError
from hfmedia.storage import Media


class Event(Struct, frozen=True, kw_only=True):
    """Base class of all events of one job."""

    job_id: str
    index: int = 0


class Started(Event, frozen=True, kw_only=True):
    """The job exists. ``seed`` is the requested one, None when the provider chooses."""

    model: str
    seed: int | None = None
    warnings: tuple[str, ...] = ()


class Submitting(Event, frozen=True, kw_only=True):
    """The request is being sent to this provider; ``attempt`` counts from 1."""

    provider: str
    attempt: int = 1


class Accepted(Event, frozen=True, kw_only=True):
    """The provider accepted the job and may bill it from now on. ``provider_job_id`` is the provider's own id."""

    provider: str
    provider_job_id: str


class Queued(Event, frozen=True, kw_only=True):
    """The job waits at the provider. ``position`` counts as that provider does, None when not reported."""

    provider: str
    position: int | None = None


class Running(Event, frozen=True, kw_only=True):
    """The provider is working. ``fraction`` is 0 to 1, ``eta`` in seconds, ``message`` a log line.

    Each is None when the provider does not report it.
    """

    provider: str
    fraction: float | None = None
    message: str | None = None
    eta: float | None = None


class Retrying(Event, frozen=True, kw_only=True):
    """A step that is free, or was certainly not accepted, is retried in ``delay`` seconds."""

    provider: str
    reason: str
    delay: float


class FailedOver(Event, frozen=True, kw_only=True):
    """The job moves to another provider, because the previous one certainly did not accept it.

    ``summary`` is ``reason`` without the provider's text, which may quote the request.
    """

    provider: str
    previous_provider: str
    reason: str
    summary: str = ""


class Downloading(Event, frozen=True, kw_only=True):
    """The media is being downloaded; sizes in bytes, ``total`` is None when the server does not report it."""

    provider: str
    received: int
    total: int | None = None


class MediaReady(Event, frozen=True, kw_only=True):
    """One output is completely on disk.

    ``url`` is the provider's copy, None for inline media. It may be signed and expires, so it is only in this event and
    never stored.
    """

    media: Media
    url: str | None = None


class JobFailed(Event, frozen=True, kw_only=True):
    """This output failed, or cannot be delivered now: see ``error``. The other outputs continue."""

    error: HfmediaError
