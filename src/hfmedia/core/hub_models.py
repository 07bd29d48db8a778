"""A mapping: what the Hub says of the providers of one model, in either of its two shapes.

Everything the Hub says is kept, live or not, so that an error can tell which are staging or failing.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import Struct

from .request import Task


class ProviderMapping(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One provider of one model, as the Hub tells it.

    ``speed`` (higher is faster) and ``price`` (lower is cheaper) are there only where the Hub tells them; today it does
    so for language models alone. ``status`` is ``live``, ``staging`` or ``error``.
    """

    provider: str
    provider_id: str
    task: str
    status: str
    adapter: str | None = None
    adapter_weights_path: str | None = None
    mapping_type: str | None = None
    speed: float | None = None
    price: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether the Hub's last check of it succeeded and it is open to everybody."""
        return self.status == "live"


class HubModel(Struct, frozen=True):
    """One model of the Hub and its mappings, in the Hub's order (for a signed-in user: the user's own preference)."""

    id: str
    mappings: tuple[ProviderMapping, ...] = ()

    def live_mappings(self, task: Task | None = None) -> tuple[ProviderMapping, ...]:
        """The live mappings, of one task if it is given."""
        return tuple(m for m in self.mappings if m.is_live and task in (None, m.task))


class _RawMapping(Struct):
    providerId: str  # noqa: N815 - the Hub's own spelling
    status: str
    task: str
    provider: str | None = None
    adapter: str | None = None
    adapterWeightsPath: str | None = None  # noqa: N815
    type: str | None = None
    performance: Any = None
    pricing: Any = None


class _RawModel(Struct):
    id: str
    inferenceProviderMapping: Any = None  # noqa: N815


def parse_model(body: bytes) -> HubModel:
    """One model out of ``GET /api/models/{id}``; msgspec.DecodeError when it is no model."""
    return _to_model(msgspec.json.decode(body, type=_RawModel))


def parse_models(body: bytes) -> list[HubModel]:
    """The models of one page of ``GET /api/models``; msgspec.DecodeError when it is no such page.

    What cannot be read is left out and the rest is kept; a page of which nothing can be read is no page.
    """
    items = msgspec.json.decode(body, type=list[Any])
    models: list[HubModel] = []
    last_error: msgspec.ValidationError | None = None
    for item in items:
        try:
            models.append(_to_model(msgspec.convert(item, _RawModel)))
        except msgspec.ValidationError as error:
            last_error = error
    if last_error and not models:
        raise last_error
    return models


def _to_model(item: _RawModel) -> HubModel:
    raw = item.inferenceProviderMapping
    if not raw:  # absent, {}, [] or null: nobody serves it
        return HubModel(item.id)
    if isinstance(raw, dict):  # the older shape: the key is the provider's name
        entries = [
            {"provider": name, **cast("dict[str, Any]", entry)}
            for name, entry in cast("dict[str, Any]", raw).items()
            if isinstance(entry, dict)
        ]
    else:
        entries = msgspec.convert(raw, list[Any])
    return HubModel(item.id, tuple(mapping for entry in entries if (mapping := _to_mapping(entry))))


def _to_mapping(raw: Any) -> ProviderMapping | None:
    """One entry; None when it cannot be read, so that one bad entry does not take the others with it."""
    try:
        entry = msgspec.convert(raw, _RawMapping)
    except msgspec.ValidationError:
        return None
    if not entry.provider:
        return None
    return ProviderMapping(
        provider=entry.provider,
        provider_id=entry.providerId,
        task=entry.task,
        status=entry.status,
        adapter=entry.adapter,
        adapter_weights_path=entry.adapterWeightsPath,
        mapping_type=entry.type,
        speed=_to_float(entry.performance, "tokensPerSecond"),
        price=_to_float(entry.pricing),
    )


def _to_float(value: Any, name: str | None = None) -> float | None:
    """A number, or the one of that name in a dict; None for anything else."""
    if name is not None:
        value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
