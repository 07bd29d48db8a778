"""What each error is over HTTP: a table without gaps, and never an invitation to buy twice."""

from __future__ import annotations

import inspect

import pytest

from hfmedia.core import errors as ours
from hfmedia.core.errors import HfmediaError
from hfmedia.server.errors import CREATE_ERRORS, ERROR_MAP, ERROR_RESPONSES, ApiError, mapping_for, to_api_error

EVERY = [kind for _, kind in inspect.getmembers(ours, inspect.isclass) if issubclass(kind, HfmediaError)]
RETRIED_BY_SDKS = {408, 409, 429, 500, 501, 502, 503, 504, 507, 529}
NOTHING_BOUGHT = {"BusyError", "UnreachableError", "HubError"}  # the table of answers says so of each


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_has_a_row_of_its_own(kind: type[HfmediaError]) -> None:
    """And a status that the routes document."""
    assert any(row is kind for row, _ in ERROR_MAP)
    meaning = mapping_for(kind("x"))
    assert meaning is next(found for row, found in ERROR_MAP if row is kind), "a more general row stands before it"
    assert meaning.status in CREATE_ERRORS
    assert meaning.status in ERROR_RESPONSES


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_a_client_tries_again_by_itself_only_when_nothing_was_bought(kind: type[HfmediaError]) -> None:
    """Statuses that clients retry are told explicitly whether they may be."""
    headers = to_api_error(kind("x")).response_headers()
    if mapping_for(kind("x")).status in RETRIED_BY_SDKS:
        assert headers["x-should-retry"] == ("true" if kind.__name__ in NOTHING_BOUGHT else "false")
    assert to_api_error(kind("x"), billable=True).response_headers()["x-should-retry"] == "false"


def test_an_error_is_told_in_openais_shape_with_what_we_know() -> None:
    """All four of its members, and beside them job, provider and attempts; no secret in any."""
    error = ours.GenerationFailedError(
        "it broke (Bearer hf_abcdefghijklmnopqrstuvwxyz)",
        job_id="j1",
        provider="fal-ai",
        attempts=["a: hf_abcdefghijklmnopqrstuvwxyz"],
    )
    told = to_api_error(error).body()["error"]
    assert told["type"] == "server_error"
    assert (told["code"], told["param"]) == ("provider_failed", None)
    assert (told["job_id"], told["provider"]) == ("j1", "fal-ai")
    assert "hf_abc" not in str(told)


def test_a_doubt_tells_how_to_settle_it_here() -> None:
    """Not on the command line, which whoever asks a gateway may not have."""
    error = ours.InDoubtError("job j1 is in doubt: lost. Look at the provider. hfmedia jobs resolve", job_id="j1")
    words = to_api_error(error).message
    assert "POST /v1/jobs/j1/resolve" in words
    assert "hfmedia jobs" not in words


def test_a_callers_own_token_that_is_refused_is_the_callers_matter() -> None:
    """401 with it, 503 when it is the operator's."""
    error = ours.AuthenticationError("refused", status=401)
    assert to_api_error(error).status == 503
    assert to_api_error(error, uses_caller_token=True).status == 401


def test_waiting_is_told_in_whole_seconds() -> None:
    """At least one, for zero would be ignored."""
    headers = ApiError(429, "x", retry=True, retry_after=0.2).response_headers()
    assert headers == {"x-should-retry": "true", "retry-after": "1"}
