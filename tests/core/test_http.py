"""HTTP as data: requests, responses, and paths that never leave their base URL."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from yarl import URL

from hfmedia.core.credentials import Credential, Secret
from hfmedia.core.http import HttpRequest, HttpResponse, display_url, get, post_json, safe_path

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
BASE = "https://router.huggingface.co/fal-ai"

PATHS = [
    ("https://queue.fal.run/fal-ai/flux/requests/1/status", "/fal-ai/flux/requests/1/status"),
    ("https://queue.fal.run/fal-ai/flux/requests/1/status?logs=1#x", "/fal-ai/flux/requests/1/status"),
    ("https://evil.com/fal-ai/x", "/fal-ai/x"),  # the host is discarded, so it is never contacted
    ("https://user:pass@evil.com:99/fal-ai/x", "/fal-ai/x"),
    ("//evil.com/fal-ai/x", "/fal-ai/x"),
    ("/fal-ai/x/", "/fal-ai/x"),
    ("fal-ai/x", "/fal-ai/x"),
    ("///evil.com/x", "/evil.com/x"),
    ("https://a/b c", "/b c"),
    ("https://a/b%20c", "/b%20c"),
    ("https://a/v1..2/x", "/v1..2/x"),
]  # fmt: skip

HOSTILE_PATHS = [
    "", "/", "///", "https://evil.com", "https://evil.com/", "https://evil.com?x=/a", "https://a/..", "https://a/../x",
    "https://a/b/../../x", "https://a/%2e%2e/x", "https://a/%2E%2e/x", "https://a/.%2E/x", "https://a/%252e%252e/x",
    "https://a/..%2fx", "https://a/b%5c..%5cx", "https://a/b\\c", "https://a/b\\..\\c", "\\\\evil.com\\x", "https://a/\x00",
    "https://a/b\x7fc", "https://a/f\u00f6o", "https://a/b\u202ec", "https://[bad/x", "https://[::1", "http://\u2100/x",
]  # fmt: skip


@pytest.mark.parametrize(("url", "path"), PATHS)
def test_only_the_path_of_a_url_in_a_response_is_used(url: str, path: str) -> None:
    """It is appended to the route's base URL; the host in the response is never contacted."""
    assert safe_path(url) == path


@pytest.mark.parametrize("url", HOSTILE_PATHS, ids=ascii)
def test_a_hostile_url_yields_the_default(url: str) -> None:
    """Empty, with a parent segment, unprintable, or not a URL."""
    assert safe_path(url) == ""
    assert safe_path(url, default="/requests/1") == "/requests/1"


urls = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(["..", ".", "%2e", "%2E", "%25", "%2f", "%5c", "\\", "/", "//", "a", "?", "#", ":", "@",
                              "\t", "https://", "evil",
                              "[", "]", "\u3002", "\r\n", " "]), max_size=12).map("".join),
)  # fmt: skip


@given(urls)
def test_a_path_stays_below_the_base_url_it_is_appended_to(url: str) -> None:
    """The same host and a path below the base, for our parser and for the transport's."""
    path = safe_path(url, default="/x")
    assert path.startswith("/")
    assert not path.startswith("//")
    full_url = f"{BASE}{path}"
    assert urlsplit(full_url).netloc == "router.huggingface.co"
    parsed = URL(full_url)
    assert parsed.host == "router.huggingface.co"
    assert parsed.path.startswith("/fal-ai/")
    assert Credential(secret=Secret(TOKEN), base_url=BASE).allows(full_url)


def test_the_repr_of_a_request_shows_neither_secrets_nor_the_body() -> None:
    """It shows the method, the redacted URL, other headers and the length."""
    secret_headers = {"Authorization": f"Bearer {TOKEN}", "X-API-Key": "k3y", "Cookie": "c00kie", "X-Key": "x-k3y"}
    request = post_json(
        f"{BASE}?key=s3cret", {"prompt": "private words"}, headers={**secret_headers, "X-Plain": "seen"}
    )
    text = repr(request)
    for hidden in (TOKEN, "k3y", "c00kie", "s3cret", "private words"):
        assert hidden not in text
    assert "seen" in text
    assert "POST" in text
    assert f"{len(request.body or b'')} bytes" in text


def test_post_json_sets_method_type_and_body() -> None:
    """And how long the server may hold the request open."""
    request = post_json("https://a/b", {"prompt": "ä"}, headers={"Prefer": "wait=60"}, server_wait=60)
    assert (request.method, request.server_wait) == ("POST", 60)
    assert request.headers == {"Content-Type": "application/json", "Prefer": "wait=60"}
    assert msgspec.json.decode(request.body or b"") == {"prompt": "ä"}
    assert get("https://a/b") == HttpRequest(method="GET", url="https://a/b")


class Prediction(Struct):
    """A response body as a type."""

    url: str


def test_a_response_is_decoded_through_a_type() -> None:
    """Unknown fields are ignored; a wrong type is an error with its path."""
    assert HttpResponse(status=200, body=b'{"url":"u","new":1}').json(Prediction).url == "u"
    for body in (b"", b"<html>", b"[]", b'{"url":1}', b"{}", b"\xff"):
        with pytest.raises(msgspec.DecodeError):
            HttpResponse(status=200, body=body).json(Prediction)
    with pytest.raises(msgspec.ValidationError, match=r"\$\.url"):
        HttpResponse(status=200, body=b'{"url":1}').json(Prediction)


@pytest.mark.parametrize(
    ("status", "ok"), [(199, False), (200, True), (204, True), (299, True), (302, False), (500, False)]
)
def test_only_a_2xx_status_is_ok(status: int, ok: bool) -> None:
    """Redirects are not."""
    assert HttpResponse(status=status).ok is ok


@pytest.mark.parametrize(
    ("content_type", "mime"),
    [("image/PNG", "image/png"), ("application/json; charset=utf-8", "application/json"), ("", ""),
     (" text/html ;x", "text/html")],
)  # fmt: skip
def test_the_media_type_has_no_parameters(content_type: str, mime: str) -> None:
    """It is in lower case; empty if missing."""
    assert HttpResponse(status=200, headers={"content-type": content_type}).mime == mime
    assert HttpResponse(status=200).mime == ""


@pytest.mark.parametrize(
    ("url", "displayed"),
    [
        ("https://cdn.example/a/b.png?X-Amz-Signature=00ff#x", "https://cdn.example/a/b.png"),
        ("https://user:pass@cdn.example:8443/a", "https://cdn.example:8443/a"),
        ("https://cdn.example", "https://cdn.example"),
    ],
)
def test_a_displayed_url_has_neither_query_nor_user(url: str, displayed: str) -> None:
    """Either may be secret."""
    assert display_url(url) == displayed
