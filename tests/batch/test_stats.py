"""Statistics: costs by unit, unknown costs counted, rate and remaining time from a given clock."""

from __future__ import annotations

from hfmedia.batch.stats import MAX_CONSECUTIVE_FATAL, RATE_WINDOW, BatchStats
from hfmedia.core.errors import (
    GenerationFailedError,
    HfmediaError,
    InDoubtError,
    InsufficientCreditError,
    RequestRejectedError,
)
from hfmedia.core.protocol import Cost


def test_costs_are_summed_by_unit_and_unknown_ones_are_counted() -> None:
    """Units are never converted, and an unknown cost is not zero."""
    stats = BatchStats(10)
    for cost in (Cost(0.25), Cost(1.0), None, Cost(3, "fal-units"), None):
        stats.add_success(cost, 1.0)
    stats.add_cost(Cost(0.5))
    assert stats.reported_usd == 1.75
    assert stats.cost_line() == "$1.75 + 3 fal-units (2 unknown)"
    assert BatchStats(1).cost_line() == "unknown"


def test_the_rate_and_the_remaining_time_are_recent() -> None:
    """They are unknown before the first output ended."""
    stats = BatchStats(100)
    stats.previously_done = 40
    stats.start(0.0)
    assert stats.outputs_per_minute(1.0) is None
    assert stats.seconds_left(1.0) is None
    for second in range(1, 31):
        stats.add_success(None, float(second))
    assert stats.outputs_per_minute(30.0) == 60
    assert stats.remaining == 30
    assert stats.seconds_left(30.0) == 30
    fast = BatchStats(10**6)
    fast.start(0.0)
    for _ in range(RATE_WINDOW):
        fast.add_success(None, 1000.0)
    assert (fast.outputs_per_minute(1001.0) or 0) > 60 * RATE_WINDOW / 2


def test_the_exit_code_is_that_of_the_most_frequent_failure() -> None:
    """Of the first among equals; outputs in doubt are counted separately."""
    stats = BatchStats(10)
    assert stats.exit_code() == 0
    errors: list[HfmediaError] = [InDoubtError("?"), RequestRejectedError("no")]
    for error in errors:
        stats.add_failure(error, 1.0)
    assert stats.exit_code() == 8
    stats.add_failure(GenerationFailedError("no"), 1.0)
    assert stats.exit_code() == 6
    assert (stats.failed, stats.in_doubt) == (3, 1)


def test_a_streak_consists_of_failures_that_the_next_line_would_share() -> None:
    """A success, or a failure of one line alone, ends it."""
    stats = BatchStats(10)
    for _ in range(MAX_CONSECUTIVE_FATAL):
        stats.add_failure(InsufficientCreditError("no"), 1.0)
    assert stats.fatal_streak == MAX_CONSECUTIVE_FATAL
    stats.add_failure(RequestRejectedError("no"), 1.0)
    assert stats.fatal_streak == 0
    stats.add_failure(InsufficientCreditError("no"), 1.0)
    stats.add_success(None, 1.0)
    assert stats.fatal_streak == 0
