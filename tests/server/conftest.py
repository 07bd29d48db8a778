"""A real gateway on loopback, in a thread of its own, in front of a simulated world in another one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import structs

from hfmedia.server.config import Config
from tests.support.gateway import RunningGateway, Serve
from tests.support.sandbox_thread import SandboxThread


@pytest.fixture(scope="session")
def beside() -> Iterator[SandboxThread]:
    """One simulated world for all tests of the gateway, fifty times as fast as life."""
    made = SandboxThread()
    made.open(speed=50)
    yield made
    made.close()


@pytest.fixture
def serve(beside: SandboxThread, tmp_path: Path) -> Iterator[Serve]:
    """Starts a gateway with these fields of its Config, in a home of its own unless another one is named."""
    beside.run(beside.sandbox.clear)
    begun: list[RunningGateway] = []

    def start(*, home: Path | None = None, environ: Mapping[str, str] | None = None, **fields: Any) -> RunningGateway:
        told = {**os.environ, **beside.sandbox.environment, "HFMEDIA_HOME": str(home or tmp_path / "home")}
        config = structs.replace(Config(port=0), **fields)
        served = RunningGateway(config, {**told, **(environ or {})}, beside)
        begun.append(served)
        return served

    yield start
    for served in begun:
        served.close()


@pytest.fixture(scope="module")
def lasting(beside: SandboxThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway for a whole module; its limits are low, so that what breaks them need not be large."""
    home = {"HFMEDIA_HOME": str(tmp_path_factory.mktemp("home"))}
    config = structs.replace(Config(port=0), max_body_bytes=800_000, max_upload_bytes=200_000)
    served = RunningGateway(config, {**os.environ, **beside.sandbox.environment, **home}, beside)
    yield served
    served.close()


@pytest.fixture
def shared(lasting: RunningGateway) -> RunningGateway:
    """That gateway, for tests that leave nothing behind which another would see; the world has forgotten all."""
    lasting.sandbox_thread.run(lasting.sandbox.clear)
    return lasting


@pytest.fixture
def gateway(serve: Serve) -> RunningGateway:
    """A gateway without keys, as it is out of the box."""
    return serve()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A session to ask it with."""
    async with aiohttp.ClientSession() as session:
        yield session
