"""Error messages: what happened, at which provider, what is billed, and what to do next."""

from __future__ import annotations

from typing import Literal, get_args

import pytest
from msgspec import structs

from hfmedia.core.error_messages import build_error, describe_failure
from hfmedia.core.errors import AuthenticationError, InDoubtError, InvalidResponseError, ProviderServerError
from hfmedia.core.failure_policy import POLL_ACTIONS, submit_policy
from hfmedia.core.protocol import Failure, FailureKind, Route

KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
Via = Literal["router", "direct"]
ROUTER = Route(provider="fal-ai", provider_id="x", model="a/b", task="text-to-image",
               base_url="https://router.huggingface.co/fal-ai", credential="HF_TOKEN")  # fmt: skip
DIRECT = structs.replace(ROUTER, via="direct", base_url="https://fal.run", credential="FAL_KEY")


@pytest.mark.parametrize(
    ("failure", "route", "text"),
    [
        (Failure(kind="server_error", message="", status=500), ROUTER,
         "fal-ai: server error (HTTP 500); nothing was accepted"),
        (Failure(kind="rejected", message=" prompt is\nmissing. ", status=422), ROUTER,
         "fal-ai rejected the request (HTTP 422): prompt is missing"),
        (Failure(kind="authentication", message="", status=401), ROUTER,
         "Hugging Face rejected HF_TOKEN (HTTP 401)"),
        (Failure(kind="authentication", message="no such key", status=401), DIRECT,
         "fal-ai rejected FAL_KEY (HTTP 401): no such key"),
        (Failure(kind="not_sent", message="connection refused"), ROUTER,
         "fal-ai could not be reached: connection refused; nothing was sent"),
        (Failure(kind="gateway_error", message="", status=504), ROUTER,
         "fal-ai: gateway error (HTTP 504); nothing was accepted"),
        (Failure(kind="gateway_error", message="", status=504), DIRECT,
         "fal-ai: gateway error (HTTP 504); it may or may not have been accepted and billed"),
    ],
)  # fmt: skip
def test_a_failure_is_described_in_one_sentence(failure: Failure, route: Route, text: str) -> None:
    """On a route through the router, Hugging Face checks the credential, not the provider."""
    assert describe_failure(failure, route) == text


@pytest.mark.parametrize("via", get_args(Via))
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_promises_no_more_than_the_policy(kind: FailureKind, via: Via) -> None:
    """Only a certain rejection says that nothing was sent or accepted; an unknown outcome says so."""
    text = describe_failure(Failure(kind=kind, message="m", status=500), structs.replace(ROUTER, via=via))
    outcome = submit_policy(kind, via=via).outcome
    if "nothing was" in text:
        assert outcome == "rejected"
    assert ("may or may not have been accepted" in text) == (outcome == "in_doubt")


@pytest.mark.parametrize("route", [ROUTER, DIRECT], ids=["router", "direct"])
@pytest.mark.parametrize("polling", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_what_to_do_next_and_its_summary_omits_the_text_of_the_provider(
    kind: FailureKind, polling: bool, route: Route
) -> None:
    """The provider's text may quote the prompt, so the summary for other people leaves it out."""
    failure = Failure(kind=kind, message="the prompt 'a red {fox}' is bad", status=418)
    error = build_error(failure, route, job_id="j1", polling=polling)
    assert error.message.startswith(describe_failure(failure, route, polling=polling) + ". ")
    assert "a red {fox}" in error.message
    assert error.message.endswith((".", "`.", "settings/tokens."))
    assert ("hfmedia jobs resume j1" in error.message) == polling
    assert error.summary is not None
    assert "fox" not in error.summary
    assert "418" in error.summary
    assert "{" not in error.summary
    assert (error.provider, error.model, error.job_id, error.status) == ("fal-ai", "a/b", "j1", 418)


def test_a_job_in_doubt_is_never_resent_automatically() -> None:
    """The message says so, with the command that resolves it."""
    error = build_error(Failure(kind="no_response", message="the connection was lost"), ROUTER, job_id="j1")
    assert isinstance(error, InDoubtError)
    assert "never resent automatically" in error.message
    assert "hfmedia jobs resolve j1 --resend" in error.message
    assert not error.retryable


def test_a_failed_poll_is_retryable_and_a_response_is_retained() -> None:
    """The job is still running; a response that was paid for can still be recovered."""
    assert build_error(Failure(kind="authentication", message=""), ROUTER, job_id="j1", polling=True).retryable
    error = build_error(Failure(kind="invalid_response", message="", raw=b"x" * 100_000), ROUTER, job_id="j1")
    assert isinstance(error, InvalidResponseError)
    assert error.raw == b"x" * 65_536


def test_earlier_attempts_follow_the_message() -> None:
    """One line each."""
    failure = Failure(kind="server_error", message="", status=500)
    error = build_error(failure, ROUTER, job_id="j1", attempts=["nscale is busy"])
    assert isinstance(error, ProviderServerError)
    assert str(error).endswith("\n  before that, nscale is busy")


def test_a_direct_key_is_checked_with_its_provider() -> None:
    """A Hugging Face token would not help there."""
    error = build_error(Failure(kind="authentication", message="", status=401), DIRECT, job_id="j1")
    assert isinstance(error, AuthenticationError)
    assert "FAL_KEY" in error.message
    assert "huggingface.co" not in error.message


def test_every_failure_of_a_poll_has_a_row() -> None:
    """All kinds can occur while a job runs."""
    assert set(POLL_ACTIONS) == set(KINDS)
