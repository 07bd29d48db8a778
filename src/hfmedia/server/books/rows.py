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

from .keys import Key, Limits
from .money import KeyReusedError, LimitName, OverLimitError, Window, day_of, dollars, micro, month_of
from .orders import Order

ORDERS = (
    "SELECT o.body, o.idempotency_key, o.deleted, t.standing, t.reserved, t.micro "
    "FROM orders o LEFT JOIN tabs t ON t.id = o.id "
)


def key_of(body: str) -> Key:
    """A key as its row has it."""
    return msgspec.json.decode(body, type=Key)


def as_json(value: Any) -> str:
    """The value as a row keeps it; InvalidRequestError for what JSON cannot hold."""
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError, TypeError) as error:
        raise InvalidRequestError(f"that cannot be written down: {str(error)[:200]}") from None


def order_of(row: Any) -> Order:
    """An order as it stands now: as it was given, and what has become of it since."""
    body, idempotency_key, deleted, standing, reserved, amount = row
    order = msgspec.json.decode(body, type=Order)
    return structs.replace(
        order,
        idempotency_key=idempotency_key,
        deleted=msgspec.json.decode(deleted, type=dict[int, float]),
        reserved=order.reserved if reserved is None else dollars(reserved),
        settled=standing != "reserved",
        charged=dollars(amount) if standing == "charged" else None,
    )


def earlier_of(connection: sqlite3.Connection, order: Order) -> Order | None:
    """The order that is there already: the same id, or the same idempotency key of the same caller."""
    found = connection.execute(
        f"{ORDERS} WHERE o.id = ? OR (o.key = ? AND o.idempotency_key = ?)",
        (order.id, order.key, order.idempotency_key),
    ).fetchone()
    if found is None:
        return None
    earlier = order_of(found)
    if earlier.fingerprint != order.fingerprint:
        raise KeyReusedError
    return earlier


def check_limits(connection: sqlite3.Connection, order: Order, limits: Limits, wanted: int, now: float) -> None:
    """OverLimitError for the first limit that the order would break, counting all that others set aside."""
    day, month, n = day_of(now), month_of(now), order.n
    money = None if limits.usd_per_month is None else micro(limits.usd_per_month, down=True)
    rules: Iterable[tuple[LimitName, int | None, str, int, Window]] = (
        ("images_per_day", limits.images_per_day, "images", n if order.kind == "image" else 0, day),
        ("videos_per_day", limits.videos_per_day, "videos", n if order.kind == "video" else 0, day),
        ("usd_per_month", money, "micro", wanted, month),
    )
    for name, limit, column, more, window in rules:
        if limit is None or not more:
            continue
        taken = f"SELECT coalesce(sum({column}), 0) FROM tabs WHERE key = ? AND counted >= ? AND counted < ?"
        (used,) = connection.execute(taken, (order.key, *window)).fetchone()
        if used + more > limit:
            known = connection.execute("SELECT name FROM keys WHERE id = ?", (order.key,)).fetchone()
            named = known[0] if known else order.key or "local"
            raise OverLimitError(name, named, limit=limit, used=used, wanted=more, resets=window.resets, now=now)
