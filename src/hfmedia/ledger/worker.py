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

from hfmedia.core.errors import StoreError

T = TypeVar("T")
AT_ONCE = 8  # answers in one turn of a loop: each lets a job go on, which takes up to a millisecond
MOST_AT_ONCE = 500  # deeds of one round: it bounds how long other processes wait for us


class Lasting(asyncio.Future[Any]):
    """A future that cannot be cancelled: a task that waits for it is cancelled once it is done, and not before.

    What came of it is then dropped; who was cancelled asks the ledger.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        """False: it lasts. The task remembers that it was cancelled."""
        return False


class Deed(NamedTuple):
    """Something to be done in the thread, and the future that waits for it in its loop."""

    work: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class Result(NamedTuple):
    """How a deed went: a value, or what it raised."""

    deed: Deed
    value: Any = None
    error: BaseException | None = None


class Hand(Protocol):
    """What does the deeds, in the thread."""

    def round(self, deeds: list[Deed]) -> list[Result]:
        """One result for each deed; what it raises becomes the result of all."""
        ...

    def put_away(self) -> None:
        """Nothing more will come."""
        ...


class Worker:
    """One daemon thread, begun with the first deed."""

    def __init__(self, name: str, hand: Hand) -> None:
        self._name = name
        self._hand = hand
        self._queue: SimpleQueue[Deed | None] = SimpleQueue()
        self._ended: Future[None] = Future()
        self._gate = Lock()
        self._pid: int | None = None
        self._closed = False

    async def ask(self, work: Callable[[Connection], T]) -> T:
        """What the work returns or raises; cancelling drops the answer."""
        value: T = await self._put(work).future
        return value

    async def do(self, work: Callable[[Connection], T]) -> T:
        """What the work returns or raises; cancelling waits until it is done, and only then is told."""
        value: T = await self._put(work, lasting=True).future
        return value

    def stop(self) -> None:
        """Ends the thread once it has done what was put in before."""
        with self._gate:
            if not self._closed and self._pid == os.getpid():
                self._queue.put(None)
            self._closed = True

    async def close(self) -> None:
        """Ends the thread, and waits for that."""
        self.stop()
        if self._pid == os.getpid():
            await asyncio.shield(asyncio.wrap_future(self._ended))

    def _put(self, work: Callable[[Connection], Any], *, lasting: bool = False) -> Deed:
        loop = asyncio.get_running_loop()
        deed = Deed(work, loop, Lasting(loop=loop) if lasting else loop.create_future())
        with self._gate:
            if self._closed:
                raise StoreError("the ledger is closed; open it again")
            if self._pid is None:
                Thread(target=_run, args=(self._queue, self._hand, self._ended), name=self._name, daemon=True).start()
                self._pid = os.getpid()
            if self._pid != os.getpid():
                raise StoreError("the ledger was opened before this process was forked; open it again here")
            self._queue.put(deed)
        return deed


def _run(queue: SimpleQueue[Deed | None], hand: Hand, ended: Future[None]) -> None:
    """Round after round, each with all that came meanwhile, until None comes. It holds no ledger alive."""
    going = True
    while going:
        deeds, going = _gather(queue)
        try:
            results = hand.round(deeds)
        except BaseException as error:  # the thread lives on, and those who wait are told
            results = [Result(deed, error=error) for deed in deeds]
        _answer(results)
        del deeds, results
    try:
        hand.put_away()
    finally:
        ended.set_result(None)


def _gather(queue: SimpleQueue[Deed | None]) -> tuple[list[Deed], bool]:
    """What waits in the queue, at least one thing; and whether more may come."""
    deeds: list[Deed] = []
    deed = queue.get()
    while deed is not None:
        deeds.append(deed)
        if len(deeds) >= MOST_AT_ONCE:
            return deeds, True
        try:
            deed = queue.get_nowait()
        except Empty:
            return deeds, True
    return deeds, False


def _answer(results: list[Result]) -> None:
    """Hands the results to their loops, with one call for each loop."""
    for loop in {result.deed.loop for result in results}:
        with suppress(RuntimeError):  # that loop is closed, and nobody waits there any more
            loop.call_soon_threadsafe(_settle, [result for result in results if result.deed.loop is loop])


def _settle(results: list[Result]) -> None:
    """Answers a few, and the others in the loop's next turns: a hundred that go on at once would hold it up."""
    if len(results) > AT_ONCE:
        asyncio.get_running_loop().call_soon(_settle, results[AT_ONCE:])
    for result in results[:AT_ONCE]:
        future = result.deed.future
        if future.done():
            continue
        if result.error is not None:
            future.set_exception(result.error)
        else:
            future.set_result(result.value)
