"""What an answer means: for each kind of trouble, whether it may be bought, and who may be asked next.

The rule behind every row: can the request have been accepted? What may have been is never sent again.
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
SubmitOutcome = Literal["refused", "failed", "doubt"]


class SubmitPolicy(Struct, frozen=True):
    """What follows from a failed submission.

    ``fate``: refused (certainly not accepted), failed (accepted, and over), doubt (nobody knows).
    ``again``: whether to ask the same provider again. ``onward``: whether to ask the next one. ``rest``: how long, in
    seconds, the provider is left alone by other jobs unless it said so itself.
    """

    outcome: SubmitOutcome
    retry: Retry = "no"
    failover: Failover = "no"
    cooldown: float = 0.0


SUBMIT_POLICIES: dict[FailureKind, SubmitPolicy] = {
    "unsent": SubmitPolicy("refused", retry="bounded", failover="yes", cooldown=15),
    "lost": SubmitPolicy("doubt"),
    "unreadable": SubmitPolicy("failed"),
    "refused": SubmitPolicy("refused", failover="yes"),
    "content": SubmitPolicy("refused"),
    "credential": SubmitPolicy("refused", failover="other-credential"),
    "credit": SubmitPolicy("refused", failover="yes", cooldown=300),
    "forbidden": SubmitPolicy("refused", failover="yes"),
    "busy": SubmitPolicy("refused", retry="bounded", failover="yes", cooldown=10),
    "server": SubmitPolicy("refused", retry="once", failover="yes", cooldown=30),
    "gateway": SubmitPolicy("refused", retry="once", failover="yes", cooldown=30),
    "failed": SubmitPolicy("failed"),
    "gone": SubmitPolicy("refused", failover="yes"),
}

# A 502 or 504 that a provider's own front sends says nothing of what stands behind it. Through the router the same
# status means refused: Hugging Face bills 2xx and 3xx alone (hub-docs, register-as-a-provider).
# Any other 5xx of the provider's own is its word that it failed, but no invitation to knock again.
DIRECT_OVERRIDES: dict[FailureKind, SubmitPolicy] = {
    "gateway": SubmitPolicy("doubt"),
    "server": SubmitPolicy("refused", failover="yes", cooldown=30),
}

PollAction = Literal["again", "over", "detach"]

# While a job runs, trouble in asking is not trouble with the job: ask again, and when that does not help, let go of it
# without forgetting it. Only the provider's own word ends a job.
POLL_ACTIONS: dict[FailureKind, PollAction] = {
    "unsent": "again",
    "lost": "again",
    "unreadable": "again",
    "busy": "again",
    "server": "again",
    "gateway": "again",
    "gone": "over",
    "failed": "over",
    "content": "over",
    "refused": "over",
    "credential": "detach",
    "credit": "detach",
    "forbidden": "detach",
}

ERROR_CLASSES: dict[FailureKind, type[HfmediaError]] = {
    "unsent": ProviderUnreachableError,
    "lost": InDoubtError,
    "unreadable": InvalidResponseError,
    "refused": RequestRejectedError,
    "content": ContentPolicyError,
    "credential": AuthenticationError,
    "credit": InsufficientCreditError,
    "forbidden": PermissionDeniedError,
    "busy": ProviderBusyError,
    "server": ProviderServerError,
    "gateway": ProviderServerError,
    "failed": GenerationFailedError,
    "gone": ResultExpiredError,
}


def submit_policy(kind: FailureKind, *, via: Literal["router", "direct"]) -> SubmitPolicy:
    """What follows from this failure of a submission on a route of this sort."""
    return (DIRECT_OVERRIDES.get(kind) if via == "direct" else None) or SUBMIT_POLICIES[kind]


def classify_status(status: int) -> FailureKind:
    """What an HTTP status means where the provider gave no better reason."""
    return _KIND_BY_STATUS.get(status) or _KIND_BY_STATUS_CLASS.get(status // 100, "unreadable")


_KIND_BY_STATUS: dict[int, FailureKind] = {
    401: "credential", 402: "credit", 403: "forbidden", 408: "busy", 425: "busy", 429: "busy", 410: "gone",
    502: "gateway", 504: "gateway", 520: "gateway", 522: "gateway", 523: "gateway", 524: "gateway",
}  # fmt: skip
_KIND_BY_STATUS_CLASS: dict[int, FailureKind] = {4: "refused", 5: "server"}
