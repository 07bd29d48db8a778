"""What the provider modules share in reading a reply: the guard around every decode, and lenient eyes for hints.

What a result needs is read strictly; a hint (seed, size, timing) that makes no sense is left out, never an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from ..core.answers import Answer, Ask, Failed, Finished, Output, Progress, Route
from ..core.provider import Decode
from ..core.request import LARGEST_SEED
from ..core.wire import RAW_LIMIT, HttpReply, redact

T = TypeVar("T")
Reader = Callable[[Ask, Route, HttpReply], Answer]

# Everything that a malformed body can make msgspec and the readers raise.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
LONGEST_TEXT = 500  # characters of a provider's own words that are passed on
LONGEST_ID = 500  # characters; the ids seen have 20 to 60


def guarded(read: Reader, refuse: Reader) -> Decode:
    """A decode that never raises: ``read`` sees the 2xx alone, ``refuse`` the errors, and what is neither is told."""

    def decode(ask: Ask, route: Route, reply: HttpReply) -> Answer:
        if reply.status >= 400:
            return refuse(ask, route, reply)
        if not reply.ok:
            return unreadable(reply, "it sends elsewhere, and no redirect is followed with a request that is paid")
        try:
            return read(ask, route, reply)
        except UNREADABLE as error:
            return unreadable(reply, cut(str(error)))

    return decode


def unreadable(reply: HttpReply, why: str) -> Failed:
    """An answer that makes no sense; it may be billed, so its bytes are kept."""
    return Failed(kind="unreadable", message=why, status=reply.status, raw=reply.body[:RAW_LIMIT])


def unknown_status(reply: HttpReply, word: object) -> Failed:
    """A status word that nobody has written down: no reason to be patient with it."""
    return unreadable(reply, f"it says that the job is {cut(repr(word))}, a status not known here")


def cut(words: str) -> str:
    """A provider's words on one line, without secrets, at a length a person reads."""
    line = redact(" ".join(words[:RAW_LIMIT].split())[: 2 * LONGEST_TEXT])
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def job_id(value: Any) -> str:
    """An id that can stand in a path; ValueError when it is missing, no text, or would climb."""
    if not isinstance(value, str) or len(value) > LONGEST_ID or not value.strip(".") or not value.isprintable():
        raise ValueError(f"no usable id of the job (got {str(value)[:40]!r})")
    return value


def at(url: str, *, mime: Any = None, width: Any = None, height: Any = None, nsfw: bool = False) -> Output:
    """An output by its address; ValueError unless it is http(s) or ``data:``."""
    if not url.startswith(("https://", "http://", "data:")):
        raise ValueError(f"{url[:60]!r} is no address of an output")
    return Output(url=url, mime=text(mime), width=whole(width), height=whole(height), nsfw=nsfw)


def finished(outputs: Iterable[Output], route: Route, **facts: Any) -> Finished:
    """Done with at least one output (else ValueError); an output marked unsafe brings its warning."""
    made = tuple(outputs)
    if not made:
        raise ValueError("it is told as done, but holds no output")
    marked = sum(output.nsfw for output in made)
    which = "the output" if len(made) == 1 else f"{marked} of {len(made)} outputs"
    warning = (f"{route.provider} marked {which} as not safe for work; it may be blacked out",) if marked else ()
    return Finished(outputs=made, warnings=warning, **facts)


def as_type(value: Any, kind: type[T]) -> T | None:
    """``value``, out of JSON, as ``kind``; None when it is something else."""
    try:
        return msgspec.convert(value, kind)
    except UNREADABLE:
        return None


def items(value: Any) -> Sequence[Any]:
    """A JSON array, or nothing."""
    return as_type(value, list[Any]) or ()


def text(value: Any) -> str | None:
    """A string with something in it, on one line and cut, else None."""
    return (cut(value) or None) if isinstance(value, str) else None


def whole(value: Any) -> int | None:
    """A whole number from 0 to the largest seed, also as digits in a string, exactly; else None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= LARGEST_SEED else None


def number(value: Any) -> float | None:
    """A finite number that is not negative, also in a string; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and found >= 0 else None


def fraction(percent: Any) -> float | None:
    """A percentage as a fraction of 1, kept within it."""
    found = number(percent)
    return None if found is None else min(1.0, found / 100)


def flag(values: Any, index: int) -> bool:
    """Whether the array of flags that stands beside the outputs marks this one."""
    marks = items(values)
    return index < len(marks) and marks[index] is True


def timings(value: Any, *, per_second: float = 1.0) -> dict[str, float]:
    """The provider's own timings in seconds; ``per_second`` is 1000 where it tells milliseconds."""
    told = as_type(value, dict[str, Any]) or {}
    found = ((name[:40], number(took)) for name, took in told.items())
    return {name: took / per_second for name, took in found if took is not None}


def progress(
    *, position: Any = None, percent: Any = None, message: str | None = None, eta: Any = None
) -> Progress | None:
    """How far a job is, or None when nothing was told."""
    seen = Progress(position=whole(position), fraction=fraction(percent), message=text(message), eta=number(eta))
    return None if seen == Progress() else seen
