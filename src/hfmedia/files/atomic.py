"""Atomic file replacement: readers see the previous file or the complete new one, never a part of it.

Callers translate the OSErrors that these functions raise; each knows what its user can do about them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

TMP_SUFFIX = ".tmp"


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a small file atomically, replacing the one at ``path``; its mode is 600.

    ``durable=False`` skips the fsync, for caches: after a power loss the file may be empty or the previous one.
    """
    with atomic_writer(path, durable=durable) as file:
        file.write(data)


@contextmanager
def atomic_writer(path: Path, *, suffix: str = TMP_SUFFIX, durable: bool = True) -> Generator[IO[bytes], None, None]:
    """Open a hidden temporary file next to ``path`` (mode 600) and rename it to ``path`` on success.

    On any exception the temporary file is removed and ``path`` is left as it was.
    """
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=suffix)
    temp_path = Path(name)
    try:
        with os.fdopen(fd, "w+b") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temp_path.replace(path)  # after closing: Windows does not rename open files
    except BaseException:
        with suppress(OSError):
            temp_path.unlink()
        raise


def fsync_directory(path: Path) -> None:
    """Make a rename in a directory durable, where the system can; the file's bytes are safe already."""
    if sys.platform == "win32":
        return
    with suppress(OSError):  # some network shares cannot sync a directory, and the file exists all the same
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
