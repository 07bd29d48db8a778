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
PILE = 256 * 1024  # bytes of a larger one that reach the disk together: a disk that is busy is waited for in a thread


class Intake:
    """Takes bytes for ``target``; nothing lies on the disk before there are many of them, or ``land`` is called."""

    def __init__(self, target: Path, job_id: str) -> None:
        self._target, self._job_id = target, job_id
        self._held: list[bytes] = []
        self._waiting = 0
        self._most_held = HELD
        self._part: Part | None = None

    @property
    def size(self) -> int:
        """How many bytes were taken."""
        return self._waiting + (self._part.size if self._part else 0)

    def announce(self, total: int) -> None:
        """So many there will be, by what their server says: a file that will not fit flows from its first byte."""
        if total > HELD:
            self._most_held = PILE

    async def write(self, data: bytes) -> None:
        """Takes the next ones."""
        self._held.append(data)
        self._waiting += len(data)
        if self._waiting > self._most_held:
            self._most_held = PILE
            await in_thread(self.land)

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
