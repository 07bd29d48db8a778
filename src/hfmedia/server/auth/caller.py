"""A caller: who asks, what they may, and who pays."""

from __future__ import annotations

from msgspec import Struct

from hfmedia.core.credentials import Secret
from hfmedia.server.db.api_keys import KeyLimits


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks.

    Attributes:
        key: the id of the gateway key; empty on a gateway without keys; ``hf:…`` (a digest) for a caller whose own
            Hugging Face token pays.
        name: what the operator calls the key.
        limits: what it may.
        bill_to: the organisation to bill.
        admin: whether it sees everybody's jobs and what the operator sees.
        token: the caller's own Hugging Face token.
    """

    id: str = ""
    name: str = "local"
    limits: KeyLimits = KeyLimits()
    bill_to: str | None = None
    admin: bool = False
    hf_token: Secret | None = None
