"""Money: what an order may cost, what it came to, and the sentence for a limit that it would break. Pure.

Money is added up in whole micro-USD; a price is rounded up, a limit down, so that rounding never spends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hfmedia.core.costs import bought
from hfmedia.core.errors import HfmediaError, InvalidRequestError
from hfmedia.core.job import Job
from hfmedia.core.request import Choice, Request, Task, parse_choice
from hfmedia.options import DEFAULT_MODELS
from hfmedia.providers import PROVIDERS
from hfmedia.server.config import Config, Price

from .orders import Ask, Kind, Order

if TYPE_CHECKING:
    from hfmedia.server.errors import Refusal

MICRO = 1_000_000
DUST = Decimal("0.000001")  # micro-USD: what a sum of floats is off by is no money
MOST_MICRO = 10**15  # a thousand million USD: more is no price, and sums stay far below what SQLite can hold
LONG_VIDEO = 10.0  # seconds: what is set aside for a video of unsaid length, where seconds are what is paid
USUAL_RATE = 16.0  # frames a second, where only frames were asked for; the lowest that the models use
SOON = 60.0  # seconds: a limit that resets so soon is worth a client's waiting
LimitName = Literal["images_per_day", "videos_per_day", "usd_per_month"]
Observed = Callable[[str, str], float | None]


def micro(usd: float, *, down: bool = False) -> int:
    """USD as whole micro-USD, never below zero: rounded up, or down for a limit."""
    if math.isnan(usd) or usd <= 0:
        return 0
    if usd * MICRO >= MOST_MICRO:
        return MOST_MICRO
    exact = (_exact(usd) * MICRO).quantize(DUST)
    return int(exact.to_integral_value(ROUND_FLOOR if down else ROUND_CEILING))


def _exact(usd: float) -> Decimal:
    """A number as it is written, not as a float has it: three times 0.1 is 0.3."""
    return Decimal(repr(float(usd)))


def dollars(amount: int) -> float:
    """Micro-USD as USD."""
    return amount / MICRO


def told(amount: int) -> str:
    """Micro-USD for people: ``$1.50``, ``$0.0375``."""
    whole, part = divmod(amount, MICRO)
    digits = f"{part:06d}"
    return f"${whole}.{digits[:2]}{digits[2:].rstrip('0')}"


# -- time -------------------------------------------------------------------------------------------------------------


class Window(NamedTuple):
    """A stretch of time for which a limit holds, in unix seconds: from ``begins`` until just before ``resets``."""

    begins: float
    resets: float


def day_of(now: float) -> Window:
    """The day in UTC that a time lies in."""
    begins = now // 86_400 * 86_400
    return Window(begins, begins + 86_400)


def month_of(now: float) -> Window:
    """The month in UTC that a time lies in."""
    here = datetime.fromtimestamp(now, UTC)
    following = (here.year + here.month // 12, here.month % 12 + 1)
    begins, resets = (datetime(year, month, 1, tzinfo=UTC) for year, month in ((here.year, here.month), following))
    return Window(begins.timestamp(), resets.timestamp())


def clock(at: float) -> str:
    """A time as a sentence tells it: ``2026-12-01 00:00 UTC``."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


# -- errors -----------------------------------------------------------------------------------------------------------

_MAY = {"images_per_day": "make {} images a day", "videos_per_day": "make {} videos a day",
        "usd_per_month": "spend {} a month"}  # fmt: skip


class OverLimitError(HfmediaError):
    """A limit of a gateway key does not allow an order; nothing was sent.

    Attributes:
        name: of the limit.
        limit, used: its number and how much of it is taken; USD for money.
        resets: when it resets, in unix seconds; None when that would not help: the order alone is beyond it.
    """

    def __init__(self, name: LimitName, key: str, *, limit: int, used: int, wanted: int, resets: float, now: float):
        money = name == "usd_per_month"

        def say(count: int) -> str:
            return told(count) if money else str(count)

        may = f"the key {key!r} may {_MAY[name].format(say(limit))}"
        never = wanted > limit
        if never:
            asks = f"may cost {say(wanted)}" if money else f"is for {wanted}"
            words = f"{may}, and this order alone {asks}: it can never be made with this key. Ask for less"
        else:
            taken = f"{say(used)} {'is' if money or used == 1 else 'are'} used or set aside"
            more = f"may cost {say(wanted)} more" if money else f"is for {wanted} more"
            words = f"{may}: {taken}, and this order {more}. The limit resets at {clock(resets)}"
        super().__init__(f"{words}; nothing was sent")
        self.name, self.never = name, never
        self.limit: float = dollars(limit) if money else limit
        self.used: float = dollars(used) if money else used
        self.resets = None if never else resets
        self._after = None if never else max(1.0, resets - now)

    @property
    def refusal(self) -> Refusal:
        """What it is over HTTP: 429, and whether a client may try again by itself."""
        from hfmedia.server.errors import LIMIT, Refusal

        code = "insufficient_quota" if self.name == "usd_per_month" else "rate_limit_exceeded"
        extra = {"limit": self.name, "limit_value": self.limit, "used": self.used, "resets_at": self.resets}
        return Refusal(
            429,
            self.message,
            type=LIMIT,
            code=code,
            retry=self._after is not None and self._after <= SOON,
            retry_after=self._after,
            extra=extra,
        )


