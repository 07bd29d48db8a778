"""What one process remembers of providers: which of them rest, how fast and dear they were, how much runs there now.

All of it is small, bounded, and gone with the process.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from statistics import median

from msgspec import Struct

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.protocol import Cost, Route
from hfmedia.core.retry import MAX_RETRY_AFTER
from hfmedia.core.text import truncated_repr

MAX_SAMPLES = 32  # of each provider and model: enough for a median, few enough to follow a change within the hour
MAX_TRACKED_MODELS = 1024  # pairs of provider and model remembered
MAX_CONCURRENCY = 10_000  # jobs at one provider; beyond this a mistake is likelier than a wish


class ProviderHealth:
    """Which providers failed, and for how long they are left alone. ``clock`` is in seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cooldown_until: dict[str, float] = {}

    def cool_down(self, provider: str, seconds: float) -> None:
        """Leave this provider alone for so many seconds, an hour at most; a longer rest given before stands."""
        if seconds > 0:
            until = self._clock() + min(seconds, MAX_RETRY_AFTER)
            self._cooldown_until[provider] = max(until, self._cooldown_until.get(provider, until))

    def cooldown_remaining(self, provider: str) -> float:
        """Seconds for which it is still to be left alone; 0 when it is not."""
        remaining = self._cooldown_until.get(provider, 0.0) - self._clock()
        if remaining <= 0:
            self._cooldown_until.pop(provider, None)
        return max(0.0, remaining)

    def mark_healthy(self, provider: str) -> None:
        """It works: there is nothing to rest from."""
        self._cooldown_until.pop(provider, None)


class _Samples(Struct):
    seconds: deque[float]
    usd: deque[float]


class ProviderStats:
    """How long finished jobs took and what they cost, by provider and model, as medians of the latest."""

    def __init__(self) -> None:
        self._samples: OrderedDict[tuple[str, str], _Samples] = OrderedDict()

    def add(self, route: Route, seconds: float, cost: Cost | None) -> None:
        """Remembers one finished job. Only costs in USD can be compared, so others are not remembered."""
        key = (route.provider, route.model)
        samples = self._samples.setdefault(key, _Samples(deque(maxlen=MAX_SAMPLES), deque(maxlen=MAX_SAMPLES)))
        self._samples.move_to_end(key)
        if math.isfinite(seconds) and seconds >= 0:
            samples.seconds.append(seconds)
        if cost is not None and cost.unit == "USD" and math.isfinite(cost.amount):
            samples.usd.append(cost.amount)
        while len(self._samples) > MAX_TRACKED_MODELS:
            self._samples.popitem(last=False)

    def median_seconds(self, provider: str, model: str) -> float | None:
        """The median of the seconds a job took there; None when nothing is known."""
        samples = self._samples.get((provider, model))
        return median(samples.seconds) if samples and samples.seconds else None

    def median_usd(self, provider: str, model: str) -> float | None:
        """The median of the reported costs in USD; None when nothing is known."""
        samples = self._samples.get((provider, model))
        return median(samples.usd) if samples and samples.usd else None


class ConcurrencyLimiter:
    """How many jobs may be at one provider at once: a number for each of them, or one for each name; None: no limit."""

    def __init__(self, limits: int | Mapping[str, int] | None = None) -> None:
        for limit in limits.values() if isinstance(limits, Mapping) else () if limits is None else (limits,):
            if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_CONCURRENCY:  # pyright: ignore[reportUnnecessaryIsInstance] - a caller's
                raise InvalidRequestError(f"concurrency is {truncated_repr(limit)}, but must be 1 to {MAX_CONCURRENCY}")
        self._limits = dict(limits) if isinstance(limits, Mapping) else limits
        self._semaphores: dict[str, asyncio.Semaphore] = {}

    def slot(self, provider: str) -> AbstractAsyncContextManager[object]:
        """A place at the provider for as long as the block lasts; entering waits until one is free."""
        limit = self._limits.get(provider) if isinstance(self._limits, dict) else self._limits
        if limit is None:
            return nullcontext()
        return self._semaphores.setdefault(provider, asyncio.Semaphore(limit))
