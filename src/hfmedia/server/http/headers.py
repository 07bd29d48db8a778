"""The Idempotency-Key header: the caller's own name for a request, so that a repetition is not run again."""

from __future__ import annotations

from starlette.requests import Request

from hfmedia.server.errors import ApiError

MAX_KEY_CHARS = 255  # characters, the limit of other APIs too
NO_RETRY_HEADERS = {"x-should-retry": "false"}  # on every response after a submission that may be billed


def idempotency_key(request: Request) -> str | None:
    """Return the idempotency key of a request, or None; raise ApiError 400 for an invalid one."""
    values = request.headers.getlist("idempotency-key")
    if not values or not values[0].strip():
        return None
    key = values[0].strip()
    if len(values) > 1 or len(key) > MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        message = f"Idempotency-Key must be a single value of at most {MAX_KEY_CHARS} printable ASCII characters"
        raise ApiError(400, message, code="invalid_value", param="Idempotency-Key")
    return key
