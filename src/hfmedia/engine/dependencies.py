"""Everything the engine reaches the outside world through, injected so that tests can replace each part."""

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
from hfmedia.ids import new_id
from hfmedia.ledger import Ledger


class HealthTracker(Protocol):
    """Tracks failing providers so that new jobs try healthy ones first."""

    def cool_down(self, provider: str, seconds: float) -> None:
        """Skip this provider for that many seconds."""
        ...

    def mark_healthy(self, provider: str) -> None:
        """End the cooldown of this provider."""
        ...


def _unlimited(provider: str) -> AbstractAsyncContextManager[object]:
    return nullcontext()


def _ignore_stats(route: Route, seconds: float, cost: Cost | None) -> None:
    return None


async def _no_estimate(route: Route) -> float | None:
    return None


class EngineDependencies(Struct, frozen=True, kw_only=True):
    """The parts that the engine uses but does not own.

    Attributes:
        clock: returns unix seconds.
        random_float: returns a number in [0, 1).
        new_id: returns a new job id that sorts by age.
        slot: a context manager that holds a concurrency slot at a provider while a job runs there.
        record_stats: receives the duration (in seconds) and the cost of each completed job.
        expected_duration: returns how many seconds such jobs take from submission, None when unknown.
        router_headers: sent to the router only.
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
