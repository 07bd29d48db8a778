"""Rate limit: a token bucket per key, in memory, and OpenAI's response headers that report its state.

A bucket holds the requests of one minute and refills evenly: bursts are allowed, and no client is blocked for long.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BUCKETS = 10_000  # above it, full buckets are dropped: a missing bucket is a full one
STATE_KEY = "rate_headers"  # name in ``request.state`` of the headers for the response


class RateLimitResult(NamedTuple):
    """Result for one request, and the state of its bucket. ``retry_after`` and ``resets_in`` are in seconds."""

    allowed: bool
    limit: int
    remaining: int
    retry_after: float
    resets_in: float

    def headers(self) -> dict[str, str]:
        """Return the response headers that OpenAI's clients read."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": format_duration(self.resets_in),
        }


class TokenBucketLimiter:
    """The buckets of all keys. ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # by key: tokens, and when they were counted

    def acquire(self, key: str, limit: int) -> RateLimitResult:
        """Take a token for one request; ``limit`` is in requests per minute. A rejected request costs nothing."""
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
    """Format seconds as OpenAI's headers do: ``250ms``, ``12s``, ``1m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, remainder = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{remainder}s" if minutes else f"{remainder}s"


class RateLimitHeadersMiddleware:
    """ASGI middleware: adds the rate limit headers, set during authentication, to every response, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
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
