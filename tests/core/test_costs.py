"""Sums of what providers told: by unit, by name, and never a zero for what nobody told."""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.core.costs import (
    COST_GROUPINGS,
    NO_PROVIDER,
    CostSummary,
    billable_attempts,
    cost_status,
    summarize_costs,
    total_cost,
)
from hfmedia.core.job import Job, State
from hfmedia.core.protocol import Cost, Route
from hfmedia.core.request import GenerationRequest

DAY = 86_400.0


def job(provider: str | None = "fal-ai", model: str = "a/b", *, cost: Cost | None = None, **told: Any) -> Job:
    """A job that was sent once, unless told otherwise."""
    route = provider and Route(
        provider=provider, provider_id="x", model=model, task="text-to-image", base_url="https://x", credential="K"
    )
    request = GenerationRequest(task="text-to-image", model=model, prompt="a fox")
    return Job(id="1", request=request, route=route or None, cost=cost, **{"attempts": 1, "state": "stored", **told})


USD = Cost(0.25)
REFUSED = ("fal-ai is busy",)

STANDINGS: tuple[tuple[Job, int, str], ...] = (
    (job(attempts=0, state="created"), 0, "free"),
    (job(attempts=0, state="cancelled"), 0, "free"),
    (job(cost=USD), 1, "known"),
    (job(cost=Cost(0.0)), 1, "known"),
    (job(), 1, "unknown"),
    (job(state="running"), 1, "unknown"),
    (job(state="in_doubt"), 1, "unknown"),
    (job(state="failed"), 1, "unknown"),
    (job(state="failed", rejections=REFUSED), 0, "free"),
    (job(cost=USD, attempts=2, rejections=REFUSED), 1, "known"),
    (job(attempts=2, rejections=REFUSED), 1, "unknown"),
    (job(cost=USD, attempts=2), 2, "unknown"),  # a doubt, sent again: nobody knows of the first
    (job(attempts=0, state="failed", rejections=REFUSED), 0, "free"),
)


@pytest.mark.parametrize(("one", "times", "known"), STANDINGS)
def test_a_cost_is_known_or_unknown_or_there_is_nothing_to_pay(one: Job, times: int, known: str) -> None:
    """What was certainly refused costs nothing; what may have been accepted costs something."""
    assert (billable_attempts(one), cost_status(one)) == (times, known)


SHELF = [
    job("fal-ai", "a/b", cost=Cost(2.0, "fal-units"), submitted_at=1.0),
    job("fal-ai", "a/c", cost=Cost(0.5, "fal-units"), submitted_at=DAY + 1),
    job("fal-ai", "a/b", submitted_at=DAY + 2),
    job("together", "a/b", cost=Cost(0.1), submitted_at=2.0),
    job("together", "a/b", cost=Cost(0.2), submitted_at=3.0),
    job("replicate", "a/c", submitted_at=4.0),
    job(None, "a/c", attempts=0, state="failed", created_at=DAY + 3),
]

SUMS: dict[str, list[CostSummary]] = {
    "provider": [
        CostSummary(name=NO_PROVIDER, jobs=1, free=1),
        CostSummary(name="fal-ai", jobs=3, reported={"fal-units": 2.5}, jobs_with_cost=2, jobs_without_cost=1),
        CostSummary(name="replicate", jobs=1, jobs_without_cost=1),
        CostSummary(name="together", jobs=2, reported={"USD": 0.3}, jobs_with_cost=2),
    ],
    "model": [
        CostSummary(name="a/b", jobs=4, reported={"USD": 0.3, "fal-units": 2.0}, jobs_with_cost=3, jobs_without_cost=1),
        CostSummary(name="a/c", jobs=3, reported={"fal-units": 0.5}, jobs_with_cost=1, jobs_without_cost=1, free=1),
    ],
    "day": [
        CostSummary(
            name="1970-01-01", jobs=4, reported={"USD": 0.3, "fal-units": 2.0}, jobs_with_cost=3, jobs_without_cost=1
        ),
        CostSummary(
            name="1970-01-02", jobs=3, reported={"fal-units": 0.5}, jobs_with_cost=1, jobs_without_cost=1, free=1
        ),
    ],
}


@pytest.mark.parametrize("by", COST_GROUPINGS)
def test_sums_are_kept_apart_by_unit(by: Any) -> None:
    """Each row adds what was told and counts what was not; the rows are in the order of their names."""
    found = summarize_costs(SHELF, by)
    assert [(row.name, row.jobs, row.jobs_with_cost, row.jobs_without_cost, row.free) for row in found] == [
        (row.name, row.jobs, row.jobs_with_cost, row.jobs_without_cost, row.free) for row in SUMS[by]
    ]
    assert [row.reported for row in found] == [pytest.approx(row.reported) for row in SUMS[by]]


def test_an_unknown_cost_has_no_unit_and_no_amount() -> None:
    """Where nobody told anything, there is no zero to be read."""
    assert summarize_costs([job(), job()], "provider") == [
        CostSummary(name="fal-ai", jobs=2, reported={}, jobs_without_cost=2)
    ]
    assert summarize_costs([], "day") == []


def test_the_day_is_the_caller_s() -> None:
    """What a day is called depends on where one lives."""
    assert [row.name for row in summarize_costs(SHELF, "day", format_day=lambda at: f"day {at // DAY:.0f}")] == [
        "day 0",
        "day 1",
    ]


def test_every_job_is_counted_once_whatever_its_state() -> None:
    """The three counts add up."""
    states: tuple[State, ...] = (
        "created",
        "routed",
        "submitting",
        "in_doubt",
        "running",
        "completed",
        "stored",
        "failed",
    )
    made = total_cost([job(state=state, cost=USD if state == "stored" else None) for state in states])
    assert made.jobs == made.jobs_with_cost + made.jobs_without_cost + made.free == len(states)
    assert made.reported == {"USD": 0.25}
