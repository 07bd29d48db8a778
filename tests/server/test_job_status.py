"""Live status of a job: folded from its events, or implied by its ledger state."""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.core.errors import DownloadError, GenerationFailedError, JobCancelledError
from hfmedia.core.job import STATES, Job
from hfmedia.core.request import GenerationRequest
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
    Submitting,
)
from hfmedia.server.jobs.status import PUBLIC_STATUS, FailoverRecord, JobStatus, apply_event, job_status_of

J: dict[str, Any] = {"job_id": "j"}
EVENTS: list[tuple[Event, dict[str, Any]]] = [
    (Submitting(**J, provider="fal-ai"), {"stage": "submitting", "provider": "fal-ai", "status": "queued"}),
    (FailedOver(**J, provider="together", previous_provider="fal-ai", reason="no credit"), {"provider": "together"}),
    (Accepted(**J, provider="together", provider_job_id="x"), {"stage": "queued", "status": "queued"}),
    (Queued(**J, provider="together", position=3), {"stage": "queued", "position": 3}),
    (
        Running(**J, provider="together", fraction=0.5, message="half"),
        {"stage": "running", "position": None, "progress": 0.5, "status": "in_progress"},
    ),
    (Running(**J, provider="together"), {"progress": 0.5, "message": "half"}),
    (Retrying(**J, provider="together", reason="timeout", delay=2.0), {"message": "timeout; retrying in 2 s"}),
    (
        Downloading(**J, provider="together", received=5, total=10),
        {"stage": "downloading", "received": 5, "total": 10, "message": None},
    ),
]


def test_a_status_follows_its_events() -> None:
    """Each event replaces earlier values, and the version grows."""
    job_status = JobStatus(job_id="j", status="queued")
    for number, (event, expected) in enumerate(EVENTS, 1):
        job_status = apply_event(job_status, event, timestamp=float(number), is_final=False)
        assert {name: getattr(job_status, name) for name in expected} == expected, event
        assert (job_status.version, job_status.updated_at) == (number, float(number))
    assert job_status.failovers == (
        FailoverRecord(reason="no credit", previous_provider="fal-ai", provider="together"),
    )


def test_a_completed_job_has_the_same_status_once_it_no_longer_runs() -> None:
    """The ledger implies the same as the last event; otherwise the studio would redraw the image."""
    job_status = JobStatus(job_id="j", status="queued")
    for event in (*(event for event, _ in EVENTS), MediaReady(**J, media=None)):  # type: ignore[arg-type]
        job_status = apply_event(job_status, event, timestamp=1.0, is_final=True)
    job = Job(id="j", request=GenerationRequest(task="text-to-image", model="a/b"), state="stored")
    later = job_status_of(job)
    for name in ("status", "stage", "position", "progress", "message", "received", "total", "error"):
        assert getattr(job_status, name) == getattr(later, name), name


ENDS = [
    (GenerationFailedError("it broke"), True, "failed", "ended", "it broke"),
    (JobCancelledError("stopped"), True, "cancelled", "ended", "stopped"),
    (DownloadError("cut off."), False, "in_progress", "waiting", None),
]


@pytest.mark.parametrize(("error", "is_final", "status", "stage", "message"), ENDS)
def test_a_failure_ends_a_job_only_if_it_is_final(
    error: Any, is_final: bool, status: str, stage: str, message: str | None
) -> None:
    """An interrupted job is retried automatically, and its message says so."""
    job_status = apply_event(
        JobStatus(job_id="j", status="in_progress"),
        JobFailed(job_id="j", error=error),
        timestamp=1.0,
        is_final=is_final,
    )
    assert (job_status.status, job_status.stage, job_status.error) == (status, stage, message)
    assert is_final or "Retried automatically" in (job_status.message or "")


def test_a_job_completed_before_its_cancellation_is_downloaded() -> None:
    """Nothing is submitted again, and the message does not suggest it."""
    failed = JobFailed(job_id="j", error=JobCancelledError("too late"))
    job_status = apply_event(
        JobStatus(job_id="j", status="in_progress"), failed, timestamp=1.0, is_final=False, was_completed=True
    )
    assert (job_status.status, job_status.stage, job_status.is_final) == ("in_progress", "downloading", False)
    assert job_status.message == "Completed before the cancellation took effect; downloading the result."


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_the_ledger_has_a_status(state: Any) -> None:
    """In OpenAI's terms; a job in doubt has failed."""
    job = Job(id="j", request=GenerationRequest(task="text-to-image", model="a/b"), state=state, error="why")
    job_status = job_status_of(job)
    assert job_status.status == PUBLIC_STATUS[state]
    assert job_status.is_final == (state in ("stored", "failed", "cancelled", "in_doubt"))
    assert (job_status.error == "why") == (state in ("failed", "cancelled", "in_doubt"))
