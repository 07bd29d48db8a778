"""A thread that does deeds for event loops: they are put in from any loop, done in order, and answered there.

Each deed is answered exactly once, whatever goes wrong; a deed that was put in is never taken back.
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

from hfmedia.core.errors import StorageError

T = TypeVar("T")
RESULTS_PER_TURN = 8  # answers in one turn of a loop: each lets a job go on, which takes up to a millisecond
MAX_BATCH_SIZE = 500  # deeds of one round: it bounds how long other processes wait for us


class UncancellableFuture(asyncio.Future[Any]):
    """A future that cannot be cancelled: a task that waits for it is cancelled once it is done, and not before.

    What came of it is then dropped; who was cancelled asks the ledger.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        """False: it lasts. The task remembers that it was cancelled."""
        return False


class WorkItem(NamedTuple):
    """Something to be done in the thread, and the future that waits for it in its loop."""

    func: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class WorkResult(NamedTuple):
    """How a deed went: a value, or what it raised."""

    item: WorkItem
    value: Any = None
    error: BaseException | None = None


class WorkHandler(Protocol):
    """What does the deeds, in the thread."""

    def run_batch(self, items: list[WorkItem]) -> list[WorkResult]:
        """One result for each deed; what it raises becomes the result of all."""
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


class DatabaseThread:
    """One daemon thread, begun with the first deed."""

    def __init__(self, name: str, handler: WorkHandler) -> None:
        self._name = name
        self._handler = handler
        self._queue: SimpleQueue[WorkItem | None] = SimpleQueue()
        self._stopped: Future[None] = Future()
        self._lock = Lock()
        self._pid: int | None = None
        self._closed = False

    async def read(self, func: Callable[[Connection], T]) -> T:
        """What the work returns or raises; cancelling drops the answer."""
        value: T = await self._enqueue(func).future
        return value

    async def write(self, func: Callable[[Connection], T]) -> T:
        """What the work returns or raises; cancelling waits until it is done, and only then is told."""
        value: T = await self._enqueue(func, uncancellable=True).future
        return value

    def stop(self) -> None:
        """Ends the thread once it has done what was put in before."""
        with self._lock:
            if not self._closed and self._pid == os.getpid():
                self._queue.put(None)
            self._closed = True

    async def close(self) -> None:
        """Ends the thread, and waits for that."""
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
                raise StorageError("the ledger was opened before this process was forked; open it again here")
            self._queue.put(item)
        return item


def _run(queue: SimpleQueue[WorkItem | None], handler: WorkHandler, stopped: Future[None]) -> None:
    """Round after round, each with all that came meanwhile, until None comes. It holds no ledger alive."""
    running = True
    while running:
        items, running = _next_batch(queue)
        try:
            results = handler.run_batch(items)
        except BaseException as error:  # the thread lives on, and those who wait are told
            results = [WorkResult(item, error=error) for item in items]
        _deliver(results)
        del items, results
    try:
        handler.close()
    finally:
        stopped.set_result(None)


def _next_batch(queue: SimpleQueue[WorkItem | None]) -> tuple[list[WorkItem], bool]:
    """What waits in the queue, at least one thing; and whether more may come."""
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
    """Hands the results to their loops, with one call for each loop."""
    for loop in {result.item.loop for result in results}:
        with suppress(RuntimeError):  # that loop is closed, and nobody waits there any more
            loop.call_soon_threadsafe(_resolve_futures, [result for result in results if result.item.loop is loop])


def _resolve_futures(results: list[WorkResult]) -> None:
    """Answers a few, and the others in the loop's next turns: a hundred that go on at once would hold it up."""
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
