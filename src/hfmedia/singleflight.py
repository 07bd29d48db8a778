"""Single flight: whoever wants what is already being fetched waits for that, instead of asking again.

A flight outlives any one waiter, and ends when nobody waits any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """What is under way, by key."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}
        self._waiters: dict[asyncio.Task[T], int] = {}

    async def do(self, key: Hashable, func: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the flight of that key, begun with ``start`` when there is none; its error, if it fails."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(func(), name=f"hfmedia catalog {key}")
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        self._waiters[task] = self._waiters.get(task, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiters[task] -= 1
            if not self._waiters[task]:
                del self._waiters[task]
                if not task.done():
                    self._forget(key, task)  # a newcomer must not join what is being cancelled
                    task.cancel()

    def _forget(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
