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

from hfmedia.core.job import without_media
from hfmedia.core.request import InputImage, Request, Task

Kind = Literal["image", "video"]
Api = Literal["images", "videos", "jobs", "sdapi"]
PREFIX = "gateway/"  # of the idempotency keys under which the gateway's jobs lie in the ledger


class Ask(Struct, frozen=True, kw_only=True, omit_defaults=True):
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

    def written(self) -> Ask:
        """As it may be written down: without the bytes of its image."""
        slim = without_media(Request(task="image-to-image", model="", image=self.image, extra=self.options))
        return structs.replace(self, image=slim.image, options=slim.extra)


class Order(Struct, frozen=True, kw_only=True):
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
    key: str
    kind: Kind
    at: float
    n: int
    api: Api
    ask: Ask
    told: dict[str, Any] = field(default_factory=dict[str, Any])
    idempotency_key: str | None = None
    fingerprint: str = ""
    bill_to: str | None = None
    own_token: bool = False
    reserved: float = 0.0
    charged: float | None = None
    settled: bool = False
    deleted: dict[int, float] = field(default_factory=dict[int, float])

    def job_key(self, index: int) -> str:
        """The idempotency key under which the ledger has the job of one output."""
        return f"{PREFIX}{self.id}#{index}"

    @property
    def survives(self) -> bool:
        """Whether it is worth carrying out when whoever asked is no longer connected: they will ask how it stands."""
        return self.api in ("videos", "jobs") or self.idempotency_key is not None


def order_id() -> str:
    """A fresh id that sorts by age."""
    return f"{time.time_ns() // 1_000_000:011x}{uuid.uuid4().hex[:9]}"


def order_of_key(key: str | None) -> tuple[str, int] | None:
    """The order and the output that a job's key names; None for a job that is none of the gateway's."""
    if key is None or not key.startswith(PREFIX):
        return None
    order, _, index = key.removeprefix(PREFIX).partition("~")[0].partition("#")
    return (order, int(index)) if order and index.isdecimal() else None


def fingerprint_of(ask: Ask, api: Api, told: dict[str, Any]) -> str:
    """What tells two requests apart: a digest of all that was asked for."""
    written = msgspec.json.encode([api, structs.replace(ask, seeds=()).written(), told], order="deterministic")
    return hashlib.sha256(written).hexdigest()
