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

from hfmedia.core.answers import Cost, Route
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.retry import LONGEST_RETRY_AFTER
from hfmedia.core.sizes import shown

SAMPLES = 32  # of each provider and model: enough for a median, few enough to follow a change within the hour
MOST_KNOWN = 1024  # pairs of provider and model remembered
MOST_AT_ONCE = 10_000  # jobs at one provider; beyond this a mistake is likelier than a wish


class Health:
    """Which providers failed, and for how long they are left alone. ``clock`` is in seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def rest(self, provider: str, seconds: float) -> None:
        """Leave this provider alone for so many seconds, an hour at most; a longer rest given before stands."""
        if seconds > 0:
            until = self._clock() + min(seconds, LONGEST_RETRY_AFTER)
            self._until[provider] = max(until, self._until.get(provider, until))

    def resting(self, provider: str) -> float:
        """Seconds for which it is still to be left alone; 0 when it is not."""
        left = self._until.get(provider, 0.0) - self._clock()
        if left <= 0:
            self._until.pop(provider, None)
        return max(0.0, left)

    def ok(self, provider: str) -> None:
        """It works: there is nothing to rest from."""
        self._until.pop(provider, None)


class _Samples(Struct):
    seconds: deque[float]
    dollars: deque[float]


class Observed:
    """How long finished jobs took and what they cost, by provider and model, as medians of the latest."""

    def __init__(self) -> None:
        self._samples: OrderedDict[tuple[str, str], _Samples] = OrderedDict()

    def add(self, route: Route, seconds: float, cost: Cost | None) -> None:
        """Remembers one finished job. Only costs in USD can be compared, so others are not remembered."""
        key = (route.provider, route.model)
        samples = self._samples.setdefault(key, _Samples(deque(maxlen=SAMPLES), deque(maxlen=SAMPLES)))
        self._samples.move_to_end(key)
        if math.isfinite(seconds) and seconds >= 0:
            samples.seconds.append(seconds)
        if cost is not None and cost.unit == "USD" and math.isfinite(cost.amount):
            samples.dollars.append(cost.amount)
        while len(self._samples) > MOST_KNOWN:
            self._samples.popitem(last=False)

    def seconds(self, provider: str, model: str) -> float | None:
        """The median of the seconds a job took there; None when nothing is known."""
        samples = self._samples.get((provider, model))
        return median(samples.seconds) if samples and samples.seconds else None

    def dollars(self, provider: str, model: str) -> float | None:
        """The median of the reported costs in USD; None when nothing is known."""
        samples = self._samples.get((provider, model))
        return median(samples.dollars) if samples and samples.dollars else None


class Slots:
    """How many jobs may be at one provider at once: a number for each of them, or one for each name; None: no limit."""

    def __init__(self, limits: int | Mapping[str, int] | None = None) -> None:
        for limit in limits.values() if isinstance(limits, Mapping) else () if limits is None else (limits,):
            if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_AT_ONCE:  # pyright: ignore[reportUnnecessaryIsInstance] - a caller's
                raise InvalidRequestError(f"concurrency is {shown(limit)}, but must be 1 to {MOST_AT_ONCE}")
        self._limits = dict(limits) if isinstance(limits, Mapping) else limits
        self._slots: dict[str, asyncio.Semaphore] = {}

    def hold(self, provider: str) -> AbstractAsyncContextManager[object]:
        """A place at the provider for as long as the block lasts; entering waits until one is free."""
        limit = self._limits.get(provider) if isinstance(self._limits, dict) else self._limits
        if limit is None:
            return nullcontext()
        return self._slots.setdefault(provider, asyncio.Semaphore(limit))
