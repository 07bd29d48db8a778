"""Requests to the Hub: retries, rate limits, and parsing of headers."""

from __future__ import annotations

import random

import pytest

from hfmedia.catalog import hub_client
from hfmedia.catalog.hub_client import next_link, parse_rate_limit, require_origin
from hfmedia.core.errors import HubError
from hfmedia.core.retry import backoff

from ..support.fake_hub import FakeHub, ScriptedResponse
from .conftest import TOKEN, ManualClock, Open


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
async def test_a_temporary_failure_is_retried(opened: Open, hub: FakeHub, status: int) -> None:
    """A GET is free, so after two failures there is a third attempt."""
    hub.scripted_responses = [ScriptedResponse(status), ScriptedResponse(status)]
    assert (await opened().model("acme/kite")).id == "acme/kite"
    assert len(hub.requests) == 3


async def test_a_permanent_failure_is_an_error(opened: Open, hub: FakeHub) -> None:
    """After a few attempts, and retryable later."""
    hub.scripted_responses = [ScriptedResponse(503, {"X-Error-Message": "Down for maintenance"})] * 20
    with pytest.raises(HubError, match=r"Down for maintenance \(HTTP 503\)") as caught:
        await opened().model("acme/kite")
    assert len(hub.requests) == 4
    assert caught.value.retryable
    assert caught.value.status == 503


async def test_retries_wait_with_the_backoff_of_every_retry(
    opened: Open, hub: FakeHub, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the attempts, never after the last."""
    monkeypatch.setattr(hub_client, "backoff", backoff)
    monkeypatch.setattr(random, "random", lambda: 0.5)
    hub.scripted_responses = [ScriptedResponse(503)] * 20
    with pytest.raises(HubError):
        await opened().model("acme/kite")
    assert clock.slept == [0.5, 1.0, 2.0]


async def test_retries_end_when_their_time_is_up(opened: Open, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with attempts left."""
    monkeypatch.setattr(hub_client, "TOTAL_TIMEOUT", 0.0)
    hub.scripted_responses = [ScriptedResponse(503)] * 20
    with pytest.raises(HubError):
        await opened().model("acme/kite")
    assert len(hub.requests) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
async def test_a_plain_no_is_not_asked_again(opened: Open, hub: FakeHub, status: int) -> None:
    """It would be the same answer."""
    hub.scripted_responses = [ScriptedResponse(status)]
    with pytest.raises(Exception, match=r"HTTP|was not found|has no access"):
        await opened().model("acme/kite")
    assert len(hub.requests) == 1


async def test_an_empty_allowance_is_waited_for(opened: Open, hub: FakeHub, clock: ManualClock) -> None:
    """``r=0`` on a good answer: the next question waits for the end of the window."""
    hub.headers = {"RateLimit": '"api";r=0;t=42', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    catalog = opened()
    await catalog.model("acme/kite")
    hub.headers = {"RateLimit": '"api";r=499;t=300'}
    await catalog.model("acme/swan")
    await catalog.model("acme/sleeper")
    assert clock.slept == [42]


async def test_an_allowance_that_is_empty_for_minutes_is_an_error_at_once(
    opened: Open, hub: FakeHub, clock: ManualClock
) -> None:
    """Four minutes are too long to wait; a token would help, and the error says so."""
    hub.headers = {"RateLimit": '"api";r=0;t=240'}
    catalog = opened()
    await catalog.model("acme/kite")
    with pytest.raises(HubError, match=r"used up for another 240 s; with a token"):
        await catalog.model("acme/swan")
    assert (len(hub.requests), clock.slept) == (1, [])


async def test_a_token_is_not_recommended_to_who_has_one(opened: Open, hub: FakeHub) -> None:
    """Advice that was followed already is no advice."""
    hub.headers = {"RateLimit": '"api";r=0;t=240'}
    catalog = opened(token=TOKEN)
    await catalog.model("acme/kite")
    with pytest.raises(HubError, match=r"used up for another 240 s$"):
        await catalog.model("acme/swan")


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({"Retry-After": "7"}, [7.0]),
        ({"RateLimit": '"api";r=0;t=9'}, [9.0]),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:31 GMT"}, [11.0]),
        ({"Retry-After": "soon"}, []),
        ({}, []),
    ],
)
async def test_429_is_asked_again_when_the_hub_says(
    opened: Open, hub: FakeHub, clock: ManualClock, headers: dict[str, str], waits: list[float]
) -> None:
    """In seconds, as a date, as the end of its window, or soon."""
    hub.scripted_responses = [ScriptedResponse(429, headers)]
    await opened().model("acme/kite")
    assert clock.slept == waits
    assert len(hub.requests) == 2


LINKS = [
    ("", None),
    ('<https://h/2>; rel="next"', "https://h/2"),
    ("<https://h/2>; rel=next", "https://h/2"),
    ("<https://h/2>;rel=NEXT", "https://h/2"),
    ('<https://h/0>; rel="prev", <https://h/2>; rel="next"', "https://h/2"),
    ('<https://h/2?a=1,2;b>; title="x, y"; rel="next"', "https://h/2?a=1,2;b"),
    ('<https://h/2>; rel="last next"', "https://h/2"),
    ('<https://h/2>; rel="nextish"', None),
    ("<https://h/2>; rel=nextish", None),
    ('<https://h/2>; title="rel=next"', None),
    ("https://h/2; rel=next", None),
    ("<>; rel=next", None),
    ("<" * 10_000, None),
    ("<x>" + "; a" * 10_000, None),
]


@pytest.mark.parametrize(("header", "url"), LINKS)
def test_the_next_page_is_read_out_of_a_link_header(header: str, url: str | None) -> None:
    """In all the spellings of RFC 8288 that are met, and never out of something else."""
    assert next_link(header) == url


LIMITS = [
    ("", None),
    ('"api";r=499;t=120', (499, 120)),
    ('"api"; r=0; t=5', (0, 5)),
    ('"pages";r=10;t=60, "api";r=2;t=20', (2, 20)),
    ('"api";r=0;t=5,"other";r=0;t=50', (0, 50)),
    ('"api";r=1', None),
    ("banana", None),
    ('"api";r=-1;t=5', None),
]


@pytest.mark.parametrize(("header", "limit"), LIMITS)
def test_a_rate_limit_is_read(header: str, limit: tuple[int, int] | None) -> None:
    """Requests left, and seconds until there are more; of several the tightest."""
    assert parse_rate_limit(header) == limit


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("https://huggingface.co", "https://huggingface.co/api"),
        ("https://huggingface.co", "HTTPS://HuggingFace.co:443/api"),
        ("https://HuggingFace.co:443", "https://huggingface.co/api"),
        ("http://[::1]:80", "http://[::1]/api"),
    ],
)
def test_one_origin_can_be_spelled_in_several_ways(endpoint: str, url: str) -> None:
    """Case and default ports do not matter; the result is spelled like the endpoint."""
    assert require_origin(endpoint, url) == f"{endpoint}/api"


@pytest.mark.parametrize(
    "url",
    [
        "https://hub.example/api/../../etc",
        "https://hub.example/api/%2e%2e/x",
        "https://hub.example\\@evil.example/",
        "https://hub.example.evil.example/",
        "https://hub.example:8443/",
        "https://user@hub.example/",
        "https://hub.example:banana/",
        "http://hub.example/",
        "ftp://hub.example/",
        "/api",
    ],
)
def test_nothing_but_the_own_origin_counts_as_own(url: str) -> None:
    """Whatever tricks the spelling plays."""
    with pytest.raises(HubError):
        require_origin("https://hub.example", url)
