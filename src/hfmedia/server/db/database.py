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

from hfmedia.core.errors import InvalidRequestError, StorageError
from hfmedia.sqlite import transaction, translate_errors

from .api_keys import DUMMY_KEY_ID, ApiKey, KeyLimits, hash_key, key_id_of, validate_key
from .generations import Api, Generation, OutputKind
from .pricing import day_of, dollars, month_of, to_micro_usd
from .rows import SELECT_GENERATIONS, api_key_from_row, dump_json, enforce_limits, find_existing, generation_from_row
from .schema import SCHEMA, connect

SECRET_BYTES = 32


class UsageReport(Struct, frozen=True, kw_only=True):
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
    charged_usd_month: float = 0.0
    estimated_usd_month: float = 0.0
    unpriced_generations_month: int = 0
    reserved_usd_now: float = 0.0
    day_resets_at: float
    month_resets_at: float


class GatewayDatabase:
    """The file at a path, made where there is none. ``secret`` are 32 random bytes of its own, for signing links.

    Every method raises StoreError when the file or the disk refuses. ``clock`` gives unix seconds.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        self._has_keys = False
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        with translate_errors(SCHEMA, path):
            self._write_connection = connect(path, writable=True)
            try:
                self._read_connection = connect(path, writable=False)  # so that a look never waits for another's commit
            except BaseException:
                self._write_connection.close()
                raise
        try:
            self.signing_secret = self._load_signing_secret()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"Book({str(self.path)!r})"

    def close(self) -> None:
        """Closes the file; twice is fine."""
        with self._write_lock, self._read_lock:
            self._read_connection.close()
            self._write_connection.close()

    # -- keys -----------------------------------------------------------------------------------------------------

    def list_keys(self) -> list[ApiKey]:
        """Every key that was ever made, the oldest first."""
        return [api_key_from_row(body) for (body,) in self._rows("SELECT body FROM keys ORDER BY made, id")]

    def get_key(self, key_id: str) -> ApiKey | None:
        """The key of that id."""
        row = self._row("SELECT body FROM keys WHERE id = ?", key_id)
        return api_key_from_row(row[0]) if row else None

    def find_key(self, identifier: str) -> ApiKey | None:
        """The key of that id, that name, or that very text; of several with one name the one in use, or the last."""
        key = self.get_key(key_id_of(identifier) or identifier)
        if key:
            return key
        ordering = "ORDER BY revoked IS NOT NULL, made DESC LIMIT 1"
        row = self._row(f"SELECT body FROM keys WHERE name = ? {ordering}", identifier)
        return api_key_from_row(row[0]) if row else None

    def find_by_plaintext(self, plaintext: str) -> ApiKey | None:
        """The key with this text, revoked or expired ones too; None unless all of the text is right."""
        key_id = key_id_of(plaintext)
        row = self._row("SELECT hash, body FROM keys WHERE id = ?", key_id or DUMMY_KEY_ID)
        stored_hash = row[0] if row else bytes(32)
        matches = hmac.compare_digest(stored_hash, hash_key(plaintext))
        return api_key_from_row(row[1]) if matches and row and key_id else None

    def authenticate(self, plaintext: str) -> ApiKey | None:
        """The key with this text when it may be used now."""
        key = self.find_by_plaintext(plaintext)
        return key if key and key.is_active(self.clock()) else None

    def requires_keys(self) -> bool:
        """Whether a key was ever made; from then on nobody comes in without one."""
        self._has_keys = self._has_keys or self._row("SELECT 1 FROM keys LIMIT 1") is not None
        return self._has_keys

    def add_key(self, key: ApiKey, key_hash: bytes) -> None:
        """Writes a new key down. InvalidRequestError when its name is taken, or it makes no sense."""
        validated = validate_key(key)
        with self._key_transaction(validated.name) as connection:
            connection.execute(
                "INSERT INTO keys (id, name, hash, made, revoked, body) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    validated.id,
                    validated.name,
                    key_hash,
                    validated.created_at,
                    validated.revoked_at,
                    dump_json(validated),
                ),
            )

    def change_key(self, key_id: str, **changes: Any) -> ApiKey:
        """The key with other ``limits``, ``name``, ``bill_to``, ``admin`` or ``expires``. InvalidRequestError: none."""
        return self._update_key(key_id, lambda key: validate_key(structs.replace(key, **changes)))

    def revoke_key(self, key_id: str, revoked_at: float) -> ApiKey:
        """The key, revoked; one that was revoked before keeps its time. InvalidRequestError when there is none."""
        return self._update_key(
            key_id, lambda key: key if key.revoked_at else structs.replace(key, revoked_at=revoked_at)
        )

    # -- orders ---------------------------------------------------------------------------------------------------

    def reserve(self, generation: Generation, limits: KeyLimits, *, now: float) -> Generation:
        """The order, written down and its money set aside; or the earlier one with its idempotency key.

        Raises:
            OverLimitError: a limit does not allow it; nothing was written.
            KeyReusedError: the earlier one was another request.
        """
        reserved_micro = to_micro_usd(generation.reserved_usd)
        images, videos = (generation.n, 0) if generation.kind == "image" else (0, generation.n)
        with self._write_transaction() as connection:
            existing = find_existing(connection, generation)
            if existing is not None:
                return existing
            enforce_limits(connection, generation, limits, reserved_micro, now)
            connection.execute(
                "INSERT INTO orders (id, key, kind, api, at, idempotency_key, fingerprint, deleted, body) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, '{}', ?)",
                (generation.id, generation.caller_id, generation.kind, generation.api, generation.created_at, generation.idempotency_key, generation.fingerprint,
                 dump_json(structs.replace(generation, spec=generation.spec.without_inline_image()))),
            )  # fmt: skip
            connection.execute(
                "INSERT INTO tabs (id, key, counted, standing, reserved, micro, images, videos) "
                "VALUES (?, ?, ?, 'reserved', ?, ?, ?, ?)",
                (generation.id, generation.caller_id, now, reserved_micro, reserved_micro, images, videos),
            )
        return generation

    def settle_charges(self, generation_id: str, *, charged_usd: float | None, images: int, videos: int) -> None:
        """Puts what was really bought in the place of what was set aside. Settling again changes nothing.

        ``charged`` None: nobody told a price of what was bought, so its share of what was set aside counts.
        """
        with self._write_transaction() as connection:
            query = "SELECT reserved, images + videos FROM tabs WHERE id = ? AND standing = 'reserved'"
            row = connection.execute(query, (generation_id,)).fetchone()
            if row is None:
                return
            reserved_micro, output_count = row
            share_micro = -(-reserved_micro * min(images + videos, output_count) // max(1, output_count))
            connection.execute(
                "UPDATE tabs SET standing = ?, micro = ?, images = ?, videos = ? WHERE id = ?",
                ("estimated" if charged_usd is None else "charged", share_micro if charged_usd is None else to_micro_usd(charged_usd),
                 images, videos, generation_id),
            )  # fmt: skip

    def add_warnings(self, generation_id: str, warnings: Sequence[str]) -> None:
        """Writes down what whoever gave an order should know of how it is carried out; each thing once."""
        with self._write_transaction() as connection:
            row = connection.execute("SELECT body FROM orders WHERE id = ?", (generation_id,)).fetchone()
            if row is None:
                return
            generation = msgspec.json.decode(row[0], type=Generation)
            merged_warnings = [*dict.fromkeys((*generation.response_context.get("warnings", ()), *warnings))]
            body = dump_json(
                structs.replace(
                    generation, response_context={**generation.response_context, "warnings": merged_warnings}
                )
            )
            connection.execute("UPDATE orders SET body = ? WHERE id = ?", (body, generation_id))

    def release_idempotency_key(self, generation_id: str) -> None:
        """Gives the order's idempotency key free: it bought nothing, and the same may be tried anew."""
        with self._write_transaction() as connection:
            connection.execute("UPDATE orders SET idempotency_key = NULL WHERE id = ?", (generation_id,))

    def generation(self, generation_id: str) -> Generation | None:
        """The order of that id."""
        row = self._row(f"{SELECT_GENERATIONS} WHERE o.id = ?", generation_id)
        return generation_from_row(row) if row else None

    def generations(
        self,
        caller_id: str | None,
        *,
        kind: OutputKind | None = None,
        api: Api | None = None,
        after: str | None = None,
        before: str | None = None,
        deleted: bool = False,
        limit: int | None = 100,
        newest_first: bool = True,
    ) -> list[Generation]:
        """Orders of a key (None: everybody's), by age.

        ``after`` and ``before`` are ids of orders: only what comes after the one and before the other in this very
        list; an id that is unknown stands where its own age puts it, for ids sort by age. ``deleted``: only those of
        which something was deleted.
        """
        conditions, parameters = ["1"], list[Any]()
        for column, value in (("key", caller_id), ("kind", kind), ("api", api)):
            if value is not None:
                conditions.append(f"o.{column} = ?")
                parameters.append(value)
        if deleted:
            conditions.append("o.deleted != '{}'")
        after_operator, before_operator = ("<", ">") if newest_first else (">", "<")
        for cursor, comparison in ((after, after_operator), (before, before_operator)):
            if cursor is not None:
                cursor_row = self._row("SELECT at, id FROM orders WHERE id = ?", cursor)
                conditions.append(f"(o.at, o.id) {comparison} (?, ?)" if cursor_row else f"o.id {comparison} ?")
                parameters += cursor_row or (cursor,)
        direction = "DESC" if newest_first else "ASC"
        query = (
            f"{SELECT_GENERATIONS} WHERE {' AND '.join(conditions)} ORDER BY o.at {direction}, o.id {direction} LIMIT ?"
        )
        return [
            generation_from_row(row) for row in self._rows(query, *parameters, -1 if limit is None else max(0, limit))
        ]

    def unsettled(self) -> list[Generation]:
        """Orders that are not over, the oldest first."""
        return [
            generation_from_row(row)
            for row in self._rows(f"{SELECT_GENERATIONS} WHERE t.standing = 'reserved' ORDER BY o.at, o.id")
        ]

    def mark_deleted(self, generation_id: str, index: int, deleted_at: float | None) -> None:
        """Remembers that the owner deleted one output, and when; None: undoes it."""
        with self._write_transaction() as connection:
            row = connection.execute("SELECT deleted FROM orders WHERE id = ?", (generation_id,)).fetchone()
            if row is None:
                return
            deleted = msgspec.json.decode(row[0], type=dict[int, float])
            deleted.pop(index, None)
            if deleted_at is not None:
                deleted[index] = deleted_at
            connection.execute("UPDATE orders SET deleted = ? WHERE id = ?", (dump_json(deleted), generation_id))

    def purge(self, before: float) -> list[Generation]:
        """Forgets orders from before that time that are over, and tells which; what they count stays for its month."""
        this_month = month_of(self.clock()).starts_at
        with self._write_transaction() as connection:
            condition = "o.at < ? AND coalesce(t.standing, '') <> 'reserved'"
            purged = [
                generation_from_row(row)
                for row in connection.execute(f"{SELECT_GENERATIONS} WHERE {condition}", (before,)).fetchall()
            ]
            connection.executemany("DELETE FROM orders WHERE id = ?", [(generation.id,) for generation in purged])
            connection.execute(
                "DELETE FROM tabs WHERE counted < ? AND NOT EXISTS (SELECT 1 FROM orders WHERE orders.id = tabs.id)",
                (min(before, this_month),),
            )
        return purged

    def usage(self, caller_id: str, now: float) -> UsageReport:
        """What counts against the limits of a key at this time."""
        day, month = day_of(now), month_of(now)
        count_columns = "coalesce(sum(images), 0), coalesce(sum(videos), 0)"
        from_window = "FROM tabs WHERE key = ? AND counted >= ? AND counted < ?"
        (images, videos), *_ = self._rows(f"SELECT {count_columns} {from_window}", caller_id, *day)
        rows = self._rows(
            f"SELECT standing, count(*), sum(micro), {count_columns} {from_window} GROUP BY standing", caller_id, *month
        )
        micro_by_status = {status: amount for status, _, amount, _, _ in rows}
        return UsageReport(
            images_today=images,
            videos_today=videos,
            images_month=sum(row[3] for row in rows),
            videos_month=sum(row[4] for row in rows),
            usd_month=dollars(sum(micro_by_status.values())),
            charged_usd_month=dollars(micro_by_status.get("charged", 0)),
            estimated_usd_month=dollars(micro_by_status.get("estimated", 0)),
            unpriced_generations_month=sum(row[1] for row in rows if row[0] == "estimated"),
            reserved_usd_now=dollars(micro_by_status.get("reserved", 0)),
            day_resets_at=day.resets_at,
            month_resets_at=month.resets_at,
        )

    # -- inside ---------------------------------------------------------------------------------------------------

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with translate_errors(SCHEMA, self.path), self._read_lock:
            return self._read_connection.execute(query, values).fetchall()

    def _row(self, query: str, *values: Any) -> Any:
        rows = self._rows(query, *values)
        return rows[0] if rows else None

    @contextmanager
    def _write_transaction(self) -> Generator[sqlite3.Connection, None, None]:
        with translate_errors(SCHEMA, self.path), self._write_lock, transaction(self._write_connection) as connection:
            yield connection

    @contextmanager
    def _key_transaction(self, name: str) -> Generator[sqlite3.Connection, None, None]:
        try:
            with self._write_transaction() as connection:
                yield connection
        except StorageError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                message = f"there is a key named {name!r}; revoke that one, or take another name"
                raise InvalidRequestError(message) from None
            raise

    def _update_key(self, key_id: str, update: Callable[[ApiKey], ApiKey]) -> ApiKey:
        existing = self.get_key(key_id)
        with self._key_transaction(existing.name if existing else key_id) as connection:
            row = connection.execute("SELECT body FROM keys WHERE id = ?", (key_id,)).fetchone()
            if row is None:
                raise InvalidRequestError("there is no key of that id")  # it may be the text of one
            key = update(api_key_from_row(row[0]))
            connection.execute(
                "UPDATE keys SET name = ?, revoked = ?, body = ? WHERE id = ?",
                (key.name, key.revoked_at, dump_json(key), key_id),
            )
        return key

    def _load_signing_secret(self) -> bytes:
        with self._write_transaction() as connection:
            candidate = secrets.token_bytes(SECRET_BYTES)
            connection.execute("INSERT OR IGNORE INTO secrets (name, value) VALUES ('links', ?)", (candidate,))
            return bytes(connection.execute("SELECT value FROM secrets WHERE name = 'links'").fetchone()[0])
