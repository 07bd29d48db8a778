"""A database thread for event loops: work is queued from any loop, done in order, and its result returned there.

Each work item is answered exactly once, whatever goes wrong; a queued item is never withdrawn.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from sqlite3 import Connection
from threading import Lock, Thread
from typing import Any, NamedTuple, Protocol, TypeVar

from hfmedia.aio import UncancellableFuture
from hfmedia.core.errors import StorageError

T = TypeVar("T")
RESULTS_PER_TURN = 8  # results delivered in one turn of a loop: each resumes a job, which takes up to a millisecond
MAX_BATCH_SIZE = 500  # work items in one transaction: it bounds how long other processes wait


class WorkItem(NamedTuple):
    """A function to run in the thread, and the future that waits for its result in a loop."""

    func: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class WorkResult(NamedTuple):
    """The outcome of a work item: a value, or the exception that it raised."""

    item: WorkItem
    value: Any = None
    error: BaseException | None = None


class WorkHandler(Protocol):
    """Runs the work items, in the thread."""

    def run_batch(self, items: list[WorkItem]) -> list[WorkResult]:
        """Return one result for each item; an exception becomes the result of all of them."""
        ...

    def close(self) -> None:
        """Release resources; no more items follow."""
        ...


class DatabaseThread:
    """One daemon thread, started with the first work item."""

    def __init__(self, name: str, handler: WorkHandler) -> None:
        self._name = name
        self._handler = handler
        self._queue: SimpleQueue[WorkItem | None] = SimpleQueue()
        self._stopped: Future[None] = Future()
        self._lock = Lock()
        self._pid: int | None = None
        self._closed = False

    async def read(self, func: Callable[[Connection], T]) -> T:
        """Run a function in the thread and return its result; a cancelled caller drops it."""
        value: T = await self._enqueue(func).future
        return value

    async def write(self, func: Callable[[Connection], T]) -> T:
        """Run a function in the thread and return its result; cancellation is raised only once it is done.

        Its result is then dropped: a cancelled caller finds it in the ledger.
        """
        value: T = await self._enqueue(func, uncancellable=True).future
        return value

    def stop(self) -> None:
        """End the thread once the queued work is done."""
        with self._lock:
            if not self._closed and self._pid == os.getpid():
                self._queue.put(None)
            self._closed = True

    async def close(self) -> None:
        """End the thread and wait for it."""
        self.stop()
        if self._pid == os.getpid():
            await asyncio.shield(asyncio.wrap_future(self._stopped))

    def _enqueue(self, func: Callable[[Connection], Any], *, uncancellable: bool = False) -> WorkItem:
        loop = asyncio.get_running_loop()
        item = WorkItem(func, loop, UncancellableFuture(loop=loop) if uncancellable else loop.create_future())
        with self._lock:
            if self._closed:
                raise StorageError("the ledger is closed; open it again")
            if self._pid is None:
                Thread(
                    target=_run, args=(self._queue, self._handler, self._stopped), name=self._name, daemon=True
                ).start()
                self._pid = os.getpid()
            if self._pid != os.getpid():
                raise StorageError(
                    "the ledger was opened before this process was forked; open it again in this process"
                )
            self._queue.put(item)
        return item


def _run(queue: SimpleQueue[WorkItem | None], handler: WorkHandler, stopped: Future[None]) -> None:
    """Run batch after batch, each with all items queued meanwhile, until None. Keeps no reference to the ledger."""
    running = True
    while running:
        items, running = _next_batch(queue)
        try:
            results = handler.run_batch(items)
        except BaseException as error:  # the thread survives, and every caller gets the error
            results = [WorkResult(item, error=error) for item in items]
        _deliver(results)
        del items, results
    try:
        handler.close()
    finally:
        stopped.set_result(None)


def _next_batch(queue: SimpleQueue[WorkItem | None]) -> tuple[list[WorkItem], bool]:
    """Take the queued items, waiting for the first; False when no more follow."""
    items: list[WorkItem] = []
    item = queue.get()
    while item is not None:
        items.append(item)
        if len(items) >= MAX_BATCH_SIZE:
            return items, True
        try:
            item = queue.get_nowait()
        except Empty:
            return items, True
    return items, False


def _deliver(results: list[WorkResult]) -> None:
    """Hand the results to their loops, with one call for each loop."""
    for loop in {result.item.loop for result in results}:
        with suppress(RuntimeError):  # that loop is closed, so no caller waits there
            loop.call_soon_threadsafe(_resolve_futures, [result for result in results if result.item.loop is loop])


def _resolve_futures(results: list[WorkResult]) -> None:
    """Resolve a few futures now and the others in the loop's next turns: a hundred at once would block it."""
    if len(results) > RESULTS_PER_TURN:
        asyncio.get_running_loop().call_soon(_resolve_futures, results[RESULTS_PER_TURN:])
    for result in results[:RESULTS_PER_TURN]:
        future = result.item.future
        if future.done():
            continue
        if result.error is not None:
            future.set_exception(result.error)
        else:
            future.set_result(result.value)
