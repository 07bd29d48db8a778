"""The Idempotency-Key header: the caller's own name for a request, so that it is never carried out twice."""

from __future__ import annotations

from starlette.requests import Request

from hfmedia.server.errors import Refusal

LONGEST = 255  # characters, as other APIs have it


def idempotency_key(request: Request) -> str | None:
    """The key that came with a request, or None; Refusal 400 for one that cannot be a name."""
    told = request.headers.getlist("idempotency-key")
    if not told or not told[0].strip():
        return None
    key = told[0].strip()
    if len(told) > 1 or len(key) > LONGEST or not (key.isascii() and key.isprintable()):
        words = f"Idempotency-Key must be one text of at most {LONGEST} printable ASCII characters"
        raise Refusal(400, words, code="invalid_value", param="Idempotency-Key")
    return key
