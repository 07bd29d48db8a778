"""The book: one SQLite file with the gateway's keys, its orders, and what counts against limits.

What costs money is one transaction, on the disk before anything is sent. Safe to use from several threads and from
several processes at once: a key that the command revokes is refused at the next request.
"""

from __future__ import annotations

import hmac
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from hfmedia.core.errors import InvalidRequestError, StoreError
from hfmedia.database import spoken, transaction

from .keys import FORGED, Key, Limits, checked, hashed, id_of
from .money import day_of, dollars, micro, month_of
from .orders import Api, Kind, Order
from .rows import ORDERS, as_json, check_limits, earlier_of, key_of, order_of
from .tables import BOOK, connect

SECRET_BYTES = 32


class Usage(Struct, frozen=True, kw_only=True):
    """What counts against a key's limits now. Money is in USD, resets are unix seconds.

    Attributes:
        usd_month: all that counts this month: charged, estimated and reserved together.
        charged_month: at prices that are known.
        estimated_month: bought at a price that nobody told, so that what was set aside counts instead.
        unknown_month: how many orders that is.
        reserved_now: set aside this month for orders that are not over.
    """

    images_today: int = 0
    videos_today: int = 0
    images_month: int = 0
    videos_month: int = 0
    usd_month: float = 0.0
    charged_month: float = 0.0
    estimated_month: float = 0.0
    unknown_month: int = 0
    reserved_now: float = 0.0
    day_resets: float
    month_resets: float


