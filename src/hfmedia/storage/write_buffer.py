"""WriteBuffer: buffers a small output in memory and streams a large one to its temporary file.

An image then needs one switch to a thread instead of one per step; a video is never held in memory.
"""

from __future__ import annotations

from pathlib import Path

from ..aio import run_in_thread
from .atomic_file import AtomicFile, open_atomic

MAX_BUFFERED = 1024 * 1024  # bytes in memory: enough for most images; 32 MiB at most with 32 concurrent downloads
FLUSH_SIZE = 256 * 1024  # bytes of a larger output per write, in a thread, since a busy disk blocks


class WriteBuffer:
    """Collects bytes for ``target``; nothing is on disk until the buffer is full or ``flush`` is called."""

    def __init__(self, target: Path, job_id: str) -> None:
        self._target, self._job_id = target, job_id
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._flush_threshold = MAX_BUFFERED
        self._temp_file: AtomicFile | None = None

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._buffered + (self._temp_file.size if self._temp_file else 0)

    def set_expected_size(self, total: int) -> None:
        """Set the expected size (Content-Length); a file larger than the buffer is streamed to disk from the start."""
        if total > MAX_BUFFERED:
            self._flush_threshold = FLUSH_SIZE

    async def write(self, data: bytes) -> None:
        """Append bytes."""
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > self._flush_threshold:
            self._flush_threshold = FLUSH_SIZE
            await run_in_thread(self.flush)

    async def reset(self) -> None:
        """Discard all bytes."""
        self._chunks, self._buffered = [], 0
        if self._temp_file is not None:
            await run_in_thread(self._temp_file.reset)

    def flush(self) -> AtomicFile:
        """Write everything to the temporary file, creating it if needed, and return it. Blocks."""
        if self._temp_file is None:
            self._temp_file = open_atomic(self._target, self._job_id)
        while self._chunks:
            self._temp_file.write(self._chunks[0])
            self._buffered -= len(self._chunks.pop(0))
        return self._temp_file

    def discard(self) -> None:
        """Remove the temporary file unless it was committed. Blocks."""
        if self._temp_file is not None:
            self._temp_file.discard()
