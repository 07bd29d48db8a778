"""A sandbox in its own thread, so that the program under test owns the main thread and its signals."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from hfmedia.sandbox import Sandbox

from .waiting_jobs import finish_waiting_jobs


class SandboxThread:
    """A sandbox served by another thread; every access to it runs there."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    async def _open(self, speed: float) -> Sandbox:
        return await Sandbox(port=0, speed=speed).__aenter__()

    def open(self, speed: float) -> None:
        """Starts the sandbox."""
        self.sandbox = asyncio.run_coroutine_threadsafe(self._open(speed), self.loop).result(20)

    def run(self, func: Callable[[], Any]) -> Any:
        """Runs a function in the sandbox's thread and returns its result."""

        async def call() -> Any:
            return func()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(20)

    def fault(self, provider: str, kind: str, **options: Any) -> None:
        """Injects a fault."""
        self.run(lambda: self.sandbox.fault(provider, kind, **options))

    def finish_waiting_jobs(self) -> None:
        """Completes every job that waits in a queue of the sandbox."""
        self.run(lambda: finish_waiting_jobs(self.sandbox.state))

    def request_count(self, kind: str) -> int:
        """The number of requests of a kind that have arrived."""
        return int(self.run(lambda: sum(request.kind == kind for request in self.sandbox.requests)))

    def close(self) -> None:
        """Stops the sandbox and its thread."""
        asyncio.run_coroutine_threadsafe(self.sandbox.__aexit__(None, None, None), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()
