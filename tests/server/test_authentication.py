"""Authentication with and without API keys, and rate limits."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from hfmedia.server.auth.authentication import require_caller
from hfmedia.server.auth.caller import Caller
from hfmedia.server.auth.local_access import is_loopback, requires_api_keys
from hfmedia.server.auth.policy import require_model_access
from hfmedia.server.config import Config
from hfmedia.server.db.api_keys import ApiKey, KeyLimits, generate_api_key
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.errors import ApiError, to_api_error
from hfmedia.server.jobs.errors import ModelNotAllowedError
from hfmedia.server.middleware.rate_limit import RateLimitHeadersMiddleware, TokenBucketLimiter, format_duration

TOKEN = "hf_" + "aBcDeFgHiJ" * 3
LOCAL_HOST = [("host", "127.0.0.1:8000")]


class Response(Struct):
    """A response."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str:
        """The error code."""
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        """The error message."""
        return str(self.body["error"]["message"])


class AuthenticatedApp:
    """An app with nothing but authentication, called without a socket so that any header can be sent."""

    def __init__(self, folder: Path) -> None:
        self.time = 1000.0
        self.database = GatewayDatabase(folder / "gateway.sqlite3", clock=lambda: self.time)
        self.callers: list[Caller] = []
        self.app = FastAPI()
        self.configure(Config())
        self.app.state.rate_limiter = TokenBucketLimiter(lambda: self.time)
        self.app.add_exception_handler(ApiError, self._api_error)  # type: ignore[arg-type]
        self.app.add_middleware(RateLimitHeadersMiddleware)

        @self.app.get("/v1/thing")
        async def thing(caller: Annotated[Caller, Depends(require_caller)]) -> JSONResponse:
            self.callers.append(caller)
            return JSONResponse({"key": caller.id})

    @staticmethod
    async def _api_error(request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body(), error.status, error.response_headers())

    def configure(self, config: Config) -> None:
        """Replace the configuration."""
        self.app.state.gateway = SimpleNamespace(database=self.database, config=config)

    def add(self, name: str = "web", **fields: Any) -> tuple[ApiKey, str]:
        """Add a key and return it with its plaintext."""
        key_id, text, digest = generate_api_key()
        key = ApiKey(id=key_id, name=name, created_at=self.time, **fields)
        self.database.add_key(key, digest)
        return key, text

    async def get(
        self, *headers: tuple[str, str | bytes], client: tuple[str, int] | None = ("127.0.0.1", 5), host: bool = True
    ) -> Response:
        """Return the response to a GET with these headers."""
        sent: Sequence[tuple[str, str | bytes]] = (*(LOCAL_HOST if host else ()), *headers)
        raw = [(name.encode(), value if isinstance(value, bytes) else value.encode("latin-1")) for name, value in sent]
        scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/v1/thing", "raw_path": b"/v1/thing", "query_string": b"", "root_path": "", "headers": raw,
            "client": client, "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        messages: list[Mapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        response_headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return Response(messages[0]["status"], response_headers, json.loads(body))

    async def bearer(self, text: str | bytes, **options: Any) -> Response:
        """Return the response to a GET with this bearer token."""
        value = text if isinstance(text, bytes) else text.encode("latin-1")
        return await self.get(("authorization", b"Bearer " + value), **options)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[AuthenticatedApp]:
    """An app without keys."""
    opened = AuthenticatedApp(tmp_path)
    yield opened
    opened.database.close()


# -- with keys --------------------------------------------------------------------------------------------------------


async def test_a_key_authenticates_its_caller(app: AuthenticatedApp) -> None:
    """From any address, host name and page; the caller has all properties of the key."""
    limits = KeyLimits(models=("org/*",), images_per_day=3)
    key, text = app.add(limits=limits, bill_to="org", admin=True)
    for headers in ([("authorization", f"Bearer {text}")], [("authorization", f"bearer   {text} ")],
                    [("x-api-key", text)], [("authorization", "Bearer "), ("x-api-key", text)]):  # fmt: skip
        page = (("origin", "https://elsewhere.example"), ("sec-fetch-site", "cross-site"))
        response = await app.get(*headers, ("host", "media.example.org"), *page, client=("203.0.113.9", 5), host=False)
        assert (response.status, response.body) == (200, {"key": key.id})
    expected = Caller(id=key.id, name="web", limits=limits, bill_to="org", admin=True)
    assert app.callers == [expected] * 4


