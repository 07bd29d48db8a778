"""Sums of reported costs: by unit, by group, and never a zero for an unknown cost."""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.core.costs import (
    COST_GROUPINGS,
    NO_PROVIDER,
    CostSummary,
    billable_attempts,
    cost_status,
    format_cost,
    summarize_costs,
    total_cost,
)
from hfmedia.core.job import Job, State
from hfmedia.core.protocol import Cost, Route
from hfmedia.core.request import GenerationRequest

DAY = 86_400.0


def job(provider: str | None = "fal-ai", model: str = "a/b", *, cost: Cost | None = None, **fields: Any) -> Job:
    """A stored job that was submitted once, unless ``fields`` say otherwise."""
    route = provider and Route(
        provider=provider, provider_id="x", model=model, task="text-to-image", base_url="https://x", credential="K"
    )
    request = GenerationRequest(task="text-to-image", model=model, prompt="a fox")
    return Job(id="1", request=request, route=route or None, cost=cost, **{"attempts": 1, "state": "stored", **fields})


USD = Cost(0.25)
REJECTED = ("fal-ai is busy",)

CASES: tuple[tuple[Job, int, str], ...] = (
    (job(attempts=0, state="created"), 0, "free"),
    (job(attempts=0, state="cancelled"), 0, "free"),
    (job(cost=USD), 1, "known"),
    (job(cost=Cost(0.0)), 1, "known"),
    (job(), 1, "unknown"),
    (job(state="running"), 1, "unknown"),
    (job(state="in_doubt"), 1, "unknown"),
    (job(state="failed"), 1, "unknown"),
    (job(state="failed", rejections=REJECTED), 0, "free"),
    (job(cost=USD, attempts=2, rejections=REJECTED), 1, "known"),
    (job(attempts=2, rejections=REJECTED), 1, "unknown"),
    (job(cost=USD, attempts=2), 2, "unknown"),  # resent while in doubt: the cost of the first is unknown
    (job(attempts=0, state="failed", rejections=REJECTED), 0, "free"),
)


@pytest.mark.parametrize(("item", "attempts", "status"), CASES)
def test_a_cost_is_known_or_unknown_or_free(item: Job, attempts: int, status: str) -> None:
    """A certainly rejected submission costs nothing; one that may have been accepted may be billed."""
    assert (billable_attempts(item), cost_status(item)) == (attempts, status)


JOBS = [
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
    """Each row adds the reported costs and counts the rest; the rows are sorted by name."""
    rows = summarize_costs(JOBS, by)
    assert [(row.name, row.jobs, row.jobs_with_cost, row.jobs_without_cost, row.free) for row in rows] == [
        (row.name, row.jobs, row.jobs_with_cost, row.jobs_without_cost, row.free) for row in SUMS[by]
    ]
    assert [row.reported for row in rows] == [pytest.approx(row.reported) for row in SUMS[by]]


def test_an_unknown_cost_has_no_unit_and_no_amount() -> None:
    """No zero appears for it."""
    assert summarize_costs([job(), job()], "provider") == [
        CostSummary(name="fal-ai", jobs=2, reported={}, jobs_without_cost=2)
    ]
    assert summarize_costs([], "day") == []


def test_the_caller_may_format_the_day() -> None:
    """The day depends on the time zone."""
    assert [row.name for row in summarize_costs(JOBS, "day", format_day=lambda at: f"day {at // DAY:.0f}")] == [
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
    total = total_cost([job(state=state, cost=USD if state == "stored" else None) for state in states])
    assert total.jobs == total.jobs_with_cost + total.jobs_without_cost + total.free == len(states)
    assert total.reported == {"USD": 0.25}


@pytest.mark.parametrize(
    ("reported", "text"),
    [({}, "unknown"), ({"USD": 0.03}, "$0.03"), ({"fal-units": 2.0, "USD": 0.03}, "$0.03 + 2 fal-units")],
)
def test_reported_amounts_are_formatted_by_unit(reported: dict[str, float], text: str) -> None:
    """In one order; without any amount the cost is unknown."""
    assert format_cost(reported) == text
