"""Models on the Hub and their provider mappings, in either of the API's two formats.

All mappings are retained, live or not, so that an error message can list those that are staging or failing.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import Struct

from .request import Task


class ProviderMapping(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One provider of one model, as the Hub reports it.

    ``speed`` (higher is faster) and ``price`` (lower is cheaper) are set only where the Hub reports them; today it does
    so only for language models. ``status`` is ``live``, ``staging`` or ``error``.
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
        """True if the Hub's last check succeeded and the mapping is open to everyone."""
        return self.status == "live"


class HubModel(Struct, frozen=True):
    """One model on the Hub and its mappings, in the Hub's order (for a signed-in user: the user's preference)."""

    id: str
    mappings: tuple[ProviderMapping, ...] = ()

    def live_mappings(self, task: Task | None = None) -> tuple[ProviderMapping, ...]:
        """Return the live mappings, of one task if it is given."""
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
    """Parse a response of ``GET /api/models/{id}``. Raises msgspec.DecodeError when it is not a model."""
    return _to_model(msgspec.json.decode(body, type=_RawModel))


def parse_models(body: bytes) -> list[HubModel]:
    """Parse one page of ``GET /api/models``. Raises msgspec.DecodeError when it is not such a page.

    Invalid items are skipped; a page with only invalid items is invalid.
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
    if not raw:  # absent, {}, [] or null: no provider serves it
        return HubModel(item.id)
    if isinstance(raw, dict):  # the older format: the key is the provider's name
        entries = [
            {"provider": name, **cast("dict[str, Any]", entry)}
            for name, entry in cast("dict[str, Any]", raw).items()
            if isinstance(entry, dict)
        ]
    else:
        entries = msgspec.convert(raw, list[Any])
    return HubModel(item.id, tuple(mapping for entry in entries if (mapping := _to_mapping(entry))))


def _to_mapping(raw: Any) -> ProviderMapping | None:
    """Convert one mapping; None if it is invalid, so that one invalid mapping does not hide the others."""
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
    """Return a number, or the one of that name in a dict; None for anything else."""
    if name is not None:
        value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