REJECTED: list[tuple[list[tuple[str, str | bytes]], str]] = [
    ([], "an API key is required"),
    ([("authorization", "")], "an API key is required"),
    ([("authorization", "Bearer")], "an API key is required"),
    ([("authorization", "Bearer sk-anything")], "invalid API key"),
    ([("authorization", "Bearer hfm_0123456789ab_" + "A" * 43)], "invalid API key"),
    ([("authorization", "Basic dXNlcjpwYXNz")], "unsupported Authorization header"),
    ([("authorization", b"Bearer \xff\xfe\xe9")], "has characters that no key contains"),
    ([("authorization", "Bearer " + "x" * 10_000)], "too long"),
    ([("authorization", b"\x00\x01")], "unsupported Authorization header"),
    ([("authorization", "Bearer a"), ("authorization", "Bearer b")], "more than one key"),
    ([("x-api-key", "a"), ("x-api-key", "b")], "more than one key"),
    ([("x-api-key", b"\xe2\x80\x8b" * 5)], "has characters that no key contains"),
    ([("authorization", f"Bearer {TOKEN}")], "no Hugging Face tokens"),
    ([("x-api-key", TOKEN)], "no Hugging Face tokens"),
]


@pytest.mark.parametrize(("headers", "message"), REJECTED)
async def test_a_missing_or_invalid_key_is_rejected(
    app: AuthenticatedApp, headers: list[tuple[str, str | bytes]], message: str
) -> None:
    """With 401 and what to do; the message does not repeat what was sent."""
    app.add()
    response = await app.get(*headers)
    assert (response.status, response.code) == (401, "invalid_api_key")
    assert message in response.message
    assert (response.headers["x-should-retry"], response.headers["www-authenticate"]) == ("false", "Bearer")
    assert "sk-anything" not in response.message
    assert TOKEN not in response.message
    assert not app.callers


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["authorization", "x-api-key", "host", "origin", "x-forwarded-for"]),
                          st.binary(max_size=40) | st.binary(max_size=40).map(lambda text: b"Bearer " + text)),
                max_size=4), st.booleans())  # fmt: skip
async def test_any_header_bytes_are_handled(
    app: AuthenticatedApp, headers: list[tuple[str, bytes]], keyed: bool
) -> None:
    """With keys or without, a request is accepted or rejected, and never causes a crash."""
    if keyed and not app.database.requires_keys():
        app.add()
    response = await app.get(*headers, host=False)
    assert response.status in ((401,) if app.database.requires_keys() else (200, 401, 403))


async def test_a_wrong_secret_with_a_known_id_is_an_unknown_key(app: AuthenticatedApp) -> None:
    """Even the state of a revoked key is revealed only for its complete plaintext."""
    key, text = app.add()
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    unknown = (await app.bearer(generate_api_key()[1])).body
    assert (await app.bearer(wrong)).body == unknown
    app.database.revoke_key(key.id, app.time)
    assert (await app.bearer(wrong)).body == unknown
    response = await app.bearer(text)
    assert (response.status, response.message) == (401, "the key 'web' was revoked")


async def test_a_revoked_key_is_rejected_from_the_next_request_on(app: AuthenticatedApp, tmp_path: Path) -> None:
    """Also when another process revoked it; without an active key, requests without one are still rejected."""
    key, text = app.add()
    assert (await app.bearer(text)).status == 200
    command = GatewayDatabase(tmp_path / "gateway.sqlite3")
    command.revoke_key(key.id, 1.0)
    command.close()
    assert (await app.bearer(text)).status == 401
    assert (await app.get()).status == 401


