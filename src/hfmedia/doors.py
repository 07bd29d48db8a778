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
from asyncio import Event as Signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NamedTuple, TypeVar, Unpack

from .client import MediaClient
from .core.errors import JobCancelledError
from .core.job import Job, State
from .core.mapping import Model
from .engine import Event
from .options import Options, VideoOptions
from .store import Media

T = TypeVar("T")

SLICE = 0.5  # seconds between two looks: Windows delivers Ctrl-C to a waiting thread only there
GRACE = 15.0  # seconds an interrupted caller waits until its job has let go; the engine itself takes up to 10
_END: Final = object()


class Portal:
    """An event loop in a thread of its own, and the way into it for callers outside.

    Usable as a context manager; whatever still runs in it is cancelled when it closes.
    """

    def __init__(self) -> None:
        ready: Future[tuple[AbstractEventLoop, Signal]] = Future()
        self._tasks: set[Task[Any]] = set()
        self._streams: set[AsyncGenerator[Any, None]] = set()
        self._thread = threading.Thread(target=self._live, args=(ready,), name="hfmedia", daemon=True)
        self._thread.start()
        self._loop, self._closing = ready.result()

    def __enter__(self) -> Portal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, deed: Callable[[], Awaitable[T]]) -> T:
        """What the deed returns or raises, done in the loop; JobCancelledError when the portal closes before that.

        An interrupt of the caller cancels the deed and waits until it has let go.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("this is hfmedia's own event loop; use MediaClient and await here")
        answer: Future[T] = Future()
        running: list[Task[T]] = []
        settled = threading.Lock()  # the one thing to wait for that an interrupt cannot leave in disorder
        settled.acquire()

        async def do() -> T:
            return await deed()

        def settle(task: Task[T]) -> None:
            self._tasks.discard(task)
            _settle(answer, task)
            settled.release()

        def begin() -> None:
            task = self._loop.create_task(do())
            running.append(task)
            self._tasks.add(task)
            task.add_done_callback(settle)

        def stop() -> None:
            if not running:  # the interrupt came before it began, so it never will
                answer.cancel()
                settled.release()
            for task in running:
                task.cancel()

        try:
            self._soon(begin)
            while not settled.acquire(timeout=SLICE):
                if not self._thread.is_alive():
                    raise _closed()
        except BaseException:
            with suppress(JobCancelledError):
                self._soon(stop)
                if not answer.done():
                    settled.acquire(timeout=GRACE)
            raise
        return answer.result()

    def events(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """What an asynchronous generator yields, one at a time; closing this one closes that one, in its loop."""
        self._streams.add(stream)
        try:
            while (item := self.call(lambda: anext(stream, _END))) is not _END:
                yield item  # type: ignore[misc]  # mypy does not narrow by a sentinel
        finally:
            self._streams.discard(stream)
            with suppress(JobCancelledError):
                if threading.current_thread() is self._thread:  # the garbage collector may come by there
                    closing = self._loop.create_task(_close(stream))
                    self._tasks.add(closing)
                    closing.add_done_callback(self._tasks.discard)
                else:
                    self.call(stream.aclose)

    def close(self) -> None:
        """Cancels what still runs, and ends the thread. Closing twice is fine."""
        with suppress(JobCancelledError):
            self._soon(self._closing.set)
        self._thread.join()

    def _soon(self, deed: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(deed)
        except RuntimeError:  # the loop is closed
            raise _closed() from None

    def _live(self, ready: Future[tuple[AbstractEventLoop, Signal]]) -> None:
        with Runner() as runner:  # at its end it cancels every other task, and closes executor and loop
            runner.run(self._until_closed(ready))

    async def _until_closed(self, ready: Future[tuple[AbstractEventLoop, Signal]]) -> None:
        closing = Signal()
        ready.set_result((get_running_loop(), closing))
        await closing.wait()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await gather(*tasks, return_exceptions=True)
        # From the outermost: the loop itself would close a generator and the one inside it at the same time.
        await gather(*(stream.aclose() for stream in list(self._streams)), return_exceptions=True)


def _settle(answer: Future[T], task: Task[T]) -> None:
    if task.cancelled():
        answer.set_exception(_closed())
    elif error := task.exception():
        answer.set_exception(error)
    else:
        answer.set_result(task.result())


def _closed() -> JobCancelledError:
    return JobCancelledError("hfmedia was closed, or interrupted, before this was done")


async def _close(stream: AsyncGenerator[Any, None]) -> None:
    await stream.aclose()


# -- one client for all doors -----------------------------------------------------------------------------------------


class _Room(NamedTuple):
    portal: Portal
    client: MediaClient


_lock = threading.Lock()
_room: _Room | None = None
_left_in_the_parent: list[_Room] = []  # a forked child must neither use nor collect them: their sockets are shared


def _enter() -> _Room:
    """The shared room; made from the environment at first use, and again after ``close``."""
    global _room
    with _lock:
        if _room is None:
            client = MediaClient()
            _room = _Room(Portal(), client)
        return _room


def close() -> None:
    """Cancels what is under way and lets go of every connection; the next door reads the environment anew."""
    global _room
    with _lock:
        room, _room = _room, None
    if room is not None:
        with room.portal as portal:
            portal.call(room.client.aclose)


def _after_fork() -> None:
    global _lock, _room
    _lock = threading.Lock()
    if _room is not None:
        _left_in_the_parent.append(_room)
        _room = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
import_module("concurrent.futures.thread")  # registers its own end, which so comes after ours
try:
    # Before the standard library takes its thread pools away, which a ledger or a file may still need; the name is
    # private, so plain atexit stands in where it is missing or where the interpreter is ending already.
    getattr(threading, "_register_atexit", atexit.register)(close)
except RuntimeError:
    atexit.register(close)


def _ask(deed: Callable[[MediaClient], Awaitable[T]]) -> T:
    portal, client = _enter()
    return portal.call(lambda: deed(client))


# -- the doors --------------------------------------------------------------------------------------------------------


def text_to_image(prompt: str, **options: Unpack[Options]) -> Media:
    """One image from a prompt; see MediaClient.text_to_image."""
    return _ask(lambda client: client.text_to_image(prompt, **options))


def text_to_video(prompt: str, **options: Unpack[VideoOptions]) -> Media:
    """One video from a prompt; see MediaClient.text_to_video."""
    return _ask(lambda client: client.text_to_video(prompt, **options))


def image_to_image(image: Any, prompt: str | None = None, **options: Unpack[Options]) -> Media:
    """One image from another; see MediaClient.image_to_image."""
    return _ask(lambda client: client.image_to_image(image, prompt, **options))


def image_to_video(image: Any, prompt: str | None = None, **options: Unpack[VideoOptions]) -> Media:
    """One video that begins with an image; see MediaClient.image_to_video."""
    return _ask(lambda client: client.image_to_video(image, prompt, **options))


def generate(
    prompt: str | None = None,
    *,
    task: str | None = None,
    image: Any = None,
    n: int = 1,
    idempotency_key: str | None = None,
    **options: Unpack[VideoOptions],
) -> Generator[Event, None, None]:
    """The events of ``n`` outputs, as they happen; see MediaClient.generate. Closing it cancels what is under way."""
    portal, client = _enter()
    told = client.generate(prompt, task=task, image=image, n=n, idempotency_key=idempotency_key, **options)
    yield from portal.events(told)


def models(task: str | None = None, *, provider: str | None = None, search: str | None = None) -> list[Model]:
    """The Hub's models with a live provider; see MediaClient.models."""
    return _ask(lambda client: client.models(task, provider=provider, search=search))


def mapping(model: str) -> Model:
    """One model and all its providers; see MediaClient.mapping."""
    return _ask(lambda client: client.mapping(model))


def jobs(
    *,
    states: Collection[State] | None = None,
    provider: str | None = None,
    model: str | None = None,
    since: float | None = None,
    limit: int | None = None,
) -> list[Job]:
    """The jobs in the ledger that fit; see MediaClient.jobs."""
    return _ask(lambda client: client.jobs(states=states, provider=provider, model=model, since=since, limit=limit))


def resume(job_id: str, *, output: str | os.PathLike[str] | None = None) -> Media:
    """The media of a job that was let go of, without paying again; see MediaClient.resume."""
    return _ask(lambda client: client.resume(job_id, output=output))


def cancel(job_id: str) -> Job:
    """The job after it was told to stop; see MediaClient.cancel."""
    return _ask(lambda client: client.cancel(job_id))
