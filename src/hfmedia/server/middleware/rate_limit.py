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

MAX_BUCKETS = 10_000  # beyond it, full ones are thrown away: they say nothing
STATE_KEY = "rate_headers"  # where a request keeps the headers for its answer


class RateLimitResult(NamedTuple):
    """Whether a request may go on, and how the bucket stands: seconds until the next one may, and until it is full."""

    allowed: bool
    limit: int
    remaining: int
    retry_after: float
    resets_in: float

    def headers(self) -> dict[str, str]:
        """The headers that OpenAI's clients read."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": format_duration(self.resets_in),
        }


class TokenBucketLimiter:
    """The buckets. ``clock`` gives seconds that never run backwards."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # by key: how many were left, and when

    def acquire(self, key: str, limit: int) -> RateLimitResult:
        """One request of a key that may make so many a minute. A refused one costs nothing."""
        now, rate = self._clock(), limit / 60
        tokens, updated_at = self._buckets.get(key, (float(limit), now))
        tokens = min(float(limit), tokens + (now - updated_at) * rate)
        allowed = tokens >= 1 - 1e-9
        tokens = max(0.0, tokens - 1) if allowed else tokens
        if key not in self._buckets and len(self._buckets) >= MAX_BUCKETS:
            self._evict_full(now)
        self._buckets[key] = (tokens, now)
        return RateLimitResult(
            allowed, limit, int(tokens + 1e-9), max(0.0, (1 - tokens) / rate), (limit - tokens) / rate
        )

    def _evict_full(self, now: float) -> None:
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if now - bucket[1] < 60}


def format_duration(seconds: float) -> str:
    """A stretch of time as OpenAI's headers have it: ``250ms``, ``12s``, ``1m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, remainder = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{remainder}s" if minutes else f"{remainder}s"


class RateLimitHeadersMiddleware:
    """ASGI middleware: puts the headers that the gate left with a request on its answer, whatever that is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carries one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            rate_headers: Mapping[str, str] | None = state.get(STATE_KEY)
            if message["type"] == "http.response.start" and rate_headers:
                headers = MutableHeaders(scope=message)
                for name, value in rate_headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)
