"""The Idempotency-Key header: the caller's own name for a request, so that it is never carried out twice."""

from __future__ import annotations

from starlette.requests import Request

from hfmedia.server.errors import ApiError

MAX_KEY_CHARS = 255  # characters, as other APIs have it


def idempotency_key(request: Request) -> str | None:
    """The key that came with a request, or None; Refusal 400 for one that cannot be a name."""
    values = request.headers.getlist("idempotency-key")
    if not values or not values[0].strip():
        return None
    key = values[0].strip()
    if len(values) > 1 or len(key) > MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        message = f"Idempotency-Key must be one text of at most {MAX_KEY_CHARS} printable ASCII characters"
        raise ApiError(400, message, code="invalid_value", param="Idempotency-Key")
    return key
