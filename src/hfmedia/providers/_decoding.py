"""Shared helpers for decoding responses: the wrapper of every decoder, and lenient conversions for optional values.

Values that a result needs are decoded strictly; an invalid optional value (seed, size, timing) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from ..core.credentials import redact
from ..core.http import MAX_RAW_BYTES, HttpResponse
from ..core.protocol import Completed, Failure, Operation, OperationResult, Output, Progress, Route
from ..core.provider import Decode
from ..core.request import MAX_SEED
from ..core.text import single_line

T = TypeVar("T")
ResponseReader = Callable[[Operation, Route, HttpResponse], OperationResult]

# Every exception that a malformed body can cause in msgspec and the decoders.
DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)
MAX_MESSAGE_CHARS = 500  # characters of a provider's own message that are passed on
MAX_JOB_ID_CHARS = 500  # characters; real IDs have 20 to 60


def safe_decoder(decode_success: ResponseReader, decode_error: ResponseReader) -> Decode:
    """Combine the decoders of 2xx responses and of errors into one that never raises.

    A 3xx and a malformed 2xx become the failure ``invalid_response``.
    """

    def decode(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
        if response.status >= 400:
            return decode_error(operation, route, response)
        if not response.ok:
            return invalid_response(response, "a redirect, and redirects of API requests are not followed")
        try:
            return decode_success(operation, route, response)
        except DECODE_ERRORS as error:
            return invalid_response(response, clean_message(str(error)))

    return decode


def invalid_response(response: HttpResponse, reason: str) -> Failure:
    """Build the failure for a response that cannot be decoded; it may be billed, so its bytes are kept."""
    return Failure(kind="invalid_response", message=reason, status=response.status, raw=response.body[:MAX_RAW_BYTES])


def unknown_status(response: HttpResponse, status: object) -> Failure:
    """Build the failure for an undocumented job status, which polling again would not resolve."""
    return invalid_response(response, f"unknown job status {clean_message(repr(status))}")


def clean_message(message: str) -> str:
    """Return a provider's message on one line, redacted and truncated."""
    line = redact(single_line(message[:MAX_RAW_BYTES])[: 2 * MAX_MESSAGE_CHARS])
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


def require_job_id(value: Any) -> str:
    """Return a job ID that is safe in a path. Raises ValueError when it is missing, not a string or not safe."""
    if not isinstance(value, str) or len(value) > MAX_JOB_ID_CHARS or not value.strip(".") or not value.isprintable():
        raise ValueError(f"no valid job ID (got {str(value)[:40]!r})")
    return value


def output_from_url(url: str, *, mime: Any = None, width: Any = None, height: Any = None, nsfw: bool = False) -> Output:
    """Build an output from its URL. Raises ValueError unless the URL is http(s) or ``data:``."""
    if not url.startswith(("https://", "http://", "data:")):
        raise ValueError(f"{url[:60]!r} is not a valid output URL")
    return Output(url=url, mime=to_text(mime), width=to_int(width), height=to_int(height), nsfw=nsfw)


def completed(outputs: Iterable[Output], route: Route, **fields: Any) -> Completed:
    """Build a completed result, with a warning for outputs marked NSFW. Raises ValueError without outputs."""
    media = tuple(outputs)
    if not media:
        raise ValueError("the status is completed, but the response contains no output")
    nsfw_count = sum(output.nsfw for output in media)
    subject = "the output" if len(media) == 1 else f"{nsfw_count} of {len(media)} outputs"
    warning = (f"{route.provider} marked {subject} as not safe for work; it may be blacked out",) if nsfw_count else ()
    return Completed(outputs=media, warnings=warning, **fields)


def try_convert(value: Any, kind: type[T]) -> T | None:
    """Convert a decoded JSON value to a type; None when it does not fit."""
    try:
        return msgspec.convert(value, kind)
    except DECODE_ERRORS:
        return None


def items(value: Any) -> Sequence[Any]:
    """Return a JSON array; empty for any other value."""
    return try_convert(value, list[Any]) or ()


def to_text(value: Any) -> str | None:
    """Return a non-empty string on one line, redacted and truncated; None for any other value."""
    return (clean_message(value) or None) if isinstance(value, str) else None


def to_int(value: Any) -> int | None:
    """Return an integer from 0 to the largest seed, also from a string of digits; None for any other value."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_SEED else None


def to_float(value: Any) -> float | None:
    """Return a finite, non-negative number, also from a string; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        parsed = float(value)
    except (ValueError, OverflowError):
        return None
    return parsed if math.isfinite(parsed) and parsed >= 0 else None


def to_fraction(percent: Any) -> float | None:
    """Convert a percentage to a fraction, at most 1; None for an invalid value."""
    parsed = to_float(percent)
    return None if parsed is None else min(1.0, parsed / 100)


def flag_at(values: Any, index: int) -> bool:
    """Return whether the flag at this index of a JSON array is true."""
    flags = items(values)
    return index < len(flags) and flags[index] is True


def timings(value: Any, *, units_per_second: float = 1.0) -> dict[str, float]:
    """Return the provider's own timings in seconds; ``units_per_second`` is 1000 for milliseconds."""
    raw = try_convert(value, dict[str, Any]) or {}
    pairs = ((name[:40], to_float(amount)) for name, amount in raw.items())
    return {name: amount / units_per_second for name, amount in pairs if amount is not None}


def progress(
    *, position: Any = None, percent: Any = None, message: str | None = None, eta: Any = None
) -> Progress | None:
    """Build the progress of a job; None when nothing is known."""
    parsed = Progress(
        position=to_int(position), fraction=to_fraction(percent), message=to_text(message), eta=to_float(eta)
    )
    return None if parsed == Progress() else parsed
