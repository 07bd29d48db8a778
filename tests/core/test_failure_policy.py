"""Failure policy: the promises as a second table, compared with the tables in the code."""

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

# kind of failure, via, outcome, retry with the same provider, failover to the next one
PROMISES: list[tuple[FailureKind, Via | None, str, str, str]] = [
    ("not_sent", None, "rejected", "bounded", "yes"),  # could not connect: not sent
    ("no_response", None, "in_doubt", "no", "no"),  # sent, no complete response
    ("invalid_response", None, "failed", "no", "no"),  # an invalid 2xx: accepted and billed
    ("rejected", None, "rejected", "no", "yes"),  # 400, 404, 422
    ("content_policy", None, "rejected", "no", "no"),  # rejected deliberately
    ("authentication", None, "rejected", "no", "other-credential"),  # 401
    ("insufficient_credit", None, "rejected", "no", "yes"),  # 402, or the provider's own equivalent
    ("permission_denied", None, "rejected", "no", "yes"),  # 403
    ("rate_limited", None, "rejected", "bounded", "yes"),  # 408, 425, 429
    ("server_error", "router", "rejected", "once", "yes"),  # 5xx
    (
        "server_error",
        "direct",
        "rejected",
        "no",
        "yes",
    ),  # no retry with a provider that reports its own failure
    ("gateway_error", "router", "rejected", "once", "yes"),  # 502, 504: the router bills 2xx and 3xx alone
    ("gateway_error", "direct", "in_doubt", "no", "no"),  # 502, 504 from a provider's own front end
    ("generation_failed", None, "failed", "no", "no"),  # accepted, then failed
    ("expired", None, "rejected", "no", "yes"),  # 410: nothing that could accept the request
]


def promised(kind: FailureKind, via: Via) -> tuple[str, str, str]:
    """Return the row for this kind of failure."""
    (row,) = [row[2:] for row in PROMISES if row[0] == kind and row[1] in (None, via)]
    return row


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_submission_has_the_promised_policy(kind: FailureKind, via: Via) -> None:
    """Outcome, retry and failover."""
    policy = submit_policy(kind, via=via)
    assert (policy.outcome, policy.retry, policy.failover) == promised(kind, via)


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_may_have_been_accepted_is_never_sent_again(kind: FailureKind, via: Via) -> None:
    """The rule behind every row: in doubt or accepted means no further submission anywhere."""
    policy = submit_policy(kind, via=via)
    if policy.outcome != "rejected":
        assert policy == SubmitPolicy(policy.outcome)


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_cooldown_applies_only_to_failures_of_the_provider_itself(kind: FailureKind, via: Via) -> None:
    """A rejection of this request or this credential says nothing about other jobs."""
    policy = submit_policy(kind, via=via)
    assert 0 <= policy.cooldown <= 600
    is_provider_failure = kind in ("not_sent", "insufficient_credit", "rate_limited", "server_error") or (
        kind == "gateway_error" and via == "router"
    )
    assert (policy.cooldown > 0) == is_provider_failure


@pytest.mark.parametrize(
    "table",
    [SUBMIT_POLICIES, POLL_ACTIONS, ERROR_CLASSES, DESCRIPTIONS, HINTS],
    ids=["SUBMIT_POLICIES", "POLL_ACTIONS", "ERROR_CLASSES", "DESCRIPTIONS", "HINTS"],
)
def test_every_kind_has_a_row_in_every_table(table: dict[FailureKind, object]) -> None:
    """And no table has a kind that does not exist."""
    assert set(table) == set(KINDS)


def test_every_override_differs_from_the_default() -> None:
    """An equal row would be noise."""
    assert set(DIRECT_OVERRIDES) < set(KINDS)
    assert all(DIRECT_OVERRIDES[kind] != SUBMIT_POLICIES[kind] for kind in DIRECT_OVERRIDES)


# kind: consequence of a failed poll, and exception class and exit code
CONSEQUENCES: dict[FailureKind, tuple[str, str, int]] = {
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
def test_a_failed_poll_has_a_consequence_and_an_error(kind: FailureKind) -> None:
    """The job is still running unless the provider itself reports its end."""
    action, name, code = CONSEQUENCES[kind]
    assert POLL_ACTIONS[kind] == action
    assert (ERROR_CLASSES[kind].__name__, ERROR_CLASSES[kind].exit_code) == (name, code)
    assert issubclass(ERROR_CLASSES[kind], HfmediaError)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_retryable_only_if_nothing_was_accepted(kind: FailureKind) -> None:
    """A caller that trusts ``retryable`` must not pay twice."""
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
def test_a_status_implies_a_kind_of_failure(kind: FailureKind, status: int) -> None:
    """Anything but 4xx and 5xx may have been accepted."""
    assert classify_status(status) == kind


@pytest.mark.parametrize("status", [0, 1, 100, 101, 199, *range(200, 400, 7), 600, 999])
def test_an_unknown_status_is_never_retried(status: int) -> None:
    """Such a submission has failed: it may be billed, and is not sent again."""
    assert submit_policy(classify_status(status), via="router") == SubmitPolicy("failed")