async def test_a_key_is_rejected_from_its_expiry_on(app: AuthenticatedApp) -> None:
    """The message has the time."""
    _, text = app.add(expires_at=1060.0)
    app.time = 1059.9
    assert (await app.bearer(text)).status == 200
    app.time = 1060.0
    response = await app.bearer(text)
    assert (response.status, response.message) == (401, "the key 'web' expired at 1970-01-01 00:17 UTC")


async def test_secrets_are_neither_returned_nor_logged(app: AuthenticatedApp, caplog: pytest.LogCaptureFixture) -> None:
    """Of a valid key, an invalid one, and tokens."""
    caplog.set_level(logging.DEBUG)
    app.configure(Config(allow_caller_tokens=True))
    _, text = app.add()
    secrets = [text, generate_api_key()[1], TOKEN, "hf_bad!"]
    responses = [await app.bearer(secret) for secret in secrets]
    output = repr(responses) + repr(app.callers) + caplog.text
    assert len(app.callers) == 2
    assert not [secret for secret in secrets if secret.rpartition("_")[2] in output]


# -- callers' own tokens ----------------------------------------------------------------------------------------------


async def test_a_callers_own_token_is_accepted_if_configured(app: AuthenticatedApp) -> None:
    """With keys and without, from any address. The same token is the same caller."""
    app.configure(Config(allow_caller_tokens=True))
    assert (await app.bearer(TOKEN, client=("203.0.113.9", 5))).status == 200
    app.add(limits=KeyLimits(images_per_day=0))
    assert (await app.bearer(TOKEN)).status == 200
    first, second = app.callers
    assert first == second
    assert first.id.startswith("hf:")
    assert len(first.id) == 15
    assert first.hf_token is not None
    assert first.hf_token.reveal() == TOKEN
    assert TOKEN not in repr(first)
    assert (first.limits, first.admin, first.bill_to) == (KeyLimits(), False, None)
    await app.bearer(TOKEN + "x")
    assert app.callers[-1].id != first.id
    for damaged in ("hf_", "hf_a b c d e f", "hf_abc\tdefgh"):
        assert (await app.bearer(damaged)).status == 401


# -- without keys -----------------------------------------------------------------------------------------------------

LOCAL_ACCESS: list[tuple[list[tuple[str, str]], tuple[str, int] | None, bool]] = [
    # headers, client address, allowed
    ([("host", "127.0.0.1:8000")], ("127.0.0.1", 5), True),
    ([("host", "localhost:8000")], ("127.0.0.1", 5), True),
    ([("host", "LOCALHOST")], ("127.0.0.1", 5), True),
    ([("host", "[::1]:8000")], ("::1", 5), True),
    ([("host", "127.8.7.6")], ("127.0.0.1", 5), True),
    ([("host", "localhost:8000")], ("::ffff:127.0.0.1", 5), True),
    ([("host", "gate.example.org")], ("127.0.0.1", 5), True),
    ([("host", "localhost"), ("authorization", "Bearer sk-anything")], ("127.0.0.1", 5), True),
    ([("host", "localhost:8000"), ("origin", "http://localhost:8000")], ("127.0.0.1", 5), True),
    ([("host", "localhost"), ("origin", "http://localhost:80")], ("127.0.0.1", 5), True),
    ([("host", "localhost:8000"), ("origin", "https://page.example.org")], ("127.0.0.1", 5), True),
    ([("host", "localhost:8000"), ("origin", "https://page.example.org"), ("sec-fetch-site", "cross-site")],
     ("127.0.0.1", 5), True),
    ([("host", "gate.example.org"), ("origin", "https://gate.example.org")], ("127.0.0.1", 5), True),
    ([("host", "localhost:8000"), ("sec-fetch-site", "same-origin")], ("127.0.0.1", 5), True),
    ([("host", "localhost:8000"), ("sec-fetch-site", "none")], ("127.0.0.1", 5), True),
    ([("host", "localhost:8000"), ("x-forwarded-for", "127.0.0.1, ::1")], ("127.0.0.1", 5), True),
    # not from this machine
    ([("host", "localhost:8000")], ("203.0.113.9", 5), False),
    ([("host", "localhost:8000")], ("192.168.1.7", 5), False),
    ([("host", "localhost:8000")], ("testclient", 5), False),
    ([("host", "localhost:8000")], None, False),
    ([("host", "localhost:8000"), ("x-forwarded-for", "203.0.113.9")], ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("x-forwarded-for", "127.0.0.1, 203.0.113.9:555")], ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("x-real-ip", "203.0.113.9")], ("127.0.0.1", 5), False),
    # under a foreign host name: DNS rebinding
    ([], ("127.0.0.1", 5), False),
    ([("host", "")], ("127.0.0.1", 5), False),
    ([("host", "evil.example")], ("127.0.0.1", 5), False),
    ([("host", "127.0.0.1.evil.example:8000")], ("127.0.0.1", 5), False),
    ([("host", "localhost.evil.example")], ("127.0.0.1", 5), False),
    ([("host", "evil.example@127.0.0.1")], ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("host", "evil.example")], ("127.0.0.1", 5), False),
    ([("host", "0.0.0.0:8000")], ("127.0.0.1", 5), False),
    ([("host", "192.168.1.7:8000")], ("127.0.0.1", 5), False),
    # from a page of another site
    ([("host", "localhost:8000"), ("origin", "https://evil.example")], ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("origin", "http://localhost:3000")], ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("origin", "https://localhost:8000")], ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("origin", "http://page.example.org")], ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("origin", "null")], ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("origin", "http://localhost:99999")], ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("origin", "http://localhost:8000"), ("origin", "http://localhost:8000")],
     ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("sec-fetch-site", "cross-site")], ("127.0.0.1", 5), False),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "client", "allowed"), LOCAL_ACCESS)
