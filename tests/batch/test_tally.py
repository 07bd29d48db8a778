"""The tally: costs by unit, the unknown counted, rate and time left from a clock that is handed in."""

from __future__ import annotations

from hfmedia.batch.tally import HOPELESS_STREAK, REMEMBERED, Tally
from hfmedia.core.answers import Cost
from hfmedia.core.errors import CreditError, FailedError, HfmediaError, InDoubtError, RefusedError


def test_costs_are_summed_by_unit_and_the_unknown_are_counted() -> None:
    """Nothing is turned into another unit, and an unknown cost is no zero."""
    tally = Tally(10)
    for cost in (Cost(0.25), Cost(1.0), None, Cost(3, "fal-units"), None):
        tally.add(cost, 1.0)
    tally.also(Cost(0.5))
    assert tally.dollars == 1.75
    assert tally.cost_line() == "$1.75 + 3 fal-units (2 not told)"
    assert Tally(1).cost_line() == "not told"


def test_the_rate_and_the_time_left_are_those_of_late() -> None:
    """Nobody can tell them before something ended."""
    tally = Tally(100)
    tally.earlier = 40
    tally.begin(0.0)
    assert tally.rate(1.0) is None
    assert tally.time_left(1.0) is None
    for second in range(1, 31):
        tally.add(None, float(second))
    assert tally.rate(30.0) == 60
    assert tally.left == 30
    assert tally.time_left(30.0) == 30
    fast = Tally(10**6)
    fast.begin(0.0)
    for _ in range(REMEMBERED):
        fast.add(None, 1000.0)
    assert (fast.rate(1001.0) or 0) > 60 * REMEMBERED / 2


def test_the_exit_code_is_that_of_the_commonest_failure() -> None:
    """Of the first among equals; a doubt is counted apart."""
    tally = Tally(10)
    assert tally.exit_code() == 0
    errors: list[HfmediaError] = [InDoubtError("?"), RefusedError("no")]
    for error in errors:
        tally.fail(error, 1.0)
    assert tally.exit_code() == 8
    tally.fail(FailedError("no"), 1.0)
    assert tally.exit_code() == 6
    assert (tally.failed, tally.in_doubt) == (3, 1)


def test_a_streak_is_of_failures_that_the_next_line_would_share() -> None:
    """A success, or a failure of the line's own, ends it."""
    tally = Tally(10)
    for _ in range(HOPELESS_STREAK):
        tally.fail(CreditError("no"), 1.0)
    assert tally.streak == HOPELESS_STREAK
    tally.fail(RefusedError("no"), 1.0)
    assert tally.streak == 0
    tally.fail(CreditError("no"), 1.0)
    tally.add(None, 1.0)
    assert tally.streak == 0
