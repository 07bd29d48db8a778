"""A mapping: what the Hub says of the providers of one model, in either of its two shapes.

Everything the Hub says is kept, live or not, so that an error can tell which are staging or failing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from .request import Task


class Mapping(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One provider of one model, as the Hub tells it.

    ``speed`` (higher is faster) and ``price`` (lower is cheaper) are there only where the Hub tells them; today it does
    so for language models alone. ``status`` is ``live``, ``staging`` or ``error``.
    """

    provider: str
    provider_id: str
    task: str
    status: str
    adapter: str | None = None
    weights: str | None = None
    kind: str | None = None
    speed: float | None = None
    price: float | None = None

    @property
    def live(self) -> bool:
        """Whether the Hub's last check of it succeeded and it is open to everybody."""
        return self.status == "live"


class Model(Struct, frozen=True):
    """One model of the Hub and its mappings, in the Hub's order (for a signed-in user: the user's own preference)."""

    id: str
    mappings: tuple[Mapping, ...] = ()

    def live(self, task: Task | None = None) -> tuple[Mapping, ...]:
        """The live mappings, of one task if it is given."""
        return tuple(m for m in self.mappings if m.live and task in (None, m.task))


class _Performance(Struct):
    tokens_per_second: float | None = msgspec.field(default=None, name="tokensPerSecond")


class _Entry(Struct):
    providerId: str  # noqa: N815 - the Hub's own spelling
    status: str
    task: str
    provider: str | None = None
    adapter: str | None = None
    adapterWeightsPath: str | None = None  # noqa: N815
    type: str | None = None
    performance: _Performance | None = None
    pricing: float | None = None


class _Model(Struct):
    id: str
    inferenceProviderMapping: Any = None  # noqa: N815


def read_model(body: bytes) -> Model:
    """One model out of ``GET /api/models/{id}``; msgspec.DecodeError when it is no model."""
    return _model(msgspec.json.decode(body, type=_Model))


def read_models(body: bytes) -> list[Model]:
    """The models of one page of ``GET /api/models``; msgspec.DecodeError when it is no such page."""
    return [_model(item) for item in msgspec.json.decode(body, type=list[_Model])]


def _model(item: _Model) -> Model:
    raw = item.inferenceProviderMapping
    if not raw:  # absent, {}, [] or null: nobody serves it
        return Model(item.id)
    if isinstance(raw, dict):
        entries = [{"provider": name, **entry} for name, entry in raw.items() if isinstance(entry, dict)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    else:
        entries = raw
    return Model(item.id, tuple(_mapping(e) for e in msgspec.convert(entries, list[_Entry]) if e.provider))


def _mapping(entry: _Entry) -> Mapping:
    return Mapping(
        provider=entry.provider or "",
        provider_id=entry.providerId,
        task=entry.task,
        status=entry.status,
        adapter=entry.adapter,
        weights=entry.adapterWeightsPath,
        kind=entry.type,
        speed=entry.performance.tokens_per_second if entry.performance else None,
        price=entry.pricing,
    )
