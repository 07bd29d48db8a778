"""HTTP as data: secrets that never show, credentials that open one door only, paths that never climb."""

from __future__ import annotations

import copy
import pickle
import string
import time
import traceback
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from yarl import URL

from hfmedia.core.credentials import Credential, Secret, redact
from hfmedia.core.http import HttpRequest, HttpResponse, get, post_json, safe_path

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
BASE = "https://router.huggingface.co/fal-ai"


def credential(base: str = BASE, scheme: Any = "Bearer") -> Credential:
    """A credential for one base URL."""
    return Credential(secret=Secret(TOKEN), base_url=base, scheme=scheme)


def shown_in_traceback(value: object) -> str:
    """A traceback with the values of all names in it, as a crash reporter prints it."""
    try:
        held = value
        raise RuntimeError(f"trouble with {held}")
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def attempt(write: Any, value: object) -> str:
    """What writing a value down gives: its text, or the words of the refusal."""
    try:
        return repr(write(value))
    except (TypeError, NotImplementedError, pickle.PicklingError) as error:
        return repr(error)


WAYS_OUT: dict[str, Any] = {
    "repr": repr,
    "str": str,
    "percent": lambda value: "%s %r" % (value, value),  # noqa: UP031 - this spelling too must be blind
    "f-string": lambda value: f"{value} {value!r}",
    "padded": lambda value: f"{value:>40}",
    "ascii": ascii,
    "inside a list": lambda value: str([value, {"a": value}]),
    "traceback": shown_in_traceback,
    "json": lambda value: attempt(msgspec.json.encode, value),
    "json by name": lambda value: attempt(msgspec.json.encode, {"a": [value]}),
    "msgpack": lambda value: attempt(msgspec.msgpack.encode, value),
    "builtins": lambda value: attempt(msgspec.to_builtins, value),
    **{f"pickle {n}": (lambda value, n=n: attempt(lambda v: pickle.dumps(v, n), value)) for n in range(6)},
}


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("holder", ["secret", "credential"])
def test_a_secret_never_shows_itself(way: str, holder: str) -> None:
    """Neither alone nor inside a credential, whichever way it is written down."""
    value = Secret(TOKEN) if holder == "secret" else credential()
    try:
        text = WAYS_OUT[way](value)
    except TypeError as error:  # a format that a Secret does not know
        text = str(error)
    assert TOKEN not in text
    assert TOKEN[3:20] not in text


def test_a_secret_is_still_a_secret_after_copying() -> None:
    """Copies are of the same kind, and equal."""
    secret = Secret(TOKEN)
    for other in (copy.copy(secret), copy.deepcopy(secret), copy.deepcopy(credential()).secret):
        assert other == secret
        assert hash(other) == hash(secret)
        assert other.reveal() == TOKEN
    assert secret != Secret("another")
    assert secret != TOKEN
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize(("scheme", "header"), [("Bearer", f"Bearer {TOKEN}"), ("Key", f"Key {TOKEN}")])
def test_a_secret_goes_into_the_one_header_it_belongs_into(scheme: str, header: str) -> None:
    """With the provider's own scheme."""
    assert credential(scheme=scheme).header == header


OPENS = [BASE, f"{BASE}/", f"{BASE}/fal-ai/flux/dev?_subdomain=queue", f"{BASE}/a..b/c.png", f"{BASE}//x", f"{BASE}#x"]

