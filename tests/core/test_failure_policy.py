"""What an answer means: the promise, written here a second time as a table, held against the code's."""

from __future__ import annotations

from typing import Literal, get_args

import pytest

from hfmedia.core.error_messages import DESCRIPTIONS, HINTS
from hfmedia.core.errors import HfmediaError, InDoubtError
from hfmedia.core.failure_policy import (
    DIRECT_OVERRIDES,
    ERROR_CLASSES,
    POLL_ACTIONS,
    SUBMIT_POLICIES,
    SubmitPolicy,
    classify_status,
    submit_policy,
)
from hfmedia.core.protocol import FailureKind

KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
Via = Literal["router", "direct"]
VIAS: tuple[Via, ...] = ("router", "direct")

# what was seen of a submission: kind, way, fate, the same provider again, the next provider
PROMISES: list[tuple[FailureKind, Via | None, str, str, str]] = [
    ("not_sent", None, "rejected", "bounded", "yes"),  # could not connect: not sent
    ("no_response", None, "in_doubt", "no", "no"),  # sent, no complete answer
    ("invalid_response", None, "failed", "no", "no"),  # a 2xx that cannot be read: accepted and billed
    ("rejected", None, "rejected", "no", "yes"),  # 400, 404, 422
    ("content_policy", None, "rejected", "no", "no"),  # refused on purpose
    ("authentication", None, "rejected", "no", "other-credential"),  # 401
    ("insufficient_credit", None, "rejected", "no", "yes"),  # 402 and its disguises
    ("permission_denied", None, "rejected", "no", "yes"),  # 403
    ("rate_limited", None, "rejected", "bounded", "yes"),  # 408, 425, 429
    ("server_error", "router", "rejected", "once", "yes"),  # 5xx
    (
        "server_error",
        "direct",
        "rejected",
        "no",
        "yes",
    ),  # a provider that says itself that it failed is not asked again
    ("gateway_error", "router", "rejected", "once", "yes"),  # 502, 504: the router bills 2xx and 3xx alone
    ("gateway_error", "direct", "in_doubt", "no", "no"),  # 502, 504 of a provider's own front
    ("generation_failed", None, "failed", "no", "no"),  # accepted, then failed
    ("expired", None, "rejected", "no", "yes"),  # 410: nothing there to accept anything
]


def promised(kind: FailureKind, via: Via) -> tuple[str, str, str]:
    """The row of the table for this kind on this way."""
    (row,) = [row[2:] for row in PROMISES if row[0] == kind and row[1] in (None, via)]
    return row


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_submission_means_what_was_promised(kind: FailureKind, via: Via) -> None:
    """Whether it may be bought again, and who may be asked next."""
    verdict = submit_policy(kind, via=via)
    assert (verdict.outcome, verdict.retry, verdict.failover) == promised(kind, via)


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_may_have_been_accepted_is_never_sent_again(kind: FailureKind, via: Via) -> None:
    """The rule behind every row: a doubt and an accepted job end the asking, here and elsewhere."""
    verdict = submit_policy(kind, via=via)
    if verdict.outcome != "rejected":
        assert verdict == SubmitPolicy(verdict.outcome)


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_rest_is_for_providers_that_another_job_should_not_knock_at(kind: FailureKind, via: Via) -> None:
    """A word on this request or this credential is no reason to rest; trouble with the provider itself is."""
    verdict = submit_policy(kind, via=via)
    assert 0 <= verdict.cooldown <= 600
    troubled = kind in ("not_sent", "insufficient_credit", "rate_limited", "server_error") or (
        kind == "gateway_error" and via == "router"
    )
    assert (verdict.cooldown > 0) == troubled


@pytest.mark.parametrize(
    "table",
    [SUBMIT_POLICIES, POLL_ACTIONS, ERROR_CLASSES, DESCRIPTIONS, HINTS],
    ids=["SUBMIT_POLICIES", "POLL_ACTIONS", "ERROR_CLASSES", "DESCRIPTIONS", "HINTS"],
)
def test_every_kind_has_a_row_in_every_table(table: dict[FailureKind, object]) -> None:
    """And no table knows a kind that does not exist."""
    assert set(table) == set(KINDS)


def test_only_ways_that_differ_have_a_row_of_their_own() -> None:
    """A row in DIRECT that says the same as SUBMITTED would be noise."""
    assert set(DIRECT_OVERRIDES) < set(KINDS)
    assert all(DIRECT_OVERRIDES[kind] != SUBMIT_POLICIES[kind] for kind in DIRECT_OVERRIDES)


# kind: what trouble in asking for a running job means, and the error and exit code of a failure of that kind
MEANINGS: dict[FailureKind, tuple[str, str, int]] = {
    "not_sent": ("retry", "ProviderUnreachableError", 6),
    "no_response": ("retry", "InDoubtError", 8),
    "invalid_response": ("retry", "InvalidResponseError", 6),
    "rate_limited": ("retry", "ProviderBusyError", 6),
    "server_error": ("retry", "ProviderServerError", 6),
    "gateway_error": ("retry", "ProviderServerError", 6),
    "expired": ("fail", "ResultExpiredError", 6),
    "generation_failed": ("fail", "GenerationFailedError", 6),
    "content_policy": ("fail", "ContentPolicyError", 6),
    "rejected": ("fail", "RequestRejectedError", 6),
    "authentication": ("detach", "AuthenticationError", 3),
    "insufficient_credit": ("detach", "InsufficientCreditError", 4),
    "permission_denied": ("detach", "PermissionDeniedError", 6),
}


@pytest.mark.parametrize("kind", KINDS)
def test_trouble_with_a_running_job_and_its_error(kind: FailureKind) -> None:
    """The job still runs unless the provider itself says otherwise; the error says who acts next."""
    checked, name, code = MEANINGS[kind]
    assert POLL_ACTIONS[kind] == checked
    assert (ERROR_CLASSES[kind].__name__, ERROR_CLASSES[kind].exit_code) == (name, code)
    assert issubclass(ERROR_CLASSES[kind], HfmediaError)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_called_retryable_only_where_nothing_was_bought(kind: FailureKind) -> None:
    """A caller who believes ``retryable`` must not pay twice: certainly not accepted, and worth another try."""
    assert not ERROR_CLASSES[kind].retryable or SUBMIT_POLICIES[kind].retry != "no"
    assert not InDoubtError.retryable


STATUSES: dict[FailureKind, tuple[int, ...]] = {
    "rejected": (400, 404, 405, 406, 409, 413, 415, 418, 422, 431, 451, 499),
    "authentication": (401,),
    "insufficient_credit": (402,),
    "permission_denied": (403,),
    "rate_limited": (408, 425, 429),
    "expired": (410,),
    "server_error": (500, 501, 503, 505, 521, 529, 599),
    "gateway_error": (502, 504, 520, 522, 523, 524),
    "invalid_response": (200, 201, 202, 204, 206, 301, 302, 304, 307, 399),
}


@pytest.mark.parametrize(("kind", "status"), [(kind, status) for kind, many in STATUSES.items() for status in many])
def test_a_status_means_a_kind_where_the_provider_gave_no_reason(kind: FailureKind, status: int) -> None:
    """What is neither 4xx nor 5xx may have been accepted."""
    assert classify_status(status) == kind


@pytest.mark.parametrize("status", [0, 1, 100, 101, 199, *range(200, 400, 7), 600, 999])
def test_an_unknown_status_is_never_patience(status: int) -> None:
    """A submission that was answered so is over: it may be billed, and is not sent again."""
    assert submit_policy(classify_status(status), via="router") == SubmitPolicy("failed")
