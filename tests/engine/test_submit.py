"""Submission: which providers are tried, how often, and what is recorded before. Nothing is sent twice."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from hfmedia.core.errors import (
    AuthenticationError,
    ContentPolicyError,
    GenerationFailedError,
    InDoubtError,
    InsufficientCreditError,
    InvalidRequestError,
    InvalidResponseError,
    PermissionDeniedError,
    ProviderBusyError,
    ProviderServerError,
    ProviderUnreachableError,
    RequestNotSentError,
    RequestRejectedError,
    ResponseLostError,
)
from hfmedia.core.failure_policy import SUBMIT_POLICIES
from hfmedia.core.protocol import JobHandle, Pending
from hfmedia.core.retry import SUBMIT_RETRIES
from hfmedia.engine import FailedOver, JobFailed, MediaReady, Retrying

from .conftest import DONE, REQUEST, RUNNING, EngineHarness, ScriptedProviders, expect_failed, route

R = SUBMIT_RETRIES

# failure kind at the first provider, via -> submissions to each of two providers, and the state of the job
FAILURES = [
    ("not_sent", "router", R + 1, 1, "stored"),
    ("no_response", "router", 1, 0, "in_doubt"),
    ("invalid_response", "router", 1, 0, "failed"),
    ("rejected", "router", 1, 1, "stored"),
    ("content_policy", "router", 1, 0, "failed"),
    ("authentication", "router", 1, 0, "failed"),
    ("insufficient_credit", "router", 1, 1, "stored"),
    ("permission_denied", "router", 1, 1, "stored"),
    ("rate_limited", "router", 1, 1, "stored"),
    ("server_error", "router", 2, 1, "stored"),
    ("gateway_error", "router", 2, 1, "stored"),
    ("generation_failed", "router", 1, 0, "failed"),
    ("expired", "router", 1, 1, "stored"),
    ("gateway_error", "direct", 1, 0, "in_doubt"),
    ("no_response", "direct", 1, 0, "in_doubt"),
    ("server_error", "direct", 1, 1, "stored"),
    ("rate_limited", "direct", 1, 1, "stored"),
]


@pytest.mark.parametrize(("kind", "via", "first", "second", "state"), FAILURES)
async def test_each_failure_kind_tries_only_the_providers_it_may(
    scene: EngineHarness, script: ScriptedProviders, kind: str, via: str, first: int, second: int, state: str
) -> None:
    """The table of what an answer means, done: one row, one run over two providers with one credential."""
    script.script("one", expect_failed(kind))
    script.script("two", DONE)
    await scene.run(route("one", via=via), route("two", via=via))
    assert (script.call_count("one"), script.call_count("two")) == (first, second)
    assert (await scene.job()).state == state


def test_every_failure_kind_is_in_the_table() -> None:
    """A new kind of failure needs a row above."""
    assert {kind for kind, via, *_ in FAILURES if via == "router"} == set(SUBMIT_POLICIES)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("not_sent", ProviderUnreachableError),
        ("no_response", InDoubtError),
        ("invalid_response", InvalidResponseError),
        ("rejected", RequestRejectedError),
        ("content_policy", ContentPolicyError),
        ("authentication", AuthenticationError),
        ("insufficient_credit", InsufficientCreditError),
        ("permission_denied", PermissionDeniedError),
        ("rate_limited", ProviderBusyError),
        ("server_error", ProviderServerError),
        ("generation_failed", GenerationFailedError),
    ],
)
async def test_the_last_failure_is_raised_typed_with_job_and_provider(
    scene: EngineHarness, script: ScriptedProviders, kind: str, error: type[Exception]
) -> None:
    """Where no provider is left, the error carries all that a person needs to act."""
    script.script("one", expect_failed(kind, status=418, code="teapot", raw=b"raw"))
    failed = (await scene.run(route("one")))[-1]
    assert isinstance(failed, JobFailed)
    assert type(failed.error) is error
    assert (failed.error.provider, failed.error.job_id, failed.error.model) == ("one", "job1", "acme/kite")
    assert failed.error.status == 418
    assert "one" in str(failed.error)
    assert "no luck" in str(failed.error)
    if isinstance(failed.error, InvalidResponseError):
        assert failed.error.raw == b"raw"


async def test_the_last_error_names_every_provider_that_rejected(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """Each message names its provider."""
    script.script("one", expect_failed("insufficient_credit", status=402))
    script.script("two", expect_failed("rejected", status=400))
    events = await scene.run(route("one"), route("two"))
    error = events[-1].error  # type: ignore[attr-defined]
    assert isinstance(error, RequestRejectedError)
    assert error.attempts == ("one reports insufficient credit (HTTP 402): no luck",)
    assert "HTTP 402" in str(error)
    assert "HTTP 400" in str(error)
    assert [(e.previous_provider, e.provider) for e in events if isinstance(e, FailedOver)] == [("one", "two")]


async def test_a_refused_credential_is_not_shown_again_but_another_one_is(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """401 moves on only to a route with a credential of its own."""
    for name in ("one", "two"):
        script.script(name, expect_failed("authentication", status=401))
    script.script("three", DONE)
    await scene.run(route("one"), route("two"), route("three", credential="FAL_KEY"))
    assert [script.call_count(name) for name in ("one", "two", "three")] == [1, 0, 1]


async def test_sending_is_written_before_the_post_and_the_handle_before_the_first_poll(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """The order of writes that makes a job survive: intent, POST, handle, poll, result, file."""
    script.script("one", RUNNING, Pending(handle=JobHandle("p1", "result"), poll_after=0), DONE)
    await scene.run(route("one"))
    assert script.log == [
        "write created",
        "write routed",
        "write sending",
        "submit one",
        "write accepted",
        "check one",
        "write accepted",
        "check one",
        "write made",
        "keep",
        "describe",
        "write stored",
    ]


async def test_a_busy_only_provider_is_retried_after_the_time_it_asked_for(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """Retry-After is honoured at the only provider there is."""
    script.script("one", expect_failed("rate_limited", status=429, retry_after=7.0), DONE)
    events = await scene.run(route("one"))
    assert [event.delay for event in events if isinstance(event, Retrying)] == [7.0]
    assert script.slept == [7.0]
    assert isinstance(events[-1], MediaReady)


async def test_a_wait_beyond_the_deadline_is_not_started(scene: EngineHarness, script: ScriptedProviders) -> None:
    """When it would only be ready after the deadline, the error comes now, not then."""
    script.script("one", expect_failed("rate_limited", status=429, retry_after=900.0))
    events = await scene.run(route("one"), timeout=30)
    assert isinstance(events[-1].error, ProviderBusyError)  # type: ignore[attr-defined]
    assert script.slept == []


@pytest.mark.parametrize(
    ("raised", "state", "posts"),
    [(RequestNotSentError("no route"), "failed", R + 1), (ResponseLostError("reset"), "in_doubt", 1)],
)
async def test_what_the_transport_says_decides(
    scene: EngineHarness, script: ScriptedProviders, raised: Exception, state: str, posts: int
) -> None:
    """Certainly not sent is tried again, bounded; sent and unanswered never is."""
    script.script("one", raised)
    await scene.run(route("one"))
    assert (script.call_count("one"), (await scene.job()).state) == (posts, state)


async def test_a_provider_that_failed_rests_and_one_that_works_does_not(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """The next job does not knock first where the last one was turned away."""
    script.script("one", expect_failed("insufficient_credit"))
    script.script("two", DONE)
    await scene.run(route("one"), route("two"))
    assert set(script.cooldowns) == {"one"}


async def test_a_request_that_no_provider_accepts_is_the_callers_error(
    scene: EngineHarness, script: ScriptedProviders
) -> None:
    """Nothing is sent, and the error is about the request, not about a provider's refusal."""
    request = REQUEST.__class__(task="text-to-video", model="acme/kite", prompt="a kite")
    events = await scene.run(route("one"), route("two"), request=request)
    assert isinstance(events[-1].error, InvalidRequestError)  # type: ignore[attr-defined]
    assert events[-1].error.exit_code == 2  # type: ignore[attr-defined]
    assert not [line for line in script.log if line.startswith("submit")]
    assert (await scene.job()).state == "failed"


KINDS = some.sampled_from(sorted(SUBMIT_POLICIES))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=some.lists(KINDS, min_size=1, max_size=6), second=some.lists(KINDS, min_size=1, max_size=6))
async def test_whatever_happens_nothing_is_sent_after_it_may_have_been_accepted(
    first: list[str], second: list[str]
) -> None:
    """Over every sequence of failures: a submission that is in doubt or accepted is the last one of its job."""
    script = ScriptedProviders()
    scene = EngineHarness(script)
    script.script("one", *map(expect_failed, first))
    script.script("two", *map(expect_failed, second))
    await scene.run(route("one", via="direct"), route("two"))
    writes = [line for line in script.log if line.startswith("write")]
    last = max(index for index, line in enumerate(writes) if line == "write sending")
    for outcome in ("write doubted", "write accepted", "write made"):
        assert outcome not in writes[:last]
    assert script.call_count("one") + script.call_count("two") == writes.count("write sending")
    assert (await scene.job()).state in ("failed", "in_doubt")
