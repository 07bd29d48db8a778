"""What the engine is given: the parts that touch the world, the memory of providers, and the limits of patience.

The engine itself owns none of them, so a test hands in its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from msgspec import Struct

from hfmedia.core.credentials import Credential
from hfmedia.core.ports import HttpSender, MediaFetcher, MediaStorage
from hfmedia.core.protocol import Cost, Route
from hfmedia.core.provider import Provider
from hfmedia.core.timeouts import Timeouts as Timeouts
from hfmedia.ids import new_id
from hfmedia.ledger import Ledger


class HealthTracker(Protocol):
    """Remembers which providers failed, so that the next job does not knock there first."""

    def cool_down(self, provider: str, seconds: float) -> None:
        """Leave this provider alone for so many seconds."""
        ...

    def mark_healthy(self, provider: str) -> None:
        """It works again."""
        ...


def _unlimited(provider: str) -> AbstractAsyncContextManager[object]:
    return nullcontext()


def _ignore_stats(route: Route, seconds: float, cost: Cost | None) -> None:
    return None


async def _no_estimate(route: Route) -> float | None:
    return None


class EngineDependencies(Struct, frozen=True, kw_only=True):
    """Everything the engine reaches the world through.

    ``clock`` gives unix seconds, ``dice`` a number in [0, 1), ``new_id`` a fresh job id that sorts by age. ``slot``
    holds a place at a provider while a job runs there. ``observe`` hears how long a finished job took and its cost;
    ``expect`` tells how many seconds such jobs take from being sent, None where nobody knows.
    """

    sender: HttpSender
    fetch: MediaFetcher
    storage: MediaStorage
    ledger: Ledger
    get_provider: Callable[[str], Provider]
    credential_for: Callable[[Route], Credential]
    health: HealthTracker
    router_headers: dict[str, str]
    slot: Callable[[str], AbstractAsyncContextManager[object]] = _unlimited
    record_stats: Callable[[Route, float, Cost | None], None] = _ignore_stats
    expected_duration: Callable[[Route], Awaitable[float | None]] = _no_estimate
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random_float: Callable[[], float] = random.random
    new_id: Callable[[], str] = new_id
