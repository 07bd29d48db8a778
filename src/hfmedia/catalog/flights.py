"""Single flight: whoever wants what is already being fetched waits for that, instead of asking again.

A flight outlives any one waiter, and ends when nobody waits any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """What is under way, by key."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}
        self._waiting: dict[asyncio.Task[T], int] = {}

    async def join(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the flight of that key, begun with ``start`` when there is none; its error, if it fails."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(start(), name=f"hfmedia catalog {key}")
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        self._waiting[task] = self._waiting.get(task, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[task] -= 1
            if not self._waiting[task]:
                del self._waiting[task]
                if not task.done():
                    self._land(key, task)  # a newcomer must not join what is being cancelled
                    task.cancel()

    def _land(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
