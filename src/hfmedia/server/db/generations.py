"""An order: one request to the gateway, on its way to one or several outputs, as the book remembers it.

What was asked for is plain data, so that it can be carried out again after a restart; bytes of images lie elsewhere.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import Any, Literal

import msgspec
from msgspec import Struct, field, structs

from hfmedia.core.job import strip_inline_media
from hfmedia.core.request import GenerationRequest, InputImage, Task

OutputKind = Literal["image", "video"]
Api = Literal["images", "videos", "jobs", "sdapi"]
JOB_KEY_PREFIX = "gateway/"  # of the idempotency keys under which the gateway's jobs lie in the ledger


class GenerationSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be made, in the words of ``MediaClient.generate``.

    ``model`` is a choice (``org/name:provider``); None: the default of the task. ``task`` None: what the model does.
    ``options`` has the names of options.VideoOptions but ``model``, ``seed``, ``timeout`` and ``output``; ``seeds``
    holds the seed of each output, None where the provider chooses.
    """

    prompt: str | None = None
    model: str | None = None
    task: Task | None = None
    n: int = 1
    seed: int | None = None
    seeds: tuple[int | None, ...] = ()
    image: InputImage | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    def seed_of(self, index: int) -> int | None:
        """The seed of one output."""
        return self.seeds[index] if index < len(self.seeds) else self.seed

    def without_inline_image(self) -> GenerationSpec:
        """As it may be written down: without the bytes of its image."""
        stripped = strip_inline_media(
            GenerationRequest(task="image-to-image", model="", image=self.image, extra=self.options)
        )
        return structs.replace(self, image=stripped.image, options=stripped.extra)


class Generation(Struct, frozen=True, kw_only=True):
    """One order. Money is in USD, times are unix seconds.

    Attributes:
        id: its name; ids sort by age.
        key: the gateway key that gave it; empty on a gateway without keys, ``hf:…`` for a caller with an own token.
        kind: what comes out, for the limits.
        api: through which API it came.
        told: what that API needs to answer again, as plain JSON data.
        idempotency_key: the caller's own; ``fingerprint`` tells whether the same was asked for.
        bill_to: the organisation to bill.
        own_token: whether the caller's own HF token pays; it is kept nowhere, so only the caller can bring it back.
        reserved: what was set aside for it; charged: what it came to, None while unknown.
        settled: whether it is over, so that its reservation is no longer needed.
        deleted: the outputs that their owner deleted, and when.
    """

    id: str
    caller_id: str
    kind: OutputKind
    created_at: float
    n: int
    api: Api
    spec: GenerationSpec
    response_context: dict[str, Any] = field(default_factory=dict[str, Any])
    idempotency_key: str | None = None
    fingerprint: str = ""
    bill_to: str | None = None
    uses_caller_token: bool = False
    reserved_usd: float = 0.0
    charged_usd: float | None = None
    is_settled: bool = False
    deleted_outputs: dict[int, float] = field(default_factory=dict[int, float])

    def job_key(self, index: int) -> str:
        """The idempotency key under which the ledger has the job of one output."""
        return f"{JOB_KEY_PREFIX}{self.id}#{index}"

    @property
    def is_durable(self) -> bool:
        """Whether it is worth carrying out when whoever asked is no longer connected: they will ask how it stands."""
        return self.api in ("videos", "jobs") or self.idempotency_key is not None


def new_generation_id() -> str:
    """A fresh id that sorts by age."""
    return f"{time.time_ns() // 1_000_000:011x}{uuid.uuid4().hex[:9]}"


def parse_job_key(key: str | None) -> tuple[str, int] | None:
    """The order and the output that a job's key names; None for a job that is none of the gateway's."""
    if key is None or not key.startswith(JOB_KEY_PREFIX):
        return None
    generation_id, _, index = key.removeprefix(JOB_KEY_PREFIX).partition("~")[0].partition("#")
    return (generation_id, int(index)) if generation_id and index.isdecimal() else None


def fingerprint_of(spec: GenerationSpec, api: Api, response_context: dict[str, Any]) -> str:
    """What tells two requests apart: a digest of all that was asked for."""
    payload = msgspec.json.encode(
        [api, structs.replace(spec, seeds=()).without_inline_image(), response_context], order="deterministic"
    )
    return hashlib.sha256(payload).hexdigest()
