"""API keys of the gateway: their limits, their plaintext and its digest, and the table that stores them.

The plaintext is shown once, when a key is created; only its digest is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import sqlite3
import string
from collections.abc import Callable, Generator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from msgspec import Struct, structs

from hfmedia.core.credentials import BILL_TO_PATTERN
from hfmedia.core.errors import InvalidRequestError, StorageError
from hfmedia.core.text import truncated_repr

from .connection import DatabaseConnections, dump_json

KEY_PREFIX = "hfm_"
ALPHABET = string.ascii_letters + string.digits  # no character at which a double click stops selecting
SECRET_LENGTH = 43  # characters from an alphabet of 62: 256 bits
MAX_NAME_CHARS, MAX_PATTERN_CHARS, MAX_PATTERNS = 64, 200, 100
MAX_COUNT, MAX_USD = 10**9, 10**9
MAX_LIFETIME_DAYS = 100 * 366.0  # days
DUMMY_KEY_ID = "0" * 12  # looked up for a text without an ID, so that the response takes as long
_KEY_PATTERN = re.compile(r"hfm_([0-9a-f]{12})_([A-Za-z0-9]{32,128})")


class KeyLimits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of an API key; None is no limit. ``models`` holds patterns such as ``black-forest-labs/*``; empty: all."""

    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    images_per_day: int | None = None
    videos_per_day: int | None = None
    usd_per_month: float | None = None

    def allows_model(self, model: str) -> bool:
        """Return True if a pattern matches the model; the provider after a colon is ignored."""
        name = model.strip().partition(":")[0].lower()
        return not self.models or any(fnmatchcase(name, pattern.lower()) for pattern in self.models)


class ApiKey(Struct, frozen=True, kw_only=True):
    """An API key without its plaintext. Times are unix seconds.

    Attributes:
        id: public part of the plaintext.
        name: chosen by the operator; unique among keys that are not revoked.
        bill_to: organization that its jobs are billed to.
        admin: can see the jobs of all callers.
        expires_at, revoked_at: end of its validity; None if it does not expire or was not revoked.
    """

    id: str
    name: str
    created_at: float
    limits: KeyLimits = KeyLimits()
    bill_to: str | None = None
    admin: bool = False
    expires_at: float | None = None
    revoked_at: float | None = None

    def is_active(self, now: float) -> bool:
        """Return True if the key is accepted at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def generate_api_key() -> tuple[str, str, bytes]:
    """Return ID, plaintext and stored digest of a new random key."""
    key_id = secrets.token_hex(6)
    plaintext = f"{KEY_PREFIX}{key_id}_{''.join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))}"
    return key_id, plaintext, hash_key(plaintext)


def hash_key(plaintext: str) -> bytes:
    """Return the stored digest of a key. Its secret is random and long, so one round is enough."""
    return hashlib.sha256(plaintext.encode("utf-8", "surrogatepass")).digest()


def key_id_of(plaintext: str) -> str | None:
    """Return the ID within a key's plaintext; None for text that is not an API key."""
    match = _KEY_PATTERN.fullmatch(plaintext)
    return match[1] if match else None


def validate_key(key: ApiKey) -> ApiKey:
    """Return the key with its name stripped; raise InvalidRequestError naming the first invalid field."""
    if KEY_PREFIX in key.name:
        raise InvalidRequestError("expected a name, got the text of a key; revoke that key if others may have seen it")
    if not key.name.strip() or len(key.name) > MAX_NAME_CHARS or not key.name.isprintable() or key.name.startswith("-"):
        raise InvalidRequestError(
            f"the name {truncated_repr(key.name)} cannot be used; choose 1 to {MAX_NAME_CHARS} printable characters"
        )
    if key.bill_to is not None and not BILL_TO_PATTERN.fullmatch(key.bill_to):
        raise InvalidRequestError(f"bill-to is {truncated_repr(key.bill_to)}, but must be an organization on the Hub")
    return structs.replace(key, name=key.name.strip(), limits=_validate_limits(key.limits))


def _validate_limits(limits: KeyLimits) -> KeyLimits:
    if len(limits.models) > MAX_PATTERNS:
        raise InvalidRequestError(f"{len(limits.models)} model patterns are too many; use at most {MAX_PATTERNS}")
    for pattern in limits.models:
        if not pattern or len(pattern) > MAX_PATTERN_CHARS or not pattern.isprintable() or set(pattern) & set(" :"):
            raise InvalidRequestError(
                f"{truncated_repr(pattern)} is not a valid model pattern; use org/name or org/*, without a provider"
            )
    for name, minimum in (("requests_per_minute", 1), ("images_per_day", 0), ("videos_per_day", 0)):
        count: Any = getattr(limits, name)
        if count is not None and not minimum <= count <= MAX_COUNT:
            raise InvalidRequestError(f"{name.replace('_', '-')} is {count}, but must be {minimum} to {MAX_COUNT}")
    usd = limits.usd_per_month
    if usd is not None and not (math.isfinite(usd) and 0 <= usd <= MAX_USD):
        raise InvalidRequestError(f"usd-per-month is {usd:g}, but must be 0 to {MAX_USD}")
    return limits


