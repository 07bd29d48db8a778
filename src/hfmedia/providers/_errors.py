"""Decoding of errors: message, code, retry delay and failure kind, from every shape that providers use.

The HTTP status determines the kind, unless a provider's ErrorPattern recognizes that it means something else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ..core.failure_policy import classify_status
from ..core.http import MAX_RAW_BYTES, HttpResponse
from ..core.protocol import Cancel, Failure, FailureKind, Operation, Poll, Route
from ..core.retry import parse_rate_limit_reset, parse_retry_after
from ._decoding import DECODE_ERRORS, ResponseReader, clean_message, items, to_float, to_text, try_convert

# Codes of a content policy, anywhere in an error: fal.ai's and OpenAI's.
CONTENT_POLICY_CODES = r"content_policy_violation|moderation_blocked|content_filter|\bcontent_policy\b"
# How models report a content policy in a job that was accepted and then failed.
CONTENT_POLICY_PHRASES = re.compile(
    rf"(?i){CONTENT_POLICY_CODES}|\bnsfw\b|content polic|moderat(?:ion|ed)|safety (?:filter|checker|system|polic)"
    r"|sensitive content|flagged as|unsafe content|illegal_(?:prompt|image)"
)
# How providers without such a code reject content at once: short phrases that no other error contains.
CONTENT_REJECTION_PHRASES = re.compile(
    rf"{CONTENT_POLICY_CODES}|(?i:\bflagged (?:by|as)\b|\b(?:content|safety) (?:filter|policy|checker|system)\b)"
)
# Kinds for which a retry delay is meaningful.
RETRY_AFTER_KINDS: frozenset[FailureKind] = frozenset({"rate_limited", "server_error", "gateway_error"})


class ErrorPattern(Struct, frozen=True):
    """An error that a provider reports with a misleading status: a regex over code and message, and its real kind.

    ``status`` restricts it to one HTTP status; None matches any.
    """

    pattern: str
    kind: FailureKind
    status: int | None = None


class ParsedError(Struct, frozen=True):
    """The parts of a provider's error body.

    ``match_text`` is ``CODE CODE: message``, so that a pattern can distinguish a code from a number in the message.
    ``retry_after`` is in seconds. ``error_type`` is fal.ai's name for an error of the runner, not of the request.
    """

    message: str = ""
    code: str | None = None
    match_text: str = ""
    retry_after: float | None = None
    error_type: str | None = None


class _ValidationItem(Struct):
    msg: str
    loc: Any = None
    type: Any = None


class _ErrorObject(Struct):
    message: Any = None
    code: Any = None
    type: Any = None


class _ErrorBody(Struct):
    error: Any = None
    detail: Any = None
    message: Any = None
    title: Any = None
    code: Any = None
    reason: Any = None
    error_type: Any = None
    estimated_time: Any = None


def error_decoder(patterns: Sequence[ErrorPattern] = ()) -> ResponseReader:
    """Return a decoder of error responses that applies a provider's patterns."""

    def decode_error(operation: Operation, route: Route, response: HttpResponse) -> Failure:
        return parse_http_error(operation, route, response, patterns)

    return decode_error


def parse_http_error(
    operation: Operation,
    route: Route,
    response: HttpResponse,
    patterns: Sequence[ErrorPattern] = (),
    *,
    default_kind: FailureKind | None = None,
) -> Failure:
    """Decode an HTTP error; ``default_kind`` overrides the status, and a matching pattern overrides both."""
    parsed = parse_error_body(response)
    kind = (
        match_error_pattern(parsed.match_text, response.status, patterns)
        or default_kind
        or _kind_from_status(operation, response.status, parsed.message)
    )
    seconds, date = _retry_delay(parsed, response) if kind in RETRY_AFTER_KINDS else (None, None)
    return Failure(
        kind=kind,
        message=parsed.message or "no reason given",
        status=response.status,
        code=parsed.code,
        retry_after=seconds,
        retry_at=date,
    )


