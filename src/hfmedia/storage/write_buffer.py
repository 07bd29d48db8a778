"""The bytes of one output on their way in: a few wait in memory and reach the disk in one go, more of them flow there.

A picture then costs one visit to a thread instead of one for each step; a video never lies in memory.
"""

from __future__ import annotations

from pathlib import Path

from ..aio import run_in_thread
from .atomic_file import AtomicFile, open_atomic

MAX_BUFFERED = 1024 * 1024  # bytes that wait in memory: most pictures, and with 32 downloads at once 32 MiB at most
FLUSH_SIZE = (
    256 * 1024
)  # bytes of a larger one that reach the disk together: a disk that is busy is waited for in a thread


class WriteBuffer:
    """Takes bytes for ``target``; nothing lies on the disk before there are many of them, or ``land`` is called."""

    def __init__(self, target: Path, job_id: str) -> None:
        self._target, self._job_id = target, job_id
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._flush_threshold = MAX_BUFFERED
        self._temp_file: AtomicFile | None = None

    @property
    def size(self) -> int:
        """How many bytes were taken."""
        return self._buffered + (self._temp_file.size if self._temp_file else 0)

    def set_expected_size(self, total: int) -> None:
        """So many there will be, by what their server says: a file that will not fit flows from its first byte."""
        if total > MAX_BUFFERED:
            self._flush_threshold = FLUSH_SIZE

    async def write(self, data: bytes) -> None:
        """Takes the next ones."""
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > self._flush_threshold:
            self._flush_threshold = FLUSH_SIZE
            await run_in_thread(self.flush)

    async def reset(self) -> None:
        """Forgets those that were taken."""
        self._chunks, self._buffered = [], 0
        if self._temp_file is not None:
            await run_in_thread(self._temp_file.reset)

    def flush(self) -> AtomicFile:
        """The temporary file with all that was taken; made now if it is not there yet. Blocking."""
        if self._temp_file is None:
            self._temp_file = open_atomic(self._target, self._job_id)
        while self._chunks:
            self._temp_file.write(self._chunks[0])
            self._buffered -= len(self._chunks.pop(0))
        return self._temp_file

    def discard(self) -> None:
        """Removes the temporary file, if there is one that was not given a name. Blocking."""
        if self._temp_file is not None:
            self._temp_file.discard()