async def test_without_keys_only_local_same_origin_requests_are_allowed(
    app: AuthenticatedApp, headers: list[tuple[str, str]], client: tuple[str, int] | None, allowed: bool
) -> None:
    """No other web page can spend the operator's money."""
    app.configure(Config(public_url="https://gate.example.org", cors_origins=("https://page.example.org", "*")))
    response = await app.get(*headers, client=client, host=False)
    assert response.status == (200 if allowed else 403), response.body
    if allowed:
        assert app.callers == [Caller()]
    else:
        assert response.code == "key_required"
        assert "hfmedia keys create" in response.message
        assert "evil" not in response.message


async def test_a_token_that_would_not_be_billed_is_rejected(app: AuthenticatedApp) -> None:
    """Its sender expects to pay with it."""
    response = await app.bearer(TOKEN)
    assert (response.status, response.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True), ("LocalHost", True),
     ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("", False), ("192.168.0.1", False),
     ("example.org", False), ("127.0.0.1.example.org", False), ("2130706433", False), ("0177.0.0.1", False)],
)  # fmt: skip
def test_listening_on_other_addresses_requires_keys(host: str, is_local: bool) -> None:
    """Every address that is not certainly local."""
    assert is_loopback(host) is is_local
    assert requires_api_keys(host) is not is_local


# -- rate limits ------------------------------------------------------------------------------------------------------


async def test_requests_per_minute_are_limited(app: AuthenticatedApp) -> None:
    """With OpenAI's headers on every response; above the limit 429, with the time to wait."""
    _, text = app.add(limits=KeyLimits(requests_per_minute=3))
    remaining = []
    for _ in range(3):
        response = await app.bearer(text)
        assert response.status == 200
        assert response.headers["x-ratelimit-limit-requests"] == "3"
        remaining.append(
            (response.headers["x-ratelimit-remaining-requests"], response.headers["x-ratelimit-reset-requests"])
        )
    assert remaining == [("2", "20s"), ("1", "40s"), ("0", "1m0s")]
    response = await app.bearer(text)
    assert (response.status, response.code) == (429, "rate_limit_exceeded")
    assert (response.headers["retry-after"], response.headers["x-should-retry"]) == ("20", "true")
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    assert response.message == "rate limit exceeded: the key 'web' allows 3 requests per minute; retry in 20.0 s"
    app.time += 20
    assert (await app.bearer(text)).status == 200
    assert (await app.bearer(text)).status == 429
    other, other_text = app.add("other")
    response = await app.bearer(other_text)
    assert response.body == {"key": other.id}
    assert "x-ratelimit-limit-requests" not in response.headers


