"""Provider protocol: operations, the routes they are sent on, and their results.

All of it is data that can be stored: a handle or a route from an old ledger works like a new one.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from .request import GenerationRequest, Task
from .text import format_amount


class Lora(Struct, frozen=True):
    """LoRA weights that a mapping adds to a provider's base model: a repository on the Hub and the file in it."""

    repo: str
    path: str | None = None

    @property
    def url(self) -> str:
        """URL from which a provider fetches the weights: always on the public Hub, whatever HF_ENDPOINT is."""
        return f"https://huggingface.co/{self.repo}/resolve/main/{self.path}" if self.path else self.repo_url

    @property
    def repo_url(self) -> str:
        """URL of the repository, for providers that find the file themselves."""
        return f"https://huggingface.co/{self.repo}"


class Route(Struct, frozen=True, kw_only=True):
    """One way to run a model: a provider, its own id for the model, the base URL and the credential.

    ``credential`` is the credential's name (``HF_TOKEN``, ``FAL_KEY``), never its secret, so that a route can be
    stored. ``base_url`` has no trailing slash; every URL requested on this route starts with it.
    """

    provider: str
    provider_id: str
    model: str
    task: Task
    base_url: str
    credential: str
    via: Literal["router", "direct"] = "router"
    lora: Lora | None = None


class JobHandle(Struct, frozen=True, omit_defaults=True):
    """A provider's reference to an accepted job, for polling, cancelling and fetching the result.

    ``job_path`` is the job's path on the route's base URL, for providers that return their own URLs; ``stage`` tells
    the provider module what to request next.
    """

    id: str
    stage: str = "status"
    job_path: str | None = None


class Submit(Struct, frozen=True):
    """Start a job at a provider: the only billable operation. The request must be adapted to the provider."""

    request: GenerationRequest


class Poll(Struct, frozen=True):
    """Request the status of a job, or its result: free, and safe to repeat."""

    handle: JobHandle


class Cancel(Struct, frozen=True):
    """Request that a provider stop a job."""

    handle: JobHandle


class Lookup(Struct, frozen=True):
    """Search a provider's jobs for one with this request, submitted after ``submitted_after`` (Unix seconds): free."""

    request: GenerationRequest
    submitted_after: float


Operation = Submit | Poll | Cancel | Lookup


class Progress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Progress of a job as the provider reports it: queue position, fraction (0 to 1), log line, seconds left."""

    position: int | None = None
    fraction: float | None = None
    message: str | None = None
    eta: float | None = None


class Cost(Struct, frozen=True):
    """A cost as a provider reported it: an amount and its unit (``USD``, ``fal-units``, ``predict-seconds``)."""

    amount: float
    unit: str = "USD"

    def __str__(self) -> str:
        return format_amount(self.amount, self.unit)


class Output(Struct, frozen=True, kw_only=True):
    """One output: by URL (``data:`` included) or as bytes. Everything else is a hint; the content decides."""

    url: str | None = None
    data: bytes | None = None
    mime: str | None = None
    width: int | None = None
    height: int | None = None
    nsfw: bool = False

    def __repr__(self) -> str:
        summary = f"{len(self.data)} bytes" if self.data is not None else (self.url or "")[:200]
        return f"Output({summary})"


class Pending(Struct, frozen=True, kw_only=True):
    """The job is accepted but not completed. Poll with this handle, which may differ from the previous one.

    ``poll_after`` is in seconds: 0 means immediately (the next URL is known to be ready), None means that the caller
    chooses the interval.
    """

    handle: JobHandle
    poll_after: float | None = None
    progress: Progress | None = None


class Completed(Struct, frozen=True, kw_only=True):
    """The job is completed: its outputs, and what the provider reported about the run."""

    outputs: tuple[Output, ...]
    seed: int | None = None
    cost: Cost | None = None
    timings: dict[str, float] = field(default_factory=dict[str, float])
    warnings: tuple[str, ...] = ()
    id: str | None = None


FailureKind = Literal[
    "not_sent",  # could not connect: nothing was sent
    "no_response",  # sent, no complete response
    "invalid_response",  # a 2xx or 3xx that cannot be decoded: accepted, and billed
    "rejected",  # the request was rejected: 400, 404, 422
    "content_policy",  # rejected under a content policy
    "authentication",  # 401
    "insufficient_credit",  # 402, or the provider's own equivalent
    "permission_denied",  # 403
    "rate_limited",  # 408, 425, 429
    "server_error",  # 5xx, except the next
    "gateway_error",  # 502, 504 and a CDN's own 52x: an intermediary got no response
    "generation_failed",  # accepted, then failed by the provider
    "expired",  # the provider no longer knows the job or its result
]


class Failure(Struct, frozen=True, kw_only=True):
    """The operation failed. failure_policy.py decides what follows.

    ``retry_after`` is in seconds; ``retry_at`` is the text of a date where the provider gave a date instead.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None
    retry_at: str | None = None
    raw: bytes = b""


class CancelResult(Struct, frozen=True):
    """The provider's response to a cancellation: whether it confirmed, and its message."""

    confirmed: bool
    message: str = ""


OperationResult = Pending | Completed | Failure | CancelResult
