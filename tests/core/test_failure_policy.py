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
    ("unsent", None, "refused", "bounded", "yes"),  # could not connect: not sent
    ("lost", None, "doubt", "no", "no"),  # sent, no complete answer
    ("unreadable", None, "failed", "no", "no"),  # a 2xx that cannot be read: accepted and billed
    ("refused", None, "refused", "no", "yes"),  # 400, 404, 422
    ("content", None, "refused", "no", "no"),  # refused on purpose
    ("credential", None, "refused", "no", "other-credential"),  # 401
    ("credit", None, "refused", "no", "yes"),  # 402 and its disguises
    ("forbidden", None, "refused", "no", "yes"),  # 403
    ("busy", None, "refused", "bounded", "yes"),  # 408, 425, 429
    ("server", "router", "refused", "once", "yes"),  # 5xx
    ("server", "direct", "refused", "no", "yes"),  # a provider that says itself that it failed is not asked again
    ("gateway", "router", "refused", "once", "yes"),  # 502, 504: the router bills 2xx and 3xx alone
    ("gateway", "direct", "doubt", "no", "no"),  # 502, 504 of a provider's own front
    ("failed", None, "failed", "no", "no"),  # accepted, then failed
    ("gone", None, "refused", "no", "yes"),  # 410: nothing there to accept anything
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
    if verdict.outcome != "refused":
        assert verdict == SubmitPolicy(verdict.outcome)


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_rest_is_for_providers_that_another_job_should_not_knock_at(kind: FailureKind, via: Via) -> None:
    """A word on this request or this credential is no reason to rest; trouble with the provider itself is."""
    verdict = submit_policy(kind, via=via)
    assert 0 <= verdict.cooldown <= 600
    troubled = kind in ("unsent", "credit", "busy", "server") or (kind == "gateway" and via == "router")
    assert (verdict.cooldown > 0) == troubled


@pytest.mark.parametrize(
    "table",
    [SUBMIT_POLICIES, POLL_ACTIONS, ERROR_CLASSES, DESCRIPTIONS, HINTS],
    ids=["SUBMITTED", "CHECKED", "ERRORS", "WHAT", "NEXT"],
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
    "unsent": ("again", "UnreachableError", 6),
    "lost": ("again", "InDoubtError", 8),
    "unreadable": ("again", "UnreadableReplyError", 6),
    "busy": ("again", "BusyError", 6),
    "server": ("again", "ServerError", 6),
    "gateway": ("again", "ServerError", 6),
    "gone": ("over", "ExpiredError", 6),
    "failed": ("over", "FailedError", 6),
    "content": ("over", "ContentRefusedError", 6),
    "refused": ("over", "RefusedError", 6),
    "credential": ("detach", "CredentialError", 3),
    "credit": ("detach", "CreditError", 4),
    "forbidden": ("detach", "ForbiddenError", 6),
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
    "refused": (400, 404, 405, 406, 409, 413, 415, 418, 422, 431, 451, 499),
    "credential": (401,),
    "credit": (402,),
    "forbidden": (403,),
    "busy": (408, 425, 429),
    "gone": (410,),
    "server": (500, 501, 503, 505, 521, 529, 599),
    "gateway": (502, 504, 520, 522, 523, 524),
    "unreadable": (200, 201, 202, 204, 206, 301, 302, 304, 307, 399),
}


@pytest.mark.parametrize(("kind", "status"), [(kind, status) for kind, many in STATUSES.items() for status in many])
def test_a_status_means_a_kind_where_the_provider_gave_no_reason(kind: FailureKind, status: int) -> None:
    """What is neither 4xx nor 5xx may have been accepted."""
    assert classify_status(status) == kind


@pytest.mark.parametrize("status", [0, 1, 100, 101, 199, *range(200, 400, 7), 600, 999])
def test_an_unknown_status_is_never_patience(status: int) -> None:
    """A submission that was answered so is over: it may be billed, and is not sent again."""
    assert submit_policy(classify_status(status), via="router") == SubmitPolicy("failed")
