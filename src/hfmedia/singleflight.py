"""Single flight: concurrent calls for the same key share one execution and its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Deduplicates concurrent calls by key.

    An execution survives the cancellation of any one caller. When the last caller is cancelled it is cancelled too, or
    runs to its end with ``finish_abandoned`` (for work in threads, which cannot be cancelled).
    """

    def __init__(self, *, finish_abandoned: bool = False) -> None:
        self._finish_abandoned = finish_abandoned
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}
        self._waiters: dict[asyncio.Task[T], int] = {}

    async def do(self, key: Hashable, func: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the running call for ``key``, or call ``func`` if there is none; its error is raised."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(func(), name=f"hfmedia single flight {key}")
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._on_done(key, done))
        self._waiters[task] = self._waiters.get(task, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiters[task] -= 1
            if not self._waiters[task]:
                del self._waiters[task]
                if not task.done() and not self._finish_abandoned:
                    self._forget(key, task)  # a later caller must not join a call that is being cancelled
                    task.cancel()

    def _on_done(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self._forget(key, task)
        if not task.cancelled():
            task.exception()  # every caller has seen it, or none is left to see it: asyncio need not report it

    def _forget(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