def parse_job_failure(error: Any, *, fallback: str, code: Any = None, patterns: Sequence[ErrorPattern] = ()) -> Failure:
    """Decode the failure of an accepted job from the ``error`` of its status: a string, an object or null."""
    error_object = try_convert(error, _ErrorObject) or _ErrorObject(message=error)
    message = to_text(error_object.message) or to_text(error_object.type) or fallback
    code = _code_string(code) or _code_string(error_object.code)
    match_text = f"{code or ''}: {message}"
    is_content_policy = match_error_pattern(
        match_text, 0, patterns
    ) == "content_policy" or CONTENT_POLICY_PHRASES.search(match_text)
    return Failure(kind="content_policy" if is_content_policy else "generation_failed", message=message, code=code)


def match_error_pattern(match_text: str, status: int, patterns: Sequence[ErrorPattern]) -> FailureKind | None:
    """Return the failure kind by code or message; None when only the status determines it."""
    for candidate in patterns:
        if candidate.status in (None, status) and re.search(candidate.pattern, match_text):
            return candidate.kind
    return "content_policy" if 400 <= status < 500 and CONTENT_REJECTION_PHRASES.search(match_text) else None


def parse_error_body(response: HttpResponse) -> ParsedError:
    """Parse an error body in any of the known shapes: six kinds of JSON, plain text, or an HTML page."""
    try:
        body = response.json(_ErrorBody)
    except DECODE_ERRORS:
        return _parse_text_body(response)
    error = try_convert(body.error, _ErrorObject) or _ErrorObject()
    validation_items = [error_item for item in items(body.detail) if (error_item := try_convert(item, _ValidationItem))]
    nested = try_convert(body.detail, _ErrorObject) or _ErrorObject()
    codes = [error.code, error.type, *(item.type for item in validation_items), body.reason, body.code]
    error_type = _code_string(body.error_type) or _code_string(response.headers.get("x-fal-error-type"))
    code_strings = [code for code in map(_code_string, [*codes, error_type]) if code]
    title, detail = to_text(body.title), to_text(body.detail)
    candidates = (
        to_text(body.error),
        to_text(error.message),
        f"{title}: {detail}" if title and detail else detail,
        to_text("; ".join(map(_format_validation_item, validation_items))),
        to_text(nested.message),
        to_text(body.message),
        title,
    )
    message = next(filter(None, candidates), None) or _parse_text_body(response).message
    match_text = f"{' '.join(code_strings)}: {message}"
    return ParsedError(
        message, code_strings[0] if code_strings else None, match_text, to_float(body.estimated_time), error_type
    )


def _retry_delay(parsed: ParsedError, response: HttpResponse) -> tuple[float | None, str | None]:
    """Return the retry delay in seconds or as a date: Retry-After, else the body, else the rate limit's window."""
    stated_delay = parse_rate_limit_reset(parsed.message) if parsed.retry_after is None else parsed.retry_after
    explicit = "retry-after" in response.headers or "retry-after-ms" in response.headers
    return (stated_delay, None) if stated_delay is not None and not explicit else parse_retry_after(response.headers)


def _kind_from_status(operation: Operation, status: int, message: str) -> FailureKind:
    """Return the failure kind of a status that no pattern overrides."""
    if status == 404 and isinstance(operation, Poll | Cancel):
        # "Cannot GET /…" comes from a proxy without this path: the job itself may well be running.
        return "permission_denied" if message.startswith("Cannot ") else "expired"
    return classify_status(status)


def _parse_text_body(response: HttpResponse) -> ParsedError:
    message = response.body[:MAX_RAW_BYTES].decode("utf-8", "replace").strip()
    if message.startswith("<"):
        title = re.search(r"(?is)<title[^>]*>(.{1,200}?)</title>", message)
        message = f"an HTML page: {title[1]}" if title else "an HTML page"
    code = _code_string(response.headers.get("x-fal-error-type"))
    message = clean_message(message)
    return ParsedError(message, code, f"{code or ''}: {message}", error_type=code)


def _format_validation_item(validation_item: _ValidationItem) -> str:
    """Format one of FastAPI's validation errors: location and message."""
    location = ".".join(
        str(part) for part in items(validation_item.loc)[:8] if isinstance(part, str | int) and part != "body"
    )
    return f"{location}: {validation_item.msg}" if location else validation_item.msg


def _code_string(code: Any) -> str | None:
    """Return an error code as a string; providers send strings or numbers."""
    if isinstance(code, bool) or not isinstance(code, str | int):
        return None
    return clean_message(str(code) if isinstance(code, str) or abs(code) < 10**12 else "") or None
