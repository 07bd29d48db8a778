"""The tally: costs by unit, the unknown counted, rate and time left from a clock that is handed in."""

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


def test_costs_are_summed_by_unit_and_the_unknown_are_counted() -> None:
    """Nothing is turned into another unit, and an unknown cost is no zero."""
    tally = BatchStats(10)
    for cost in (Cost(0.25), Cost(1.0), None, Cost(3, "fal-units"), None):
        tally.add_success(cost, 1.0)
    tally.add_cost(Cost(0.5))
    assert tally.reported_usd == 1.75
    assert tally.cost_line() == "$1.75 + 3 fal-units (2 not told)"
    assert BatchStats(1).cost_line() == "not told"


def test_the_rate_and_the_time_left_are_those_of_late() -> None:
    """Nobody can tell them before something ended."""
    tally = BatchStats(100)
    tally.previously_done = 40
    tally.start(0.0)
    assert tally.outputs_per_minute(1.0) is None
    assert tally.seconds_left(1.0) is None
    for second in range(1, 31):
        tally.add_success(None, float(second))
    assert tally.outputs_per_minute(30.0) == 60
    assert tally.remaining == 30
    assert tally.seconds_left(30.0) == 30
    fast = BatchStats(10**6)
    fast.start(0.0)
    for _ in range(RATE_WINDOW):
        fast.add_success(None, 1000.0)
    assert (fast.outputs_per_minute(1001.0) or 0) > 60 * RATE_WINDOW / 2


def test_the_exit_code_is_that_of_the_commonest_failure() -> None:
    """Of the first among equals; a doubt is counted apart."""
    tally = BatchStats(10)
    assert tally.exit_code() == 0
    errors: list[HfmediaError] = [InDoubtError("?"), RequestRejectedError("no")]
    for error in errors:
        tally.add_failure(error, 1.0)
    assert tally.exit_code() == 8
    tally.add_failure(GenerationFailedError("no"), 1.0)
    assert tally.exit_code() == 6
    assert (tally.failed, tally.in_doubt) == (3, 1)


def test_a_streak_is_of_failures_that_the_next_line_would_share() -> None:
    """A success, or a failure of the line's own, ends it."""
    tally = BatchStats(10)
    for _ in range(MAX_CONSECUTIVE_FATAL):
        tally.add_failure(InsufficientCreditError("no"), 1.0)
    assert tally.fatal_streak == MAX_CONSECUTIVE_FATAL
    tally.add_failure(RequestRejectedError("no"), 1.0)
    assert tally.fatal_streak == 0
    tally.add_failure(InsufficientCreditError("no"), 1.0)
    tally.add_success(None, 1.0)
    assert tally.fatal_streak == 0
