"""The asyncio helpers: cancelled callers, threads that finish, heartbeats."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest

from hfmedia.aio import UncancellableFuture, run_in_thread, run_uncancelled, with_heartbeat


async def test_uncancelled_work_finishes_although_its_caller_is_cancelled() -> None:
    """However often; its result and its exception reach the caller."""
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        return "done"

    task = asyncio.create_task(run_uncancelled(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    gate.set()
    assert await task == "done"

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run_uncancelled(fail())


async def test_a_thread_finishes_before_its_cancelled_caller_does() -> None:
    """The result is then handed to ``undo``."""
    gate, undone = threading.Event(), list[int]()

    def work() -> int:
        gate.wait(10)
        return 7

    task = asyncio.create_task(run_in_thread(work, undo=undone.append))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == [7]
    assert await run_in_thread(work, undo=undone.append) == 7
    assert undone == [7]


async def test_an_uncancellable_future_delivers_the_cancellation_when_it_is_done() -> None:
    """Not before."""
    future: UncancellableFuture[int] = UncancellableFuture(loop=asyncio.get_running_loop())

    async def wait() -> int:
        return await future

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    future.set_result(1)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_heartbeat_fills_the_silence_and_ends_with_its_source() -> None:
    """None for each quiet interval; every item once, in order."""
    gate = asyncio.Event()

    async def source() -> AsyncGenerator[int, None]:
        yield 1
        await gate.wait()
        yield 2

    items: list[int | None] = []
    async for item in with_heartbeat(source(), 0.01):
        items.append(item)
        if items.count(None) == 2:
            gate.set()
    assert [item for item in items if item is not None] == [1, 2]
    assert items[:3] == [1, None, None]


async def test_closing_a_heartbeat_cancels_the_step_that_is_pending() -> None:
    """So that nothing of the source runs on unseen."""
    cancelled = asyncio.Event()

    async def source() -> AsyncGenerator[int, None]:
        try:
            await asyncio.Event().wait()
            yield 1
        except asyncio.CancelledError:
            cancelled.set()
            raise

    beats = with_heartbeat(source(), 0.01)
    assert await anext(beats) is None
    await beats.aclose()
    assert cancelled.is_set()
