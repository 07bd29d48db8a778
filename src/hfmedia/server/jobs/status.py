"""What is known of a job beyond the ledger: where it stands in a queue, how far it is, and who else was asked.

Events come in, a later fact replaces the earlier one; it is told, never stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct, structs

from hfmedia.core.errors import JobCancelledError
from hfmedia.core.job import Job, State
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

PublicStatus = Literal["queued", "in_progress", "completed", "failed", "cancelled"]
PUBLIC_STATUS: dict[State, PublicStatus] = {
    "created": "queued",
    "routed": "queued",
    "submitting": "in_progress",
    "in_doubt": "failed",
    "running": "in_progress",
    "completed": "in_progress",
    "stored": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}


class JobStatus(Struct, frozen=True, kw_only=True):
    """How a job stands. ``position`` is as the provider counts, ``progress`` and the rest are there where it tells.

    ``progress`` is 0 to 1; ``received`` and ``total`` are bytes of the download; ``moves`` holds a sentence for each
    change of provider; ``version`` grows with each change.
    """

    job_id: str
    status: PublicStatus
    stage: Literal["waiting", "submitting", "queued", "running", "downloading", "ended"] = "waiting"
    provider: str | None = None
    position: int | None = None
    progress: float | None = None
    message: str | None = None
    received: int | None = None
    total: int | None = None
    failovers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None
    updated_at: float = 0.0
    version: int = 0

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.stage == "ended"


def job_status_of(job: Job) -> JobStatus:
    """How a job stands by the ledger alone: nobody here carries it."""
    status = PUBLIC_STATUS[job.state]
    stages: dict[State, Any] = {"running": "running", "completed": "downloading", "submitting": "submitting"}
    is_final = job.is_terminal or job.state == "in_doubt"
    return JobStatus(
        job_id=job.id,
        status=status,
        stage="ended" if is_final else stages.get(job.state, "waiting"),
        provider=job.route.provider if job.route else None,
        progress=1.0 if job.state == "stored" else None,
        failovers=job.rejections,
        error=job.error if job.state in ("failed", "cancelled", "in_doubt") else None,
        updated_at=job.updated_at,
    )


def apply_event(
    job_status: JobStatus, event: Event, *, timestamp: float, is_final: bool, was_completed: bool = False
) -> JobStatus:
    """How the job stands after one more event.

    ``over``: a failure ended it (else it is tried again). ``made``: the provider was done before the failure came.
    """
    change = _CHANGES.get(type(event))
    changes = change(job_status, event) if change else {}
    if isinstance(event, JobFailed):
        changes = _failure_changes(event, is_final=is_final, was_completed=was_completed)
    return structs.replace(job_status, updated_at=timestamp, version=job_status.version + 1, **changes)


def _failure_changes(event: JobFailed, *, is_final: bool, was_completed: bool) -> dict[str, Any]:
    cancelled = isinstance(event.error, JobCancelledError)
    if not is_final and cancelled and was_completed:
        return {"stage": "downloading", "message": "It was made before the cancelling arrived: it is fetched."}
    if not is_final:
        return {"stage": "waiting", "message": f"{event.error.message.rstrip('.')}. It is tried again by itself."}
    status = "cancelled" if cancelled else "failed"
    return {"stage": "ended", "status": status, "error": event.error.message, "message": None}


_CHANGES: dict[type[Event], Callable[[JobStatus, Any], dict[str, Any]]] = {
    Started: lambda live, event: {"warnings": event.warnings},
    Submitting: lambda live, event: {"stage": "submitting", "provider": event.provider, "message": None},
    Accepted: lambda live, event: {"stage": "queued", "status": "queued", "provider": event.provider, "message": None},
    Queued: lambda live, event: {"stage": "queued", "provider": event.provider, "position": event.position},
    Running: lambda live, event: {
        "stage": "running",
        "status": "in_progress",
        "provider": event.provider,
        "position": None,
        "progress": event.fraction if event.fraction is not None else live.progress,
        "message": event.message or live.message,
    },
    Retrying: lambda live, event: {"message": f"{event.reason}; asked again in {event.delay:.0f} s"},
    FailedOver: lambda live, event: {
        "provider": event.provider,
        "failovers": (*live.failovers, f"{event.reason}; moved from {event.previous_provider} to {event.provider}"),
    },
    Downloading: lambda live, event: {
        "stage": "downloading",
        "status": "in_progress",
        "position": None,
        "received": event.received,
        "total": event.total,
        "message": None,
    },
    MediaReady: lambda live, event: {
        "stage": "ended",
        "status": "completed",
        "progress": 1.0,
        "position": None,
        "message": None,
        "received": None,  # as the ledger shows it once the run is over
        "total": None,
        "error": None,
    },
}
