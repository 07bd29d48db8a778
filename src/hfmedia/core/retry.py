"""When to ask again: Retry-After in all its spellings, backoff, and the pace of polling.

Pure: the time and the dice are arguments. Every wait has a cap, every cap a reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 3600.0  # seconds; a longer word of a server is a mistake or an attack
BACKOFF_INITIAL = 0.5  # seconds before the first retry
BACKOFF_MAX = 15.0  # seconds; beyond this a person would look
SUBMIT_RETRIES = 3  # of a POST that was certainly not accepted, at one provider
POLL_RETRIES = 8  # in a row, of polls that failed: about a minute with the backoff above
DOWNLOAD_RETRIES = 5  # of a broken download, each going on where the last one stopped
POLL_MIN = 0.25  # seconds; images are often ready by then
POLL_MAX = 10.0  # seconds between two polls, however long the job
POLL_NEAR_END = 0.1  # seconds; nobody sees a result sooner than that, so nobody needs to ask more often
POLL_FAR_FROM_END = 60.0  # seconds between two polls far before the expected end: it may have failed, or been quicker


def backoff(attempt: int, jitter: float) -> float:
    """Seconds to wait before retry number ``attempt`` (1 is the first).

    ``dice`` in [0, 1) spreads callers apart, by a quarter to either side.
    """
    doublings = min(attempt - 1, 30)  # a float holds no 2 ** 2000
    return min(BACKOFF_MAX, BACKOFF_INITIAL * 2.0**doublings) * (0.75 + 0.5 * jitter)


def poll_interval(elapsed: float, expected: float | None = None) -> float:
    """Seconds until the next poll of a job that has run for ``elapsed`` seconds.

    An eighth of the age of the job: a result is seen at most that much late, and a minute costs under 40 polls.
    Where it is known how long such jobs take (``expected``, in seconds), there are few polls before, none of them
    later than twice the age of the job, and close ones around the expected end: a minute costs about 10.
    """
    default_interval = min(POLL_MAX, max(POLL_MIN, elapsed / 8))
    if expected is None or not expected > 0:
        return default_interval
    near_interval = max(POLL_NEAR_END, expected / 32)
    if elapsed >= expected:  # the later it is, the less was known
        return min(default_interval, max(near_interval, (elapsed - expected) / 3))
    early_interval = max(elapsed, min(1.0, expected / 4))
    return max(POLL_NEAR_END, min(POLL_FAR_FROM_END, early_interval, max(near_interval, (expected - elapsed) * 2 / 3)))


def parse_retry_after(headers: Mapping[str, str]) -> tuple[float | None, str | None]:
    """What a reply says of when to come back: seconds, or the text of a date. Read it on errors only.

    ``retry-after-ms`` is Together's and OpenAI's; ``retry-after`` is RFC 9110's, and together sends it on a 200 too.
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
    """Seconds in a sentence such as Replicate's "rate limit resets in ~30s"."""
    match = re.search(r"resets? in ~?(\d+(?:\.\d+)?)\s*s", text)
    return float(match[1]) if match else None


def retry_delay(seconds: float | None, date: str | None, now: float) -> float | None:
    """Seconds to wait from ``now`` (unix seconds), 0 to an hour; None when nothing was said."""
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