STAYS_SHUT = [
    "https://router.huggingface.co.evil.com/fal-ai/x",
    "https://evilrouter.huggingface.co/fal-ai/x",
    "https://huggingface.co/fal-ai/x",
    "https://evil.com/router.huggingface.co/fal-ai/x",
    "https://evil.com/?https://router.huggingface.co/fal-ai",
    "https://evil.com#https://router.huggingface.co/fal-ai",
    "https://router.huggingface.co@evil.com/fal-ai/x",
    "https://router.huggingface.co:443@evil.com/fal-ai/x",
    "https://evil.com@router.huggingface.co/fal-ai/x",  # its own host, but with a user name: not as it is spelled
    "https://user:pass@router.huggingface.co/fal-ai/x",
    "https://router.huggingface.co\\@evil.com/fal-ai/x",
    "https://router.huggingface.co\\.evil.com/fal-ai/x",
    "https://router.huggingface.co:8443/fal-ai/x",
    "https://router.huggingface.co:80/fal-ai/x",
    "https://router.huggingface.co./fal-ai/x",
    "http://router.huggingface.co/fal-ai/x",
    "ws://router.huggingface.co/fal-ai/x",
    "ftp://router.huggingface.co/fal-ai/x",
    "file:///etc/passwd",
    "//router.huggingface.co/fal-ai/x",
    "router.huggingface.co/fal-ai/x",
    "/fal-ai/x",
    "",
    "https://router.huggingface.co",
    "https://router.huggingface.co/",
    "https://router.huggingface.co/fal-ai2/x",
    "https://router.huggingface.co/fal-a",
    "https://router.huggingface.co/FAL-AI/x",
    "https://router.huggingface.co/replicate/x",
    "https://router.huggingface.co//fal-ai/x",
    f"{BASE}/../replicate/x",
    f"{BASE}/x/../../replicate",
    f"{BASE}/..",
    f"{BASE}/%2e%2e/replicate/x",
    f"{BASE}/%2E%2e/replicate/x",
    f"{BASE}/.%2e/replicate/x",
    f"{BASE}/%2e./replicate/x",
    f"{BASE}/%252e%252e/replicate/x",
    f"{BASE}/..%2freplicate/x",
    f"{BASE}/..%5creplicate/x",
    f"{BASE}/..\\replicate",
    f"{BASE}\\..\\replicate",
    f"{BASE}/\r\nHost: evil.com",
    f"{BASE}/x\x00",
    f"\x00{BASE}/x",
    f" {BASE}/x",
    "https://router.hugging\tface.co/fal-ai/x",
    "https://router.huggingface.co\u3002evil.com/fal-ai",
    "https://router.huggingface.c\u043e/fal-ai/x",  # a Cyrillic o
    "https://[::1/fal-ai",
    "https://[router.huggingface.co]/fal-ai",
]


@pytest.mark.parametrize("url", OPENS)
def test_a_credential_opens_what_lies_below_its_base(url: str) -> None:
    """The same scheme, host and port, and the same path or one below it."""
    assert credential().allows(url)


@pytest.mark.parametrize("url", STAYS_SHUT, ids=ascii)
def test_a_credential_opens_nothing_else(url: str) -> None:
    """No look-alike, no other port or scheme, no path that climbs, nothing that two parsers read differently."""
    assert not credential().allows(url)


def test_a_base_without_a_path_opens_its_whole_host_and_no_other() -> None:
    """So it is with a provider's own host."""
    own = credential("https://api.replicate.com")
    assert own.allows("https://api.replicate.com/v1/predictions")
    assert own.allows("https://api.replicate.com")
    assert not own.allows("https://api.replicate.com.evil.com/v1")
    assert not own.allows("https://api.replicate.com:444/v1")
    assert not credential("http://127.0.0.1:8080/x").allows("http://127.0.0.1:8081/x")
    assert credential("http://127.0.0.1:8080/x").allows("http://127.0.0.1:8080/x/y")


@given(st.one_of(st.text(max_size=60), st.text(max_size=30).map(lambda tail: f"{BASE}{tail}")))
def test_what_a_credential_opens_is_below_its_base_for_another_parser_too(url: str) -> None:
    """The transport reads addresses with yarl: where we say yes, it must agree on host and path."""
    if credential().allows(url):
        other = URL(url)
        assert (other.scheme, other.host, other.port, other.user) == ("https", "router.huggingface.co", 443, None)
        assert other.path == "/fal-ai" or other.path.startswith("/fal-ai/")


