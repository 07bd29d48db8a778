"""Live status of a job: queue position, progress and failovers, folded from its events.

It is never stored; a job that does not run here has the status that its ledger state implies.
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
Stage = Literal["waiting", "submitting", "queued", "running", "downloading", "ended"]
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
_STAGES: dict[State, Stage] = {"running": "running", "completed": "downloading", "submitting": "submitting"}


class FailoverRecord(Struct, frozen=True, kw_only=True):
    """A failover and its reason. The providers are None for a job that does not run here: the ledger has the reason."""

    reason: str
    previous_provider: str | None = None
    provider: str | None = None


class JobStatus(Struct, frozen=True, kw_only=True):
    """Status of a job. ``position`` and ``progress`` are None unless the provider reports them.

    ``progress`` is 0 to 1; ``received`` and ``total`` are bytes of the download; ``version`` grows with each change.
    """

    job_id: str
    status: PublicStatus
    stage: Stage = "waiting"
    provider: str | None = None
    position: int | None = None
    progress: float | None = None
    message: str | None = None
    received: int | None = None
    total: int | None = None
    failovers: tuple[FailoverRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None
    updated_at: float = 0.0
    version: int = 0

    @property
    def is_final(self) -> bool:
        """True if the status will not change unless the caller acts."""
        return self.stage == "ended"


def job_status_of(job: Job) -> JobStatus:
    """Return the status that the ledger alone implies, for a job that does not run here."""
    is_final = job.is_terminal or job.state == "in_doubt"
    return JobStatus(
        job_id=job.id,
        status=PUBLIC_STATUS[job.state],
        stage="ended" if is_final else _STAGES.get(job.state, "waiting"),
        provider=job.route.provider if job.route else None,
        progress=1.0 if job.state == "stored" else None,
        failovers=tuple(FailoverRecord(reason=reason) for reason in job.rejections),
        error=job.error if job.state in ("failed", "cancelled", "in_doubt") else None,
        updated_at=job.updated_at,
    )


def apply_event(
    job_status: JobStatus, event: Event, *, timestamp: float, is_final: bool, was_completed: bool = False
) -> JobStatus:
    """Return the status after an event.

    ``is_final``: a failure ended the job, which is not retried. ``was_completed``: the provider had completed the job
    before the failure.
    """
    change = _CHANGES.get(type(event))
    changes = change(job_status, event) if change else {}
    if isinstance(event, JobFailed):
        changes = _failure_changes(event, is_final=is_final, was_completed=was_completed)
    return structs.replace(job_status, updated_at=timestamp, version=job_status.version + 1, **changes)


def _failure_changes(event: JobFailed, *, is_final: bool, was_completed: bool) -> dict[str, Any]:
    cancelled = isinstance(event.error, JobCancelledError)
    if not is_final and cancelled and was_completed:
        message = "Completed before the cancellation took effect; downloading the result."
        return {"stage": "downloading", "message": message}
    if not is_final:
        return {"stage": "waiting", "message": f"{event.error.message.rstrip('.')}. Retried automatically."}
    status = "cancelled" if cancelled else "failed"
    return {"stage": "ended", "status": status, "error": event.error.message, "message": None}


_CHANGES: dict[type[Event], Callable[[JobStatus, Any], dict[str, Any]]] = {
    Started: lambda status, event: {"warnings": event.warnings},
    Submitting: lambda status, event: {"stage": "submitting", "provider": event.provider, "message": None},
    Accepted: lambda status, event: {
        "stage": "queued",
        "status": "queued",
        "provider": event.provider,
        "message": None,
    },
    Queued: lambda status, event: {"stage": "queued", "provider": event.provider, "position": event.position},
    Running: lambda status, event: {
        "stage": "running",
        "status": "in_progress",
        "provider": event.provider,
        "position": None,
        "progress": event.fraction if event.fraction is not None else status.progress,
        "message": event.message or status.message,
    },
    Retrying: lambda status, event: {"message": f"{event.reason}; retrying in {event.delay:.0f} s"},
    FailedOver: lambda status, event: {
        "provider": event.provider,
        "failovers": (
            *status.failovers,
            FailoverRecord(reason=event.reason, previous_provider=event.previous_provider, provider=event.provider),
        ),
    },
    Downloading: lambda status, event: {
        "stage": "downloading",
        "status": "in_progress",
        "position": None,
        "received": event.received,
        "total": event.total,
        "message": None,
    },
    MediaReady: lambda status, event: {
        "stage": "ended",
        "status": "completed",
        "progress": 1.0,
        "position": None,
        "message": None,
        "received": None,  # the ledger implies none either, once the job no longer runs
        "total": None,
        "error": None,
    },
}
