"""Complaints in every shape that a provider or the router sends: the words, the code, and no secret among them."""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.core.http import HttpResponse
from hfmedia.core.protocol import Failure, Submit
from hfmedia.providers import get_provider

from .cases import adapted, reply, route

SHAPES: list[tuple[Any, str, str | None]] = [
    ({"error": "text"}, "text", None),
    ({"error": {"message": "text", "type": "t", "code": "c"}}, "text", "c"),
    ({"error": {"message": "text", "type": "t", "code": None}}, "text", "t"),
    ({"error": {"message": "text", "code": 1302}}, "text", "1302"),
    ({"detail": "text"}, "text", None),
    ({"detail": [{"msg": "a", "loc": ["body", "x", 0], "type": "t"}, {"msg": "b"}]}, "x.0: a; b", "t"),
    ({"detail": {"message": "text", "code": "c"}}, "text", None),
    ({"detail": "text", "error_type": "runner_gone"}, "text", "runner_gone"),
    ({"message": "text", "code": 400, "reason": "WHY"}, "text", "WHY"),
    ({"title": "Sum", "detail": "part", "status": 422}, "Sum: part", None),
    ({"title": "Sum"}, "Sum", None),
    ({"error": "first", "detail": "second", "message": "third"}, "first", None),
    ({"detail": "second", "message": "third"}, "second", None),
    ({"error": [1, 2]}, '{"error": [1, 2]}', None),
    ({"error": "", "message": "text"}, "text", None),
    (["no", "object"], '["no", "object"]', None),
]


def refused(said: HttpResponse) -> Failure:
    answer = get_provider("together").decode(
        Submit(adapted("together", "text-to-image")), route("together", "text-to-image"), said
    )
    assert isinstance(answer, Failure)
    return answer


@pytest.mark.parametrize(("body", "words", "code"), SHAPES)
def test_a_complaint_is_read_in_every_known_shape(body: Any, words: str, code: str | None) -> None:
    """error, then detail, then message, then the title, then whatever the body says."""
    answer = refused(reply(body, 400))
    assert (answer.message, answer.code) == (words, code)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"Cannot POST /x", "Cannot POST /x"),
        (b"", "no reason given"),
        (b"\xff\xfe\x00", "\ufffd\ufffd\x00"),
        (b"<!doctype html><html><head><title>Bad\n gateway</title>", "an HTML page: Bad gateway"),
        (b"<html>", "an HTML page"),
        (b"[" * 100_000, "[" * 499 + "…"),
    ],
)
def test_a_complaint_that_is_no_json_is_still_words(body: bytes, words: str) -> None:
    """Plain text, HTML, nothing and noise all become one line that a person can read."""
    assert refused(HttpResponse(status=400, body=body)).message == words


def test_a_long_complaint_is_cut_to_what_a_person_reads() -> None:
    """Half a thousand characters are enough to know what went wrong."""
    message = refused(reply({"error": "so long " * 1000}, 400)).message
    assert len(message) == 500
    assert message.endswith("…")


def test_no_complaint_shows_a_secret() -> None:
    """A provider that repeats the credential in its error does not spread it."""
    for body in ({"error": "Invalid token hf_abcdefghijklmnop"}, {"detail": "Bearer hf_abcdefghijklmnop is bad"}):
        assert "abcdefghijklmnop" not in repr(refused(reply(body, 401)))
    assert "s3cr3t" not in refused(reply({"error": "see https://h/x?signature=s3cr3ts3cr3t"}, 400)).message


@pytest.mark.parametrize(
    ("headers", "seconds", "date"),
    [
        ({"retry_after": "7"}, 7, None),
        ({"retry_after_ms": "1500"}, 1.5, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None, "Wed, 21 Oct 2026 07:28:00 GMT"),
        ({}, None, None),
    ],
)
def test_temporary_errors_have_a_retry_delay(headers: dict[str, str], seconds: float | None, date: str | None) -> None:
    """Busy, server and gateway errors carry it; a refusal does not, since it would be refused again."""
    for status in (429, 503, 504):
        answer = refused(reply({"error": "later"}, status, **headers))
        assert (answer.retry_after, answer.retry_at) == (seconds, date)
    answer = refused(reply({"error": "no"}, 422, **headers))
    assert (answer.retry_after, answer.retry_at) == (None, None)


@pytest.mark.parametrize("code", ["content_policy_violation", "moderation_blocked", "content_filter"])
def test_a_content_policy_is_recognised_by_its_code(code: str) -> None:
    """A decision is not a mistake in the request: the next provider is not asked."""
    assert refused(reply({"error": {"message": "no", "code": code}}, 400)).kind == "content_policy"
    assert refused(reply({"error": {"message": "no", "code": code}}, 500)).kind == "server_error"


def test_togethers_own_disguises() -> None:
    """An input that is too long is a 403 there, and has nothing to do with permission."""
    assert refused(reply({"error": {"message": "Input token count is too long"}}, 403)).kind == "rejected"
    assert refused(reply({"error": {"message": "not allowed"}}, 403)).kind == "permission_denied"