SECRETS = [
    # text, what must not be left of it, what must be
    (f"sent {TOKEN} to fal", TOKEN, "sent *** to fal"),
    (f"({TOKEN}),", TOKEN, "(***),"),
    (f'{{"token":"{TOKEN}"}}', TOKEN, '{"token":"***"}'),
    ("hf_oauth_eyJhbGciOiJFZERTQSJ9.eyJzY29wZSI6WyJvcGVuaWQiXX0.c2lnbmF0dXJl", "eyJ", "***"),
    (f"Authorization: Bearer {TOKEN}", TOKEN, "Authorization: Bearer ***"),
    (f"authorization: bearer {TOKEN}\nHost: x", TOKEN, "\nHost: x"),
    ("{'Authorization': 'Bearer abc.def-ghi'}", "abc.def", "'Authorization'"),
    ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "Authorization"),
    ("Proxy-Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "Proxy-Authorization"),
    ("Bearer abc+/def==ghijk", "abc+/def", "Bearer ***"),
    ("Authorization: Key 0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f:00112233445566778899aabbccddeeff", "0011", "Authori"),
    ("key is 0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f:00112233445566778899aabbccddeeff", "00112233", "key is ***"),
    ("Key 0a1b2c3d4e5f", "0a1b2c3d4e5f", "Key ***"),
    ("r8_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789a was refused", "AbCdEf", "*** was refused"),
    ("the gateway key hfm_d21f7cbcb602_7cq4YiMFIaXHl8kq9jmZ leaked", "7cq4Yi", "*** leaked"),
    ("Incorrect API key provided: sk-proj-abcdef0123456789", "abcdef0123", "Incorrect API key provided"),
    ("sk_abcdefABCDEF0123456789", "abcdefABCDEF", "***"),
    ("zai 0123456789abcdef0123456789abcdef.AbCdEfGhIjKlMnOp", "AbCdEf", "zai ***"),
    ("nscale eyJhbGciOiJFZERTQSJ9.eyJhdWQiOiJuc2NhbGUifQ.c2lnbmF0dXJl", "eyJhdWQ", "nscale ***"),
    ('{"api_key": "deadbeefcafe0123"}', "deadbeef", '"api_key"'),
    ("apikey=deadbeefcafe0123&x=1", "deadbeef", "&x=1"),
    ("password: hunter2hunter2", "hunter2", "password"),
    ("via http://user:pa55word@proxy.corp:3128 failed", "pa55word", "proxy.corp:3128 failed"),
    ("via socks5h://us%40er:p%3Ass@10.0.0.1:1080/", "p%3Ass", "10.0.0.1:1080/"),
    (f"via https://{TOKEN}@huggingface.co/a/b", TOKEN, "huggingface.co/a/b"),
    ("https://b.s3.amazonaws.com/k.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEXAMPLE%2F20261122"
     "&X-Amz-Date=20261122T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=5f3a9c",
     "5f3a9c", "k.png?X-Amz-Algorithm=AWS4-HMAC-SHA256"),
    ("https://b.s3.amazonaws.com/k?X-Amz-Security-Token=IQoJb3JpZ2luX2VjE", "IQoJb3", "b.s3.amazonaws.com/k?"),
    ("https://b.s3.amazonaws.com/k?AWSAccessKeyId=AKIAEXAMPLE&Expires=1&Signature=vjbyPxybdZaNmGa%2ByT272YEAiv4%3D",
     "vjbyPx", "https://b.s3.amazonaws.com/k?AWSAccessKeyId=***"),
    ("https://storage.googleapis.com/b/o.mp4?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=a%40b"
     "&X-Goog-Signature=00ff", "00ff", "o.mp4?X-Goog-Algorithm=GOOG4-RSA-SHA256"),
    ("https://storage.googleapis.com/b/o?GoogleAccessId=x@y&Expires=2&Signature=abcd%2F", "abcd", "/b/o?"),
    ("https://x.blob.core.windows.net/c/b.png?sv=2024&se=2026&sr=b&sp=r&sig=AbC%2Bd%3D", "AbC%2Bd", "b.png?sv=2024"),
    ("https://cdn/x?Policy=eyJTdGF0ZW1lbnQ&Signature=s1gn&Key-Pair-Id=K2", "s1gn", "https://cdn/x?Policy=***"),
    ("https://api/x?key=abc", "key=abc", "https://api/x?key=***"),
    ("https://api/x?a=1&access_token=abc#frag", "=abc", "a=1&access_token=***#frag"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "gone", "left"), SECRETS)
def test_what_looks_like_a_secret_is_hidden_and_the_rest_is_kept(text: str, gone: str, left: str) -> None:
    """Tokens, keys, proxies' passwords and signatures of links."""
    shown = redact(text)
    assert gone not in shown
    assert left in shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the token expired, make another one",
        "Invalid API key provided",
        "Set HF_TOKEN or HF_ENDPOINT; see https://huggingface.co/settings/tokens",
        "https://fal.media/files/lion/abc_def.png",
        "https://router.huggingface.co/fal-ai/x?_subdomain=queue&page=2",
        "max_tokens: 4096, seed=42",
        "black-forest-labs/FLUX.1-schnell at 1024x768, 0.5 s",
        "job 0190f5c2-7b5e-7cc3-98c4-dc0c0c07398f is running",
        "prompt: monkey business in the turkey market",
        "hf-inference answered 503",
    ],
)
def test_plain_words_are_left_alone(text: str) -> None:
    """A sentence with holes in it helps nobody."""
    assert redact(text) == text


