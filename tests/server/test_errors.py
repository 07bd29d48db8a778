"""Errors as HTTP responses: a complete table, and no invitation to submit twice."""

from __future__ import annotations

import inspect

import pytest

from hfmedia.core import errors as core_errors
from hfmedia.core.error_messages import build_error
from hfmedia.core.errors import HfmediaError
from hfmedia.core.protocol import Failure, Route
from hfmedia.engine.runner import IN_DOUBT_HINT
from hfmedia.server.errors import CREATE_ERRORS, ERROR_MAP, ERROR_RESPONSES, ApiError, mapping_for, to_api_error
from hfmedia.server.jobs import errors as job_errors

EVERY = [
    error_class
    for module in (core_errors, job_errors)
    for _, error_class in inspect.getmembers(module, inspect.isclass)
    if issubclass(error_class, HfmediaError) and error_class.__module__ == module.__name__
]
EXAMPLES: dict[type[HfmediaError], HfmediaError] = {
    job_errors.ModelNotAllowedError: job_errors.ModelNotAllowedError("web", "a/b", ("c/*",)),
    job_errors.JobNotFoundError: job_errors.JobNotFoundError("j1"),
    job_errors.TooManyJobsError: job_errors.TooManyJobsError(3, 3),
    job_errors.ShuttingDownError: job_errors.ShuttingDownError(),
    job_errors.IdempotencyRaceError: job_errors.IdempotencyRaceError(),
    job_errors.GenerationTimeoutError: job_errors.GenerationTimeoutError(["j1", "j2"], 30),
}
RETRIED_BY_SDKS = {408, 409, 429, 500, 501, 502, 503, 504, 507, 529}
NOTHING_BILLED = {  # the error table marks each of these as retryable
    "ProviderBusyError",
    "ProviderUnreachableError",
    "HubError",
    "TooManyJobsError",
    "ShuttingDownError",
    "IdempotencyRaceError",
}


def make_error(error_class: type[HfmediaError]) -> HfmediaError:
    """Return an instance of an error class."""
    return EXAMPLES.get(error_class) or error_class("x")


@pytest.mark.parametrize("error_class", EVERY, ids=lambda error_class: error_class.__name__)
def test_every_error_has_a_row_of_its_own(error_class: type[HfmediaError]) -> None:
    """And a status that the routes document."""
    assert any(row is error_class for row, _ in ERROR_MAP)
    mapping = mapping_for(make_error(error_class))
    own_row = next(row for row_class, row in ERROR_MAP if row_class is error_class)
    assert mapping is own_row, "a more general row precedes it"
    assert mapping.status in CREATE_ERRORS
    assert mapping.status in ERROR_RESPONSES


@pytest.mark.parametrize("error_class", EVERY, ids=lambda error_class: error_class.__name__)
def test_a_client_retries_automatically_only_when_nothing_was_billed(error_class: type[HfmediaError]) -> None:
    """Every status that clients retry has an explicit header."""
    error = make_error(error_class)
    headers = to_api_error(error).response_headers()
    if mapping_for(error).status in RETRIED_BY_SDKS:
        assert headers["x-should-retry"] == ("true" if error_class.__name__ in NOTHING_BILLED else "false")
    assert to_api_error(error, billable=True).response_headers()["x-should-retry"] == "false"


def test_an_error_has_openais_format_and_the_job() -> None:
    """All four of its members, and also job, provider and attempts; no secret in any."""
    error = core_errors.GenerationFailedError(
        "it broke (Bearer hf_abcdefghijklmnopqrstuvwxyz)",
        job_id="j1",
        provider="fal-ai",
        attempts=["a: hf_abcdefghijklmnopqrstuvwxyz"],
    )
    body = to_api_error(error).body()["error"]
    assert body["type"] == "server_error"
    assert (body["code"], body["param"]) == ("provider_failed", None)
    assert (body["job_id"], body["provider"]) == ("j1", "fal-ai")
    assert "hf_abc" not in str(body)


def test_an_error_in_doubt_says_how_to_resolve_it_over_http() -> None:
    """Not on the command line, which a caller of the gateway may not have."""
    route = Route(
        provider="fal-ai", model="a/b", provider_id="a/b", task="text-to-image", base_url="https://x.example",
        credential="FAL_KEY", via="direct",
    )  # fmt: skip
    submitted = build_error(Failure(kind="no_response", message="no bytes"), route, job_id="j1", attempts=())
    resumed = core_errors.InDoubtError(f"job j1 is in doubt: no bytes. {IN_DOUBT_HINT}", job_id="j1")
    for error in (submitted, resumed):
        message = to_api_error(error).message
        assert "POST /v1/jobs/j1/resolve" in message
        assert "no bytes" in message
        assert "hfmedia jobs" not in message
        assert message.count("dashboard") == 1
        assert ".." not in message


def test_a_rejected_token_of_the_caller_is_the_callers_error() -> None:
    """401 with it, 503 when it is the operator's."""
    error = core_errors.AuthenticationError("refused", status=401)
    assert to_api_error(error).status == 503
    assert to_api_error(error, uses_caller_token=True).status == 401


def test_retry_after_is_in_whole_seconds() -> None:
    """At least one, since zero would be ignored."""
    headers = ApiError(429, "x", retry=True, retry_after=0.2).response_headers()
    assert headers == {"x-should-retry": "true", "retry-after": "1"}


def test_a_timeout_names_all_jobs() -> None:
    """So that the caller can poll each of them."""
    error = to_api_error(job_errors.GenerationTimeoutError(["j1", "j2"], 30)).body()["error"]
    assert (error["job_id"], error["job_ids"], error["code"]) == ("j1", ["j1", "j2"], "out_of_time")


def test_a_model_that_a_key_does_not_allow_names_the_field() -> None:
    """As OpenAI does for an invalid parameter."""
    api_error = to_api_error(job_errors.ModelNotAllowedError("web", "org/b:fal-ai", ("org/a",)))
    assert (api_error.status, api_error.code, api_error.param) == (403, "model_not_allowed", "model")
    assert api_error.message == "the key 'web' does not allow the model 'org/b'; it allows org/a"
