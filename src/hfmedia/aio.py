"""Asyncio helpers: work that finishes although its caller is cancelled, and a heartbeat for quiet streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class UncancellableFuture(asyncio.Future[T]):
    """A future that cannot be cancelled: a task that awaits it receives its cancellation once the future is done.

    The result is then dropped. It costs less than ``run_uncancelled``, which needs a task.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        """Return False and change nothing; the waiting task still remembers that it was cancelled."""
        return False


async def wait_until_done(future: asyncio.Future[Any]) -> None:
    """Wait for a future however often the caller is cancelled meanwhile; these cancellations are swallowed."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({future})


async def run_uncancelled(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to completion however often the caller is cancelled meanwhile; it must bound its own time.

    Cancellations are swallowed, so a caller that was cancelled has to raise again afterwards.
    """
    task = asyncio.ensure_future(coroutine)
    await wait_until_done(task)
    return task.result()


async def run_in_thread(func: Callable[[], T], *, undo: Callable[[T], None] | None = None) -> T:
    """Run a blocking function in a thread and return its result.

    When cancelled, wait for the thread, pass its result to ``undo`` and raise CancelledError: without the wait a thread
    could still write to a file that is already closed and removed.
    """
    future = asyncio.get_running_loop().run_in_executor(None, func)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await wait_until_done(future)
        if future.exception() is None and undo is not None:
            undo(future.result())
        raise


async def with_heartbeat(source: AsyncIterator[T], interval: float) -> AsyncGenerator[T | None, None]:
    """Yield every item of a source as it arrives, and None after each ``interval`` seconds without one.

    Closing this generator cancels the pending step of the source; closing the source stays with its owner.
    """
    pending: asyncio.Future[T] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(source))
            done, _ = await asyncio.wait({pending}, timeout=interval)
            if not done:
                yield None
                continue
            try:
                item = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield item
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