@given(st.integers(1, 100), st.lists(st.floats(0, 30), max_size=200))
def test_no_key_exceeds_its_bucket(limit: int, waits: list[float]) -> None:
    """Over any time: a full bucket plus its refill; and the reported wait is long enough."""
    now = [0.0]
    limiter = TokenBucketLimiter(lambda: now[0])
    allowed_count = 0
    for wait in waits:
        now[0] += wait
        result = limiter.acquire("k", limit)
        allowed_count += result.allowed
        assert allowed_count <= limit + now[0] * limit / 60 + 1e-6
        assert 0 <= result.remaining <= limit
        if not result.allowed:
            now[0] += result.retry_after + 1e-6
            assert limiter.acquire("k", limit).allowed
            allowed_count += 1


def test_a_lower_limit_applies_at_once() -> None:
    """A bucket never holds more than the current limit."""
    now = [0.0]
    limiter = TokenBucketLimiter(lambda: now[0])
    assert limiter.acquire("k", 100).remaining == 99
    assert limiter.acquire("k", 2).remaining == 1
    assert limiter.acquire("k", 2).allowed
    assert not limiter.acquire("k", 2).allowed


def test_full_buckets_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing bucket is a full one."""
    monkeypatch.setattr("hfmedia.server.middleware.rate_limit.MAX_BUCKETS", 10)
    now = [0.0]
    limiter = TokenBucketLimiter(lambda: now[0])
    for number in range(100):
        now[0] += 10
        limiter.acquire(str(number), 5)
        assert len(limiter._buckets) <= 11


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.25, "250ms"), (12, "12s"), (60, "1m0s"), (3599.5, "60m0s")]
)
def test_a_duration_is_formatted_as_openai_does(seconds: float, text: str) -> None:
    """Rounded up."""
    assert format_duration(seconds) == text


# -- models -----------------------------------------------------------------------------------------------------------

MODELS: list[tuple[tuple[str, ...], str, bool]] = [
    ((), "any/thing", True),
    (("black-forest-labs/*",), "black-forest-labs/FLUX.1-schnell", True),
    (("black-forest-labs/*",), "Black-Forest-Labs/flux.1-schnell:fal-ai", True),
    (("black-forest-labs/*",), "Qwen/Qwen-Image", False),
    (("Qwen/Qwen-Image",), "Qwen/Qwen-Image:fastest", True),
    (("Qwen/Qwen-Image",), "Qwen/Qwen-Image-Edit", False),
    (("Qwen/Qwen-Image", "*/FLUX.1-?ev"), "x/FLUX.1-dev", True),
    (("a/*",), "evil/a/b", False),
    (("*",), "any/thing", True),
]


@pytest.mark.parametrize(("patterns", "model", "allowed"), MODELS)
def test_a_key_allows_the_models_that_match_its_patterns(patterns: tuple[str, ...], model: str, allowed: bool) -> None:
    """By the model's ID; the provider does not matter."""
    caller = Caller(id="k", name="web", limits=KeyLimits(models=patterns))
    if allowed:
        require_model_access(caller, model)
        return
    with pytest.raises(ModelNotAllowedError) as caught:
        require_model_access(caller, model)
    api_error = to_api_error(caught.value)
    assert (api_error.status, api_error.code, api_error.param) == (403, "model_not_allowed", "model")
    assert patterns[0] in api_error.message


# -- the document -----------------------------------------------------------------------------------------------------


def test_the_openapi_document_describes_the_key(app: AuthenticatedApp) -> None:
    """As bearer authentication, on every authenticated route."""
    document = app.app.openapi()
    ((name, scheme),) = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert document["paths"]["/v1/thing"]["get"]["security"] == [{name: []}]
