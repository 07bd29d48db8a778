"""The synchronous doors: MediaClient's methods for programs without ``async``, by the same names.

No twins: each door is one line over the client's own method, carried through a portal into one event loop in a thread.
It works in scripts, in notebooks and beside a running loop. Ctrl-C cancels the job that is waited for, at the provider
too where that is possible.
"""

from __future__ import annotations

import atexit
import os
import threading
from asyncio import AbstractEventLoop, Runner, Task, gather, get_running_loop
from asyncio import Event as AsyncEvent
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NamedTuple, TypeVar, Unpack

from .client import MediaClient
from .core.errors import JobCancelledError
from .core.hub_models import HubModel
from .core.job import Job, State
from .engine import Event
from .options import GenerationOptions, VideoGenerationOptions
from .storage import Media

T = TypeVar("T")

SIGNAL_CHECK_INTERVAL = 0.5  # seconds between two looks: Windows delivers Ctrl-C to a waiting thread only there
CANCEL_GRACE_PERIOD = (
    15.0  # seconds an interrupted caller waits until its job has let go; the engine itself takes up to 10
)
_END_OF_STREAM: Final = object()


class BlockingPortal:
    """An event loop in a thread of its own, and the way into it for callers outside.

    Usable as a context manager; whatever still runs in it is cancelled when it closes.
    """

    def __init__(self) -> None:
        started: Future[tuple[AbstractEventLoop, AsyncEvent]] = Future()
        self._tasks: set[Task[Any]] = set()
        self._streams: set[AsyncGenerator[Any, None]] = set()
        self._thread = threading.Thread(target=self._run_loop, args=(started,), name="hfmedia", daemon=True)
        self._thread.start()
        self._loop, self._close_requested = started.result()

    def __enter__(self) -> BlockingPortal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, func: Callable[[], Awaitable[T]]) -> T:
        """What the deed returns or raises, done in the loop; JobCancelledError when the portal closes before that.

        An interrupt of the caller cancels the deed and waits until it has let go.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("this is hfmedia's own event loop; use MediaClient and await here")
        future: Future[T] = Future()
        tasks: list[Task[T]] = []
        finished = threading.Lock()  # the one thing to wait for that an interrupt cannot leave in disorder
        finished.acquire()

        async def invoke() -> T:
            return await func()

        def on_done(task: Task[T]) -> None:
            self._tasks.discard(task)
            _resolve_future(future, task)
            finished.release()

        def start() -> None:
            task = self._loop.create_task(invoke())
            tasks.append(task)
            self._tasks.add(task)
            task.add_done_callback(on_done)

        def cancel_task() -> None:
            if not tasks:  # the interrupt came before it began, so it never will
                future.cancel()
                finished.release()
            for task in tasks:
                task.cancel()

        try:
            self._submit(start)
            while not finished.acquire(timeout=SIGNAL_CHECK_INTERVAL):
                if not self._thread.is_alive():
                    raise _closed_error()
        except BaseException:
            with suppress(JobCancelledError):
                self._submit(cancel_task)
                if not future.done():
                    finished.acquire(timeout=CANCEL_GRACE_PERIOD)
            raise
        return future.result()

    def events(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """What an asynchronous generator yields, one at a time; closing this one closes that one, in its loop."""
        self._streams.add(stream)
        try:
            while (item := self.call(lambda: anext(stream, _END_OF_STREAM))) is not _END_OF_STREAM:
                yield item  # type: ignore[misc]  # mypy does not narrow by a sentinel
        finally:
            self._streams.discard(stream)
            with suppress(JobCancelledError):
                if threading.current_thread() is self._thread:  # the garbage collector may come by there
                    close_task = self._loop.create_task(_close_stream(stream))
                    self._tasks.add(close_task)
                    close_task.add_done_callback(self._tasks.discard)
                else:
                    self.call(stream.aclose)

    def close(self) -> None:
        """Cancels what still runs, and ends the thread. Closing twice is fine."""
        with suppress(JobCancelledError):
            self._submit(self._close_requested.set)
        self._thread.join()

    def _submit(self, func: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(func)
        except RuntimeError:  # the loop is closed
            raise _closed_error() from None

    def _run_loop(self, started: Future[tuple[AbstractEventLoop, AsyncEvent]]) -> None:
        with Runner() as runner:  # at its end it cancels every other task, and closes executor and loop
            runner.run(self._until_closed(started))

    async def _until_closed(self, started: Future[tuple[AbstractEventLoop, AsyncEvent]]) -> None:
        close_requested = AsyncEvent()
        started.set_result((get_running_loop(), close_requested))
        await close_requested.wait()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await gather(*tasks, return_exceptions=True)
        # From the outermost: the loop itself would close a generator and the one inside it at the same time.
        await gather(*(stream.aclose() for stream in list(self._streams)), return_exceptions=True)


def _resolve_future(future: Future[T], task: Task[T]) -> None:
    if task.cancelled():
        future.set_exception(_closed_error())
    elif error := task.exception():
        future.set_exception(error)
    else:
        future.set_result(task.result())


def _closed_error() -> JobCancelledError:
    return JobCancelledError("hfmedia was closed, or interrupted, before this was done")


async def _close_stream(stream: AsyncGenerator[Any, None]) -> None:
    await stream.aclose()


# -- one client for all doors -----------------------------------------------------------------------------------------


class _SharedClient(NamedTuple):
    portal: BlockingPortal
    client: MediaClient


_lock = threading.Lock()
_shared: _SharedClient | None = None
_inherited_clients: list[
    _SharedClient
] = []  # a forked child must neither use nor collect them: their sockets are shared


def _shared_client() -> _SharedClient:
    """The shared room; made from the environment at first use, and again after ``close``."""
    global _shared
    with _lock:
        if _shared is None:
            client = MediaClient()
            _shared = _SharedClient(BlockingPortal(), client)
        return _shared


def close() -> None:
    """Cancels what is under way and lets go of every connection; the next door reads the environment anew."""
    global _shared
    with _lock:
        shared, _shared = _shared, None
    if shared is not None:
        with shared.portal as portal:
            portal.call(shared.client.aclose)


def _after_fork() -> None:
    global _lock, _shared
    _lock = threading.Lock()
    if _shared is not None:
        _inherited_clients.append(_shared)
        _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
import_module("concurrent.futures.thread")  # registers its own end, which so comes after ours
try:
    # Before the standard library takes its thread pools away, which a ledger or a file may still need; the name is
    # private, so plain atexit stands in where it is missing or where the interpreter is ending already.
    getattr(threading, "_register_atexit", atexit.register)(close)
except RuntimeError:
    atexit.register(close)


def _call(func: Callable[[MediaClient], Awaitable[T]]) -> T:
    portal, client = _shared_client()
    return portal.call(lambda: func(client))


# -- the doors --------------------------------------------------------------------------------------------------------


def text_to_image(prompt: str, **options: Unpack[GenerationOptions]) -> Media:
    """One image from a prompt; see MediaClient.text_to_image."""
    return _call(lambda client: client.text_to_image(prompt, **options))


def text_to_video(prompt: str, **options: Unpack[VideoGenerationOptions]) -> Media:
    """One video from a prompt; see MediaClient.text_to_video."""
    return _call(lambda client: client.text_to_video(prompt, **options))


def image_to_image(image: Any, prompt: str | None = None, **options: Unpack[GenerationOptions]) -> Media:
    """One image from another; see MediaClient.image_to_image."""
    return _call(lambda client: client.image_to_image(image, prompt, **options))


def image_to_video(image: Any, prompt: str | None = None, **options: Unpack[VideoGenerationOptions]) -> Media:
    """One video that begins with an image; see MediaClient.image_to_video."""
    return _call(lambda client: client.image_to_video(image, prompt, **options))


def generate(
    prompt: str | None = None,
    *,
    task: str | None = None,
    image: Any = None,
    n: int = 1,
    idempotency_key: str | None = None,
    **options: Unpack[VideoGenerationOptions],
) -> Generator[Event, None, None]:
    """The events of ``n`` outputs, as they happen; see MediaClient.generate. Closing it cancels what is under way."""
    portal, client = _shared_client()
    events = client.generate(prompt, task=task, image=image, n=n, idempotency_key=idempotency_key, **options)
    yield from portal.events(events)


def models(task: str | None = None, *, provider: str | None = None, search: str | None = None) -> list[HubModel]:
    """The Hub's models with a live provider; see MediaClient.models."""
    return _call(lambda client: client.models(task, provider=provider, search=search))


def mapping(model: str) -> HubModel:
    """One model and all its providers; see MediaClient.mapping."""
    return _call(lambda client: client.mapping(model))


def jobs(
    *,
    states: Collection[State] | None = None,
    provider: str | None = None,
    model: str | None = None,
    since: float | None = None,
    limit: int | None = None,
) -> list[Job]:
    """The jobs in the ledger that fit; see MediaClient.jobs."""
    return _call(lambda client: client.jobs(states=states, provider=provider, model=model, since=since, limit=limit))


def resume(job_id: str, *, output: str | os.PathLike[str] | None = None) -> Media:
    """The media of a job that was let go of, without paying again; see MediaClient.resume."""
    return _call(lambda client: client.resume(job_id, output=output))


def cancel(job_id: str) -> Job:
    """The job after it was told to stop; see MediaClient.cancel."""
    return _call(lambda client: client.cancel(job_id))
