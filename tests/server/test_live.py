"""How a job stands while it is carried: the fold of its events; and by the ledger alone."""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.core.errors import DownloadError, FailedError, JobCancelledError
from hfmedia.core.job import STATES, Job
from hfmedia.core.request import Request
from hfmedia.engine import Accepted, Downloading, Event, JobFailed, Moved, Queued, Retrying, Running, Submitting
from hfmedia.server.works.live import STATUS, Live, heard, live_of

J: dict[str, Any] = {"job_id": "j"}
STORY: list[tuple[Event, dict[str, Any]]] = [
    (Submitting(**J, provider="fal-ai"), {"stage": "asking", "provider": "fal-ai", "status": "queued"}),
    (Moved(**J, provider="together", before="fal-ai", reason="no credit"), {"provider": "together"}),
    (Accepted(**J, provider="together", provider_job="x"), {"stage": "queued", "status": "queued"}),
    (Queued(**J, provider="together", position=3), {"stage": "queued", "position": 3}),
    (
        Running(**J, provider="together", fraction=0.5, message="half"),
        {"stage": "running", "position": None, "progress": 0.5, "status": "in_progress"},
    ),
    (Running(**J, provider="together"), {"progress": 0.5, "message": "half"}),
    (Retrying(**J, provider="together", reason="it coughed", after=2.0), {"message": "it coughed; asked again in 2 s"}),
    (
        Downloading(**J, provider="together", received=5, total=10),
        {"stage": "downloading", "received": 5, "total": 10, "message": None},
    ),
]


def test_a_story_is_told_event_by_event() -> None:
    """Each later fact replaces the earlier one, and the versions grow."""
    live = Live(job_id="j", status="queued")
    for number, (event, expected) in enumerate(STORY, 1):
        live = heard(live, event, at=float(number), over=False)
        assert {name: getattr(live, name) for name in expected} == expected, event
        assert (live.version, live.updated) == (number, float(number))
    assert live.moves == ("no credit; moved from fal-ai to together",)


ENDS = [
    (FailedError("it broke"), True, "failed", "ended", "it broke"),
    (JobCancelledError("stopped"), True, "cancelled", "ended", "stopped"),
    (DownloadError("cut off."), False, "in_progress", "waiting", None),
]


@pytest.mark.parametrize(("error", "over", "status", "stage", "words"), ENDS)
def test_a_failure_ends_a_job_only_when_it_is_over(
    error: Any, over: bool, status: str, stage: str, words: str | None
) -> None:
    """One that was let go of is tried again by itself, and says so."""
    live = heard(Live(job_id="j", status="in_progress"), JobFailed(job_id="j", error=error), at=1.0, over=over)
    assert (live.status, live.stage, live.error) == (status, stage, words)
    assert over or "tried again by itself" in (live.message or "")


def test_what_was_made_before_its_cancelling_is_said_to_be_fetched() -> None:
    """Nothing is bought again by that, and nothing sounds as if it were."""
    failed = JobFailed(job_id="j", error=JobCancelledError("too late"))
    live = heard(Live(job_id="j", status="in_progress"), failed, at=1.0, over=False, made=True)
    assert (live.status, live.stage, live.ended) == ("in_progress", "downloading", False)
    assert live.message == "It was made before the cancelling arrived: it is fetched."


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_the_ledger_has_a_status(state: Any) -> None:
    """In OpenAI's words; a doubt is no progress."""
    job = Job(id="j", request=Request(task="text-to-image", model="a/b"), state=state, error="why")
    live = live_of(job)
    assert live.status == STATUS[state]
    assert live.ended == (state in ("stored", "failed", "cancelled", "doubt"))
    assert (live.error == "why") == (state in ("failed", "cancelled", "doubt"))
