"""Credentials: secrets that are never shown, URLs that they may be sent to, and redaction."""

from __future__ import annotations

import copy
import pickle
import string
import time
import traceback
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from hfmedia.core.credentials import Credential, Secret, redact

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
BASE = "https://router.huggingface.co/fal-ai"


def credential(base: str = BASE, scheme: Any = "Bearer") -> Credential:
    """A credential for one base URL."""
    return Credential(secret=Secret(TOKEN), base_url=base, scheme=scheme)


def traceback_with_locals(value: object) -> str:
    """Return a traceback with the values of local variables, as a crash reporter prints it."""
    try:
        held = value
        raise RuntimeError(f"cannot use {held}")
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def attempt(serialize: Any, value: object) -> str:
    """Return the text of a serialized value, or of the error."""
    try:
        return repr(serialize(value))
    except (TypeError, NotImplementedError, pickle.PicklingError) as error:
        return repr(error)


OUTPUTS: dict[str, Any] = {
    "repr": repr,
    "str": str,
    "percent": lambda value: "%s %r" % (value, value),  # noqa: UP031 - the old formatting must not show it either
    "f-string": lambda value: f"{value} {value!r}",
    "padded": lambda value: f"{value:>40}",
    "ascii": ascii,
    "inside a list": lambda value: str([value, {"a": value}]),
    "traceback": traceback_with_locals,
    "json": lambda value: attempt(msgspec.json.encode, value),
    "json by name": lambda value: attempt(msgspec.json.encode, {"a": [value]}),
    "msgpack": lambda value: attempt(msgspec.msgpack.encode, value),
    "builtins": lambda value: attempt(msgspec.to_builtins, value),
    **{f"pickle {n}": (lambda value, n=n: attempt(lambda v: pickle.dumps(v, n), value)) for n in range(6)},
}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("holder", ["secret", "credential"])
def test_a_secret_is_never_shown(output: str, holder: str) -> None:
    """Neither alone nor inside a credential, in any kind of output."""
    value = Secret(TOKEN) if holder == "secret" else credential()
    try:
        text = OUTPUTS[output](value)
    except TypeError as error:  # a format that Secret does not support
        text = str(error)
    assert TOKEN not in text
    assert TOKEN[3:20] not in text


def test_a_copy_of_a_secret_is_an_equal_secret() -> None:
    """Copied alone or inside a credential."""
    secret = Secret(TOKEN)
    for other in (copy.copy(secret), copy.deepcopy(secret), copy.deepcopy(credential()).secret):
        assert other == secret
        assert hash(other) == hash(secret)
        assert other.reveal() == TOKEN
    assert secret != Secret("another")
    assert secret != TOKEN
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize(("scheme", "header"), [("Bearer", f"Bearer {TOKEN}"), ("Key", f"Key {TOKEN}")])
def test_the_authorization_header_uses_the_scheme_of_the_provider(scheme: str, header: str) -> None:
    """Bearer or Key."""
    assert credential(scheme=scheme).header == header


ALLOWED = [
    BASE,
    f"{BASE}/",
    f"{BASE}/fal-ai/flux/dev?_subdomain=queue",
    f"{BASE}/a..b/c.png",
    f"{BASE}//x",
    f"{BASE}#x",
]

FORBIDDEN = [
    "https://router.huggingface.co.evil.com/fal-ai/x",
    "https://evilrouter.huggingface.co/fal-ai/x",
    "https://huggingface.co/fal-ai/x",
    "https://evil.com/router.huggingface.co/fal-ai/x",
    "https://evil.com/?https://router.huggingface.co/fal-ai",
    "https://evil.com#https://router.huggingface.co/fal-ai",
    "https://router.huggingface.co@evil.com/fal-ai/x",
    "https://router.huggingface.co:443@evil.com/fal-ai/x",
    "https://evil.com@router.huggingface.co/fal-ai/x",  # the right host, but with a user name
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


@pytest.mark.parametrize("url", ALLOWED)
def test_a_credential_may_be_sent_below_its_base_url(url: str) -> None:
    """The same scheme, host and port, and the same path or one below it."""
    assert credential().allows(url)


@pytest.mark.parametrize("url", FORBIDDEN, ids=ascii)
def test_a_credential_is_sent_nowhere_else(url: str) -> None:
    """No look-alike, other port or scheme, parent path, or URL that two parsers read differently."""
    assert not credential().allows(url)


def test_a_base_url_without_a_path_allows_its_whole_host_and_no_other() -> None:
    """As for a provider's own host."""
    own = credential("https://api.replicate.com")
    assert own.allows("https://api.replicate.com/v1/predictions")
    assert own.allows("https://api.replicate.com")
    assert not own.allows("https://api.replicate.com.evil.com/v1")
    assert not own.allows("https://api.replicate.com:444/v1")
    assert not credential("http://127.0.0.1:8080/x").allows("http://127.0.0.1:8081/x")
    assert credential("http://127.0.0.1:8080/x").allows("http://127.0.0.1:8080/x/y")


@given(st.one_of(st.text(max_size=60), st.text(max_size=30).map(lambda tail: f"{BASE}{tail}")))
def test_an_allowed_url_is_below_the_base_url_for_another_parser_too(url: str) -> None:
    """The transport parses URLs with yarl, which must agree on host and path."""
    if credential().allows(url):
        other = URL(url)
        assert (other.scheme, other.host, other.port, other.user) == ("https", "router.huggingface.co", 443, None)
        assert other.path == "/fal-ai" or other.path.startswith("/fal-ai/")


SECRETS = [
    # text, the part that must be removed, the part that must stay
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


@pytest.mark.parametrize(("text", "removed", "kept"), SECRETS)
def test_secrets_are_redacted_and_the_rest_stays(text: str, removed: str, kept: str) -> None:
    """Tokens, keys, passwords of proxies and signatures in URLs."""
    redacted = redact(text)
    assert removed not in redacted
    assert kept in redacted
    assert redact(redacted) == redacted


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
def test_ordinary_text_is_not_changed(text: str) -> None:
    """Redaction must not make messages unreadable."""
    assert redact(text) == text


@pytest.mark.parametrize(
    "piece", ["?", "?key", "&token", "://", "authorization: ", "bearer ", "hf_", "a.", "0a1b2c3d-", "key ", '"token":']
)
def test_redaction_takes_linear_time(piece: str) -> None:
    """A hostile error page of 64 KiB must not block the event loop: gross bound only."""
    text = piece * (64 * 1024 // len(piece))
    started = time.thread_time()  # of this thread alone: the machine may be busy
    redact(text)
    assert time.thread_time() - started < 2


@given(
    st.text(alphabet=string.ascii_letters + string.digits, min_size=30, max_size=40),
    st.text(),
)
def test_a_hub_token_is_redacted_in_any_context(body: str, around: str) -> None:
    """As long as it is a separate word."""
    assert body not in redact(f"{around} hf_{body} {around}").replace(around, "")
