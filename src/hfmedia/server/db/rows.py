"""Rows of the book as data, and the two questions that are asked before an order becomes a row.

Both are asked inside the transaction that writes it, so that nobody comes in between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import structs

from hfmedia.core.errors import InvalidRequestError

from .api_keys import ApiKey, KeyLimits
from .generations import Generation
from .pricing import (
    BillingWindow,
    IdempotencyConflictError,
    LimitName,
    QuotaExceededError,
    day_of,
    dollars,
    month_of,
    to_micro_usd,
)

SELECT_GENERATIONS = (
    "SELECT o.body, o.idempotency_key, o.deleted, t.standing, t.reserved, t.micro "
    "FROM orders o LEFT JOIN tabs t ON t.id = o.id "
)


def api_key_from_row(body: str) -> ApiKey:
    """A key as its row has it."""
    return msgspec.json.decode(body, type=ApiKey)


def dump_json(value: Any) -> str:
    """The value as a row keeps it; InvalidRequestError for what JSON cannot hold."""
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError, TypeError) as error:
        raise InvalidRequestError(f"that cannot be written down: {str(error)[:200]}") from None


def generation_from_row(row: Any) -> Generation:
    """An order as it stands now: as it was given, and what has become of it since."""
    body, idempotency_key, deleted_outputs, status, reserved_micro, charged_micro = row
    generation = msgspec.json.decode(body, type=Generation)
    return structs.replace(
        generation,
        idempotency_key=idempotency_key,
        deleted_outputs=msgspec.json.decode(deleted_outputs, type=dict[int, float]),
        reserved_usd=generation.reserved_usd if reserved_micro is None else dollars(reserved_micro),
        is_settled=status != "reserved",
        charged_usd=dollars(charged_micro) if status == "charged" else None,
    )


def find_existing(connection: sqlite3.Connection, generation: Generation) -> Generation | None:
    """The order that is there already: the same id, or the same idempotency key of the same caller."""
    row = connection.execute(
        f"{SELECT_GENERATIONS} WHERE o.id = ? OR (o.key = ? AND o.idempotency_key = ?)",
        (generation.id, generation.caller_id, generation.idempotency_key),
    ).fetchone()
    if row is None:
        return None
    existing = generation_from_row(row)
    if existing.fingerprint != generation.fingerprint:
        raise IdempotencyConflictError
    return existing


def enforce_limits(
    connection: sqlite3.Connection, generation: Generation, limits: KeyLimits, requested_micro: int, now: float
) -> None:
    """OverLimitError for the first limit that the order would break, counting all that others set aside."""
    day, month, output_count = day_of(now), month_of(now), generation.n
    max_micro = None if limits.usd_per_month is None else to_micro_usd(limits.usd_per_month, round_down=True)
    rules: Iterable[tuple[LimitName, int | None, str, int, BillingWindow]] = (
        ("images_per_day", limits.images_per_day, "images", output_count if generation.kind == "image" else 0, day),
        ("videos_per_day", limits.videos_per_day, "videos", output_count if generation.kind == "video" else 0, day),
        ("usd_per_month", max_micro, "micro", requested_micro, month),
    )
    for name, limit, column, requested, window in rules:
        if limit is None or not requested:
            continue
        query = f"SELECT coalesce(sum({column}), 0) FROM tabs WHERE key = ? AND counted >= ? AND counted < ?"
        (used,) = connection.execute(query, (generation.caller_id, *window)).fetchone()
        if used + requested > limit:
            key_row = connection.execute("SELECT name FROM keys WHERE id = ?", (generation.caller_id,)).fetchone()
            key_name = key_row[0] if key_row else generation.caller_id or "local"
            raise QuotaExceededError(
                name, key_name, limit=limit, used=used, requested=requested, resets_at=window.resets_at, now=now
            )
