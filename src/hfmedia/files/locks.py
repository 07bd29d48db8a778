"""File locks of the operating system: held while a file is open, released when the process ends, however it ends.

They are advisory on POSIX; between machines they work only where the file system supports that.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def try_lock(fd: int, *, shared: bool = False) -> bool:
        """Lock the first byte of an open file until it is closed; False when another process holds a lock.

        Windows has no shared locks here: the byte is locked and released at once, so two processes that look at the
        same time may both see a lock.
        """
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        if shared:
            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
        return True

else:
    import fcntl

    def try_lock(fd: int, *, shared: bool = False) -> bool:
        """Lock an open file until it is closed; False when another process holds a conflicting lock.

        Shared locks do not conflict with each other. Raises OSError where the file system has no locks.
        """
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def try_advisory_lock(fd: int) -> bool | None:
    """Like ``try_lock``, but None where locks are not advisory (Windows: they would block readers) or not supported."""
    if sys.platform == "win32":
        return None
    try:
        return try_lock(fd)
    except OSError:
        return None


def is_same_file(fd: int, path: Path) -> bool:
    """Return whether a path still leads to this open file; another process may have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def remove_if_unlocked(path: Path) -> None:
    """Remove a file that no process has locked, such as the temporary file of a killed one; never raises OSError."""
    if sys.platform == "win32" or not path.exists():
        return
    with suppress(OSError), path.open("rb+", buffering=0) as file:
        if try_advisory_lock(file.fileno()) and is_same_file(file.fileno(), path):
            path.unlink()
