"""What the catalog's tests share: a little Hub, a real transport to it, and a clock that a test turns by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hfmedia.catalog import Catalog, hub_client
from hfmedia.core.credentials import Credential, Secret
from hfmedia.transport import Transport

from ..support.fake_hub import TOKEN, FakeHub, mapping_entry


class ManualClock:
    """Time that passes only when code sleeps or a test advances it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without their waits."""
    monkeypatch.setattr(hub_client, "backoff", lambda attempt, jitter: 0.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """A Hub that knows three models on two pages."""
    async with FakeHub() as hub:
        hub.add("acme/kite", mapping_entry("fal-ai"), mapping_entry("replicate", status="staging"))
        hub.add("acme/sleeper", mapping_entry("together", status="error"))
        hub.add("acme/swan", mapping_entry("replicate", adapter="lora", adapterWeightsPath="swan.safetensors"))
        yield hub


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with Transport(environ={}) as transport:
        yield transport


Open = Callable[..., Catalog]


@pytest.fixture
def opened(hub: FakeHub, transport: Transport, clock: ManualClock, tmp_path: Path) -> Open:
    """Opens a catalog of the little Hub; ``token`` and ``folder`` (True: one on disk) to choose."""

    def open_catalog(*, token: str | None = None, folder: bool = False, ttl: float = 300) -> Catalog:
        credential = Credential(secret=Secret(token), base_url=hub.url) if token else None
        where = tmp_path / "cache" if folder else None
        return Catalog(
            transport, endpoint=hub.url, credential=credential, folder=where, clock=clock, sleep=clock.sleep, ttl=ttl
        )

    return open_catalog


__all__ = ["TOKEN", "ManualClock", "Open"]
