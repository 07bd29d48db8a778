"""The gate: who comes in with a key, and who without one; and how often."""

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

from hfmedia.server.auth.authentication import (
    Caller,
    is_loopback,
    require_caller,
    require_model_access,
    requires_api_keys,
)
from hfmedia.server.config import Config
from hfmedia.server.db.api_keys import ApiKey, KeyLimits, generate_api_key
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.errors import ApiError
from hfmedia.server.middleware.rate_limit import RateLimitHeadersMiddleware, TokenBucketLimiter, format_duration

TOKEN = "hf_" + "aBcDeFgHiJ" * 3
HERE = [("host", "127.0.0.1:8000")]


class Answer(Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str:
        """OpenAI's word for the error."""
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        """The sentence."""
        return str(self.body["error"]["message"])


class Gate:
    """An app with nothing in it but the gate, asked without a socket, so that any header can be sent."""

    def __init__(self, folder: Path) -> None:
        self.time = 1000.0
        self.book = GatewayDatabase(folder / "gateway.sqlite3", clock=lambda: self.time)
        self.callers: list[Caller] = []
        self.app = FastAPI()
        self.configure(Config())
        self.app.state.pace = TokenBucketLimiter(lambda: self.time)
        self.app.add_exception_handler(ApiError, self._refused)  # type: ignore[arg-type]
        self.app.add_middleware(RateLimitHeadersMiddleware)

        @self.app.get("/v1/thing")
        async def thing(caller: Annotated[Caller, Depends(require_caller)]) -> JSONResponse:
            self.callers.append(caller)
            return JSONResponse({"key": caller.id})

    @staticmethod
    async def _refused(request: Request, refusal: ApiError) -> JSONResponse:
        return JSONResponse(refusal.body(), refusal.status, refusal.response_headers())

    def configure(self, config: Config) -> None:
        """Another configuration."""
        self.app.state.gateway = SimpleNamespace(book=self.book, config=config)

    def add(self, name: str = "web", **fields: Any) -> tuple[ApiKey, str]:
        """A new key, and its text."""
        key_id, text, digest = generate_api_key()
        key = ApiKey(id=key_id, name=name, created_at=self.time, **fields)
        self.book.add_key(key, digest)
        return key, text

    async def ask(
        self, *headers: tuple[str, str | bytes], client: tuple[str, int] | None = ("127.0.0.1", 5), host: bool = True
    ) -> Answer:
        """What the app answers to a GET with these headers."""
        sent: Sequence[tuple[str, str | bytes]] = (*(HERE if host else ()), *headers)
        raw = [(name.encode(), value if isinstance(value, bytes) else value.encode("latin-1")) for name, value in sent]
        scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/v1/thing", "raw_path": b"/v1/thing", "query_string": b"", "root_path": "", "headers": raw,
            "client": client, "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        heard: list[Mapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            heard.append(message)

        await self.app(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in heard[0]["headers"]}
        body = b"".join(message.get("body", b"") for message in heard[1:])
        return Answer(heard[0]["status"], told, json.loads(body))

    async def bearer(self, text: str | bytes, **how: Any) -> Answer:
        """What it answers to a bearer of this text."""
        value = text if isinstance(text, bytes) else text.encode("latin-1")
        return await self.ask(("authorization", b"Bearer " + value), **how)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate without keys."""
    made = Gate(tmp_path)
    yield made
    made.book.close()


# -- with keys --------------------------------------------------------------------------------------------------------


async def test_whoever_has_a_key_is_that_caller(gate: Gate) -> None:
    """From anywhere, under any name, from any page; all that the key says is told."""
    limits = KeyLimits(models=("org/*",), images_per_day=3)
    key, text = gate.add(limits=limits, bill_to="org", admin=True)
    for headers in ([("authorization", f"Bearer {text}")], [("authorization", f"bearer   {text} ")],
                    [("x-api-key", text)], [("authorization", "Bearer "), ("x-api-key", text)]):  # fmt: skip
        page = (("origin", "https://elsewhere.example"), ("sec-fetch-site", "cross-site"))
        answer = await gate.ask(*headers, ("host", "media.example.org"), *page, client=("203.0.113.9", 5), host=False)
        assert (answer.status, answer.body) == (200, {"key": key.id})
    told = Caller(id=key.id, name="web", limits=limits, bill_to="org", admin=True)
    assert gate.callers == [told] * 4


REFUSED: list[tuple[list[tuple[str, str | bytes]], str]] = [
    ([], "a gateway key is needed"),
    ([("authorization", "")], "a gateway key is needed"),
    ([("authorization", "Bearer")], "a gateway key is needed"),
    ([("authorization", "Bearer sk-anything")], "no key of this gateway"),
    ([("authorization", "Bearer hfm_0123456789ab_" + "A" * 43)], "no key of this gateway"),
    ([("authorization", "Basic dXNlcjpwYXNz")], "not understood"),
    ([("authorization", b"Bearer \xff\xfe\xe9")], "holds characters that no key has"),
    ([("authorization", "Bearer " + "x" * 10_000)], "too long"),
    ([("authorization", b"\x00\x01")], "not understood"),
    ([("authorization", "Bearer a"), ("authorization", "Bearer b")], "more than one key"),
    ([("x-api-key", "a"), ("x-api-key", "b")], "more than one key"),
    ([("x-api-key", b"\xe2\x80\x8b" * 5)], "holds characters that no key has"),
    ([("authorization", f"Bearer {TOKEN}")], "takes no Hugging Face tokens"),
    ([("x-api-key", TOKEN)], "takes no Hugging Face tokens"),
]


@pytest.mark.parametrize(("headers", "words"), REFUSED)
async def test_whoever_has_none_is_refused(gate: Gate, headers: list[tuple[str, str | bytes]], words: str) -> None:
    """With 401 and what to do; what was sent is not told back."""
    gate.add()
    answer = await gate.ask(*headers)
    assert (answer.status, answer.code) == (401, "invalid_api_key")
    assert words in answer.message
    assert (answer.headers["x-should-retry"], answer.headers["www-authenticate"]) == ("false", "Bearer")
    assert "sk-anything" not in answer.message
    assert TOKEN not in answer.message
    assert not gate.callers


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["authorization", "x-api-key", "host", "origin", "x-forwarded-for"]),
                          st.binary(max_size=40) | st.binary(max_size=40).map(lambda text: b"Bearer " + text)),
                max_size=4), st.booleans())  # fmt: skip
async def test_no_header_is_too_strange(gate: Gate, headers: list[tuple[str, bytes]], keyed: bool) -> None:
    """Whatever bytes stand in it, with keys or without: it is let in or refused, never a crash."""
    if keyed and not gate.book.requires_keys():
        gate.add()
    answer = await gate.ask(*headers, host=False)
    assert answer.status in ((401,) if gate.book.requires_keys() else (200, 401, 403))


async def test_a_wrong_secret_of_a_right_id_is_as_unknown_as_any(gate: Gate) -> None:
    """Not even a revoked key's state is told to whoever does not have all of its text."""
    key, text = gate.add()
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    unknown = (await gate.bearer(generate_api_key()[1])).body
    assert (await gate.bearer(wrong)).body == unknown
    gate.book.revoke_key(key.id, gate.time)
    assert (await gate.bearer(wrong)).body == unknown
    answer = await gate.bearer(text)
    assert (answer.status, answer.message) == (401, "the key 'web' was revoked")


async def test_a_key_revoked_in_the_middle_opens_nothing_more(gate: Gate, tmp_path: Path) -> None:
    """By another process, from the next request on; and without any key left, nobody comes in without one."""
    key, text = gate.add()
    assert (await gate.bearer(text)).status == 200
    command = GatewayDatabase(tmp_path / "gateway.sqlite3")
    command.revoke_key(key.id, 1.0)
    command.close()
    assert (await gate.bearer(text)).status == 401
    assert (await gate.ask()).status == 401


async def test_a_key_expires_at_its_second(gate: Gate) -> None:
    """And its owner is told since when."""
    _, text = gate.add(expires=1060.0)
    gate.time = 1059.9
    assert (await gate.bearer(text)).status == 200
    gate.time = 1060.0
    answer = await gate.bearer(text)
    assert (answer.status, answer.message) == (401, "the key 'web' expired at 1970-01-01 00:17 UTC")


async def test_secrets_are_neither_told_nor_logged(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """Not of a key that opens, nor of one that does not, nor of a token."""
    caplog.set_level(logging.DEBUG)
    gate.configure(Config(allow_caller_tokens=True))
    _, text = gate.add()
    shown = [text, generate_api_key()[1], TOKEN, "hf_bad!"]
    answers = [await gate.bearer(one) for one in shown]
    told = repr(answers) + repr(gate.callers) + caplog.text
    assert len(gate.callers) == 2
    assert not [one for one in shown if one.rpartition("_")[2] in told]


# -- own tokens -------------------------------------------------------------------------------------------------------


async def test_a_caller_s_own_token_is_taken_where_the_operator_says_so(gate: Gate) -> None:
    """With keys and without, from anywhere: its owner pays. The same token is the same caller."""
    gate.configure(Config(allow_caller_tokens=True))
    assert (await gate.bearer(TOKEN, client=("203.0.113.9", 5))).status == 200
    gate.add(limits=KeyLimits(images_per_day=0))
    assert (await gate.bearer(TOKEN)).status == 200
    first, second = gate.callers
    assert first == second
    assert first.id.startswith("hf:")
    assert len(first.id) == 15
    assert first.hf_token is not None
    assert first.hf_token.reveal() == TOKEN
    assert TOKEN not in repr(first)
    assert (first.limits, first.admin, first.bill_to) == (KeyLimits(), False, None)
    await gate.bearer(TOKEN + "x")
    assert gate.callers[-1].id != first.id
    for damaged in ("hf_", "hf_a b c d e f", "hf_abc\tdefgh"):
        assert (await gate.bearer(damaged)).status == 401


# -- without keys -----------------------------------------------------------------------------------------------------

OPEN: list[tuple[list[tuple[str, str]], tuple[str, int] | None, bool]] = [
    # headers, who asks, whether that may come in
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
    # by a name of somebody else: DNS rebinding
    ([], ("127.0.0.1", 5), False),
    ([("host", "")], ("127.0.0.1", 5), False),
    ([("host", "evil.example")], ("127.0.0.1", 5), False),
    ([("host", "127.0.0.1.evil.example:8000")], ("127.0.0.1", 5), False),
    ([("host", "localhost.evil.example")], ("127.0.0.1", 5), False),
    ([("host", "evil.example@127.0.0.1")], ("127.0.0.1", 5), False),
    ([("host", "localhost:8000"), ("host", "evil.example")], ("127.0.0.1", 5), False),
    ([("host", "0.0.0.0:8000")], ("127.0.0.1", 5), False),
    ([("host", "192.168.1.7:8000")], ("127.0.0.1", 5), False),
    # from a page of somebody else
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


@pytest.mark.parametrize(("headers", "client", "may"), OPEN)
async def test_without_keys_only_this_machine_and_no_strange_page_comes_in(
    gate: Gate, headers: list[tuple[str, str]], client: tuple[str, int] | None, may: bool
) -> None:
    """Nobody else's web page may spend the operator's money."""
    gate.configure(Config(public_url="https://gate.example.org", cors_origins=("https://page.example.org", "*")))
    answer = await gate.ask(*headers, client=client, host=False)
    assert answer.status == (200 if may else 403), answer.body
    if may:
        assert gate.callers == [Caller()]
    else:
        assert answer.code == "key_required"
        assert "hfmedia keys make" in answer.message
        assert "evil" not in answer.message


async def test_a_token_that_would_not_be_billed_is_not_passed_over(gate: Gate) -> None:
    """Whoever sends one believes that it pays."""
    answer = await gate.bearer(TOKEN)
    assert (answer.status, answer.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True), ("LocalHost", True),
     ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("", False), ("192.168.0.1", False),
     ("example.org", False), ("127.0.0.1.example.org", False), ("2130706433", False), ("0177.0.0.1", False)],
)  # fmt: skip
def test_listening_to_other_machines_needs_keys(host: str, own: bool) -> None:
    """Every address that is not surely this machine's own."""
    assert is_loopback(host) is own
    assert requires_api_keys(host) is not own


# -- how often --------------------------------------------------------------------------------------------------------


async def test_requests_a_minute_are_counted_and_told(gate: Gate) -> None:
    """As OpenAI's headers have it, on every answer; over the limit 429, with the time to wait."""
    _, text = gate.add(limits=KeyLimits(requests_per_minute=3))
    left = []
    for _ in range(3):
        answer = await gate.bearer(text)
        assert answer.status == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        left.append((answer.headers["x-ratelimit-remaining-requests"], answer.headers["x-ratelimit-reset-requests"]))
    assert left == [("2", "20s"), ("1", "40s"), ("0", "1m0s")]
    answer = await gate.bearer(text)
    assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("20", "true")
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert answer.message == "the key 'web' may make 3 requests a minute; the next one in 20.0 s"
    gate.time += 20
    assert (await gate.bearer(text)).status == 200
    assert (await gate.bearer(text)).status == 429
    other, other_text = gate.add("other")
    answer = await gate.bearer(other_text)
    assert answer.body == {"key": other.id}
    assert "x-ratelimit-limit-requests" not in answer.headers


@given(st.integers(1, 100), st.lists(st.floats(0, 30), max_size=200))
def test_no_key_makes_more_than_its_bucket_gives(limit: int, waits: list[float]) -> None:
    """Over any time: a full bucket, and what has flowed in since; and a wait that was told is long enough."""
    now = [0.0]
    pace = TokenBucketLimiter(lambda: now[0])
    granted = 0
    for wait in waits:
        now[0] += wait
        passed = pace.acquire("k", limit)
        granted += passed.allowed
        assert granted <= limit + now[0] * limit / 60 + 1e-6
        assert 0 <= passed.remaining <= limit
        if not passed.allowed:
            now[0] += passed.retry_after + 1e-6
            assert pace.acquire("k", limit).allowed
            granted += 1


def test_a_lower_limit_holds_at_once() -> None:
    """A bucket never holds more than the limit of now."""
    now = [0.0]
    pace = TokenBucketLimiter(lambda: now[0])
    assert pace.acquire("k", 100).remaining == 99
    assert pace.acquire("k", 2).remaining == 1
    assert pace.acquire("k", 2).allowed
    assert not pace.acquire("k", 2).allowed


def test_quiet_keys_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that is full says nothing."""
    monkeypatch.setattr("hfmedia.server.middleware.rate_limit.MOST_BUCKETS", 10)
    now = [0.0]
    pace = TokenBucketLimiter(lambda: now[0])
    for number in range(100):
        now[0] += 10
        pace.acquire(str(number), 5)
        assert len(pace._buckets) <= 11


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.25, "250ms"), (12, "12s"), (60, "1m0s"), (3599.5, "60m0s")]
)
def test_a_span_is_told_as_openai_does(seconds: float, text: str) -> None:
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


@pytest.mark.parametrize(("patterns", "model", "may"), MODELS)
def test_a_key_may_use_the_models_that_fit_its_patterns(patterns: tuple[str, ...], model: str, may: bool) -> None:
    """By the model's id, whoever provides it."""
    caller = Caller(id="k", name="web", limits=KeyLimits(models=patterns))
    if may:
        require_model_access(caller, model)
        return
    with pytest.raises(ApiError) as caught:
        require_model_access(caller, model)
    assert (caught.value.status, caught.value.code, caught.value.param) == (403, "model_not_allowed", "model")
    assert patterns[0] in caught.value.message


# -- the document -----------------------------------------------------------------------------------------------------


def test_the_openapi_document_tells_of_the_key(gate: Gate) -> None:
    """As bearer authentication, of every route behind the gate."""
    document = gate.app.openapi()
    ((name, scheme),) = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert document["paths"]["/v1/thing"]["get"]["security"] == [{name: []}]