@pytest.mark.parametrize(
    "piece", ["?", "?key", "&token", "://", "authorization: ", "bearer ", "hf_", "a.", "0a1b2c3d-", "key ", '"token":']
)
def test_hiding_costs_no_more_than_the_text_is_long(piece: str) -> None:
    """A hostile error page of 64 KiB must not stop the loop: gross bound only."""
    text = piece * (64 * 1024 // len(piece))
    begun = time.thread_time()  # of this thread alone: the machine may be busy
    redact(text)
    assert time.thread_time() - begun < 2


@given(
    st.text(alphabet=string.ascii_letters + string.digits, min_size=30, max_size=40),
    st.text(),
)
def test_a_hub_token_is_hidden_wherever_it_stands(body: str, around: str) -> None:
    """Whatever stands around it, as long as it is a word of its own."""
    assert body not in redact(f"{around} hf_{body} {around}").replace(around, "")


PATHS = [
    ("https://queue.fal.run/fal-ai/flux/requests/1/status", "/fal-ai/flux/requests/1/status"),
    ("https://queue.fal.run/fal-ai/flux/requests/1/status?logs=1#x", "/fal-ai/flux/requests/1/status"),
    ("https://evil.com/fal-ai/x", "/fal-ai/x"),  # the host is thrown away, so it cannot lead anywhere
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
def test_of_an_address_in_a_reply_only_the_path_is_taken(url: str, path: str) -> None:
    """It is appended to our own base; the host that the reply names is never asked."""
    assert safe_path(url) == path


@pytest.mark.parametrize("url", HOSTILE_PATHS, ids=ascii)
def test_a_hostile_address_becomes_the_default(url: str) -> None:
    """Empty, climbing, unprintable, or no URL at all."""
    assert safe_path(url) == ""
    assert safe_path(url, default="/requests/1") == "/requests/1"


urls = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(["..", ".", "%2e", "%2E", "%25", "%2f", "%5c", "\\", "/", "//", "a", "?", "#", ":", "@",
                              "\t", "https://", "evil",
                              "[", "]", "\u3002", "\r\n", " "]), max_size=12).map("".join),
)  # fmt: skip


@given(urls)
def test_a_path_stays_below_whatever_it_is_appended_to(url: str) -> None:
    """For our parser and for the transport's: the same host, and a path below the base."""
    path = safe_path(url, default="/x")
    assert path.startswith("/")
    assert not path.startswith("//")
    whole = f"{BASE}{path}"
    assert urlsplit(whole).netloc == "router.huggingface.co"
    sent = URL(whole)
    assert sent.host == "router.huggingface.co"
    assert sent.path.startswith("/fal-ai/")
    assert credential().allows(whole)


def test_a_request_shows_neither_its_secrets_nor_its_body() -> None:
    """Wherever a request is shown, its method, redacted address, plain headers and length are enough."""
    secret = {"Authorization": f"Bearer {TOKEN}", "X-API-Key": "k3y", "Cookie": "c00kie", "X-Key": "x-k3y"}
    request = post_json(f"{BASE}?key=s3cret", {"prompt": "private words"}, headers={**secret, "X-Plain": "seen"})
    text = repr(request)
    for hidden in (TOKEN, "k3y", "c00kie", "s3cret", "private words"):
        assert hidden not in text
    assert "seen" in text
    assert "POST" in text
    assert f"{len(request.body or b'')} bytes" in text


def test_a_post_of_json_is_what_it_says() -> None:
    """Method, type, body, and how long the server may hold it."""
    request = post_json("https://a/b", {"prompt": "ä"}, headers={"Prefer": "wait=60"}, server_wait=60)
    assert (request.method, request.server_wait) == ("POST", 60)
    assert request.headers == {"Content-Type": "application/json", "Prefer": "wait=60"}
    assert msgspec.json.decode(request.body or b"") == {"prompt": "ä"}
    assert get("https://a/b") == HttpRequest(method="GET", url="https://a/b")


class Painting(Struct):
    """A reply drawn as a type."""

    url: str


def test_a_reply_is_read_through_a_type_and_says_where_it_is_wrong() -> None:
    """Unknown fields are ignored; a wrong type is an error with a path."""
    assert HttpResponse(status=200, body=b'{"url":"u","new":1}').json(Painting).url == "u"
    for body in (b"", b"<html>", b"[]", b'{"url":1}', b"{}", b"\xff"):
        with pytest.raises(msgspec.DecodeError):
            HttpResponse(status=200, body=body).json(Painting)
    with pytest.raises(msgspec.ValidationError, match=r"\$\.url"):
        HttpResponse(status=200, body=b'{"url":1}').json(Painting)


@pytest.mark.parametrize(
    ("status", "ok"), [(199, False), (200, True), (204, True), (299, True), (302, False), (500, False)]
)
def test_only_2xx_is_fine(status: int, ok: bool) -> None:
    """Redirects are not."""
    assert HttpResponse(status=status).ok is ok


@pytest.mark.parametrize(
    ("claimed", "mime"),
    [("image/PNG", "image/png"), ("application/json; charset=utf-8", "application/json"), ("", ""),
     (" text/html ;x", "text/html")],
)  # fmt: skip
def test_a_claimed_type_is_read_without_parameters(claimed: str, mime: str) -> None:
    """In lower case; a missing one is empty."""
    assert HttpResponse(status=200, headers={"content-type": claimed}).mime == mime
    assert HttpResponse(status=200).mime == ""
