"""Synchronous functions with the names of MediaClient's methods, over one shared client.

Each function is one line that runs the client's method in an event loop in a background thread. They work in scripts,
in notebooks and while another event loop is running. Ctrl-C cancels the awaited job, where possible also at the
provider.
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

SIGNAL_CHECK_INTERVAL = 0.5  # seconds between wake-ups: Windows delivers Ctrl-C to a waiting thread only then
CANCEL_GRACE_PERIOD = 15.0  # seconds an interrupted caller waits for its job to detach; the engine takes up to 10
_END_OF_STREAM: Final = object()


class BlockingPortal:
    """An event loop in a background thread, into which other threads submit calls.

    Usable as a context manager; calls that are still running are cancelled when it closes.
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
        """Run an async function in the loop and return its result; an interrupted caller cancels it and waits for that.

        Raises what the function raises, or JobCancelledError when the portal closes first.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("this is hfmedia's own event loop; use MediaClient with await here")
        future: Future[T] = Future()
        tasks: list[Task[T]] = []
        finished = threading.Lock()  # unlike other primitives, its wait leaves no inconsistent state when interrupted
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
            if not tasks:  # interrupted before it started, so it never starts
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
        """Yield the items of an async generator; closing this generator closes that one, in its loop."""
        self._streams.add(stream)
        try:
            while (item := self.call(lambda: anext(stream, _END_OF_STREAM))) is not _END_OF_STREAM:
                yield item  # type: ignore[misc]  # mypy does not narrow by a sentinel
        finally:
            self._streams.discard(stream)
            with suppress(JobCancelledError):
                if threading.current_thread() is self._thread:  # the garbage collector may run there
                    close_task = self._loop.create_task(_close_stream(stream))
                    self._tasks.add(close_task)
                    close_task.add_done_callback(self._tasks.discard)
                else:
                    self.call(stream.aclose)

    def close(self) -> None:
        """Cancel running calls and end the thread. Idempotent."""
        with suppress(JobCancelledError):
            self._submit(self._close_requested.set)
        self._thread.join()

    def _submit(self, func: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(func)
        except RuntimeError:  # the loop is closed
            raise _closed_error() from None

    def _run_loop(self, started: Future[tuple[AbstractEventLoop, AsyncEvent]]) -> None:
        with Runner() as runner:  # on exit it cancels all other tasks and closes executor and loop
            runner.run(self._until_closed(started))

    async def _until_closed(self, started: Future[tuple[AbstractEventLoop, AsyncEvent]]) -> None:
        close_requested = AsyncEvent()
        started.set_result((get_running_loop(), close_requested))
        await close_requested.wait()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await gather(*tasks, return_exceptions=True)
        # Outermost generators only: the loop itself would close nested ones at the same time.
        await gather(*(stream.aclose() for stream in list(self._streams)), return_exceptions=True)


def _resolve_future(future: Future[T], task: Task[T]) -> None:
    if task.cancelled():
        future.set_exception(_closed_error())
    elif error := task.exception():
        future.set_exception(error)
    else:
        future.set_result(task.result())


def _closed_error() -> JobCancelledError:
    return JobCancelledError("hfmedia was closed or interrupted before this completed")


async def _close_stream(stream: AsyncGenerator[Any, None]) -> None:
    await stream.aclose()


# -- the shared client ------------------------------------------------------------------------------------------------


class _SharedClient(NamedTuple):
    portal: BlockingPortal
    client: MediaClient


_lock = threading.Lock()
_shared: _SharedClient | None = None
_inherited_clients: list[_SharedClient] = []  # a forked child must neither use nor collect them: shared sockets


def _shared_client() -> _SharedClient:
    """Return the shared client; created from the environment at first use, and again after ``close``."""
    global _shared
    with _lock:
        if _shared is None:
            client = MediaClient()
            _shared = _SharedClient(BlockingPortal(), client)
        return _shared


def close() -> None:
    """Cancel running jobs and close all connections; the next call reads the environment again."""
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
import_module("concurrent.futures.thread")  # registers its own exit handler, which therefore runs after ours
try:
    # Runs before the standard library shuts down its thread pools, which a ledger or a file may still need. The
    # function is private: atexit is the fallback where it is missing or the interpreter is already exiting.
    getattr(threading, "_register_atexit", atexit.register)(close)
except RuntimeError:
    atexit.register(close)


def _call(func: Callable[[MediaClient], Awaitable[T]]) -> T:
    portal, client = _shared_client()
    return portal.call(lambda: func(client))


# -- functions --------------------------------------------------------------------------------------------------------


def text_to_image(prompt: str, **options: Unpack[GenerationOptions]) -> Media:
    """Generate one image from a prompt; see MediaClient.text_to_image."""
    return _call(lambda client: client.text_to_image(prompt, **options))


def text_to_video(prompt: str, **options: Unpack[VideoGenerationOptions]) -> Media:
    """Generate one video from a prompt; see MediaClient.text_to_video."""
    return _call(lambda client: client.text_to_video(prompt, **options))


def image_to_image(image: Any, prompt: str | None = None, **options: Unpack[GenerationOptions]) -> Media:
    """Generate one image from another; see MediaClient.image_to_image."""
    return _call(lambda client: client.image_to_image(image, prompt, **options))


def image_to_video(image: Any, prompt: str | None = None, **options: Unpack[VideoGenerationOptions]) -> Media:
    """Generate one video that starts with an image; see MediaClient.image_to_video."""
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
    """Yield the events of ``n`` outputs; see MediaClient.generate. Closing the generator cancels running jobs."""
    portal, client = _shared_client()
    events = client.generate(prompt, task=task, image=image, n=n, idempotency_key=idempotency_key, **options)
    yield from portal.events(events)


def models(task: str | None = None, *, provider: str | None = None, search: str | None = None) -> list[HubModel]:
    """List the Hub's models with a live provider; see MediaClient.models."""
    return _call(lambda client: client.models(task, provider=provider, search=search))


def mapping(model: str) -> HubModel:
    """Return one model and all its providers; see MediaClient.mapping."""
    return _call(lambda client: client.mapping(model))


def jobs(
    *,
    states: Collection[State] | None = None,
    provider: str | None = None,
    model: str | None = None,
    since: float | None = None,
    limit: int | None = None,
) -> list[Job]:
    """List the matching jobs in the ledger; see MediaClient.jobs."""
    return _call(lambda client: client.jobs(states=states, provider=provider, model=model, since=since, limit=limit))


def resume(job_id: str, *, output: str | os.PathLike[str] | None = None) -> Media:
    """Return the media of a detached job at no extra cost; see MediaClient.resume."""
    return _call(lambda client: client.resume(job_id, output=output))


def cancel(job_id: str) -> Job:
    """Cancel a job and return it; see MediaClient.cancel."""
    return _call(lambda client: client.cancel(job_id))
