"""ProviderHealth and ConcurrencyLimiter: cooldowns of failing providers, and the limit of concurrent jobs at each.

Both are small and live in memory only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.retry import MAX_RETRY_AFTER
from hfmedia.core.text import truncated_repr

MAX_CONCURRENCY = 10_000  # jobs at one provider; a larger number is more likely a mistake


class ProviderHealth:
    """Tracks which providers failed, and until when to try others first. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cooldown_until: dict[str, float] = {}

    def cool_down(self, provider: str, seconds: float) -> None:
        """Start a cooldown of at most one hour; it never shortens one that is running."""
        if seconds > 0:
            until = self._clock() + min(seconds, MAX_RETRY_AFTER)
            self._cooldown_until[provider] = max(until, self._cooldown_until.get(provider, until))

    def cooldown_remaining(self, provider: str) -> float:
        """Return the seconds left of a provider's cooldown, 0 when there is none."""
        remaining = self._cooldown_until.get(provider, 0.0) - self._clock()
        if remaining <= 0:
            self._cooldown_until.pop(provider, None)
        return max(0.0, remaining)

    def mark_healthy(self, provider: str) -> None:
        """End a provider's cooldown, because a request to it succeeded."""
        self._cooldown_until.pop(provider, None)


class ConcurrencyLimiter:
    """Limits concurrent jobs per provider: one number for each of them, or a number by name; None means no limit.

    Raises InvalidRequestError for a limit outside of 1 to 10,000.
    """

    def __init__(self, limits: int | Mapping[str, int] | None = None) -> None:
        for limit in limits.values() if isinstance(limits, Mapping) else () if limits is None else (limits,):
            if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_CONCURRENCY:  # pyright: ignore[reportUnnecessaryIsInstance] - passed in by callers
                raise InvalidRequestError(f"concurrency is {truncated_repr(limit)}, but must be 1 to {MAX_CONCURRENCY}")
        self._limits = dict(limits) if isinstance(limits, Mapping) else limits
        self._semaphores: dict[str, asyncio.Semaphore] = {}

    def slot(self, provider: str) -> AbstractAsyncContextManager[object]:
        """Return a context manager that holds a slot at the provider; entering it waits until one is free."""
        limit = self._limits.get(provider) if isinstance(self._limits, dict) else self._limits
        if limit is None:
            return nullcontext()
        return self._semaphores.setdefault(provider, asyncio.Semaphore(limit))
