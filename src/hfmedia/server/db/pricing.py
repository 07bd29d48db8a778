"""Money: what an order may cost, what it came to, and the sentence for a limit that it would break. Pure.

Money is added up in whole micro-USD; a price is rounded up, a limit down, so that rounding never spends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hfmedia.core.costs import billable_attempts
from hfmedia.core.errors import HfmediaError, InvalidRequestError
from hfmedia.core.job import Job
from hfmedia.core.request import GenerationRequest, ModelSpec, Task, parse_model_spec
from hfmedia.options import DEFAULT_MODELS
from hfmedia.providers import PROVIDERS
from hfmedia.server.config import Config, Price

from .generations import Generation, GenerationSpec, OutputKind

if TYPE_CHECKING:
    from hfmedia.server.errors import ApiError

MICRO = 1_000_000
MIN_AMOUNT = Decimal("0.000001")  # micro-USD: what a sum of floats is off by is no money
MAX_MICRO_USD = 10**15  # a thousand million USD: more is no price, and sums stay far below what SQLite can hold
DEFAULT_VIDEO_SECONDS = 10.0  # seconds: what is set aside for a video of unsaid length, where seconds are what is paid
DEFAULT_FPS = 16.0  # frames a second, where only frames were asked for; the lowest that the models use
RETRYABLE_RESET_SECONDS = 60.0  # seconds: a limit that resets so soon is worth a client's waiting
LimitName = Literal["images_per_day", "videos_per_day", "usd_per_month"]
ObservedCost = Callable[[str, str], float | None]


def to_micro_usd(usd: float, *, round_down: bool = False) -> int:
    """USD as whole micro-USD, never below zero: rounded up, or down for a limit."""
    if math.isnan(usd) or usd <= 0:
        return 0
    if usd * MICRO >= MAX_MICRO_USD:
        return MAX_MICRO_USD
    exact = (_exact(usd) * MICRO).quantize(MIN_AMOUNT)
    return int(exact.to_integral_value(ROUND_FLOOR if round_down else ROUND_CEILING))


def _exact(usd: float) -> Decimal:
    """A number as it is written, not as a float has it: three times 0.1 is 0.3."""
    return Decimal(repr(float(usd)))


def dollars(amount: int) -> float:
    """Micro-USD as USD."""
    return amount / MICRO


def format_usd(amount: int) -> str:
    """Micro-USD for people: ``$1.50``, ``$0.0375``."""
    usd, fraction = divmod(amount, MICRO)
    digits = f"{fraction:06d}"
    return f"${usd}.{digits[:2]}{digits[2:].rstrip('0')}"


# -- time -------------------------------------------------------------------------------------------------------------


class BillingWindow(NamedTuple):
    """A stretch of time for which a limit holds, in unix seconds: from ``begins`` until just before ``resets``."""

    starts_at: float
    resets_at: float


def day_of(now: float) -> BillingWindow:
    """The day in UTC that a time lies in."""
    starts_at = now // 86_400 * 86_400
    return BillingWindow(starts_at, starts_at + 86_400)


def month_of(now: float) -> BillingWindow:
    """The month in UTC that a time lies in."""
    date = datetime.fromtimestamp(now, UTC)
    next_month = (date.year + date.month // 12, date.month % 12 + 1)
    starts_at, resets_at = (
        datetime(year, month, 1, tzinfo=UTC) for year, month in ((date.year, date.month), next_month)
    )
    return BillingWindow(starts_at.timestamp(), resets_at.timestamp())


def format_utc(timestamp: float) -> str:
    """A time as a sentence tells it: ``2026-12-01 00:00 UTC``."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M} UTC"


# -- errors -----------------------------------------------------------------------------------------------------------

_LIMIT_PHRASES = {"images_per_day": "make {} images a day", "videos_per_day": "make {} videos a day",
        "usd_per_month": "spend {} a month"}  # fmt: skip


class QuotaExceededError(HfmediaError):
    """A limit of a gateway key does not allow an order; nothing was sent.

    Attributes:
        name: of the limit.
        limit, used: its number and how much of it is taken; USD for money.
        resets: when it resets, in unix seconds; None when that would not help: the order alone is beyond it.
    """

    def __init__(
        self, name: LimitName, key: str, *, limit: int, used: int, requested: int, resets_at: float, now: float
    ):
        money = name == "usd_per_month"

        def format_amount(count: int) -> str:
            return format_usd(count) if money else str(count)

        allowance = f"the key {key!r} may {_LIMIT_PHRASES[name].format(format_amount(limit))}"
        is_permanent = requested > limit
        if is_permanent:
            demand = f"may cost {format_amount(requested)}" if money else f"is for {requested}"
            message = f"{allowance}, and this order alone {demand}: it can never be made with this key. Ask for less"
        else:
            taken_phrase = f"{format_amount(used)} {'is' if money or used == 1 else 'are'} used or set aside"
            extra_phrase = f"may cost {format_amount(requested)} more" if money else f"is for {requested} more"
            message = f"{allowance}: {taken_phrase}, and this order {extra_phrase}. The limit resets at {format_utc(resets_at)}"
        super().__init__(f"{message}; nothing was sent")
        self.limit_name, self.is_permanent = name, is_permanent
        self.limit: float = dollars(limit) if money else limit
        self.used: float = dollars(used) if money else used
        self.resets_at = None if is_permanent else resets_at
        self._retry_after = None if is_permanent else max(1.0, resets_at - now)

    @property
    def api_error(self) -> ApiError:
        """What it is over HTTP: 429, and whether a client may try again by itself."""
        from hfmedia.server.errors import RATE_LIMIT, ApiError

        code = "insufficient_quota" if self.limit_name == "usd_per_month" else "rate_limit_exceeded"
        extra = {"limit": self.limit_name, "limit_value": self.limit, "used": self.used, "resets_at": self.resets_at}
        return ApiError(
            429,
            self.message,
            type=RATE_LIMIT,
            code=code,
            retry=self._retry_after is not None and self._retry_after <= RETRYABLE_RESET_SECONDS,
            retry_after=self._retry_after,
            extra=extra,
        )


