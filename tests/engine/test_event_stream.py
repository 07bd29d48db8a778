"""The stream of events of one call: it ends with its jobs, and whatever ends it early cancels them."""

from __future__ import annotations

import asyncio

import pytest

from hfmedia.engine import Event, EventStream


async def _forever(cancelled: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        cancelled.set()
        raise


async def test_it_ends_when_every_job_has() -> None:
    """With the events of all jobs, in the order in which they were emitted."""

    async def start(stream: EventStream) -> None:
        for index in range(2):
            stream.run(emit(stream, index), name=f"job {index}")

    async def emit(stream: EventStream, index: int) -> None:
        for _ in range(2):
            stream.emit(Event(job_id="j", index=index))
            await asyncio.sleep(0)

    stream = EventStream(start)
    assert [event.index async for event in stream] == [0, 1, 0, 1]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_an_error_at_the_start_cancels_the_jobs_that_were_started() -> None:
    """The error reaches the caller."""
    cancelled = asyncio.Event()

    async def start(stream: EventStream) -> None:
        stream.run(_forever(cancelled), name="job")
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await anext(EventStream(start))
    assert cancelled.is_set()


async def test_a_cancelled_reader_cancels_the_jobs() -> None:
    """Before its cancellation is raised."""
    cancelled, started = asyncio.Event(), asyncio.Event()

    async def start(stream: EventStream) -> None:
        stream.run(_forever(cancelled), name="job")
        started.set()

    reader = asyncio.ensure_future(anext(EventStream(start)))
    await started.wait()
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert cancelled.is_set()


async def test_a_stream_that_is_closed_first_never_starts() -> None:
    """Nothing is created."""

    async def start(stream: EventStream) -> None:
        raise AssertionError("it was closed")

    stream = EventStream(start)
    await stream.aclose()
    assert [event async for event in stream] == []
