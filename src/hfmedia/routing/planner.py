"""Route planning: the task of a model, and the routes to try for it, in order, with warnings about the choice.

Everything is computed from the arguments. A request that cannot be routed fails with what is known of its providers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from hfmedia.core.errors import ModelNotSupportedError
from hfmedia.core.hub_models import HubModel, ProviderMapping
from hfmedia.core.protocol import Lora, Route
from hfmedia.core.request import TASKS, ModelSpec, RoutingPolicy, Task
from hfmedia.providers import get_provider
from hfmedia.settings import Settings

from .endpoints import Endpoint, endpoints_for, missing_key_error, provider_required_error
from .health import ProviderHealth
from .stats import ProviderStats

_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # a provider's name becomes part of a URL


class RoutePlan(Struct, frozen=True):
    """The routes to try, in order, at least one; and warnings for the user."""

    routes: tuple[Route, ...]
    warnings: tuple[str, ...] = ()


def infer_task(model: HubModel, model_spec: ModelSpec, *, with_image: bool) -> Task:
    """Return the task for a request that names none: the model's first live task that fits the input."""
    live_tasks = [
        mapping.task for mapping in model.live_mappings() if model_spec.provider in (None, mapping.provider)
    ] or [mapping.task for mapping in model.mappings]
    prefix = "image-to" if with_image else "text-to"
    for task in TASKS:
        if task in live_tasks and task.startswith(prefix):
            return task
    return "image-to-image" if with_image else "text-to-image"


def plan_routes(
    model_spec: ModelSpec,
    task: Task,
    model: HubModel,
    settings: Settings,
    *,
    health: ProviderHealth | None = None,
    stats: ProviderStats | None = None,
) -> RoutePlan:
    """Plan the routes for a model (with a provider or policy) and a task.

    Raises:
        ModelNotSupportedError: no live provider, none for this task, or not the one named; lists the providers.
        MissingAuthError: no credential for any of them; says how to get one.
    """
    capable, warnings = _capable(_live_mappings(model_spec, task, model), task)
    if not capable:
        raise ModelNotSupportedError(
            f"no usable provider for {task} with {model.id}: {'; '.join(warnings)}", model=model.id
        )
    provider_names = [mapping.provider for mapping in capable]
    if settings.token and settings.token.is_provider_key and model_spec.provider is None:
        raise provider_required_error(
            model.id, [name for name in provider_names if settings.direct_base_url(name, task)] or provider_names
        )
    endpoints = {name: reachable for name in provider_names if (reachable := endpoints_for(settings, name, task))}
    if not endpoints:
        raise missing_key_error(settings, model.id, provider_names, task)
    without_credential = [name for name in provider_names if name not in endpoints]
    if without_credential:
        warnings.append(f"{_join_sorted(without_credential)} skipped: no credential")
    warnings += [
        f"{name} is to be called directly, but its key is missing; using the router instead"
        for name, (endpoint, *_) in endpoints.items()
        if name in settings.direct and endpoint.via == "router"
    ]
    ordered, policy_warnings = _by_policy(
        [mapping for mapping in capable if mapping.provider in endpoints],
        model_spec.policy,
        model,
        stats or ProviderStats(),
    )
    candidates, cooldown_warnings = _by_cooldown(ordered, health or ProviderHealth())
    primary = [_build_route(mapping, endpoints[mapping.provider][0], model, task) for mapping in candidates]
    fallbacks = [
        _build_route(mapping, endpoint, model, task)
        for mapping in candidates
        for endpoint in endpoints[mapping.provider][1:]
    ]
    return RoutePlan((*primary, *fallbacks), (*warnings, *policy_warnings, *cooldown_warnings))


def _live_mappings(model_spec: ModelSpec, task: Task, model: HubModel) -> list[ProviderMapping]:
    """Return the live mappings to choose from, one per provider. Raises ModelNotSupportedError when there are none."""
    live_by_provider = {mapping.provider: mapping for mapping in reversed(model.live_mappings(task))}
    in_hub_order = [
        live_by_provider[name]
        for name in dict.fromkeys(mapping.provider for mapping in model.mappings)
        if name in live_by_provider
    ]
    if model_spec.provider is None:
        if in_hub_order:
            return in_hub_order
        raise ModelNotSupportedError(
            f"no live provider for {task} with {model.id}. {_describe_availability(model, task)}", model=model.id
        )
    if model_spec.provider in live_by_provider:
        return [live_by_provider[model_spec.provider]]
    name = model_spec.provider
    provider_mappings = [mapping for mapping in model.mappings if mapping.provider == name]
    for_task = [mapping for mapping in provider_mappings if mapping.task == task]
    if for_task:
        reason = f"{name} serves {model.id}, but is not live ({_describe_status(for_task[0])})"
    elif provider_mappings:
        tasks = _join_sorted({mapping.task for mapping in provider_mappings})
        reason = f"{name} serves {model.id} for {tasks}, not for {task}"
    else:
        suggestions = difflib.get_close_matches(name, [mapping.provider for mapping in model.mappings], n=1)
        reason = f"{name} does not serve {model.id}" + (f" (did you mean {suggestions[0]}?)" if suggestions else "")
    raise ModelNotSupportedError(f"{reason}. {_describe_availability(model, task)}", model=model.id, provider=name)


