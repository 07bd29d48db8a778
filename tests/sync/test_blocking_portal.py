"""The portal: an event loop in a thread of its own, and what comes back out of it."""

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
    """An open one."""
    with BlockingPortal() as portal:
        yield portal


async def counting(ended: list[str], to: int = 3) -> AsyncGenerator[int, None]:
    """The numbers below ``to``, and in which thread it ended."""
    try:
        for number in range(to):
            await asyncio.sleep(0)
            yield number
    finally:
        await asyncio.sleep(0)
        ended.append(threading.current_thread().name)


def interrupt(when: threading.Event) -> None:
    """Ctrl-C in the main thread, once something has happened."""

    def press() -> None:
        when.wait(10)
        _thread.interrupt_main()

    threading.Thread(target=press, daemon=True).start()


def test_what_a_deed_returns_comes_back(portal: BlockingPortal) -> None:
    """It is done in the other thread."""

    async def deed() -> str:
        return threading.current_thread().name

    assert portal.call(deed) == "hfmedia"


def test_what_a_deed_raises_comes_back(portal: BlockingPortal) -> None:
    """Even when it raises before its first await, and even when it is no coroutine at all."""

    async def deed() -> None:
        raise LookupError("not here")

    def wrong() -> asyncio.Future[None]:
        raise TypeError("wrong arguments")

    with pytest.raises(LookupError, match="not here"):
        portal.call(deed)
    with pytest.raises(TypeError, match="wrong arguments"):
        portal.call(wrong)


def test_it_works_beside_a_running_loop(portal: BlockingPortal) -> None:
    """As in a notebook, whose loop runs in the calling thread."""

    async def notebook() -> int:
        return portal.call(lambda: asyncio.sleep(0, 7))

    assert asyncio.run(notebook()) == 7


def test_a_deed_sees_the_context_of_its_caller(portal: BlockingPortal) -> None:
    """Context variables come along."""
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    async def deed() -> str:
        return variable.get()

    assert portal.call(deed) == "set"


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


def test_calling_from_inside_is_refused_instead_of_hanging(portal: BlockingPortal) -> None:
    """A deed that waits for another deed of the same loop would wait for ever."""

    async def deed() -> int:
        return portal.call(lambda: asyncio.sleep(0, 1))

    with pytest.raises(RuntimeError, match="await here"):
        portal.call(deed)


def test_an_interrupt_cancels_the_deed_and_waits_until_it_has_let_go(portal: BlockingPortal) -> None:
    """Ctrl-C in the caller: the deed ends its own way first, then KeyboardInterrupt goes on."""
    begun, ended = threading.Event(), threading.Event()

    async def deed() -> None:
        begun.set()
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.05)
            ended.set()

    interrupt(begun)
    with pytest.raises(KeyboardInterrupt):
        portal.call(deed)
    assert ended.is_set()


def test_a_generator_yields_one_at_a_time_and_ends_in_its_own_loop(portal: BlockingPortal) -> None:
    """In order, and to the end."""
    ended: list[str] = []
    assert list(portal.events(counting(ended))) == [0, 1, 2]
    assert ended == ["hfmedia"]


def test_leaving_a_generator_early_closes_it_over_there(portal: BlockingPortal) -> None:
    """Its own clean-up has run when ``close`` returns."""
    ended: list[str] = []
    numbers = portal.events(counting(ended))
    assert next(numbers) == 0
    numbers.close()
    assert ended == ["hfmedia"]


def test_a_generator_that_is_dropped_is_closed(portal: BlockingPortal) -> None:
    """Also where nobody says so: the garbage collector does."""
    ended: list[str] = []
    numbers = portal.events(counting(ended))
    assert next(numbers) == 0
    del numbers
    gc.collect()
    assert ended == ["hfmedia"]


def test_a_generator_dropped_inside_the_loop_is_closed_soon(portal: BlockingPortal) -> None:
    """The garbage collector may run in the loop's own thread, where nothing may wait."""
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


def test_a_generator_that_fails_tells_why(portal: BlockingPortal) -> None:
    """After what it yielded before."""

    async def failing() -> AsyncGenerator[int, None]:
        yield 1
        raise LookupError("no more")

    numbers = portal.events(failing())
    assert next(numbers) == 1
    with pytest.raises(LookupError, match="no more"):
        next(numbers)


def test_closing_cancels_what_still_runs() -> None:
    """A caller in another thread is told so, and no thread is left."""
    portal, begun = BlockingPortal(), threading.Event()

    async def deed() -> None:
        begun.set()
        await asyncio.sleep(FOREVER)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(portal.call, deed)
        assert begun.wait(10)
        portal.close()
        assert isinstance(waiting.exception(10), JobCancelledError)
    assert not [thread for thread in threading.enumerate() if thread.name == "hfmedia"]


def test_a_closed_portal_says_so() -> None:
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
