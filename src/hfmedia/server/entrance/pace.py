"""Requests a minute: a bucket for each key, in memory, and the headers that tell how full it is.

A bucket holds a minute's worth and fills evenly: a quiet client may be quick, a busy one is never locked out for long.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BUCKETS = 10_000  # beyond it, full ones are thrown away: they say nothing
STATE = "rate_headers"  # where a request keeps the headers for its answer


class Pass(NamedTuple):
    """Whether a request may go on, and how the bucket stands: seconds until the next one may, and until it is full."""

    granted: bool
    limit: int
    remaining: int
    after: float
    full: float

    def headers(self) -> dict[str, str]:
        """The headers that OpenAI's clients read."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": span(self.full),
        }


class Pace:
    """The buckets. ``clock`` gives seconds that never run backwards."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # by key: how many were left, and when

    def take(self, key: str, limit: int) -> Pass:
        """One request of a key that may make so many a minute. A refused one costs nothing."""
        now, rate = self._clock(), limit / 60
        left, then = self._buckets.get(key, (float(limit), now))
        left = min(float(limit), left + (now - then) * rate)
        granted = left >= 1 - 1e-9
        left = max(0.0, left - 1) if granted else left
        if key not in self._buckets and len(self._buckets) >= MOST_BUCKETS:
            self._tidy(now)
        self._buckets[key] = (left, now)
        return Pass(granted, limit, int(left + 1e-9), max(0.0, (1 - left) / rate), (limit - left) / rate)

    def _tidy(self, now: float) -> None:
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if now - bucket[1] < 60}


def span(seconds: float) -> str:
    """A stretch of time as OpenAI's headers have it: ``250ms``, ``12s``, ``1m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


class RateHeaders:
    """ASGI middleware: puts the headers that the gate left with a request on its answer, whatever that is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carries one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def answer(message: Message) -> None:
            told: Mapping[str, str] | None = state.get(STATE)
            if message["type"] == "http.response.start" and told:
                headers = MutableHeaders(scope=message)
                for name, value in told.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, answer)
