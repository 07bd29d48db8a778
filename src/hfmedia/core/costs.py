"""What jobs cost, as far as providers told it: a sum for each unit, and how many never told.

Nothing is estimated here and no unit is turned into another; an unknown cost is counted, never added as a zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal, get_args

from msgspec import Struct, field

from .job import Job

By = Literal["provider", "model", "day"]
BYS: tuple[By, ...] = get_args(By)
NOBODY = "(none)"  # the provider of a job that never had one


class Sum(Struct, frozen=True, kw_only=True):
    """The cost of some jobs.

    ``told`` holds what providers reported, added up by unit. Each of ``jobs`` is counted once in ``known`` (everything
    that may be billed was reported), ``unknown`` (something may be billed of which nobody told the price: yet, or at
    all) or ``free`` (nothing was ever accepted, so there is nothing to pay).
    """

    name: str
    jobs: int = 0
    told: dict[str, float] = field(default_factory=dict[str, float])
    known: int = 0
    unknown: int = 0
    free: int = 0


class Tally:
    """A sum that grows with each job told to it; the jobs themselves are not kept, so there may be any number."""

    def __init__(self) -> None:
        self._amounts: dict[str, list[float]] = {}
        self._counts = {"known": 0, "unknown": 0, "free": 0}

    def add(self, job: Job) -> None:
        """Counts the job, and what its provider reported."""
        self._counts[standing(job)] += 1
        if job.cost is not None:
            self._amounts.setdefault(job.cost.unit, []).append(job.cost.amount)

    def sum(self, name: str = "") -> Sum:
        """The cost of all that were added."""
        told = {unit: math.fsum(some) for unit, some in sorted(self._amounts.items())}
        return Sum(name=name, jobs=sum(self._counts.values()), told=told, **self._counts)


def bought(job: Job) -> int:
    """How many submissions of a job may be billed: those that were begun, less those that were certainly refused."""
    return max(0, job.attempts - len(job.refusals))


def standing(job: Job) -> Literal["known", "unknown", "free"]:
    """What is known of a job's cost. One that was sent again out of a doubt tells the price of the last time only."""
    if job.cost is not None:
        return "known" if bought(job) <= 1 else "unknown"
    return "unknown" if bought(job) else "free"


def sums(jobs: Iterable[Job], by: By, *, day: Callable[[float], str] | None = None) -> list[Sum]:
    """The cost of the jobs by provider, by model, or by the day on which each was sent; ordered by that name.

    ``day`` names the day of a time in unix seconds; absent, it is the day in UTC.
    """
    of_day = day or utc_day
    names: dict[By, Callable[[Job], str]] = {
        "provider": lambda job: job.route.provider if job.route else NOBODY,
        "model": lambda job: job.request.model,
        "day": lambda job: of_day(job.created if job.sent is None else job.sent),
    }
    shelves: dict[str, Tally] = {}
    for job in jobs:
        shelves.setdefault(names[by](job), Tally()).add(job)
    return [shelf.sum(name) for name, shelf in sorted(shelves.items())]


def total(jobs: Iterable[Job], name: str = "") -> Sum:
    """The cost of all these jobs together."""
    tally = Tally()
    for job in jobs:
        tally.add(job)
    return tally.sum(name)


def utc_day(at: float) -> str:
    """The day of a time in unix seconds: ``2025-11-03``."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()
