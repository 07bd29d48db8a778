"""Fixtures: a real gateway on loopback in its own thread, in front of a sandbox in another one."""

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
    """One sandbox for all tests of the gateway, fifty times as fast as real time."""
    sandbox_thread = SandboxThread()
    sandbox_thread.open(speed=50)
    yield sandbox_thread
    sandbox_thread.close()


@pytest.fixture
def serve(beside: SandboxThread, tmp_path: Path) -> Iterator[Serve]:
    """Start a gateway with these Config fields, in its own home unless another is given."""
    beside.run(beside.sandbox.clear)
    gateways: list[RunningGateway] = []

    def start(*, home: Path | None = None, environ: Mapping[str, str] | None = None, **fields: Any) -> RunningGateway:
        base_environ = {**os.environ, **beside.sandbox.environment, "HFMEDIA_HOME": str(home or tmp_path / "home")}
        config = structs.replace(Config(port=0), **fields)
        running = RunningGateway(config, {**base_environ, **(environ or {})}, beside)
        gateways.append(running)
        return running

    yield start
    for running in gateways:
        running.close()


@pytest.fixture(scope="module")
def lasting(beside: SandboxThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway for a whole module, with low limits so that tests can exceed them with little data."""
    home = {"HFMEDIA_HOME": str(tmp_path_factory.mktemp("home"))}
    config = structs.replace(Config(port=0), max_body_bytes=800_000, max_upload_bytes=200_000)
    running = RunningGateway(config, {**os.environ, **beside.sandbox.environment, **home}, beside)
    yield running
    running.close()


@pytest.fixture
def shared(lasting: RunningGateway) -> RunningGateway:
    """The module's gateway with a cleared sandbox, for tests that leave no state behind."""
    lasting.sandbox_thread.run(lasting.sandbox.clear)
    return lasting


@pytest.fixture
def gateway(serve: Serve) -> RunningGateway:
    """A gateway with the default configuration, without keys."""
    return serve()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session."""
    async with aiohttp.ClientSession() as session:
        yield session
