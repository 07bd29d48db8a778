"""A real gateway on loopback, in a thread of its own, in front of a simulated world in another one."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from msgspec import structs

from hfmedia.sandbox import Sandbox
from hfmedia.server.config import Config
from hfmedia.server.http.header_timeout import HeaderTimeoutProtocol
from tests.cli.conftest import SandboxThread

FLUX = "black-forest-labs/FLUX.1-schnell"
KONTEXT = "black-forest-labs/FLUX.1-Kontext-dev"
WAN = "Wan-AI/Wan2.2-T2V-A14B"


class RunningGateway:
    """A gateway that is being served. ``do`` runs a deed on its event loop and gives the result."""

    def __init__(self, config: Config, environ: Mapping[str, str], sandbox_thread: SandboxThread) -> None:
        from hfmedia.server.app import create_app  # FastAPI is loaded only where a gateway runs
        from hfmedia.server.gateway import Gateway

        self.sandbox, self.sandbox_thread, self.environ = sandbox_thread.sandbox, sandbox_thread, environ
        self.app = create_app(config, environ, sandbox=True)
        self.gateway: Gateway = self.app.state.gateway
        settings = uvicorn.Config(
            self.app,
            host=config.host,
            port=0,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            http=HeaderTimeoutProtocol,
            timeout_graceful_shutdown=5,
        )
        self.server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        self.loop: asyncio.AbstractEventLoop
        for _ in range(2000):
            if self.server.started:
                break
            threading.Event().wait(0.005)
        assert self.server.started, "the gateway did not start"
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.url}/v1"

    def fault(self, provider: str, kind: str, **options: Any) -> None:
        """Orders a fault in the simulated world."""
        self.sandbox_thread.fault(provider, kind, **options)

    async def finish_waiting_jobs(self, jobs: int = 1) -> None:
        """Completes every job that waits in a queue of the sandbox, as soon as that many submissions have arrived."""
        deadline = time.monotonic() + 30
        while self.submissions < jobs:
            assert time.monotonic() < deadline, self.submissions
            await asyncio.sleep(0.01)
        self.sandbox_thread.finish_waiting_jobs()

    @property
    def submissions(self) -> int:
        """How many submissions the simulated providers have seen."""
        return int(self.sandbox_thread.run(lambda: sum(self.sandbox.submissions.values())))

    def close(self) -> None:
        """Stops it gracefully."""
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the gateway did not stop"


@pytest.fixture(scope="session")
def beside() -> Iterator[SandboxThread]:
    """One simulated world for all tests of the gateway, fifty times as fast as life."""
    made = SandboxThread()
    made.open(speed=50)
    yield made
    made.close()


Serve = Callable[..., RunningGateway]


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


__all__ = ["FLUX", "KONTEXT", "WAN", "RunningGateway", "Sandbox"]