class KeyReusedError(InvalidRequestError):
    """An idempotency key came back with another request; nothing was sent."""

    def __init__(self) -> None:
        words = "this idempotency key was used for another request; take a new one for a new request"
        super().__init__(f"{words}, or send the first again unchanged")

    @property
    def refusal(self) -> Refusal:
        """What it is over HTTP: 422, never to be sent again by itself."""
        from hfmedia.server.errors import Refusal

        return Refusal(422, self.message, code="idempotency_key_reused", retry=False)


# -- before -----------------------------------------------------------------------------------------------------------


def price_of(ask: Ask, config: Config, observed: Observed, *, kind: Kind | None = None) -> float:
    """USD to be set aside for all outputs of an order, before it is known who makes it.

    The configured price goes first, then what that provider was seen to charge here, then what the configuration sets
    aside where nobody knows. Where the choice leaves several open, it is the dearest of them. ``kind`` tells what comes
    out where the order names no task.
    """
    return float(_one(ask, config, observed, kind) * ask.n)


def _one(ask: Ask, config: Config, observed: Observed, kind: Kind | None) -> Decimal:
    seconds = _seconds_asked(ask.options)
    unknown = _exact(_set_aside(ask, config, kind))
    amounts: list[Decimal] = []
    for choice in _choices(ask):
        price = _price(choice, config.prices)
        if price is not None:
            amounts.append(_amount(price, seconds))
            continue
        names = (choice.provider,) if choice.provider else tuple(PROVIDERS)
        seen = [cost for name in names if (cost := observed(name, choice.model)) is not None and _sane(cost)]
        amounts.append(_exact(max(seen)) if seen else unknown)
    return max(amounts, default=unknown)


def _set_aside(ask: Ask, config: Config, kind: Kind | None) -> float:
    made = kind or (ask.task.rpartition("-")[2] if ask.task else None)
    if made is None:
        return max(config.reserve.image, config.reserve.video)
    return config.reserve.video if made == "video" else config.reserve.image


def _choices(ask: Ask) -> Iterable[Choice]:
    """The models that may make it: the one named, else those asked for when none is."""
    if ask.model:
        try:
            return (parse_choice(ask.model),)
        except InvalidRequestError:
            return ()  # it will be refused before anything is bought
    task: Task = ask.task or ("image-to-image" if ask.image else "text-to-image")
    return [Choice(model) for model in DEFAULT_MODELS[task]]


def _price(choice: Choice, prices: dict[str, Price]) -> Price | None:
    """The configured price: that of the provider, that of the model, else the dearest of the model's providers."""
    for name in (f"{choice.model}:{choice.provider}" if choice.provider else "", choice.model):
        if name in prices:
            return prices[name]
    if choice.provider:
        return None
    some = [price for name, price in prices.items() if name.startswith(f"{choice.model}:")]
    return max(some, key=lambda price: (_amount(price, None), price.second)) if some else None


def _amount(price: Price, seconds: float | None) -> Decimal:
    return _exact(price.output) + _exact(price.second) * _exact(LONG_VIDEO if seconds is None else seconds)


def _seconds_asked(options: dict[str, Any]) -> float | None:
    """How long a video was asked for; None when nobody said, or nothing that can be counted."""
    seconds, frames, rate = (_number(options.get(name)) for name in ("seconds", "num_frames", "fps"))
    if seconds is not None:
        return seconds
    return frames / (rate or USUAL_RATE) if frames is not None else None


def _number(value: Any) -> float | None:
    fit = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 100_000
    return float(value) if fit else None


def _sane(usd: float) -> bool:
    return math.isfinite(usd) and usd >= 0


# -- after ------------------------------------------------------------------------------------------------------------


class Charge(NamedTuple):
    """What an order came to. ``charged`` is in USD; None: something was bought, and nobody told any price of it."""

    charged: float | None
    images: int
    videos: int


def charge_of(jobs: Sequence[Job], order: Order, config: Config) -> Charge:
    """What was really bought.

    A cost reported in USD counts as reported. What was bought at a price that nobody told counts at the configured
    price, else at its share of what was set aside. A job that was sent again out of a doubt may be billed each time.
    """
    share = math.ceil(micro(order.reserved) / max(1, order.n))
    total, informed, paid = 0, False, 0
    for job in jobs:
        times = bought(job)
        if not times:
            continue
        paid += 1
        reported = _reported(job)
        if reported is not None:
            total, times, informed = total + reported, times - 1, True
        if times:
            price = _price(_made_by(job), config.prices)
            informed = informed or price is not None or times > 1
            total += times * (share if price is None else micro(float(_amount(price, _seconds_made(job)))))
    images, videos = (paid, 0) if order.kind == "image" else (0, paid)
    return Charge(None if paid and not informed else dollars(total), images, videos)


def _reported(job: Job) -> int | None:
    cost = job.cost
    return micro(cost.amount) if cost is not None and cost.unit == "USD" and _sane(cost.amount) else None


def _made_by(job: Job) -> Choice:
    return Choice(job.request.model, provider=job.route.provider if job.route else None)


def _seconds_made(job: Job) -> float | None:
    """How long the video of a job is, as it was asked of the provider."""
    sent: Request = job.sent_request or job.request
    return _seconds_asked({"seconds": sent.seconds, "num_frames": sent.num_frames, "fps": sent.fps})
