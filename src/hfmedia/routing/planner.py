"""The plan for one request: which routes, in which order, and what there is to know about that.

Pure, but for what it is told of experience; what cannot be routed is refused with all that is known.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from hfmedia.core.errors import ModelNotSupportedError
from hfmedia.core.hub_models import HubModel, ProviderMapping
from hfmedia.core.protocol import Lora, Route
from hfmedia.core.request import ModelSpec, RoutingPolicy, Task
from hfmedia.providers import get_provider as provider_named
from hfmedia.settings import Settings

from .endpoints import Endpoint, endpoints_for, missing_key_error, provider_required_error
from .health import ProviderHealth, ProviderStats

_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # a provider's name becomes part of an address


class RoutePlan(Struct, frozen=True):
    """The routes to try, in order, at least one; and a sentence for whatever a user may wonder about."""

    routes: tuple[Route, ...]
    warnings: tuple[str, ...] = ()


def plan_routes(
    model_spec: ModelSpec,
    task: Task,
    model: HubModel,
    settings: Settings,
    *,
    health: ProviderHealth | None = None,
    stats: ProviderStats | None = None,
) -> RoutePlan:
    """The plan for a choice of model and provider or policy, for a task, with these settings.

    Raises:
        ModelNotSupportedError: no live provider, not for this task, or not the provider named; it says who does what.
        MissingAuthError: no credential opens a way to any of them; it says how to get one.
    """
    capable, warnings = _capable(_live_mappings(model_spec, task, model), task)
    if not capable:
        raise ModelNotSupportedError(
            f"{model.id} has no provider for {task} that can be used: {'; '.join(warnings)}", model=model.id
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
        warnings.append(f"{_join_sorted(without_credential)} skipped: there is a credential for other providers only")
    warnings += [
        f"{name} should be asked directly, but its own key is not there; it is asked through the router"
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
    """The live mappings to choose from, one of each provider; ModelNotSupportedError when there is none."""
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
            f"no provider is live for {task} with {model.id}. {_describe_availability(model, task)}", model=model.id
        )
    if model_spec.provider in live_by_provider:
        return [live_by_provider[model_spec.provider]]
    name = model_spec.provider
    provider_mappings = [mapping for mapping in model.mappings if mapping.provider == name]
    for_task = [mapping for mapping in provider_mappings if mapping.task == task]
    if for_task:
        reason = f"{name} serves {model.id}, but not now: it is {_describe_status(for_task[0])}"
    elif provider_mappings:
        reason = f"{name} serves {model.id} for {_join_sorted({mapping.task for mapping in provider_mappings})}, not for {task}"
    else:
        suggestions = difflib.get_close_matches(name, [mapping.provider for mapping in model.mappings], n=1)
        reason = f"{name} does not serve {model.id}" + (f" (did you mean {suggestions[0]}?)" if suggestions else "")
    raise ModelNotSupportedError(f"{reason}. {_describe_availability(model, task)}", model=model.id, provider=name)


def _describe_availability(model: HubModel, task: Task) -> str:
    """Who serves the model for what, and how they are."""
    if not model.mappings:
        return "The Hub lists no provider for it at all"
    for_task = [
        f"{mapping.provider} ({_describe_status(mapping)})" for mapping in model.mappings if mapping.task == task
    ]
    others: dict[str, list[str]] = {}
    for mapping in model.mappings:
        if mapping.task != task:
            others.setdefault(mapping.task, []).append(
                mapping.provider if mapping.is_live else f"{mapping.provider} ({_describe_status(mapping)})"
            )
    clauses = [f"For {task} there {_is_or_are(for_task)}"] if for_task else []
    clauses += [f"for {other} there {_is_or_are(names)}" for other, names in others.items()]
    text = "; ".join(clauses)
    return text[0].upper() + text[1:]


def _describe_status(mapping: ProviderMapping) -> str:
    return {"live": "live", "staging": "staging: not open to everybody yet", "error": "failing the Hub's checks"}.get(
        mapping.status, mapping.status
    )


def _capable(mappings: Sequence[ProviderMapping], task: Task) -> tuple[list[ProviderMapping], list[str]]:
    """Those that hfmedia can speak to for this task, and a note on each other."""
    capable: list[ProviderMapping] = []
    warnings: list[str] = []
    for mapping in mappings:
        if not _PROVIDER_NAME.fullmatch(mapping.provider):
            warnings.append(f"{mapping.provider[:64]!r} skipped: this cannot be the name of a provider")
        elif task not in provider_named(mapping.provider).tasks:
            warnings.append(f"{mapping.provider} skipped: hfmedia does not know how it does {task}")
        else:
            capable.append(mapping)
    return capable, warnings


def _by_policy(
    mappings: Sequence[ProviderMapping], policy: RoutingPolicy | None, model: HubModel, stats: ProviderStats
) -> tuple[list[ProviderMapping], list[str]]:
    """By the policy: what is known best first, what is not known after it in the mapping's order; and a note on it."""
    if policy not in ("fastest", "cheapest") or len(mappings) < 2:
        return list(mappings), []
    ranked = [(_rank(mapping, policy, model.id, stats), mapping) for mapping in mappings]
    ranked_known = [(rank, mapping) for rank, mapping in ranked if rank is not None]
    unknown = [mapping for rank, mapping in ranked if rank is None]
    metric = "speed" if policy == "fastest" else "price"
    if not ranked_known:
        return list(mappings), [f"{policy}: nothing is known of their {metric} yet, so the Hub's order stands"]
    ranked_known.sort(key=lambda pair: pair[0][:2])
    warning = f"{policy}: known are " + ", ".join(f"{mapping.provider} ({rank[2]})" for rank, mapping in ranked_known)
    if unknown:
        warning += f"; nothing is known of {_join_names(mapping.provider for mapping in unknown)}, asked after those"
    return [mapping for _, mapping in ranked_known] + unknown, [warning]


def _rank(
    mapping: ProviderMapping, policy: RoutingPolicy, model: str, stats: ProviderStats
) -> tuple[int, float, str] | None:
    """Where a provider stands, lower is better, and why; None when nothing is known.

    What was seen here is about this very task, so it goes before what the Hub tells.
    """
    if policy == "fastest":
        seconds = stats.median_seconds(mapping.provider, model)
        if seconds is not None:
            return 0, seconds, f"{seconds:.1f} s seen here"
        return None if mapping.speed is None else (1, -mapping.speed, "by the Hub's word")
    usd = stats.median_usd(mapping.provider, model)
    if usd is not None:
        return 0, usd, f"${usd:.4f} seen here"
    return None if mapping.price is None else (1, mapping.price, "by the Hub's word")


def _by_cooldown(
    mappings: Sequence[ProviderMapping], health: ProviderHealth
) -> tuple[list[ProviderMapping], list[str]]:
    """Those that failed a moment ago after all others, and a note on each that had to give way."""
    cooldowns = {mapping.provider: health.cooldown_remaining(mapping.provider) for mapping in mappings}
    ready = [mapping for mapping in mappings if not cooldowns[mapping.provider]]
    cooling_down = [mapping for mapping in mappings if cooldowns[mapping.provider]]
    if not ready or not cooling_down:
        return list(mappings), []
    return ready + cooling_down, [
        f"{mapping.provider} failed a moment ago and is asked last for {max(1, round(cooldowns[mapping.provider]))} s more"
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


def _is_or_are(names: Sequence[str]) -> str:
    return f"{'is' if len(names) == 1 else 'are'} {_join_names(names)}"
