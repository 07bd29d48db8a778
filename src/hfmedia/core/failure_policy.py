"""Failure policy: for each kind of failure, whether the request may have been accepted, and what may be tried next.

One rule decides every row: could the request have been accepted? If so, it is never sent again.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .errors import (
    AuthenticationError,
    ContentPolicyError,
    GenerationFailedError,
    HfmediaError,
    InDoubtError,
    InsufficientCreditError,
    InvalidResponseError,
    PermissionDeniedError,
    ProviderBusyError,
    ProviderServerError,
    ProviderUnreachableError,
    RequestRejectedError,
    ResultExpiredError,
)
from .protocol import FailureKind

Retry = Literal["no", "once", "bounded"]
Failover = Literal["no", "yes", "other-credential"]
SubmitOutcome = Literal["rejected", "failed", "in_doubt"]


class SubmitPolicy(Struct, frozen=True):
    """Consequences of a failed submission.

    Attributes:
        outcome: rejected (certainly not accepted), failed (accepted, but the job is over) or in_doubt (unknown).
        retry: whether to submit to the same provider again.
        failover: whether to submit to the next provider, or only to one with another credential.
        cooldown: seconds during which other jobs skip the provider, unless it sent a delay of its own.
    """

    outcome: SubmitOutcome
    retry: Retry = "no"
    failover: Failover = "no"
    cooldown: float = 0.0


SUBMIT_POLICIES: dict[FailureKind, SubmitPolicy] = {
    "not_sent": SubmitPolicy("rejected", retry="bounded", failover="yes", cooldown=15),
    "no_response": SubmitPolicy("in_doubt"),
    "invalid_response": SubmitPolicy("failed"),
    "rejected": SubmitPolicy("rejected", failover="yes"),
    "content_policy": SubmitPolicy("rejected"),
    "authentication": SubmitPolicy("rejected", failover="other-credential"),
    "insufficient_credit": SubmitPolicy("rejected", failover="yes", cooldown=300),
    "permission_denied": SubmitPolicy("rejected", failover="yes"),
    "rate_limited": SubmitPolicy("rejected", retry="bounded", failover="yes", cooldown=10),
    "server_error": SubmitPolicy("rejected", retry="once", failover="yes", cooldown=30),
    "gateway_error": SubmitPolicy("rejected", retry="once", failover="yes", cooldown=30),
    "generation_failed": SubmitPolicy("failed"),
    "expired": SubmitPolicy("rejected", failover="yes"),
}

# A 502 or 504 from a provider's own front end does not show whether the backend accepted the request. Through the
# router the same status means rejected: Hugging Face bills only 2xx and 3xx (hub-docs, register-as-a-provider).
# Any other 5xx of the provider itself states that it failed, but is not a reason to submit to it again.
DIRECT_OVERRIDES: dict[FailureKind, SubmitPolicy] = {
    "gateway_error": SubmitPolicy("in_doubt"),
    "server_error": SubmitPolicy("rejected", failover="yes", cooldown=30),
}

PollAction = Literal["retry", "fail", "detach"]

# While a job runs, a failed poll does not mean a failed job: poll again, and when that does not help, detach from the
# job, so that it can be resumed. Only the provider's own statement ends a job.
POLL_ACTIONS: dict[FailureKind, PollAction] = {
    "not_sent": "retry",
    "no_response": "retry",
    "invalid_response": "retry",
    "rate_limited": "retry",
    "server_error": "retry",
    "gateway_error": "retry",
    "expired": "fail",
    "generation_failed": "fail",
    "content_policy": "fail",
    "rejected": "fail",
    "authentication": "detach",
    "insufficient_credit": "detach",
    "permission_denied": "detach",
}

ERROR_CLASSES: dict[FailureKind, type[HfmediaError]] = {
    "not_sent": ProviderUnreachableError,
    "no_response": InDoubtError,
    "invalid_response": InvalidResponseError,
    "rejected": RequestRejectedError,
    "content_policy": ContentPolicyError,
    "authentication": AuthenticationError,
    "insufficient_credit": InsufficientCreditError,
    "permission_denied": PermissionDeniedError,
    "rate_limited": ProviderBusyError,
    "server_error": ProviderServerError,
    "gateway_error": ProviderServerError,
    "generation_failed": GenerationFailedError,
    "expired": ResultExpiredError,
}


def submit_policy(kind: FailureKind, *, via: Literal["router", "direct"]) -> SubmitPolicy:
    """Return the policy for this failure of a submission on such a route."""
    return (DIRECT_OVERRIDES.get(kind) if via == "direct" else None) or SUBMIT_POLICIES[kind]


def classify_status(status: int) -> FailureKind:
    """Return the kind of failure that an HTTP status means where the provider gave no better reason."""
    return _KIND_BY_STATUS.get(status) or _KIND_BY_STATUS_CLASS.get(status // 100, "invalid_response")


_KIND_BY_STATUS: dict[int, FailureKind] = {
    401: "authentication",
    402: "insufficient_credit",
    403: "permission_denied",
    410: "expired",
    **dict.fromkeys((408, 425, 429), "rate_limited"),
    **dict.fromkeys((502, 504, 520, 522, 523, 524), "gateway_error"),
}
_KIND_BY_STATUS_CLASS: dict[int, FailureKind] = {4: "rejected", 5: "server_error"}
