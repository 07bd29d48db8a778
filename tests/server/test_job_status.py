"""How a job stands while it is carried: the fold of its events; and by the ledger alone."""

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
from hfmedia.server.jobs.status import PUBLIC_STATUS, JobStatus, apply_event, job_status_of

J: dict[str, Any] = {"job_id": "j"}
STORY: list[tuple[Event, dict[str, Any]]] = [
    (Submitting(**J, provider="fal-ai"), {"stage": "asking", "provider": "fal-ai", "status": "queued"}),
    (FailedOver(**J, provider="together", previous_provider="fal-ai", reason="no credit"), {"provider": "together"}),
    (Accepted(**J, provider="together", provider_job_id="x"), {"stage": "queued", "status": "queued"}),
    (Queued(**J, provider="together", position=3), {"stage": "queued", "position": 3}),
    (
        Running(**J, provider="together", fraction=0.5, message="half"),
        {"stage": "running", "position": None, "progress": 0.5, "status": "in_progress"},
    ),
    (Running(**J, provider="together"), {"progress": 0.5, "message": "half"}),
    (Retrying(**J, provider="together", reason="it coughed", delay=2.0), {"message": "it coughed; asked again in 2 s"}),
    (
        Downloading(**J, provider="together", received=5, total=10),
        {"stage": "downloading", "received": 5, "total": 10, "message": None},
    ),
]


def test_a_story_is_told_event_by_event() -> None:
    """Each later fact replaces the earlier one, and the versions grow."""
    live = JobStatus(job_id="j", status="queued")
    for number, (event, expected) in enumerate(STORY, 1):
        live = apply_event(live, event, timestamp=float(number), is_final=False)
        assert {name: getattr(live, name) for name in expected} == expected, event
        assert (live.version, live.updated_at) == (number, float(number))
    assert live.failovers == ("no credit; moved from fal-ai to together",)


def test_a_completed_job_looks_the_same_once_its_run_is_over() -> None:
    """From the ledger alone as from its last event; otherwise the page redraws its picture while it is looked at."""
    live = JobStatus(job_id="j", status="queued")
    for event in (*(event for event, _ in STORY), MediaReady(**J, media=None)):  # type: ignore[arg-type]
        live = apply_event(live, event, timestamp=1.0, is_final=True)
    job = Job(id="j", request=GenerationRequest(task="text-to-image", model="a/b"), state="stored")
    later = job_status_of(job)
    for name in ("status", "stage", "position", "progress", "message", "received", "total", "error"):
        assert getattr(live, name) == getattr(later, name), name


ENDS = [
    (GenerationFailedError("it broke"), True, "failed", "ended", "it broke"),
    (JobCancelledError("stopped"), True, "cancelled", "ended", "stopped"),
    (DownloadError("cut off."), False, "in_progress", "waiting", None),
]


@pytest.mark.parametrize(("error", "over", "status", "stage", "words"), ENDS)
def test_a_failure_ends_a_job_only_when_it_is_over(
    error: Any, over: bool, status: str, stage: str, words: str | None
) -> None:
    """One that was let go of is tried again by itself, and says so."""
    live = apply_event(
        JobStatus(job_id="j", status="in_progress"), JobFailed(job_id="j", error=error), timestamp=1.0, is_final=over
    )
    assert (live.status, live.stage, live.error) == (status, stage, words)
    assert over or "tried again by itself" in (live.message or "")


def test_what_was_made_before_its_cancelling_is_said_to_be_fetched() -> None:
    """Nothing is bought again by that, and nothing sounds as if it were."""
    failed = JobFailed(job_id="j", error=JobCancelledError("too late"))
    live = apply_event(
        JobStatus(job_id="j", status="in_progress"), failed, timestamp=1.0, is_final=False, was_completed=True
    )
    assert (live.status, live.stage, live.is_final) == ("in_progress", "downloading", False)
    assert live.message == "It was made before the cancelling arrived: it is fetched."


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_the_ledger_has_a_status(state: Any) -> None:
    """In OpenAI's words; a doubt is no progress."""
    job = Job(id="j", request=GenerationRequest(task="text-to-image", model="a/b"), state=state, error="why")
    live = job_status_of(job)
    assert live.status == PUBLIC_STATUS[state]
    assert live.is_final == (state in ("stored", "failed", "cancelled", "doubt"))
    assert (live.error == "why") == (state in ("failed", "cancelled", "doubt"))
