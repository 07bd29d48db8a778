"""Budgets: whole micro-USD, the UTC days and months in which limits count, and enforcing the limits of a key.

Amounts are added as whole micro-USD; a price is rounded up and a limit down, so that rounding never spends.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal, NamedTuple

from hfmedia.core.errors import HfmediaError

from .api_keys import KeyLimits

MICRO = 1_000_000
MIN_AMOUNT = Decimal("0.000001")  # micro-USD: smaller differences are rounding errors of float sums
MAX_MICRO_USD = 10**15  # a billion USD: more is not a price, and sums stay far below SQLite's maximum integer
LimitName = Literal["images_per_day", "videos_per_day", "usd_per_month"]
_LIMIT_UNITS: dict[LimitName, str] = {
    "images_per_day": "{} images per day",
    "videos_per_day": "{} videos per day",
    "usd_per_month": "{} per month",
}


def to_micro_usd(usd: float, *, round_down: bool = False) -> int:
    """Convert USD to whole micro-USD, never below zero: rounded up, or down for a limit."""
    if math.isnan(usd) or usd <= 0:
        return 0
    if usd * MICRO >= MAX_MICRO_USD:
        return MAX_MICRO_USD
    micro_usd = (exact_decimal(usd) * MICRO).quantize(MIN_AMOUNT)
    return int(micro_usd.to_integral_value(ROUND_FLOOR if round_down else ROUND_CEILING))


def exact_decimal(usd: float) -> Decimal:
    """Convert a float as it is written rather than as it is stored, so that three times 0.1 is 0.3."""
    return Decimal(repr(float(usd)))


def dollars(micro_usd: int) -> float:
    """Convert micro-USD to USD."""
    return micro_usd / MICRO


def format_usd(micro_usd: int) -> str:
    """Format micro-USD: ``$1.50``, ``$0.0375``."""
    usd, fraction = divmod(micro_usd, MICRO)
    digits = f"{fraction:06d}"
    return f"${usd}.{digits[:2]}{digits[2:].rstrip('0')}"


# -- windows ----------------------------------------------------------------------------------------------------------


class BillingWindow(NamedTuple):
    """The period of a limit in unix seconds: from ``starts_at`` until just before ``resets_at``."""

    starts_at: float
    resets_at: float


def day_of(now: float) -> BillingWindow:
    """Return the UTC day that contains a time."""
    starts_at = now // 86_400 * 86_400
    return BillingWindow(starts_at, starts_at + 86_400)


def month_of(now: float) -> BillingWindow:
    """Return the UTC month that contains a time."""
    date = datetime.fromtimestamp(now, UTC)
    next_month = (date.year + date.month // 12, date.month % 12 + 1)
    starts_at, resets_at = (
        datetime(year, month, 1, tzinfo=UTC) for year, month in ((date.year, date.month), next_month)
    )
    return BillingWindow(starts_at.timestamp(), resets_at.timestamp())


def format_utc(timestamp: float) -> str:
    """Format a time for a message: ``2026-12-01 00:00 UTC``."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M} UTC"


# -- limits -----------------------------------------------------------------------------------------------------------


class QuotaExceededError(HfmediaError):
    """A limit of an API key does not allow a generation; nothing was sent.

    Attributes:
        limit_name: the limit.
        limit, used: its value and how much of it is used or reserved; USD for money.
        is_permanent: the generation alone is beyond the limit, so waiting does not help.
        resets_at: reset of the limit in unix seconds; None if permanent.
        retry_after: seconds until the reset; None if permanent.
    """

    def __init__(
        self, name: LimitName, key: str, *, limit: int, used: int, requested: int, resets_at: float, now: float
    ) -> None:
        is_money = name == "usd_per_month"

        def format_amount(count: int) -> str:
            return format_usd(count) if is_money else str(count)

        allowance = f"quota exceeded: the key {key!r} allows {_LIMIT_UNITS[name].format(format_amount(limit))}"
        is_permanent = requested > limit
        if is_permanent:
            demand = f"may cost {format_amount(requested)}" if is_money else f"is for {requested}"
            message = f"{allowance}, and this request alone {demand}, so it can never run with this key; request less"
        else:
            used_phrase = f"{format_amount(used)} {'is' if is_money or used == 1 else 'are'} used or reserved"
            demand = f"may cost {format_amount(requested)} more" if is_money else f"is for {requested} more"
            message = (
                f"{allowance}: {used_phrase}, and this request {demand}; the limit resets at {format_utc(resets_at)}"
            )
        super().__init__(f"{message}. Nothing was sent.")
        self.limit_name, self.is_permanent = name, is_permanent
        self.limit: float = dollars(limit) if is_money else limit
        self.used: float = dollars(used) if is_money else used
        self.resets_at = None if is_permanent else resets_at
        self.retry_after = None if is_permanent else max(1.0, resets_at - now)


def enforce_limits(
    connection: sqlite3.Connection,
    caller_id: str,
    limits: KeyLimits,
    *,
    images: int,
    videos: int,
    micro_usd: int,
    now: float,
) -> None:
    """Raise QuotaExceededError for the first limit that a generation would break, counting all other reservations.

    Runs within the transaction that stores the generation, so that no other one is stored in between.
    """
    day, month = day_of(now), month_of(now)
    max_micro_usd = None if limits.usd_per_month is None else to_micro_usd(limits.usd_per_month, round_down=True)
    rules: Iterable[tuple[LimitName, int | None, str, int, BillingWindow]] = (
        ("images_per_day", limits.images_per_day, "images", images, day),
        ("videos_per_day", limits.videos_per_day, "videos", videos, day),
        ("usd_per_month", max_micro_usd, "micro_usd", micro_usd, month),
    )
    for name, limit, column, requested, window in rules:
        if limit is None or not requested:
            continue
        query = f"SELECT coalesce(sum({column}), 0) FROM charges WHERE caller_id = ? AND counted_at >= ? "
        (used,) = connection.execute(f"{query} AND counted_at < ?", (caller_id, *window)).fetchone()
        if used + requested > limit:
            key_row = connection.execute("SELECT name FROM api_keys WHERE id = ?", (caller_id,)).fetchone()
            key_name = key_row[0] if key_row else caller_id or "local"
            raise QuotaExceededError(
                name, key_name, limit=limit, used=used, requested=requested, resets_at=window.resets_at, now=now
            )