class IdempotencyConflictError(InvalidRequestError):
    """An idempotency key came back with another request; nothing was sent."""

    def __init__(self) -> None:
        message = "this idempotency key was used for another request; take a new one for a new request"
        super().__init__(f"{message}, or send the first again unchanged")

    @property
    def api_error(self) -> ApiError:
        """What it is over HTTP: 422, never to be sent again by itself."""
        from hfmedia.server.errors import ApiError

        return ApiError(422, self.message, code="idempotency_key_reused", retry=False)


# -- before -----------------------------------------------------------------------------------------------------------


def estimate_cost(
    spec: GenerationSpec, config: Config, observed_cost: ObservedCost, *, kind: OutputKind | None = None
) -> float:
    """USD to be set aside for all outputs of an order, before it is known who makes it.

    The configured price goes first, then what that provider was seen to charge here, then what the configuration sets
    aside where nobody knows. Where the choice leaves several open, it is the dearest of them. ``kind`` tells what comes
    out where the order names no task.
    """
    return float(_estimate_output(spec, config, observed_cost, kind) * spec.n)


def _estimate_output(
    spec: GenerationSpec, config: Config, observed_cost: ObservedCost, kind: OutputKind | None
) -> Decimal:
    seconds = _requested_seconds(spec.options)
    fallback = _exact(_default_reserve(spec, config, kind))
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
        amounts.append(_exact(max(observed_costs)) if observed_costs else fallback)
    return max(amounts, default=fallback)


def _default_reserve(spec: GenerationSpec, config: Config, kind: OutputKind | None) -> float:
    output_kind = kind or (spec.task.rpartition("-")[2] if spec.task else None)
    if output_kind is None:
        return max(config.reserve.image, config.reserve.video)
    return config.reserve.video if output_kind == "video" else config.reserve.image


def _candidate_models(spec: GenerationSpec) -> Iterable[ModelSpec]:
    """The models that may make it: the one named, else those asked for when none is."""
    if spec.model:
        try:
            return (parse_model_spec(spec.model),)
        except InvalidRequestError:
            return ()  # it will be refused before anything is bought
    task: Task = spec.task or ("image-to-image" if spec.image else "text-to-image")
    return [ModelSpec(model) for model in DEFAULT_MODELS[task]]


def _configured_price(model_spec: ModelSpec, prices: dict[str, Price]) -> Price | None:
    """The configured price: that of the provider, that of the model, else the dearest of the model's providers."""
    for name in (f"{model_spec.model}:{model_spec.provider}" if model_spec.provider else "", model_spec.model):
        if name in prices:
            return prices[name]
    if model_spec.provider:
        return None
    candidates = [price for name, price in prices.items() if name.startswith(f"{model_spec.model}:")]
    return max(candidates, key=lambda price: (_amount(price, None), price.second)) if candidates else None


def _amount(price: Price, seconds: float | None) -> Decimal:
    return _exact(price.output) + _exact(price.second) * _exact(DEFAULT_VIDEO_SECONDS if seconds is None else seconds)


def _requested_seconds(options: dict[str, Any]) -> float | None:
    """How long a video was asked for; None when nobody said, or nothing that can be counted."""
    seconds, frames, fps = (_positive_number(options.get(name)) for name in ("seconds", "num_frames", "fps"))
    if seconds is not None:
        return seconds
    return frames / (fps or DEFAULT_FPS) if frames is not None else None


def _positive_number(value: Any) -> float | None:
    is_valid = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 100_000
    return float(value) if is_valid else None


def _is_plausible(usd: float) -> bool:
    return math.isfinite(usd) and usd >= 0


# -- after ------------------------------------------------------------------------------------------------------------


class Charge(NamedTuple):
    """What an order came to. ``charged`` is in USD; None: something was bought, and nobody told any price of it."""

    charged_usd: float | None
    images: int
    videos: int


def actual_cost(jobs: Sequence[Job], generation: Generation, config: Config) -> Charge:
    """What was really bought.

    A cost reported in USD counts as reported. What was bought at a price that nobody told counts at the configured
    price, else at its share of what was set aside. A job that was sent again out of a doubt may be billed each time.
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
    """How long the video of a job is, as it was asked of the provider."""
    submitted: GenerationRequest = job.provider_request or job.request
    return _requested_seconds({"seconds": submitted.seconds, "num_frames": submitted.num_frames, "fps": submitted.fps})
