"""Gateway keys: what one may do, how its text is made, and what is remembered of that text.

The text is shown once, to whoever makes the key; a digest is all that is ever written down.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import string
from typing import Any

from msgspec import Struct, structs

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.text import truncated_repr

KEY_PREFIX = "hfm_"
ALPHABET = string.ascii_letters + string.digits  # no mark that a double click would stop at
SECRET_LENGTH = 43  # characters of 62 kinds: 256 bits
MAX_NAME_CHARS, MAX_PATTERN_CHARS, MAX_PATTERNS = 64, 200, 100
MAX_COUNT, MAX_USD = 10**9, 10**9
MAX_LIFETIME_DAYS = 100 * 366.0  # days
DUMMY_KEY_ID = "0" * 12  # the id looked at where a text has none, so that it takes as long
_KEY_PATTERN = re.compile(r"hfm_([0-9a-f]{12})_([A-Za-z0-9]{32,128})")
_BILL_TO_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")  # the Hub's own rule for names


class KeyLimits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a key may. ``models`` holds patterns such as ``black-forest-labs/*``; empty: all. None is no limit."""

    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    images_per_day: int | None = None
    videos_per_day: int | None = None
    usd_per_month: float | None = None


class ApiKey(Struct, frozen=True, kw_only=True):
    """A gateway key, without its text. Times are unix seconds.

    Attributes:
        id: its public part.
        name: what the operator calls it; no two keys that are not revoked have the same.
        bill_to: the organisation that its jobs are billed to.
        admin: whether it sees everybody's jobs.
        expires: when it stops to work by itself; revoked: when somebody revoked it.
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
        """Whether it opens anything at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def generate_api_key() -> tuple[str, str, bytes]:
    """A fresh key: its id, its text and what is to be remembered of the text."""
    key_id = secrets.token_hex(6)
    plaintext = f"{KEY_PREFIX}{key_id}_{''.join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))}"
    return key_id, plaintext, hash_key(plaintext)


def hash_key(plaintext: str) -> bytes:
    """What is remembered of a key's text. Its secret is random and long, so one round is enough."""
    return hashlib.sha256(plaintext.encode("utf-8", "surrogatepass")).digest()


def key_id_of(plaintext: str) -> str | None:
    """The id in a key's text; None for a text that is no gateway key."""
    match = _KEY_PATTERN.fullmatch(plaintext)
    return match[1] if match else None


def validate_key(key: ApiKey) -> ApiKey:
    """The key when all of it makes sense; InvalidRequestError names what does not."""
    if KEY_PREFIX in key.name:
        raise InvalidRequestError("that is the text of a key, not a name; revoke it if others may have seen it")
    if not key.name.strip() or len(key.name) > MAX_NAME_CHARS or not key.name.isprintable() or key.name.startswith("-"):
        raise InvalidRequestError(
            f"the name {truncated_repr(key.name)} cannot be used; write 1 to {MAX_NAME_CHARS} characters"
        )
    if key.bill_to is not None and not _BILL_TO_PATTERN.fullmatch(key.bill_to):
        raise InvalidRequestError(f"bill-to is {truncated_repr(key.bill_to)}, but must be an organisation on the Hub")
    return structs.replace(key, name=key.name.strip(), limits=_validate_limits(key.limits))


def _validate_limits(limits: KeyLimits) -> KeyLimits:
    if len(limits.models) > MAX_PATTERNS:
        raise InvalidRequestError(f"{len(limits.models)} patterns of models are too many; at most {MAX_PATTERNS}")
    for pattern in limits.models:
        if not pattern or len(pattern) > MAX_PATTERN_CHARS or not pattern.isprintable() or set(pattern) & set(" :"):
            raise InvalidRequestError(
                f"{truncated_repr(pattern)} is no pattern of model ids; write org/name or org/*, without a provider"
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
    """When a key stops to work that is to live so many days from now; InvalidRequestError for no sensible number."""
    if not (math.isfinite(days) and 0 < days <= MAX_LIFETIME_DAYS):
        raise InvalidRequestError(
            f"expires is {days:g} days, but must be more than 0 and at most {MAX_LIFETIME_DAYS:g}"
        )
    return now + days * 86_400