class Book:
    """The file at a path, made where there is none. ``secret`` are 32 random bytes of its own, for signing links.

    Every method raises StoreError when the file or the disk refuses. ``clock`` gives unix seconds.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        self._keyed = False
        self._writing, self._reading = threading.Lock(), threading.Lock()
        with spoken(BOOK, path):
            self._writer = connect(path, writes=True)
            try:
                self._reader = connect(path, writes=False)  # so that a look never waits for another's commit
            except BaseException:
                self._writer.close()
                raise
        try:
            self.secret = self._own_secret()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"Book({str(self.path)!r})"

    def close(self) -> None:
        """Closes the file; twice is fine."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    # -- keys -----------------------------------------------------------------------------------------------------

    def keys(self) -> list[Key]:
        """Every key that was ever made, the oldest first."""
        return [key_of(body) for (body,) in self._rows("SELECT body FROM keys ORDER BY made, id")]

    def key(self, key_id: str) -> Key | None:
        """The key of that id."""
        found = self._row("SELECT body FROM keys WHERE id = ?", key_id)
        return key_of(found[0]) if found else None

    def named(self, text: str) -> Key | None:
        """The key of that id, that name, or that very text; of several with one name the one in use, or the last."""
        known = self.key(id_of(text) or text)
        if known:
            return known
        order = "ORDER BY revoked IS NOT NULL, made DESC LIMIT 1"
        found = self._row(f"SELECT body FROM keys WHERE name = ? {order}", text)
        return key_of(found[0]) if found else None

    def find(self, text: str) -> Key | None:
        """The key with this text, revoked or expired ones too; None unless all of the text is right."""
        key_id = id_of(text)
        found = self._row("SELECT hash, body FROM keys WHERE id = ?", key_id or FORGED)
        kept = found[0] if found else bytes(32)
        same = hmac.compare_digest(kept, hashed(text))
        return key_of(found[1]) if same and found and key_id else None

    def check(self, text: str) -> Key | None:
        """The key with this text when it may be used now."""
        key = self.find(text)
        return key if key and key.usable(self.clock()) else None

    def ever_keyed(self) -> bool:
        """Whether a key was ever made; from then on nobody comes in without one."""
        self._keyed = self._keyed or self._row("SELECT 1 FROM keys LIMIT 1") is not None
        return self._keyed

    def add_key(self, key: Key, hash: bytes) -> None:  # noqa: A002 - what it is
        """Writes a new key down. InvalidRequestError when its name is taken, or it makes no sense."""
        made = checked(key)
        with self._changing(made.name) as connection:
            connection.execute(
                "INSERT INTO keys (id, name, hash, made, revoked, body) VALUES (?, ?, ?, ?, ?, ?)",
                (made.id, made.name, hash, made.made, made.revoked, as_json(made)),
            )

    def change_key(self, key_id: str, **changes: Any) -> Key:
        """The key with other ``limits``, ``name``, ``bill_to``, ``admin`` or ``expires``. InvalidRequestError: none."""
        return self._changed(key_id, lambda key: checked(structs.replace(key, **changes)))

    def revoke_key(self, key_id: str, at: float) -> Key:
        """The key, revoked; one that was revoked before keeps its time. InvalidRequestError when there is none."""
        return self._changed(key_id, lambda key: key if key.revoked else structs.replace(key, revoked=at))

    # -- orders ---------------------------------------------------------------------------------------------------

    def reserve(self, order: Order, limits: Limits, *, now: float) -> Order:
        """The order, written down and its money set aside; or the earlier one with its idempotency key.

        Raises:
            OverLimitError: a limit does not allow it; nothing was written.
            KeyReusedError: the earlier one was another request.
        """
        wanted = micro(order.reserved)
        images, videos = (order.n, 0) if order.kind == "image" else (0, order.n)
        with self._write() as connection:
            earlier = earlier_of(connection, order)
            if earlier is not None:
                return earlier
            check_limits(connection, order, limits, wanted, now)
            connection.execute(
                "INSERT INTO orders (id, key, kind, api, at, idempotency_key, fingerprint, deleted, body) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, '{}', ?)",
                (order.id, order.key, order.kind, order.api, order.at, order.idempotency_key, order.fingerprint,
                 as_json(structs.replace(order, ask=order.ask.written()))),
            )  # fmt: skip
            connection.execute(
                "INSERT INTO tabs (id, key, counted, standing, reserved, micro, images, videos) "
                "VALUES (?, ?, ?, 'reserved', ?, ?, ?, ?)",
                (order.id, order.key, now, wanted, wanted, images, videos),
            )
        return order

    def settle(self, order_id: str, *, charged: float | None, images: int, videos: int) -> None:
        """Puts what was really bought in the place of what was set aside. Settling again changes nothing.

        ``charged`` None: nobody told a price of what was bought, so its share of what was set aside counts.
        """
        with self._write() as connection:
            open_tab = "SELECT reserved, images + videos FROM tabs WHERE id = ? AND standing = 'reserved'"
            found = connection.execute(open_tab, (order_id,)).fetchone()
            if found is None:
                return
            reserved, n = found
            share = -(-reserved * min(images + videos, n) // max(1, n))
            connection.execute(
                "UPDATE tabs SET standing = ?, micro = ?, images = ?, videos = ? WHERE id = ?",
                ("estimated" if charged is None else "charged", share if charged is None else micro(charged),
                 images, videos, order_id),
            )  # fmt: skip

    def warn(self, order_id: str, notes: Sequence[str]) -> None:
        """Writes down what whoever gave an order should know of how it is carried out; each thing once."""
        with self._write() as connection:
            found = connection.execute("SELECT body FROM orders WHERE id = ?", (order_id,)).fetchone()
            if found is None:
                return
            order = msgspec.json.decode(found[0], type=Order)
            warnings = [*dict.fromkeys((*order.told.get("warnings", ()), *notes))]
            body = as_json(structs.replace(order, told={**order.told, "warnings": warnings}))
            connection.execute("UPDATE orders SET body = ? WHERE id = ?", (body, order_id))

    def rebind(self, order_id: str) -> None:
        """Gives the order's idempotency key free: it bought nothing, and the same may be tried anew."""
        with self._write() as connection:
            connection.execute("UPDATE orders SET idempotency_key = NULL WHERE id = ?", (order_id,))

    def order(self, order_id: str) -> Order | None:
        """The order of that id."""
        found = self._row(f"{ORDERS} WHERE o.id = ?", order_id)
        return order_of(found) if found else None

    def orders(
        self,
        key: str | None,
        *,
        kind: Kind | None = None,
        api: Api | None = None,
        after: str | None = None,
        before: str | None = None,
        deleted: bool = False,
        limit: int | None = 100,
        newest_first: bool = True,
    ) -> list[Order]:
        """Orders of a key (None: everybody's), by age.

        ``after`` and ``before`` are ids of orders: only what comes after the one and before the other in this very
        list; an id that is unknown stands where its own age puts it, for ids sort by age. ``deleted``: only those of
        which something was deleted.
        """
        terms, values = ["1"], list[Any]()
        for column, value in (("key", key), ("kind", kind), ("api", api)):
            if value is not None:
                terms.append(f"o.{column} = ?")
                values.append(value)
        if deleted:
            terms.append("o.deleted != '{}'")
        later, earlier = ("<", ">") if newest_first else (">", "<")
        for cursor, sign in ((after, later), (before, earlier)):
            if cursor is not None:
                place = self._row("SELECT at, id FROM orders WHERE id = ?", cursor)
                terms.append(f"(o.at, o.id) {sign} (?, ?)" if place else f"o.id {sign} ?")
                values += place or (cursor,)
        way = "DESC" if newest_first else "ASC"
        text = f"{ORDERS} WHERE {' AND '.join(terms)} ORDER BY o.at {way}, o.id {way} LIMIT ?"
        return [order_of(row) for row in self._rows(text, *values, -1 if limit is None else max(0, limit))]

    def unsettled(self) -> list[Order]:
        """Orders that are not over, the oldest first."""
        return [order_of(row) for row in self._rows(f"{ORDERS} WHERE t.standing = 'reserved' ORDER BY o.at, o.id")]

    def mark_deleted(self, order_id: str, index: int, at: float | None) -> None:
        """Remembers that the owner deleted one output, and when; None: undoes it."""
        with self._write() as connection:
            found = connection.execute("SELECT deleted FROM orders WHERE id = ?", (order_id,)).fetchone()
            if found is None:
                return
            deleted = msgspec.json.decode(found[0], type=dict[int, float])
            deleted.pop(index, None)
            if at is not None:
                deleted[index] = at
            connection.execute("UPDATE orders SET deleted = ? WHERE id = ?", (as_json(deleted), order_id))

    def forget(self, before: float) -> list[Order]:
        """Forgets orders from before that time that are over, and tells which; what they count stays for its month."""
        this_month = month_of(self.clock()).begins
        with self._write() as connection:
            old = "o.at < ? AND coalesce(t.standing, '') <> 'reserved'"
            found = [order_of(row) for row in connection.execute(f"{ORDERS} WHERE {old}", (before,)).fetchall()]
            connection.executemany("DELETE FROM orders WHERE id = ?", [(order.id,) for order in found])
            connection.execute(
                "DELETE FROM tabs WHERE counted < ? AND NOT EXISTS (SELECT 1 FROM orders WHERE orders.id = tabs.id)",
                (min(before, this_month),),
            )
        return found

    def usage(self, key: str, now: float) -> Usage:
        """What counts against the limits of a key at this time."""
        day, month = day_of(now), month_of(now)
        sums = "coalesce(sum(images), 0), coalesce(sum(videos), 0)"
        span = "FROM tabs WHERE key = ? AND counted >= ? AND counted < ?"
        (images, videos), *_ = self._rows(f"SELECT {sums} {span}", key, *day)
        rows = self._rows(f"SELECT standing, count(*), sum(micro), {sums} {span} GROUP BY standing", key, *month)
        money = {standing: amount for standing, _, amount, _, _ in rows}
        return Usage(
            images_today=images,
            videos_today=videos,
            images_month=sum(row[3] for row in rows),
            videos_month=sum(row[4] for row in rows),
            usd_month=dollars(sum(money.values())),
            charged_month=dollars(money.get("charged", 0)),
            estimated_month=dollars(money.get("estimated", 0)),
            unknown_month=sum(row[1] for row in rows if row[0] == "estimated"),
            reserved_now=dollars(money.get("reserved", 0)),
            day_resets=day.resets,
            month_resets=month.resets,
        )

    # -- inside ---------------------------------------------------------------------------------------------------

    def _rows(self, text: str, *values: Any) -> list[Any]:
        with spoken(BOOK, self.path), self._reading:
            return self._reader.execute(text, values).fetchall()

    def _row(self, text: str, *values: Any) -> Any:
        found = self._rows(text, *values)
        return found[0] if found else None

    @contextmanager
    def _write(self) -> Generator[sqlite3.Connection, None, None]:
        with spoken(BOOK, self.path), self._writing, transaction(self._writer) as connection:
            yield connection

    @contextmanager
    def _changing(self, name: str) -> Generator[sqlite3.Connection, None, None]:
        try:
            with self._write() as connection:
                yield connection
        except StoreError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                words = f"there is a key named {name!r}; revoke that one, or take another name"
                raise InvalidRequestError(words) from None
            raise

    def _changed(self, key_id: str, change: Callable[[Key], Key]) -> Key:
        known = self.key(key_id)
        with self._changing(known.name if known else key_id) as connection:
            found = connection.execute("SELECT body FROM keys WHERE id = ?", (key_id,)).fetchone()
            if found is None:
                raise InvalidRequestError("there is no key of that id")  # it may be the text of one
            key = change(key_of(found[0]))
            connection.execute(
                "UPDATE keys SET name = ?, revoked = ?, body = ? WHERE id = ?",
                (key.name, key.revoked, as_json(key), key_id),
            )
        return key

    def _own_secret(self) -> bytes:
        with self._write() as connection:
            made = secrets.token_bytes(SECRET_BYTES)
            connection.execute("INSERT OR IGNORE INTO secrets (name, value) VALUES ('links', ?)", (made,))
            return bytes(connection.execute("SELECT value FROM secrets WHERE name = 'links'").fetchone()[0])
