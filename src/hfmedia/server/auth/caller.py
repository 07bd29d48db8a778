"""The authenticated caller of a request: identity, limits and billing account."""

from __future__ import annotations

from msgspec import Struct

from hfmedia.core.credentials import Secret
from hfmedia.server.db.api_keys import KeyLimits


class Caller(Struct, frozen=True, kw_only=True):
    """An authenticated caller.

    Attributes:
        id: ID of the API key; empty on a gateway without keys; ``hf:…`` (a digest) for a caller whose own Hugging Face
            token pays.
        name: the operator's name for the key.
        limits: limits of the key.
        bill_to: organization to bill.
        admin: can see the jobs of all callers and the operator's pages.
        hf_token: the caller's own Hugging Face token.
    """

    id: str = ""
    name: str = "local"
    limits: KeyLimits = KeyLimits()
    bill_to: str | None = None
    admin: bool = False
    hf_token: Secret | None = None
