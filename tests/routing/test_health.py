"""What one process remembers: who rests, who was fast, and how many are there at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.protocol import Cost, Route
from hfmedia.routing import ConcurrencyLimiter, ProviderHealth, ProviderStats
from hfmedia.routing import health as memory_module


def test_a_rest_ends_by_itself_or_by_success() -> None:
    """The longer of two rests stands."""
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
    health.mark_healthy("never heard of")


@pytest.mark.parametrize(
    ("seconds", "rests"), [(0, 0), (-5, 0), (10**9, 3600), (float("inf"), 3600), (float("nan"), 0)]
)
def test_no_rest_is_longer_than_an_hour(seconds: float, rests: float) -> None:
    """Whatever a server says."""
    health = ProviderHealth(lambda: 0.0)
    health.cool_down("fal-ai", seconds)
    assert health.cooldown_remaining("fal-ai") == rests


def route(provider: str = "fal-ai", model: str = "acme/kite") -> Route:
    return Route(
        provider=provider,
        provider_id="x",
        model=model,
        task="text-to-image",
        base_url="https://h",
        credential="HF_TOKEN",
    )


def test_medians_are_of_what_was_seen() -> None:
    """One slow job says little; costs in other units cannot be compared."""
    known = ProviderStats()
    assert (known.median_seconds("fal-ai", "acme/kite"), known.median_usd("fal-ai", "acme/kite")) == (None, None)
    for seconds, cost in ((1, Cost(0.1)), (2, None), (90, Cost(5, "fal-units")), (float("nan"), Cost(float("inf")))):
        known.add(route(), seconds, cost)
    assert known.median_seconds("fal-ai", "acme/kite") == 2
    assert known.median_usd("fal-ai", "acme/kite") == 0.1
    assert known.median_seconds("fal-ai", "acme/swan") is None


def test_old_samples_and_old_pairs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that became faster is seen to be; a long process does not grow."""
    monkeypatch.setattr(memory_module, "MAX_TRACKED_MODELS", 3)
    known = ProviderStats()
    for number in range(100):
        known.add(route(), 100 - number, None)
    assert known.median_seconds("fal-ai", "acme/kite") == pytest.approx(16.5)
    for number in range(3):
        known.add(route(model=f"m{number}"), 1, None)
    assert known.median_seconds("fal-ai", "acme/kite") is None


@pytest.mark.parametrize(
    ("limits", "most"),
    [(None, 8), (2, 2), ({"fal-ai": 3}, 3), ({"replicate": 1}, 8)],
    ids=["none", "all", "one", "other"],
)
async def test_no_more_than_so_many_are_at_one_provider(limits: Any, most: int) -> None:
    """The others wait, and all of them come to their turn."""
    slots = ConcurrencyLimiter(limits)
    inside, highest = 0, 0

    async def work() -> None:
        nonlocal inside, highest
        async with slots.slot("fal-ai"):
            inside += 1
            highest = max(highest, inside)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(8)))
    assert (highest, inside) == (most, 0)


async def test_each_provider_has_its_own_places() -> None:
    """A full one does not hold up another."""
    slots = ConcurrencyLimiter(1)
    async with slots.slot("fal-ai"), asyncio.timeout(5), slots.slot("replicate"):
        pass


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "2", 10**6, {"fal-ai": 0}])
def test_a_senseless_limit_is_refused(limit: Any) -> None:
    """With the range there is."""
    with pytest.raises(InvalidRequestError, match="must be 1 to"):
        ConcurrencyLimiter(limit)
