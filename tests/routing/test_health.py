"""Cooldowns, statistics and concurrency limits of providers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.protocol import Cost, Route
from hfmedia.routing import ConcurrencyLimiter, ProviderHealth, ProviderStats
from hfmedia.routing import stats as stats_module


def test_a_cooldown_ends_after_its_time_or_by_success() -> None:
    """The longer of two cooldowns counts."""
    now = 0.0
    health = ProviderHealth(lambda: now)
    assert health.cooldown_remaining("fal-ai") == 0
    health.cool_down("fal-ai", 30)
    health.cool_down("fal-ai", 10)
    assert health.cooldown_remaining("fal-ai") == 30
    now = 29
    assert health.cooldown_remaining("fal-ai") == 1
    now = 30
    assert health.cooldown_remaining("fal-ai") == 0
    health.cool_down("fal-ai", 30)
    health.mark_healthy("fal-ai")
    assert health.cooldown_remaining("fal-ai") == 0
    health.mark_healthy("unknown")


@pytest.mark.parametrize(
    ("seconds", "remaining"), [(0, 0), (-5, 0), (10**9, 3600), (float("inf"), 3600), (float("nan"), 0)]
)
def test_no_cooldown_is_longer_than_an_hour(seconds: float, remaining: float) -> None:
    """Whatever a server says."""
    health = ProviderHealth(lambda: 0.0)
    health.cool_down("fal-ai", seconds)
    assert health.cooldown_remaining("fal-ai") == remaining


def route(provider: str = "fal-ai", model: str = "acme/kite") -> Route:
    return Route(
        provider=provider,
        provider_id="x",
        model=model,
        task="text-to-image",
        base_url="https://h",
        credential="HF_TOKEN",
    )


def test_medians_are_of_the_recorded_samples() -> None:
    """One slow job says little; costs in other units cannot be compared."""
    stats = ProviderStats()
    assert (stats.median_seconds("fal-ai", "acme/kite"), stats.median_usd("fal-ai", "acme/kite")) == (None, None)
    for seconds, cost in ((1, Cost(0.1)), (2, None), (90, Cost(5, "fal-units")), (float("nan"), Cost(float("inf")))):
        stats.add(route(), seconds, cost)
    assert stats.median_seconds("fal-ai", "acme/kite") == 2
    assert stats.median_usd("fal-ai", "acme/kite") == 0.1
    assert stats.median_seconds("fal-ai", "acme/swan") is None


def test_old_samples_and_old_pairs_are_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that became faster shows it soon; memory stays bounded."""
    monkeypatch.setattr(stats_module, "MAX_TRACKED_MODELS", 3)
    stats = ProviderStats()
    for number in range(100):
        stats.add(route(), 100 - number, None)
    assert stats.median_seconds("fal-ai", "acme/kite") == pytest.approx(16.5)
    for number in range(3):
        stats.add(route(model=f"m{number}"), 1, None)
    assert stats.median_seconds("fal-ai", "acme/kite") is None


@pytest.mark.parametrize(
    ("limits", "most"),
    [(None, 8), (2, 2), ({"fal-ai": 3}, 3), ({"replicate": 1}, 8)],
    ids=["none", "all", "one", "other"],
)
async def test_no_more_jobs_than_the_limit_run_at_one_provider(limits: Any, most: int) -> None:
    """The others wait, and all of them get their turn."""
    limiter = ConcurrencyLimiter(limits)
    inside, highest = 0, 0

    async def work() -> None:
        nonlocal inside, highest
        async with limiter.slot("fal-ai"):
            inside += 1
            highest = max(highest, inside)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(8)))
    assert (highest, inside) == (most, 0)


async def test_each_provider_has_its_own_slots() -> None:
    """A full one does not hold up another."""
    limiter = ConcurrencyLimiter(1)
    async with limiter.slot("fal-ai"), asyncio.timeout(5), limiter.slot("replicate"):
        pass


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "2", 10**6, {"fal-ai": 0}])
def test_an_invalid_limit_is_rejected(limit: Any) -> None:
    """The message names the valid range."""
    with pytest.raises(InvalidRequestError, match="must be 1 to"):
        ConcurrencyLimiter(limit)
