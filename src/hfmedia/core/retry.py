"""Retry timing: Retry-After headers in all their forms, backoff, and poll intervals.

Pure: the time and the random number are arguments. Every wait has a cap, every cap a reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 3600.0  # seconds; larger Retry-After values are treated as bogus
BACKOFF_INITIAL = 0.5  # seconds before the first retry
BACKOFF_MAX = 15.0  # seconds; a person investigates sooner than that
SUBMIT_RETRIES = 3  # of a POST that was certainly not accepted, at one provider
POLL_RETRIES = 8  # consecutive failed polls: about a minute with the backoff above
DOWNLOAD_RETRIES = 5  # of an interrupted download, each continuing where the last one stopped
POLL_MIN = 0.25  # seconds; images are often ready by then
POLL_MAX = 10.0  # seconds between two polls, however long the job
POLL_NEAR_END = 0.1  # seconds; people do not perceive a shorter delay, so polling faster gains nothing
POLL_FAR_FROM_END = 60.0  # seconds between two polls long before the expected end: the job may fail or end early


def backoff(attempt: int, jitter: float) -> float:
    """Return the seconds to wait before retry number ``attempt`` (1 is the first).

    ``jitter`` in [0, 1) spreads callers apart, by up to a quarter in either direction.
    """
    doublings = min(attempt - 1, 30)  # 2.0 ** 2000 overflows a float
    return min(BACKOFF_MAX, BACKOFF_INITIAL * 2.0**doublings) * (0.75 + 0.5 * jitter)


def poll_interval(elapsed: float, expected: float | None = None) -> float:
    """Return the seconds until the next poll of a job that has run for ``elapsed`` seconds.

    An eighth of the job's age: a result is noticed at most that much late, and a minute costs under 40 polls.
    If the expected duration of such jobs is known (``expected``, in seconds), there are few polls before the expected
    end, none of them later than twice the job's age, and frequent ones around it: a minute costs about 10.
    """
    default_interval = min(POLL_MAX, max(POLL_MIN, elapsed / 8))
    if expected is None or not expected > 0:
        return default_interval
    near_interval = max(POLL_NEAR_END, expected / 32)
    if elapsed >= expected:  # the later it is, the less reliable was the estimate
        return min(default_interval, max(near_interval, (elapsed - expected) / 3))
    early_interval = max(elapsed, min(1.0, expected / 4))
    return max(POLL_NEAR_END, min(POLL_FAR_FROM_END, early_interval, max(near_interval, (expected - elapsed) * 2 / 3)))


def parse_retry_after(headers: Mapping[str, str]) -> tuple[float | None, str | None]:
    """Return the retry delay of a response: seconds, or the text of a date. Use it for error responses only.

    ``retry-after-ms`` is Together's and OpenAI's; ``retry-after`` is RFC 9110's, and Together sends it with a 200 too.
    """
    milliseconds = _parse_number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000, None
    text = headers.get("retry-after")
    if text is None:
        return _parse_number(headers.get("ratelimit-reset")), None
    seconds = _parse_number(text)
    return (seconds, None) if seconds is not None else (None, text)


def parse_rate_limit_reset(text: str) -> float | None:
    """Return the seconds in a message such as Replicate's "rate limit resets in ~30s"; None without any."""
    match = re.search(r"resets? in ~?(\d+(?:\.\d+)?)\s*s", text)
    return float(match[1]) if match else None


def retry_delay(seconds: float | None, date: str | None, now: float) -> float | None:
    """Return the seconds to wait from ``now`` (Unix seconds), 0 to an hour; None without a usable value."""
    if seconds is None and date is not None:
        try:
            retry_time = parsedate_to_datetime(date)
        except (TypeError, ValueError, OverflowError):
            return None
        seconds = (
            retry_time if retry_time.tzinfo else retry_time.replace(tzinfo=UTC)
        ).timestamp() - datetime.fromtimestamp(now, UTC).timestamp()
    return None if seconds is None else max(0.0, min(MAX_RETRY_AFTER, seconds))


def _parse_number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
