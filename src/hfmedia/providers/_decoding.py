"""What the provider modules share in reading a reply: the guard around every decode, and lenient eyes for hints.

What a result needs is read strictly; a hint (seed, size, timing) that makes no sense is left out, never an error.
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

T = TypeVar("T")
ResponseReader = Callable[[Operation, Route, HttpResponse], OperationResult]

# Everything that a malformed body can make msgspec and the readers raise.
DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)
MAX_MESSAGE_CHARS = 500  # characters of a provider's own words that are passed on
MAX_JOB_ID_CHARS = 500  # characters; the ids seen have 20 to 60


def safe_decoder(decode_success: ResponseReader, decode_error: ResponseReader) -> Decode:
    """A decode that never raises: ``read`` sees the 2xx alone, ``refuse`` the errors, and what is neither is told."""

    def decode(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
        if response.status >= 400:
            return decode_error(operation, route, response)
        if not response.ok:
            return invalid_response(
                response, "it sends elsewhere, and no redirect is followed with a request that is paid"
            )
        try:
            return decode_success(operation, route, response)
        except DECODE_ERRORS as error:
            return invalid_response(response, clean_message(str(error)))

    return decode


def invalid_response(response: HttpResponse, reason: str) -> Failure:
    """An answer that makes no sense; it may be billed, so its bytes are kept."""
    return Failure(kind="invalid_response", message=reason, status=response.status, raw=response.body[:MAX_RAW_BYTES])


def unknown_status(response: HttpResponse, status: object) -> Failure:
    """A status word that nobody has written down: no reason to be patient with it."""
    return invalid_response(response, f"it says that the job is {clean_message(repr(status))}, a status not known here")


def clean_message(message: str) -> str:
    """A provider's words on one line, without secrets, at a length a person reads."""
    line = redact(" ".join(message[:MAX_RAW_BYTES].split())[: 2 * MAX_MESSAGE_CHARS])
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


def require_job_id(value: Any) -> str:
    """An id that can stand in a path; ValueError when it is missing, no text, or would climb."""
    if not isinstance(value, str) or len(value) > MAX_JOB_ID_CHARS or not value.strip(".") or not value.isprintable():
        raise ValueError(f"no usable id of the job (got {str(value)[:40]!r})")
    return value


def output_from_url(url: str, *, mime: Any = None, width: Any = None, height: Any = None, nsfw: bool = False) -> Output:
    """An output by its address; ValueError unless it is http(s) or ``data:``."""
    if not url.startswith(("https://", "http://", "data:")):
        raise ValueError(f"{url[:60]!r} is no address of an output")
    return Output(url=url, mime=to_text(mime), width=to_int(width), height=to_int(height), nsfw=nsfw)


def completed(outputs: Iterable[Output], route: Route, **fields: Any) -> Completed:
    """Done with at least one output (else ValueError); an output marked unsafe brings its warning."""
    media = tuple(outputs)
    if not media:
        raise ValueError("it is told as done, but holds no output")
    nsfw_count = sum(output.nsfw for output in media)
    subject = "the output" if len(media) == 1 else f"{nsfw_count} of {len(media)} outputs"
    warning = (f"{route.provider} marked {subject} as not safe for work; it may be blacked out",) if nsfw_count else ()
    return Completed(outputs=media, warnings=warning, **fields)


def try_convert(value: Any, kind: type[T]) -> T | None:
    """``value``, out of JSON, as ``kind``; None when it is something else."""
    try:
        return msgspec.convert(value, kind)
    except DECODE_ERRORS:
        return None


def items(value: Any) -> Sequence[Any]:
    """A JSON array, or nothing."""
    return try_convert(value, list[Any]) or ()


def to_text(value: Any) -> str | None:
    """A string with something in it, on one line and cut, else None."""
    return (clean_message(value) or None) if isinstance(value, str) else None


def to_int(value: Any) -> int | None:
    """A whole number from 0 to the largest seed, also as digits in a string, exactly; else None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_SEED else None


def to_float(value: Any) -> float | None:
    """A finite number that is not negative, also in a string; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        parsed = float(value)
    except (ValueError, OverflowError):
        return None
    return parsed if math.isfinite(parsed) and parsed >= 0 else None


def to_fraction(percent: Any) -> float | None:
    """A percentage as a fraction of 1, kept within it."""
    parsed = to_float(percent)
    return None if parsed is None else min(1.0, parsed / 100)


def flag_at(values: Any, index: int) -> bool:
    """Whether the array of flags that stands beside the outputs marks this one."""
    flags = items(values)
    return index < len(flags) and flags[index] is True


def timings(value: Any, *, units_per_second: float = 1.0) -> dict[str, float]:
    """The provider's own timings in seconds; ``per_second`` is 1000 where it tells milliseconds."""
    raw = try_convert(value, dict[str, Any]) or {}
    pairs = ((name[:40], to_float(took)) for name, took in raw.items())
    return {name: took / units_per_second for name, took in pairs if took is not None}


def progress(
    *, position: Any = None, percent: Any = None, message: str | None = None, eta: Any = None
) -> Progress | None:
    """How far a job is, or None when nothing was told."""
    parsed = Progress(
        position=to_int(position), fraction=to_fraction(percent), message=to_text(message), eta=to_float(eta)
    )
    return None if parsed == Progress() else parsed
