"""Pricing: the estimated cost of a generation before it runs, and its actual cost afterwards. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from hfmedia.core.costs import billable_attempts
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import Job
from hfmedia.core.request import GenerationRequest, ModelSpec, parse_model_spec
from hfmedia.options import DEFAULT_MODELS
from hfmedia.providers import PROVIDERS
from hfmedia.server.config import Config, Price

from .budgets import dollars, exact_decimal, to_micro_usd
from .generations import Generation, GenerationSpec, OutputKind

DEFAULT_VIDEO_SECONDS = 10.0  # seconds reserved for a video of unspecified length that is priced by the second
DEFAULT_FPS = 16.0  # frames per second where only frames were requested; the lowest of all models
ObservedCost = Callable[[str, str], float | None]  # provider and model → USD per output, None if not observed


# -- before a generation ----------------------------------------------------------------------------------------------


def estimate_cost(
    spec: GenerationSpec, config: Config, observed_cost: ObservedCost, *, kind: OutputKind | None = None
) -> float:
    """Return the USD to reserve for all outputs of a spec, before its provider is known.

    The configured price comes first, then what the provider was observed to charge here, then the configured reserve.
    Where several models or providers are possible, the most expensive one counts. ``kind`` is the kind of output of a
    spec without a task.
    """
    return float(_estimate_output(spec, config, observed_cost, kind) * spec.n)


def _estimate_output(
    spec: GenerationSpec, config: Config, observed_cost: ObservedCost, kind: OutputKind | None
) -> Decimal:
    seconds = _requested_seconds(spec.options) if kind == "video" else None
    fallback = exact_decimal(_default_reserve(spec, config, kind))
    amounts: list[Decimal] = []
    for model_spec in _candidate_models(spec):
        price = _configured_price(model_spec, config.prices)
        if price is not None:
            amounts.append(_amount(price, seconds))
            continue
        providers = (model_spec.provider,) if model_spec.provider else tuple(PROVIDERS)
        observed_costs = [
            cost
            for provider in providers
            if (cost := observed_cost(provider, model_spec.model)) is not None and _is_plausible(cost)
        ]
        amounts.append(exact_decimal(max(observed_costs)) if observed_costs else fallback)
    return max(amounts, default=fallback)


def _default_reserve(spec: GenerationSpec, config: Config, kind: OutputKind | None) -> float:
    output_kind = kind or (spec.task.rpartition("-")[2] if spec.task else None)
    if output_kind is None:
        return max(config.reserve.image, config.reserve.video)
    return config.reserve.video if output_kind == "video" else config.reserve.image


def _candidate_models(spec: GenerationSpec) -> Iterable[ModelSpec]:
    """Return the models that may run a spec: the one named, or the defaults of its task."""
    if spec.model:
        try:
            return (parse_model_spec(spec.model),)
        except InvalidRequestError:
            return ()  # rejected before anything is sent
    return [ModelSpec(model) for model in DEFAULT_MODELS[spec.default_task]]


def _configured_price(model_spec: ModelSpec, prices: dict[str, Price]) -> Price | None:
    """Return the configured price of the provider, of the model, or of the model's most expensive provider."""
    for name in (f"{model_spec.model}:{model_spec.provider}" if model_spec.provider else "", model_spec.model):
        if name in prices:
            return prices[name]
    if model_spec.provider:
        return None
    candidates = [price for name, price in prices.items() if name.startswith(f"{model_spec.model}:")]
    return max(candidates, key=lambda price: (_amount(price, None), price.second)) if candidates else None


def _amount(price: Price, seconds: float | None) -> Decimal:
    billed_seconds = exact_decimal(DEFAULT_VIDEO_SECONDS if seconds is None else seconds)
    return exact_decimal(price.output) + exact_decimal(price.second) * billed_seconds


def _requested_seconds(options: dict[str, Any]) -> float | None:
    """Return the requested length of a video; None if it is missing or not a valid number."""
    seconds, frames, fps = (_positive_number(options.get(name)) for name in ("seconds", "num_frames", "fps"))
    if seconds is not None:
        return seconds
    return frames / (fps or DEFAULT_FPS) if frames is not None else None


def _positive_number(value: Any) -> float | None:
    is_valid = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 100_000
    return float(value) if is_valid else None


def _is_plausible(usd: float) -> bool:
    return math.isfinite(usd) and usd >= 0


# -- after a generation -----------------------------------------------------------------------------------------------


class Charge(NamedTuple):
    """Cost of a generation. ``charged_usd`` is None if something was billed and no price of it was reported."""

    charged_usd: float | None
    images: int
    videos: int


def actual_cost(jobs: Sequence[Job], generation: Generation, config: Config) -> Charge:
    """Return what was billed for the jobs of a generation.

    A cost reported in USD counts as reported. An attempt without one counts at the configured price, or else at its
    share of the reservation. A job that was resent after it was in doubt may be billed for each attempt.
    """
    share_micro = math.ceil(to_micro_usd(generation.reserved_usd) / max(1, generation.n))
    total_micro, price_known, billable_jobs = 0, False, 0
    for job in jobs:
        attempts = billable_attempts(job)
        if not attempts:
            continue
        billable_jobs += 1
        reported_micro = _reported_micro(job)
        if reported_micro is not None:
            total_micro, attempts, price_known = total_micro + reported_micro, attempts - 1, True
        if attempts:
            price = _configured_price(_model_spec_of(job), config.prices)
            price_known = price_known or price is not None or attempts > 1
            total_micro += attempts * (
                share_micro if price is None else to_micro_usd(float(_amount(price, _submitted_seconds(job))))
            )
    images, videos = (billable_jobs, 0) if generation.kind == "image" else (0, billable_jobs)
    return Charge(None if billable_jobs and not price_known else dollars(total_micro), images, videos)


def _reported_micro(job: Job) -> int | None:
    cost = job.cost
    return to_micro_usd(cost.amount) if cost is not None and cost.unit == "USD" and _is_plausible(cost.amount) else None


def _model_spec_of(job: Job) -> ModelSpec:
    return ModelSpec(job.request.model, provider=job.route.provider if job.route else None)


def _submitted_seconds(job: Job) -> float | None:
    """Return the length of a job's video as it was submitted to the provider."""
    submitted: GenerationRequest = job.provider_request or job.request
    return _requested_seconds({"seconds": submitted.seconds, "num_frames": submitted.num_frames, "fps": submitted.fps})
