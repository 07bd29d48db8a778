"""Events: what a job tells while it is carried. They are told, not stored; the ledger keeps facts instead.

Each names its job and which of the outputs it is (``index``, from 0).
"""

from __future__ import annotations

from msgspec import Struct

from hfmedia.core.errors import HfmediaError
from hfmedia.storage import Media


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened to one job."""

    job_id: str
    index: int = 0


class Started(Event, frozen=True, kw_only=True):
    """The job exists. ``seed`` is the one that will be asked for, None where the provider chooses."""

    model: str
    seed: int | None = None
    warnings: tuple[str, ...] = ()


class Submitting(Event, frozen=True, kw_only=True):
    """The request goes out to this provider now."""

    provider: str
    attempt: int = 1


class Accepted(Event, frozen=True, kw_only=True):
    """The provider took the job; from here on it may be billed. ``provider_job`` is the provider's own id for it."""

    provider: str
    provider_job_id: str


class Queued(Event, frozen=True, kw_only=True):
    """The job waits at the provider. ``position`` counts as that provider does, None where it does not tell."""

    provider: str
    position: int | None = None


class Running(Event, frozen=True, kw_only=True):
    """The provider works. ``fraction`` is 0 to 1, ``eta`` in seconds, ``message`` a line of its log: where it tells."""

    provider: str
    fraction: float | None = None
    message: str | None = None
    eta: float | None = None


class Retrying(Event, frozen=True, kw_only=True):
    """Something free or certainly not accepted is tried again in ``after`` seconds."""

    provider: str
    reason: str
    delay: float


class FailedOver(Event, frozen=True, kw_only=True):
    """The job moves to another provider, since the previous one certainly did not accept it.

    ``summary`` is ``reason`` without the provider's text, which may quote the request.
    """

    provider: str
    previous_provider: str
    reason: str
    summary: str = ""


class Downloading(Event, frozen=True, kw_only=True):
    """The media is on its way here; ``total`` is None where the server does not tell. Both in bytes."""

    provider: str
    received: int
    total: int | None = None


class MediaReady(Event, frozen=True, kw_only=True):
    """One output lies whole on the disk.

    ``url`` is where the provider still has it, None for inline media. It may be signed and expires, so it is told here
    and written nowhere.
    """

    media: Media
    url: str | None = None


class JobFailed(Event, frozen=True, kw_only=True):
    """This output will not come (or not now: see ``error``). The others go on."""

    error: HfmediaError
