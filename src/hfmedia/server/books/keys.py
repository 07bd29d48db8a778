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
from hfmedia.core.sizes import shown

PREFIX = "hfm_"
ALPHABET = string.ascii_letters + string.digits  # no mark that a double click would stop at
SECRET_LENGTH = 43  # characters of 62 kinds: 256 bits
LONGEST_NAME, LONGEST_PATTERN, MOST_PATTERNS = 64, 200, 100
MOST_COUNT, MOST_USD = 10**9, 10**9
LONGEST_LIFE = 100 * 366.0  # days
FORGED = "0" * 12  # the id looked at where a text has none, so that it takes as long
_TEXT = re.compile(r"hfm_([0-9a-f]{12})_([A-Za-z0-9]{32,128})")
_BILL_TO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")  # the Hub's own rule for names


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a key may. ``models`` holds patterns such as ``black-forest-labs/*``; empty: all. None is no limit."""

    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    images_per_day: int | None = None
    videos_per_day: int | None = None
    usd_per_month: float | None = None


class Key(Struct, frozen=True, kw_only=True):
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
    made: float
    limits: Limits = Limits()
    bill_to: str | None = None
    admin: bool = False
    expires: float | None = None
    revoked: float | None = None

    def usable(self, now: float) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked is None and (self.expires is None or now < self.expires)


def new_key() -> tuple[str, str, bytes]:
    """A fresh key: its id, its text and what is to be remembered of the text."""
    name = secrets.token_hex(6)
    text = f"{PREFIX}{name}_{''.join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))}"
    return name, text, hashed(text)


def hashed(text: str) -> bytes:
    """What is remembered of a key's text. Its secret is random and long, so one round is enough."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def id_of(text: str) -> str | None:
    """The id in a key's text; None for a text that is no gateway key."""
    found = _TEXT.fullmatch(text)
    return found[1] if found else None


def checked(key: Key) -> Key:
    """The key when all of it makes sense; InvalidRequestError names what does not."""
    if PREFIX in key.name:
        raise InvalidRequestError("that is the text of a key, not a name; revoke it if others may have seen it")
    if not key.name.strip() or len(key.name) > LONGEST_NAME or not key.name.isprintable() or key.name.startswith("-"):
        raise InvalidRequestError(f"the name {shown(key.name)} cannot be used; write 1 to {LONGEST_NAME} characters")
    if key.bill_to is not None and not _BILL_TO.fullmatch(key.bill_to):
        raise InvalidRequestError(f"bill-to is {shown(key.bill_to)}, but must be an organisation on the Hub")
    return structs.replace(key, name=key.name.strip(), limits=_checked_limits(key.limits))


def _checked_limits(limits: Limits) -> Limits:
    if len(limits.models) > MOST_PATTERNS:
        raise InvalidRequestError(f"{len(limits.models)} patterns of models are too many; at most {MOST_PATTERNS}")
    for pattern in limits.models:
        if not pattern or len(pattern) > LONGEST_PATTERN or not pattern.isprintable() or set(pattern) & set(" :"):
            raise InvalidRequestError(
                f"{shown(pattern)} is no pattern of model ids; write org/name or org/*, without a provider"
            )
    for name, least in (("requests_per_minute", 1), ("images_per_day", 0), ("videos_per_day", 0)):
        count: Any = getattr(limits, name)
        if count is not None and not least <= count <= MOST_COUNT:
            raise InvalidRequestError(f"{name.replace('_', '-')} is {count}, but must be {least} to {MOST_COUNT}")
    usd = limits.usd_per_month
    if usd is not None and not (math.isfinite(usd) and 0 <= usd <= MOST_USD):
        raise InvalidRequestError(f"usd-per-month is {usd:g}, but must be 0 to {MOST_USD}")
    return limits


def expiry(days: float, now: float) -> float:
    """When a key stops to work that is to live so many days from now; InvalidRequestError for no sensible number."""
    if not (math.isfinite(days) and 0 < days <= LONGEST_LIFE):
        raise InvalidRequestError(f"expires is {days:g} days, but must be more than 0 and at most {LONGEST_LIFE:g}")
    return now + days * 86_400
