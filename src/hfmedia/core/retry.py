"""When to ask again: Retry-After in all its spellings, backoff, and the pace of polling.

Pure: the time and the dice are arguments. Every wait has a cap, every cap a reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER = 3600.0  # seconds; a longer word of a server is a mistake or an attack
BACKOFF_FIRST = 0.5  # seconds before the first retry
BACKOFF_LONGEST = 15.0  # seconds; beyond this a person would look
SUBMIT_RETRIES = 3  # of a POST that was certainly not accepted, at one provider
CHECK_RETRIES = 8  # in a row, of polls that failed: about a minute with the backoff above
DOWNLOAD_RETRIES = 5  # of a broken download, each going on where the last one stopped
POLL_FIRST = 0.25  # seconds; images are often ready by then
POLL_SLOWEST = 10.0  # seconds between two polls, however long the job
POLL_NEAR = 0.1  # seconds; nobody sees a result sooner than that, so nobody needs to ask more often
POLL_RARELY = 60.0  # seconds between two polls far before the expected end: it may have failed, or been quicker


def backoff(attempt: int, dice: float) -> float:
    """Seconds to wait before retry number ``attempt`` (1 is the first).

    ``dice`` in [0, 1) spreads callers apart, by a quarter to either side.
    """
    doublings = min(attempt - 1, 30)  # a float holds no 2 ** 2000
    return min(BACKOFF_LONGEST, BACKOFF_FIRST * 2.0**doublings) * (0.75 + 0.5 * dice)


def pace(elapsed: float, expected: float | None = None) -> float:
    """Seconds until the next poll of a job that has run for ``elapsed`` seconds.

    An eighth of the age of the job: a result is seen at most that much late, and a minute costs under 40 polls.
    Where it is known how long such jobs take (``expected``, in seconds), there are few polls before, none of them
    later than twice the age of the job, and close ones around the expected end: a minute costs about 10.
    """
    patient = min(POLL_SLOWEST, max(POLL_FIRST, elapsed / 8))
    if expected is None or not expected > 0:
        return patient
    close = max(POLL_NEAR, expected / 32)
    if elapsed >= expected:  # the later it is, the less was known
        return min(patient, max(close, (elapsed - expected) / 3))
    doubling = max(elapsed, min(1.0, expected / 4))
    return max(POLL_NEAR, min(POLL_RARELY, doubling, max(close, (expected - elapsed) * 2 / 3)))


def retry_after(headers: Mapping[str, str]) -> tuple[float | None, str | None]:
    """What a reply says of when to come back: seconds, or the text of a date. Read it on errors only.

    ``retry-after-ms`` is Together's and OpenAI's; ``retry-after`` is RFC 9110's, and together sends it on a 200 too.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000, None
    text = headers.get("retry-after")
    if text is None:
        return _number(headers.get("ratelimit-reset")), None
    seconds = _number(text)
    return (seconds, None) if seconds is not None else (None, text)


def resets_in(text: str) -> float | None:
    """Seconds in a sentence such as Replicate's "rate limit resets in ~30s"."""
    found = re.search(r"resets? in ~?(\d+(?:\.\d+)?)\s*s", text)
    return float(found[1]) if found else None


def seconds_until(seconds: float | None, date: str | None, now: float) -> float | None:
    """Seconds to wait from ``now`` (unix seconds), 0 to an hour; None when nothing was said."""
    if seconds is None and date is not None:
        try:
            at = parsedate_to_datetime(date)
        except (TypeError, ValueError, OverflowError):
            return None
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.fromtimestamp(
            now, UTC
        ).timestamp()
    return None if seconds is None else max(0.0, min(LONGEST_RETRY_AFTER, seconds))


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
