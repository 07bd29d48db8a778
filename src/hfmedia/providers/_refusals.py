"""A provider's complaint, read: its words, its code, when to come back, and what kind of trouble it is.

The status decides, unless a provider's own table knows the trouble as another in disguise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ..core.answers import Ask, Cancel, Check, Failed, FailureKind, Route
from ..core.retry import resets_in, retry_after
from ..core.verdict import status_kind
from ..core.wire import RAW_LIMIT, HttpReply
from ._reading import UNREADABLE, Reader, as_type, cut, items, number, text

# Codes that mean a content policy wherever they stand: fal.ai's and OpenAI's.
CONTENT_CODES = r"content_policy_violation|moderation_blocked|content_filter|\bcontent_policy\b"
# How models explain that they stopped on purpose, in a job that was accepted and then failed.
CONTENT_WORDS = re.compile(
    rf"(?i){CONTENT_CODES}|\bnsfw\b|content polic|moderat(?:ion|ed)|safety (?:filter|checker|system|polic)"
    r"|sensitive content|flagged as|unsafe content|illegal_(?:prompt|image)"
)
# How a provider without a code for it says at once that it will not: short phrases that no other refusal uses.
ON_PURPOSE = re.compile(
    rf"{CONTENT_CODES}|(?i:\bflagged (?:by|as)\b|\b(?:content|safety) (?:filter|policy|checker|system)\b)"
)
LATER: frozenset[FailureKind] = frozenset({"busy", "server", "gateway"})  # where a time to come back means something


class Disguise(Struct, frozen=True):
    """A trouble that a provider tells by another one's status: what its code or words look like, and what it is.

    ``status`` narrows it to one HTTP status; None stands for any.
    """

    pattern: str
    kind: FailureKind
    status: int | None = None


class Complaint(Struct, frozen=True):
    """What a provider says of a trouble: a sentence, its own word for it, and everything a disguise is known by.

    ``evidence`` is ``CODE CODE: words``, so that a pattern can tell a code from a number in a sentence. ``wait`` is in
    seconds. ``error_type`` is fal.ai's word for a trouble of the machine, not of the request.
    """

    words: str = ""
    code: str | None = None
    evidence: str = ""
    wait: float | None = None
    error_type: str | None = None


class _Flaw(Struct):
    msg: str
    loc: Any = None
    type: Any = None


class _Error(Struct):
    message: Any = None
    code: Any = None
    type: Any = None


class _Body(Struct):
    error: Any = None
    detail: Any = None
    message: Any = None
    title: Any = None
    code: Any = None
    reason: Any = None
    error_type: Any = None
    estimated_time: Any = None


def refusing(disguises: Sequence[Disguise] = ()) -> Reader:
    """A reader of errors that knows a provider's disguises."""

    def refuse(ask: Ask, route: Route, reply: HttpReply) -> Failed:
        return refusal(ask, route, reply, disguises)

    return refuse


def refusal(
    ask: Ask, route: Route, reply: HttpReply, disguises: Sequence[Disguise] = (), *, kind: FailureKind | None = None
) -> Failed:
    """An HTTP error as a Failed; ``kind`` overrides what the status would mean, but no disguise."""
    said = complaint(reply)
    seen = unmask(said.evidence, reply.status, disguises) or kind or _plainly(ask, reply.status, said.words)
    seconds, date = _come_back(said, reply) if seen in LATER else (None, None)
    return Failed(
        kind=seen,
        message=said.words or "it gave no reason",
        status=reply.status,
        code=said.code,
        retry_after=seconds,
        retry_at=date,
    )


def failure(error: Any, *, fallback: str, code: Any = None, disguises: Sequence[Disguise] = ()) -> Failed:
    """A job that was accepted and then failed, from the ``error`` of its status: a string, an object or nothing."""
    told = as_type(error, _Error) or _Error(message=error)
    words = text(told.message) or text(told.type) or fallback
    code = _word(code) or _word(told.code)
    evidence = f"{code or ''}: {words}"
    on_purpose = unmask(evidence, 0, disguises) == "content" or CONTENT_WORDS.search(evidence)
    return Failed(kind="content" if on_purpose else "failed", message=words, code=code)


def unmask(evidence: str, status: int, disguises: Sequence[Disguise]) -> FailureKind | None:
    """What a trouble is by its code or words, or None when they say no more than the status."""
    for known in disguises:
        if known.status in (None, status) and re.search(known.pattern, evidence):
            return known.kind
    return "content" if 400 <= status < 500 and ON_PURPOSE.search(evidence) else None


def complaint(reply: HttpReply) -> Complaint:
    """An error's body in whichever of the known shapes it comes: JSON of six sorts, plain text, or an HTML page."""
    try:
        body = reply.read(_Body)
    except UNREADABLE:
        return _plain_text(reply)
    error = as_type(body.error, _Error) or _Error()
    flaws = [flaw for item in items(body.detail) if (flaw := as_type(item, _Flaw))]
    nested = as_type(body.detail, _Error) or _Error()
    codes = [error.code, error.type, *(flaw.type for flaw in flaws), body.reason, body.code]
    runner = _word(body.error_type) or _word(reply.headers.get("x-fal-error-type"))
    known = [word for word in map(_word, [*codes, runner]) if word]
    title, detail = text(body.title), text(body.detail)
    candidates = (
        text(body.error),
        text(error.message),
        f"{title}: {detail}" if title and detail else detail,
        text("; ".join(map(_told, flaws))),
        text(nested.message),
        text(body.message),
        title,
    )
    words = next(filter(None, candidates), None) or _plain_text(reply).words
    evidence = f"{' '.join(known)}: {words}"
    return Complaint(words, known[0] if known else None, evidence, number(body.estimated_time), runner)


def _come_back(said: Complaint, reply: HttpReply) -> tuple[float | None, str | None]:
    """When to come back, in seconds or as a date: Retry-After, else the words, else the window of the rate limit."""
    spoken = resets_in(said.words) if said.wait is None else said.wait
    explicit = "retry-after" in reply.headers or "retry-after-ms" in reply.headers
    return (spoken, None) if spoken is not None and not explicit else retry_after(reply.headers)


def _plainly(ask: Ask, status: int, words: str) -> FailureKind:
    """What a status means where nothing wears a disguise."""
    if status == 404 and isinstance(ask, Check | Cancel):
        # "Cannot GET /…" is a proxy without such an address: it says nothing of the job, which may well be running.
        return "forbidden" if words.startswith("Cannot ") else "gone"
    return status_kind(status)


def _plain_text(reply: HttpReply) -> Complaint:
    words = reply.body[:RAW_LIMIT].decode("utf-8", "replace").strip()
    if words.startswith("<"):
        title = re.search(r"(?is)<title[^>]*>(.{1,200}?)</title>", words)
        words = f"an HTML page: {title[1]}" if title else "an HTML page"
    code = _word(reply.headers.get("x-fal-error-type"))
    words = cut(words)
    return Complaint(words, code, f"{code or ''}: {words}", error_type=code)


def _told(flaw: _Flaw) -> str:
    """One flaw of a validation as FastAPI lists it: ``msg`` and where."""
    where = ".".join(str(part) for part in items(flaw.loc)[:8] if isinstance(part, str | int) and part != "body")
    return f"{where}: {flaw.msg}" if where else flaw.msg


def _word(code: Any) -> str | None:
    """A code as a word: providers write it as a string or a number."""
    if isinstance(code, bool) or not isinstance(code, str | int):
        return None
    return cut(str(code) if isinstance(code, str) or abs(code) < 10**12 else "") or None
