"""A real gateway on loopback, in its own thread, in front of a sandbox in another one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn

from hfmedia.server.config import Config
from hfmedia.server.http.header_timeout import HeaderTimeoutProtocol

from .sandbox_thread import SandboxThread


class RunningGateway:
    """A gateway served by its own thread."""

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
        """Injects a fault into the sandbox."""
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
        """The number of submissions that the sandbox's providers have received."""
        return int(self.sandbox_thread.run(lambda: sum(self.sandbox.submissions.values())))

    def close(self) -> None:
        """Stops the gateway gracefully."""
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the gateway did not stop"


Serve = Callable[..., RunningGateway]  # the `serve` fixture
