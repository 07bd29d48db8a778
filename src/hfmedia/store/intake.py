"""The bytes of one output on their way in: a few wait in memory and reach the disk in one go, more of them flow there.

A picture then costs one visit to a thread instead of one for each step; a video never lies in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from .part import Part, open_part

T = TypeVar("T")
HELD = 1024 * 1024  # bytes that wait in memory: most pictures, and with 32 downloads at once 32 MiB at most
SMALL = 256 * 1024  # bytes written and hashed on the event loop itself, in about half a millisecond


class Intake:
    """Takes bytes for ``target``; nothing lies on the disk before there are many of them, or ``land`` is called."""

    def __init__(self, target: Path, job_id: str) -> None:
        self._target, self._job_id = target, job_id
        self._held: list[bytes] = []
        self._waiting = 0
        self._part: Part | None = None

    @property
    def size(self) -> int:
        """How many bytes were taken."""
        return self._waiting + (self._part.size if self._part else 0)

    async def write(self, data: bytes) -> None:
        """Takes the next ones."""
        if self._part is None and self._waiting + len(data) <= HELD:
            self._held.append(data)
            self._waiting += len(data)
        elif self._part is not None and len(data) <= SMALL:
            self._part.write(data)
        else:
            await in_thread(lambda: self.land().write(data))

    async def begin_again(self) -> None:
        """Forgets those that were taken."""
        self._held, self._waiting = [], 0
        if self._part is not None:
            await in_thread(self._part.begin_again)

    def land(self) -> Part:
        """The temporary file with all that was taken; made now if it is not there yet. Blocking."""
        if self._part is None:
            self._part = open_part(self._target, self._job_id)
        while self._held:
            self._part.write(self._held[0])
            self._waiting -= len(self._held.pop(0))
        return self._part

    def discard(self) -> None:
        """Removes the temporary file, if there is one that was not given a name. Blocking."""
        if self._part is not None:
            self._part.discard()


async def in_thread(work: Callable[[], T], *, undo: Callable[[T], None] | None = None) -> T:
    """What ``work`` returns, done in a thread. Cancelled, it waits for the thread, then undoes what that has done.

    Without that wait a thread could still write to a file that is closed and removed already.
    """
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({future})
        if future.exception() is None and undo is not None:
            undo(future.result())
        raise
