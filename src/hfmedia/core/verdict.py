"""What an answer means: for each kind of trouble, whether it may be bought, and who may be asked next.

The rule behind every row: can the request have been accepted? What may have been is never sent again.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .answers import FailureKind
from .errors import (
    BusyError,
    ContentRefusedError,
    CredentialError,
    CreditError,
    ExpiredError,
    FailedError,
    ForbiddenError,
    HfmediaError,
    InDoubtError,
    RefusedError,
    ServerError,
    UnreachableError,
    UnreadableReplyError,
)

Again = Literal["no", "once", "bounded"]
Onward = Literal["no", "yes", "other-credential"]
Fate = Literal["refused", "failed", "doubt"]


class Verdict(Struct, frozen=True):
    """What follows from a failed submission.

    ``fate``: refused (certainly not accepted), failed (accepted, and over), doubt (nobody knows).
    ``again``: whether to ask the same provider again. ``onward``: whether to ask the next one. ``rest``: how long, in
    seconds, the provider is left alone by other jobs unless it said so itself.
    """

    fate: Fate
    again: Again = "no"
    onward: Onward = "no"
    rest: float = 0.0


SUBMITTED: dict[FailureKind, Verdict] = {
    "unsent": Verdict("refused", again="bounded", onward="yes", rest=15),
    "lost": Verdict("doubt"),
    "unreadable": Verdict("failed"),
    "refused": Verdict("refused", onward="yes"),
    "content": Verdict("refused"),
    "credential": Verdict("refused", onward="other-credential"),
    "credit": Verdict("refused", onward="yes", rest=300),
    "forbidden": Verdict("refused", onward="yes"),
    "busy": Verdict("refused", again="bounded", onward="yes", rest=10),
    "server": Verdict("refused", again="once", onward="yes", rest=30),
    "gateway": Verdict("refused", again="once", onward="yes", rest=30),
    "failed": Verdict("failed"),
    "gone": Verdict("refused", onward="yes"),
}

# A 502 or 504 that a provider's own front sends says nothing of what stands behind it. Through the router the same
# status means refused: Hugging Face bills 2xx and 3xx alone (hub-docs, register-as-a-provider).
# Any other 5xx of the provider's own is its word that it failed, but no invitation to knock again.
DIRECT: dict[FailureKind, Verdict] = {
    "gateway": Verdict("doubt"),
    "server": Verdict("refused", onward="yes", rest=30),
}

Checked = Literal["again", "over", "detach"]

# While a job runs, trouble in asking is not trouble with the job: ask again, and when that does not help, let go of it
# without forgetting it. Only the provider's own word ends a job.
CHECKED: dict[FailureKind, Checked] = {
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

ERRORS: dict[FailureKind, type[HfmediaError]] = {
    "unsent": UnreachableError,
    "lost": InDoubtError,
    "unreadable": UnreadableReplyError,
    "refused": RefusedError,
    "content": ContentRefusedError,
    "credential": CredentialError,
    "credit": CreditError,
    "forbidden": ForbiddenError,
    "busy": BusyError,
    "server": ServerError,
    "gateway": ServerError,
    "failed": FailedError,
    "gone": ExpiredError,
}


def judge(kind: FailureKind, *, via: Literal["router", "direct"]) -> Verdict:
    """What follows from this failure of a submission on a route of this sort."""
    return (DIRECT.get(kind) if via == "direct" else None) or SUBMITTED[kind]


def status_kind(status: int) -> FailureKind:
    """What an HTTP status means where the provider gave no better reason."""
    return _STATUS.get(status) or _BY_HUNDRED.get(status // 100, "unreadable")


_STATUS: dict[int, FailureKind] = {
    401: "credential", 402: "credit", 403: "forbidden", 408: "busy", 425: "busy", 429: "busy", 410: "gone",
    502: "gateway", 504: "gateway", 520: "gateway", 522: "gateway", 523: "gateway", 524: "gateway",
}  # fmt: skip
_BY_HUNDRED: dict[int, FailureKind] = {4: "refused", 5: "server"}
