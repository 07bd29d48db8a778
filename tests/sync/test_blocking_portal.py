"""BlockingPortal: an event loop in its own thread, and the results of calls into it."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hfmedia import JobCancelledError
from hfmedia.sync import BlockingPortal

FOREVER = 3600


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    """An open portal."""
    with BlockingPortal() as portal:
        yield portal


async def counting(ended: list[str], to: int = 3) -> AsyncGenerator[int, None]:
    """Yield the numbers below ``to`` and record the thread in which it ended."""
    try:
        for number in range(to):
            await asyncio.sleep(0)
            yield number
    finally:
        await asyncio.sleep(0)
        ended.append(threading.current_thread().name)


def interrupt(when: threading.Event) -> None:
    """Press Ctrl-C in the main thread once the event is set."""

    def press() -> None:
        when.wait(10)
        _thread.interrupt_main()

    threading.Thread(target=press, daemon=True).start()


def test_a_call_returns_the_result(portal: BlockingPortal) -> None:
    """The function runs in the other thread."""

    async def func() -> str:
        return threading.current_thread().name

    assert portal.call(func) == "hfmedia"


def test_a_call_raises_the_exception(portal: BlockingPortal) -> None:
    """Even when it is raised before the first await, or when the function is not a coroutine function."""

    async def func() -> None:
        raise LookupError("not here")

    def wrong() -> asyncio.Future[None]:
        raise TypeError("wrong arguments")

    with pytest.raises(LookupError, match="not here"):
        portal.call(func)
    with pytest.raises(TypeError, match="wrong arguments"):
        portal.call(wrong)


def test_it_works_while_another_loop_is_running(portal: BlockingPortal) -> None:
    """As in a notebook, whose loop runs in the calling thread."""

    async def notebook() -> int:
        return portal.call(lambda: asyncio.sleep(0, 7))

    assert asyncio.run(notebook()) == 7


def test_a_call_sees_the_context_of_its_caller(portal: BlockingPortal) -> None:
    """Context variables are copied."""
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    async def func() -> str:
        return variable.get()

    assert portal.call(func) == "set"


def test_many_threads_may_call_at_once(portal: BlockingPortal) -> None:
    """They wait in parallel, not one after the other."""
    barrier = asyncio.Barrier(8)

    async def wait_for_all(number: int) -> int:
        async with asyncio.timeout(30):
            await barrier.wait()
        return number

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: portal.call(lambda: wait_for_all(number)), range(8)))
    assert answers == list(range(8))


def test_a_call_from_inside_the_loop_is_an_error_instead_of_a_deadlock(portal: BlockingPortal) -> None:
    """A call that waits for another call in the same loop would wait forever."""

    async def func() -> int:
        return portal.call(lambda: asyncio.sleep(0, 1))

    with pytest.raises(RuntimeError, match="await here"):
        portal.call(func)


def test_an_interrupt_cancels_the_call_and_waits_for_its_end(portal: BlockingPortal) -> None:
    """Ctrl-C in the caller: the function cleans up first, then KeyboardInterrupt propagates."""
    started, ended = threading.Event(), threading.Event()

    async def func() -> None:
        started.set()
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.05)
            ended.set()

    interrupt(started)
    with pytest.raises(KeyboardInterrupt):
        portal.call(func)
    assert ended.is_set()


def test_a_generator_yields_one_at_a_time_and_ends_in_its_own_loop(portal: BlockingPortal) -> None:
    """In order and completely."""
    ended: list[str] = []
    assert list(portal.events(counting(ended))) == [0, 1, 2]
    assert ended == ["hfmedia"]


def test_leaving_a_generator_early_closes_it_in_its_loop(portal: BlockingPortal) -> None:
    """Its own clean-up has run when ``close`` returns."""
    ended: list[str] = []
    numbers = portal.events(counting(ended))
    assert next(numbers) == 0
    numbers.close()
    assert ended == ["hfmedia"]


def test_a_generator_that_is_dropped_is_closed(portal: BlockingPortal) -> None:
    """By the garbage collector, without an explicit close."""
    ended: list[str] = []
    numbers = portal.events(counting(ended))
    assert next(numbers) == 0
    del numbers
    gc.collect()
    assert ended == ["hfmedia"]


def test_a_generator_dropped_inside_the_loop_is_closed_soon(portal: BlockingPortal) -> None:
    """The garbage collector may run in the loop's thread, which must not block."""
    ended: list[str] = []
    held = [portal.events(counting(ended))]
    assert next(held[0]) == 0

    async def drop() -> None:
        held.clear()
        gc.collect()
        for _ in range(10):
            await asyncio.sleep(0)

    portal.call(drop)
    assert ended == ["hfmedia"]


def test_a_failed_generator_raises_its_exception(portal: BlockingPortal) -> None:
    """After the items that it yielded before."""

    async def failing() -> AsyncGenerator[int, None]:
        yield 1
        raise LookupError("no more")

    numbers = portal.events(failing())
    assert next(numbers) == 1
    with pytest.raises(LookupError, match="no more"):
        next(numbers)


def test_closing_cancels_running_calls() -> None:
    """A caller in another thread receives an error, and no thread is left."""
    portal, started = BlockingPortal(), threading.Event()

    async def func() -> None:
        started.set()
        await asyncio.sleep(FOREVER)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(portal.call, func)
        assert started.wait(10)
        portal.close()
        assert isinstance(waiting.exception(10), JobCancelledError)
    assert not [thread for thread in threading.enumerate() if thread.name == "hfmedia"]


def test_a_closed_portal_raises_an_error() -> None:
    """Closing twice is fine; calling afterwards is an error, not a hang."""
    portal = BlockingPortal()
    numbers = portal.events(counting([]))
    next(numbers)
    portal.close()
    portal.close()
    with pytest.raises(JobCancelledError, match="closed"):
        portal.call(lambda: asyncio.sleep(0))
    with pytest.raises(JobCancelledError, match="closed"):
        next(numbers)
