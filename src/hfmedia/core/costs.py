"""Costs of jobs as providers reported them: a sum per unit, and the number of jobs without a reported cost.

Nothing is estimated and no unit is converted; an unknown cost is counted, never added as zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, get_args

from msgspec import Struct, field

from .job import Job
from .text import format_amount

CostGrouping = Literal["provider", "model", "day"]
COST_GROUPINGS: tuple[CostGrouping, ...] = get_args(CostGrouping)
NO_PROVIDER = "(none)"  # for jobs that never had a provider


class CostSummary(Struct, frozen=True, kw_only=True):
    """The cost of some jobs. Each job counts in exactly one of the last three.

    Attributes:
        name: of the group.
        jobs: number of jobs.
        reported: sum of the reported amounts, by unit.
        jobs_with_cost: jobs for which everything that may be billed was reported.
        jobs_without_cost: jobs for which something may be billed at a price that is not reported (yet).
        free: jobs of which nothing was ever accepted, so that nothing is billed.
    """

    name: str
    jobs: int = 0
    reported: dict[str, float] = field(default_factory=dict[str, float])
    jobs_with_cost: int = 0
    jobs_without_cost: int = 0
    free: int = 0


class CostAccumulator:
    """Running sum of costs, in constant memory: the jobs are not retained."""

    def __init__(self) -> None:
        self._amounts: dict[str, list[float]] = {}
        self._counts = {"known": 0, "unknown": 0, "free": 0}

    def add(self, job: Job) -> None:
        """Add one job and what its provider reported."""
        self._counts[cost_status(job)] += 1
        if job.cost is not None:
            self._amounts.setdefault(job.cost.unit, []).append(job.cost.amount)

    def summary(self, name: str = "") -> CostSummary:
        """Return the cost of all jobs added so far."""
        reported = {unit: math.fsum(amounts) for unit, amounts in sorted(self._amounts.items())}
        return CostSummary(
            name=name,
            jobs=sum(self._counts.values()),
            reported=reported,
            jobs_with_cost=self._counts["known"],
            jobs_without_cost=self._counts["unknown"],
            free=self._counts["free"],
        )


def billable_attempts(job: Job) -> int:
    """Return how many submissions of a job may be billed: those started, minus those certainly rejected."""
    return max(0, job.attempts - len(job.rejections))


def cost_status(job: Job) -> Literal["known", "unknown", "free"]:
    """Classify a job's cost; one that was resent while in doubt reports only its last attempt, so it is unknown."""
    if job.cost is not None:
        return "known" if billable_attempts(job) <= 1 else "unknown"
    return "unknown" if billable_attempts(job) else "free"


def summarize_costs(
    jobs: Iterable[Job], group_by: CostGrouping, *, format_day: Callable[[float], str] | None = None
) -> list[CostSummary]:
    """Group the costs by provider, by model, or by the day of submission; sorted by that name.

    ``format_day`` names the day of a time in Unix seconds; the default is the day in UTC.
    """
    day_of = format_day or utc_day
    group_name: dict[CostGrouping, Callable[[Job], str]] = {
        "provider": lambda job: job.route.provider if job.route else NO_PROVIDER,
        "model": lambda job: job.request.model,
        "day": lambda job: day_of(job.created_at if job.submitted_at is None else job.submitted_at),
    }
    accumulators: dict[str, CostAccumulator] = {}
    for job in jobs:
        accumulators.setdefault(group_name[group_by](job), CostAccumulator()).add(job)
    return [accumulator.summary(name) for name, accumulator in sorted(accumulators.items())]


def total_cost(jobs: Iterable[Job], name: str = "") -> CostSummary:
    """Return the cost of all these jobs together."""
    accumulator = CostAccumulator()
    for job in jobs:
        accumulator.add(job)
    return accumulator.summary(name)


def format_cost(reported: Mapping[str, float]) -> str:
    """Format amounts by unit: ``$0.03 + 2 fal-units``, in order of their units; ``unknown`` when there are none."""
    return " + ".join(format_amount(amount, unit) for unit, amount in sorted(reported.items())) or "unknown"


def utc_day(timestamp: float) -> str:
    """Return the UTC day of a time in Unix seconds: ``2025-11-03``."""
    return datetime.fromtimestamp(timestamp, UTC).date().isoformat()