def expiry_from_days(days: float, now: float) -> float:
    """Return the time this many days from now; raise InvalidRequestError for a number out of range."""
    if not (math.isfinite(days) and 0 < days <= MAX_LIFETIME_DAYS):
        raise InvalidRequestError(
            f"expires is {days:g} days, but must be more than 0 and at most {MAX_LIFETIME_DAYS:g}"
        )
    return now + days * 86_400


class ApiKeyRepository(DatabaseConnections):
    """The table ``api_keys``."""

    _has_keys = False

    def list_keys(self) -> list[ApiKey]:
        """Return all keys, revoked and expired ones too, oldest first."""
        return [_api_key_from_row(body) for (body,) in self._rows("SELECT body FROM api_keys ORDER BY created_at, id")]

    def get_key(self, key_id: str) -> ApiKey | None:
        """Return the key with this ID."""
        row = self._row("SELECT body FROM api_keys WHERE id = ?", key_id)
        return _api_key_from_row(row[0]) if row else None

    def find_key(self, identifier: str) -> ApiKey | None:
        """Return the key with this ID, name or plaintext; of several with the name, the active or else the newest."""
        key = self.get_key(key_id_of(identifier) or identifier)
        if key:
            return key
        ordering = "ORDER BY revoked_at IS NOT NULL, created_at DESC LIMIT 1"
        row = self._row(f"SELECT body FROM api_keys WHERE name = ? {ordering}", identifier)
        return _api_key_from_row(row[0]) if row else None

    def find_by_plaintext(self, plaintext: str) -> ApiKey | None:
        """Return the key with exactly this plaintext, even if revoked or expired; compare in constant time."""
        key_id = key_id_of(plaintext)
        row = self._row("SELECT key_hash, body FROM api_keys WHERE id = ?", key_id or DUMMY_KEY_ID)
        stored_hash = row[0] if row else bytes(32)
        matches = hmac.compare_digest(stored_hash, hash_key(plaintext))
        return _api_key_from_row(row[1]) if matches and row and key_id else None

    def authenticate(self, plaintext: str) -> ApiKey | None:
        """Return the key with this plaintext if it is active now."""
        key = self.find_by_plaintext(plaintext)
        return key if key and key.is_active(self.clock()) else None

    def requires_keys(self) -> bool:
        """Return True once any key was created, whatever became of it; from then on every request requires one."""
        self._has_keys = self._has_keys or self._row("SELECT 1 FROM api_keys LIMIT 1") is not None
        return self._has_keys

    def add_key(self, key: ApiKey, key_hash: bytes) -> None:
        """Store a new key. Raises InvalidRequestError if its name is taken or a field is invalid."""
        valid_key = validate_key(key)
        columns = (valid_key.id, valid_key.name, key_hash, valid_key.created_at, valid_key.revoked_at)
        with self._key_transaction(valid_key.name) as connection:
            connection.execute(
                "INSERT INTO api_keys (id, name, key_hash, created_at, revoked_at, body) VALUES (?, ?, ?, ?, ?, ?)",
                (*columns, dump_json(valid_key)),
            )

    def change_key(self, key_id: str, **changes: Any) -> ApiKey:
        """Change ``limits``, ``name``, ``bill_to``, ``admin`` or ``expires_at``; return the new key.

        Raises InvalidRequestError for an unknown key or an invalid value.
        """
        return self._update_key(key_id, lambda key: validate_key(structs.replace(key, **changes)))

    def revoke_key(self, key_id: str, revoked_at: float) -> ApiKey:
        """Revoke a key and return it; an earlier revocation keeps its time. Raises InvalidRequestError if unknown."""
        return self._update_key(
            key_id, lambda key: key if key.revoked_at else structs.replace(key, revoked_at=revoked_at)
        )

    @contextmanager
    def _key_transaction(self, name: str) -> Generator[sqlite3.Connection, None, None]:
        try:
            with self._write_transaction() as connection:
                yield connection
        except StorageError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                message = f"a key named {name!r} already exists; revoke it or choose another name"
                raise InvalidRequestError(message) from None
            raise

    def _update_key(self, key_id: str, update: Callable[[ApiKey], ApiKey]) -> ApiKey:
        existing = self.get_key(key_id)
        with self._key_transaction(existing.name if existing else key_id) as connection:
            row = connection.execute("SELECT body FROM api_keys WHERE id = ?", (key_id,)).fetchone()
            if row is None:
                raise InvalidRequestError("no key has this ID")  # not repeated: it may be the plaintext of one
            key = update(_api_key_from_row(row[0]))
            connection.execute(
                "UPDATE api_keys SET name = ?, revoked_at = ?, body = ? WHERE id = ?",
                (key.name, key.revoked_at, dump_json(key), key_id),
            )
        return key


def _api_key_from_row(body: str) -> ApiKey:
    return msgspec.json.decode(body, type=ApiKey)
