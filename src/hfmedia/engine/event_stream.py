"""The events of one call as an async iterator over one queue, and the tasks that produce them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from .events import Event


class EventStream:
    """Iterates over the events of one ``generate`` or ``resume`` call; closing it cancels the jobs that still run.

    A plain object instead of another async generator: an event crosses one queue between a job and the caller. It
    starts with the first step, ends when every job has, and closes itself when iterating fails or is cancelled.
    """

    def __init__(self, start: Callable[[EventStream], Awaitable[None]]) -> None:
        self._start: Callable[[EventStream], Awaitable[None]] | None = start
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._active = 0

    def emit(self, event: Event) -> None:
        """Append an event."""
        self._queue.put_nowait(event)

    def run(self, job: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task whose end counts as the end of one job."""
        task = asyncio.create_task(job, name=name)
        self._tasks.append(task)
        self._active += 1
        task.add_done_callback(lambda _: self._queue.put_nowait(None))
        return task

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        try:
            start, self._start = self._start, None
            if start is not None:
                await start(self)
            while self._active:
                event = await self._queue.get()
                if event is not None:
                    return event
                self._active -= 1
        except BaseException:
            await self.aclose()
            raise
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel the jobs that still run and wait for them; events that were not read are dropped."""
        self._start, self._active = None, 0
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