def _describe_availability(model: HubModel, task: Task) -> str:
    """List the providers of the model by task, with the status of those that are not live."""
    if not model.mappings:
        return "The Hub lists no provider for this model"
    for_task = [
        f"{mapping.provider} ({_describe_status(mapping)})" for mapping in model.mappings if mapping.task == task
    ]
    others: dict[str, list[str]] = {}
    for mapping in model.mappings:
        if mapping.task != task:
            others.setdefault(mapping.task, []).append(
                mapping.provider if mapping.is_live else f"{mapping.provider} ({_describe_status(mapping)})"
            )
    by_task = {task: for_task} if for_task else {}
    return "Providers " + "; ".join(f"for {name}: {_join_names(names)}" for name, names in (by_task | others).items())


def _describe_status(mapping: ProviderMapping) -> str:
    descriptions = {"staging": "staging: not public yet", "error": "failing the Hub's checks"}
    return descriptions.get(mapping.status, mapping.status)


def _capable(mappings: Sequence[ProviderMapping], task: Task) -> tuple[list[ProviderMapping], list[str]]:
    """Return the mappings that hfmedia supports for this task, and a warning for each other one."""
    capable: list[ProviderMapping] = []
    warnings: list[str] = []
    for mapping in mappings:
        if not _PROVIDER_NAME.fullmatch(mapping.provider):
            warnings.append(f"{mapping.provider[:64]!r} skipped: not a valid provider name")
        elif task not in get_provider(mapping.provider).tasks:
            warnings.append(f"{mapping.provider} skipped: hfmedia does not support {task} there")
        else:
            capable.append(mapping)
    return capable, warnings


def _by_policy(
    mappings: Sequence[ProviderMapping], policy: RoutingPolicy | None, model: HubModel, stats: ProviderStats
) -> tuple[list[ProviderMapping], list[str]]:
    """Order by policy: providers with data, best first, then the others in the Hub's order; with a warning."""
    if policy not in ("fastest", "cheapest") or len(mappings) < 2:
        return list(mappings), []
    ranked = [(_rank(mapping, policy, model.id, stats), mapping) for mapping in mappings]
    ranked_known = [(rank, mapping) for rank, mapping in ranked if rank is not None]
    unknown = [mapping for rank, mapping in ranked if rank is None]
    metric = "speed" if policy == "fastest" else "price"
    if not ranked_known:
        return list(mappings), [f"{policy}: no {metric} data yet; using the Hub's order"]
    ranked_known.sort(key=lambda pair: pair[0][:2])
    warning = f"{policy}: " + ", ".join(f"{mapping.provider} ({rank[2]})" for rank, mapping in ranked_known)
    if unknown:
        warning += f", then {_join_names(mapping.provider for mapping in unknown)} (no {metric} data)"
    return [mapping for _, mapping in ranked_known] + unknown, [warning]


def _rank(
    mapping: ProviderMapping, policy: RoutingPolicy, model: str, stats: ProviderStats
) -> tuple[int, float, str] | None:
    """Return a sort key, lower is better, and its explanation; None without data.

    Measurements of this installation are about this very task, so they precede the Hub's figures.
    """
    if policy == "fastest":
        seconds = stats.median_seconds(mapping.provider, model)
        if seconds is not None:
            return 0, seconds, f"{seconds:.1f} s measured"
        return None if mapping.speed is None else (1, -mapping.speed, "per the Hub")
    usd = stats.median_usd(mapping.provider, model)
    if usd is not None:
        return 0, usd, f"${usd:.4f} measured"
    return None if mapping.price is None else (1, mapping.price, "per the Hub")


def _by_cooldown(
    mappings: Sequence[ProviderMapping], health: ProviderHealth
) -> tuple[list[ProviderMapping], list[str]]:
    """Move providers in cooldown to the end, with a warning for each; unless all of them are."""
    cooldowns = {mapping.provider: health.cooldown_remaining(mapping.provider) for mapping in mappings}
    ready = [mapping for mapping in mappings if not cooldowns[mapping.provider]]
    cooling_down = [mapping for mapping in mappings if cooldowns[mapping.provider]]
    if not ready or not cooling_down:
        return list(mappings), []
    return ready + cooling_down, [
        f"{mapping.provider} failed recently and is tried last for another "
        f"{max(1, round(cooldowns[mapping.provider]))} s"
        for mapping in cooling_down
    ]


def _build_route(mapping: ProviderMapping, endpoint: Endpoint, model: HubModel, task: Task) -> Route:
    lora = (
        Lora(repo=model.id, path=mapping.adapter_weights_path)
        if mapping.adapter_weights_path or mapping.adapter == "lora"
        else None
    )
    return Route(
        provider=mapping.provider,
        provider_id=mapping.provider_id,
        model=model.id,
        task=task,
        base_url=endpoint.base_url,
        credential=endpoint.credential,
        via=endpoint.via,
        lora=lora,
    )


def _join_names(names: Iterable[str]) -> str:
    """``a, b and c``."""
    *leading, last = dict.fromkeys(names)
    return f"{', '.join(leading)} and {last}" if leading else last


def _join_sorted(names: Iterable[str]) -> str:
    return _join_names(sorted(names))
