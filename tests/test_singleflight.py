"""Single flight: one execution for all concurrent callers of a key."""

from __future__ import annotations

import asyncio

import pytest

from hfmedia.singleflight import SingleFlight


class Work:
    """A coroutine function that counts its calls and waits until it is released."""

    def __init__(self) -> None:
        self.calls = 0
        self.completed = 0
        self.release = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        await self.release.wait()
        self.completed += 1
        if self.error:
            raise self.error
        return self.calls


async def test_concurrent_callers_share_one_call() -> None:
    """By key; a later caller starts a new one."""
    flight, work = SingleFlight[int](), Work()
    work.release.set()
    assert await asyncio.gather(*(flight.do("a", work) for _ in range(3))) == [1, 1, 1]
    assert list(await asyncio.gather(flight.do("a", work), flight.do("b", work))) == [2, 3]


async def test_an_error_reaches_every_caller() -> None:
    """And is not remembered."""
    flight, work = SingleFlight[int](), Work()
    work.release.set()
    work.error = ValueError("no")
    assert [str(error) for error in await asyncio.gather(
        flight.do("a", work), flight.do("a", work), return_exceptions=True
    )] == ["no", "no"]  # fmt: skip
    work.error = None
    assert await flight.do("a", work) == 2


@pytest.mark.parametrize("finish_abandoned", [False, True])
async def test_a_call_survives_the_cancellation_of_one_caller(finish_abandoned: bool) -> None:
    """The others get its result."""
    flight, work = SingleFlight[int](finish_abandoned=finish_abandoned), Work()
    first, second = (asyncio.create_task(flight.do("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    work.release.set()
    assert await second == 1


@pytest.mark.parametrize(("finish_abandoned", "calls"), [(False, 2), (True, 1)])
async def test_a_call_without_callers_is_cancelled_or_finished(finish_abandoned: bool, calls: int) -> None:
    """A new caller never joins a call that is being cancelled, but joins one that goes on to its end."""
    flight, work = SingleFlight[int](finish_abandoned=finish_abandoned), Work()
    only = asyncio.create_task(flight.do("a", work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    only.cancel()
    await asyncio.wait([only])
    work.release.set()
    assert await flight.do("a", work) == calls
    assert work.completed == 1
