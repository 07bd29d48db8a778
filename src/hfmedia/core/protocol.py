"""What is asked of a provider, on which route, and what its answer means once it is read.

All of it is data that can be written down: a handle or a route from yesterday's ledger is as good as a fresh one.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from .request import GenerationRequest, Task
from .text import format_amount


class Lora(Struct, frozen=True):
    """LoRA weights that a mapping adds to a provider's base model: a repository of the Hub and the file in it."""

    repo: str
    path: str | None = None

    @property
    def url(self) -> str:
        """Where a provider fetches the weights: always the public Hub, whatever HF_ENDPOINT says here."""
        return f"https://huggingface.co/{self.repo}/resolve/main/{self.path}" if self.path else self.repo_url

    @property
    def repo_url(self) -> str:
        """The repository's page, for providers that find the file themselves."""
        return f"https://huggingface.co/{self.repo}"


class Route(Struct, frozen=True, kw_only=True):
    """One way to a model: a provider, its own id for the model, and where and with which credential to ask.

    ``credential`` is the credential's name (``HF_TOKEN``, ``FAL_KEY``), never its secret, so that a route can be
    written down. ``base_url`` has no slash at its end; every address asked on this route starts with it.
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
    """What a provider gave us to ask again: its id of the job, and which of its addresses comes next.

    ``path`` is a path on the route's base URL where a provider names its own addresses; ``stage`` is the provider
    module's word for what to ask there.
    """

    id: str
    stage: str = "status"
    job_path: str | None = None


class Submit(Struct, frozen=True):
    """Ask a provider to make something: the one ask that costs money. The request must be fitted already."""

    request: GenerationRequest


class Poll(Struct, frozen=True):
    """Ask how a job stands, or for its result: free, and safe to repeat."""

    handle: JobHandle


class Cancel(Struct, frozen=True):
    """Ask a provider to stop a job."""

    handle: JobHandle


class Lookup(Struct, frozen=True):
    """Ask a provider whether it has a job for this request, sent after ``since`` (unix seconds): free."""

    request: GenerationRequest
    submitted_after: float


Operation = Submit | Poll | Cancel | Lookup


class Progress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a job is, as the provider tells it: a place in a queue, a fraction of 1, a line of its log."""

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
    """One output: by URL (``data:`` included) or as bytes. Everything else is a hint; the bytes decide."""

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
    """Accepted, not done. Ask again with this handle, which may be another than before.

    ``after`` is in seconds: 0 means at once (a next address is known to be ready), None leaves the pace to the asker.
    """

    handle: JobHandle
    poll_after: float | None = None
    progress: Progress | None = None


class Completed(Struct, frozen=True, kw_only=True):
    """Done: the outputs, and whatever the provider told of how they came to be."""

    outputs: tuple[Output, ...]
    seed: int | None = None
    cost: Cost | None = None
    timings: dict[str, float] = field(default_factory=dict[str, float])
    warnings: tuple[str, ...] = ()
    id: str | None = None


FailureKind = Literal[
    "not_sent",  # could not connect: nothing was sent
    "no_response",  # sent, no complete answer
    "invalid_response",  # a 2xx or 3xx that cannot be read: accepted, and billed
    "rejected",  # refused as asked: 400, 404, 422
    "content_policy",  # refused on purpose, by a content policy
    "authentication",  # 401
    "insufficient_credit",  # 402 and its disguises
    "permission_denied",  # 403
    "rate_limited",  # 408, 425, 429
    "server_error",  # 5xx, but for the next
    "gateway_error",  # 502, 504 and a CDN's own 52x: somebody in the middle lost sight of it
    "generation_failed",  # accepted, then failed by the provider
    "expired",  # the provider no longer knows the job or its result
]


class Failure(Struct, frozen=True, kw_only=True):
    """Not done, and why. What follows from it is decided elsewhere (see verdict.py).

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
    """The provider's answer to a cancel: whether it will stop, in its words."""

    confirmed: bool
    message: str = ""


OperationResult = Pending | Completed | Failure | CancelResult
