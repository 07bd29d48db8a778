"""AtomicFile: a hidden, locked temporary file next to its target, renamed in one step once it is complete.

The streaming form of files/atomic.py: it never overwrites an existing name unless replacing is the point, and its
temporary files can be recognized and removed after a crash. Every disk error becomes a StorageError with a hint.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..core.errors import StorageError
from ..files.atomic import fsync_directory
from ..files.locks import is_same_file, remove_if_unlocked, try_advisory_lock
from .filenames import numbered, partial_name, sidecar_path

MAX_NAME_ATTEMPTS = 100_000  # names tried; if all are taken, something else is wrong
# What an errno means for the user, and what to do about it.
ERRNO_HINTS = {
    errno.ENOSPC: "the disk is full; free some space or choose another location",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another location",
    errno.EACCES: "permission denied; choose another location",
    errno.EPERM: "permission denied; choose another location",
    errno.EROFS: "the disk is read-only; choose another location",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOTDIR: "part of the path is a file, not a directory",
    errno.EEXIST: "part of the path is a file, not a directory",
    errno.EISDIR: "it is a directory; name a file in it, or end the path with a slash",
    errno.EFBIG: "the file is larger than the disk or your limits allow",
}
STALE_PART_PATTERN = re.compile(r"\..+\.[0-9a-f]{20}(-[0-9]+)?\.part")  # partial_name with a job ID
NO_HARDLINK_ERRNOS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})


def write_error(path: Path, error: OSError | ValueError) -> StorageError:
    """Build the StorageError for a failed write: the cause, and what to do about it."""
    code = error.errno if isinstance(error, OSError) else None
    reason = ERRNO_HINTS.get(code or 0) or (error.strerror if isinstance(error, OSError) else None) or str(error)
    return StorageError(f"cannot write {path}: {reason}")


class AtomicFile:
    """An open, locked temporary file and the digest of the bytes written so far. Every method blocks."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.size = 0
        self._file = file
        self._temporary = True
        self._digest = _sha256()

    @property
    def file(self) -> BinaryIO:
        """The open file, for reading."""
        return cast("BinaryIO", self._file)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes written so far, in hex."""
        return str(self._digest.hexdigest())

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. Raises StorageError when the disk rejects them."""
        remaining = memoryview(data)
        try:
            while remaining:
                remaining = remaining[self._file.write(remaining) :]
        except OSError as error:
            raise write_error(self.path.parent, error) from error
        self._digest.update(data)
        self.size += len(data)

    def reset(self) -> None:
        """Discard the bytes written so far."""
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise write_error(self.path.parent, error) from error
        self.size, self._digest = 0, _sha256()

    def commit_new(self, target: Path) -> Path:
        """Rename to ``target`` or the next free name (``fox-2.png``) and return it; file and name are durable then."""
        path = self._commit(target, _rename_to_free_name)
        fsync_directory(path.parent)
        return path

    def commit_replace(self, target: Path) -> Path:
        """Rename to ``target``, replacing a file of that name; after a power loss the old file may be back."""
        return self._commit(target, Path.replace)

    def discard(self) -> None:
        """Close the file, and remove it unless it was committed; never raises OSError."""
        if sys.platform == "win32":  # which cannot remove open files; elsewhere the lock protects it until removed
            self._file.close()
        with suppress(OSError):
            if self._temporary:
                self.path.unlink()
        with suppress(OSError):
            self._file.close()

    def _commit(self, target: Path, rename: Callable[[Path, Path], Path]) -> Path:
        try:
            os.fsync(self._file.fileno())
            if sys.platform == "win32":
                self._file.close()
            path = rename(self.path, target)
            self._temporary = False
            self._file.close()
        except OSError as error:
            raise write_error(target, error) from error
        return path


def open_atomic(target: Path, job_id: str) -> AtomicFile:
    """Create a temporary file next to ``target``, and the directory if needed.

    Leftovers of the same job from a killed process are removed. Raises StorageError when ``target`` cannot be written.
    """
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            sidecar_path(target).lstat()  # a name that is too long fails now, not after the download
        for number in range(1, MAX_NAME_ATTEMPTS):
            path = target.parent / partial_name(target.stem, job_id, number)
            remove_if_unlocked(path)
            with suppress(FileExistsError):
                file = FileIO(path, "xb+")
                if try_advisory_lock(file.fileno()) is not False and is_same_file(file.fileno(), path):
                    return AtomicFile(path, file)
                file.close()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise write_error(target, error) from error
    raise StorageError(f"cannot write {target}: no free temporary name; remove old .part files there")


def remove_stale_parts(folder: Path, *, recursive: bool = False) -> None:
    """Remove the temporary files that killed processes left in a folder; files still being written are locked."""
    with suppress(OSError):
        for path in folder.rglob(".*.part") if recursive else folder.glob(".*.part"):
            if STALE_PART_PATTERN.fullmatch(path.name):
                remove_if_unlocked(path)


def replace_file(path: Path, data: bytes, *, copy_mode_from: Path, job_id: str = "") -> None:
    """Write a small file atomically, replacing the one at ``path``, with the mode of ``copy_mode_from``.

    Unlike files.atomic.write_atomic, its temporary file belongs to a job, so that a crash leaves nothing for good.
    """
    temp_file = open_atomic(path, job_id)
    try:
        temp_file.write(data)
        temp_file.path.chmod(copy_mode_from.stat().st_mode & 0o777)
        temp_file.commit_replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        temp_file.discard()


def _rename_to_free_name(temp_path: Path, target: Path) -> Path:
    """Rename to the first free name. Linking fails if the name exists, and so does renaming on Windows."""
    for number in range(1, MAX_NAME_ATTEMPTS):
        path = target.with_name(numbered(target.name, number))
        try:
            if sys.platform == "win32":
                return temp_path.rename(path)
            os.link(temp_path, path)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in NO_HARDLINK_ERRNOS:
                raise
            if _rename_no_clobber(temp_path, path):
                return path
            continue
        with suppress(OSError):  # the file has its name; a second name does no harm
            temp_path.unlink()
        return path
    raise StorageError(f"cannot write {target}: no free name like it is left")


def _rename_no_clobber(temp_path: Path, path: Path) -> bool:
    """Rename where hard links do not exist (FAT, some network shares); False when the name is taken.

    A separate file reserves the name among all hfmedia processes, so that the name itself never shows an empty file.
    Only another program that creates that very name within the same microsecond would be overwritten.
    """
    reservation = path.with_name(f".{path.name}.reserved")
    try:
        FileIO(reservation, "x").close()
    except FileExistsError:
        return False
    try:
        if os.path.lexists(path):
            return False
        temp_path.rename(path)
        return True
    finally:
        reservation.unlink()


def _sha256() -> Any:
    import hashlib

    return hashlib.sha256()
