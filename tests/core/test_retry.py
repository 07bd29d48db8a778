"""Retry timing: Retry-After in all its forms, backoff and poll intervals, with numbers instead of a clock."""

from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.core.retry import (
    BACKOFF_INITIAL,
    BACKOFF_MAX,
    MAX_RETRY_AFTER,
    POLL_FAR_FROM_END,
    POLL_MAX,
    POLL_MIN,
    POLL_NEAR_END,
    POLL_RETRIES,
    backoff,
    parse_rate_limit_reset,
    parse_retry_after,
    poll_interval,
    retry_delay,
)

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT

WAITS = [
    # headers, seconds to wait from NOW (None: no usable value)
    ({}, None),
    ({"retry-after": "0"}, 0),
    ({"retry-after": "7"}, 7),
    ({"retry-after": " 7 "}, 7),
    ({"retry-after": "1.5"}, 1.5),
    ({"retry-after": "3600"}, 3600),
    ({"retry-after": "99999999"}, MAX_RETRY_AFTER),
    ({"retry-after": "1" * 400}, None),
    ({"retry-after": "1e300"}, MAX_RETRY_AFTER),
    ({"retry-after": "-1"}, None),
    ({"retry-after": "-0.5"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "inf"}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": ""}, None),
    ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10),
    ({"retry-after": "Tuesday, 14-Nov-23 22:13:30 GMT"}, 10),
    ({"retry-after": "Tue, 14 Nov 2023 23:13:30 +0100"}, 10),
    ({"retry-after": "Tue, 14 Nov 2023 22:13:30 -0000"}, 10),
    ({"retry-after": "Tue, 14 Nov 2023 22:13:20 GMT"}, 0),
    ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, MAX_RETRY_AFTER),
    ({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}, 0),
    ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
    ({"retry-after": "Mon, 01 Jan 99999999999 00:00:00 GMT"}, None),
    ({"retry-after-ms": "1500"}, 1.5),
    ({"retry-after-ms": "0", "retry-after": "9"}, 0),
    ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
    ({"retry-after-ms": "banana", "retry-after": "9"}, 9),
    ({"retry-after-ms": "-5", "retry-after": "9"}, 9),
    ({"retry-after-ms": "1e12"}, MAX_RETRY_AFTER),
    ({"ratelimit-reset": "12"}, 12),
    ({"ratelimit-reset": "12", "retry-after": "3"}, 3),
    ({"ratelimit-reset": "banana"}, None),
]


@pytest.mark.parametrize(("headers", "wait"), WAITS, ids=lambda value: str(value)[:60])
def test_the_retry_delay_of_a_response_is_parsed(headers: dict[str, str], wait: float | None) -> None:
    """Seconds, milliseconds or a date; an invalid value counts as absent."""
    assert retry_delay(*parse_retry_after(headers), now=NOW) == wait


texts = st.one_of(st.text(max_size=30), st.integers().map(str), st.floats().map(str), st.datetimes().map(str),
                  st.floats(-6e10, 2e11).map(lambda t: formatdate(t, usegmt=True)))  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "ratelimit-reset"]), texts),
    st.floats(0, 4e9),
)
def test_a_delay_is_absent_or_between_zero_and_an_hour(headers: dict[str, str], now: float) -> None:
    """No header makes us wait a year or a negative time, or raises an exception."""
    wait = retry_delay(*parse_retry_after(headers), now=now)
    assert wait is None or 0 <= wait <= MAX_RETRY_AFTER


@given(st.integers(1, 3600), st.integers(1_600_000_000, 2_000_000_000))
def test_a_date_means_the_seconds_until_then(ahead: int, now: int) -> None:
    """The same delay as a number and as a date."""
    date = formatdate(now + ahead, usegmt=True)
    assert retry_delay(*parse_retry_after({"retry-after": date}), now=now) == ahead
    assert retry_delay(*parse_retry_after({"retry-after": str(ahead)}), now=now) == ahead


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Request was throttled. Your rate limit resets in ~30s.", 30),
        ("resets in 2.5 s", 2.5),
        ("limit reset in ~1s", 1),
        ("resets in a while", None),
        ("", None),
    ],
)
def test_seconds_in_a_message_are_parsed(text: str, seconds: float | None) -> None:
    """Replicate sends them in text."""
    assert parse_rate_limit_reset(text) == seconds


@given(st.integers(1, 100_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_bounded_on_both_sides(attempt: int, jitter: float) -> None:
    """Never immediate, never longer than its cap; no number of attempts breaks it."""
    assert 0.75 * BACKOFF_INITIAL <= backoff(attempt, jitter) <= 1.25 * BACKOFF_MAX


def test_backoff_doubles_until_its_cap() -> None:
    """Half a second, one, two, four, eight, then always fifteen."""
    assert [backoff(n, 0.5) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 15, 15, 15]


def test_jitter_spreads_callers_apart() -> None:
    """By up to a quarter in either direction."""
    assert (backoff(1, 0.0), backoff(1, 0.5)) == (0.375, 0.5)
    assert backoff(1, 0.999) == pytest.approx(0.625, abs=0.001)


def test_failed_polls_are_retried_for_about_a_minute() -> None:
    """The number of retries fits the backoff."""
    assert 45 <= sum(backoff(n, 0.5) for n in range(1, POLL_RETRIES + 1)) <= 90


def polls(ready: float) -> tuple[int, float]:
    """Return the number of polls of a job that completes after ``ready`` seconds, and the time of the last poll."""
    at, count = 0.0, 0
    while at < ready:
        at += poll_interval(at)
        count += 1
    return count, at


def test_a_minute_costs_at_most_forty_polls() -> None:
    """Far below every known rate limit."""
    count, _ = polls(60)
    assert count <= 40


def test_a_result_is_noticed_soon_after_completion() -> None:
    """Even right after a poll: at most an eighth of the job's age late, or a quarter of a second."""
    at = 0.0
    while at < 3600:
        ready = math.nextafter(at, math.inf)
        _, seen = polls(ready)
        assert seen - ready <= min(POLL_MAX, max(POLL_MIN, POLL_NEAR_END, POLL_FAR_FROM_END, ready / 8)) + 1e-9
        at += poll_interval(at)


@pytest.mark.parametrize("ready", [0.1, 0.5, 2.0, 2.01, 5.0, 60.0, 3600.0])
def test_a_short_job_is_noticed_quickly(ready: float) -> None:
    """People notice a delay most with short jobs."""
    _, seen = polls(ready)
    assert seen - ready <= 0.125 * ready + 0.25


@given(st.floats(-10, 1e9))
def test_the_poll_interval_is_bounded_on_both_sides(elapsed: float) -> None:
    """Never a busy loop, never minutes; a clock that runs backward changes nothing."""
    assert POLL_MIN <= poll_interval(elapsed) <= POLL_MAX


@given(st.floats(-10, 1e9), st.floats())
def test_an_expected_duration_changes_the_interval_within_bounds(elapsed: float, expected: float) -> None:
    """Never a busy loop, never more than a minute, never much later than twice the age."""
    wait = poll_interval(elapsed, expected)
    assert POLL_NEAR_END <= wait <= POLL_FAR_FROM_END
    assert wait <= max(1.0, poll_interval(elapsed), elapsed)
