"""A file on its way: hidden and temporary beside its place until it is whole, then given its name in one step.

A name that exists is never taken, by whomever and however fast; what went wrong becomes a StoreError that says so.
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
from .filenames import numbered, partial_name, sidecar_path

MAX_NAME_ATTEMPTS = 100_000  # tried before something else must be wrong
# What a disk says, in words and with what to do about it.
ERRNO_HINTS = {
    errno.ENOSPC: "the disk is full; make room there or choose another place",
    errno.EDQUOT: "your quota of the disk is used up; make room there or choose another place",
    errno.EACCES: "you may not write there; choose another place",
    errno.EPERM: "you may not write there; choose another place",
    errno.EROFS: "that disk is read-only; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOTDIR: "a part of that path is a file, not a directory",
    errno.EEXIST: "a part of that path is a file, not a directory",
    errno.EISDIR: "that is a directory; name a file in it, or end the name with a slash",
    errno.EFBIG: "the file is larger than that disk or your limits allow",
}
STALE_PART_PATTERN = re.compile(r"\..+\.[0-9a-f]{20}(-[0-9]+)?\.part")  # as part_name makes them, with the id of a job
NO_HARDLINK_ERRNOS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})


def write_error(path: Path, error: OSError | ValueError) -> StorageError:
    """A StoreError that says what the disk said, and what to do."""
    code = error.errno if isinstance(error, OSError) else None
    reason = ERRNO_HINTS.get(code or 0) or (error.strerror if isinstance(error, OSError) else None) or str(error)
    return StorageError(f"cannot write {path}: {reason}")


class AtomicFile:
    """A temporary file, open and locked, with the digest of what was written so far. Everything here blocks."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.size = 0
        self._file = file
        self._temporary = True
        self._digest = _sha256()

    @property
    def file(self) -> BinaryIO:
        """The open file, to be read."""
        return cast("BinaryIO", self._file)

    @property
    def sha256(self) -> str:
        """The digest of what has been written, in hex."""
        return str(self._digest.hexdigest())

    def write(self, data: bytes | memoryview) -> None:
        """Appends; StoreError when the disk will not have it."""
        remaining = memoryview(data)
        try:
            while remaining:
                remaining = remaining[self._file.write(remaining) :]
        except OSError as error:
            raise write_error(self.path.parent, error) from error
        self._digest.update(data)
        self.size += len(data)

    def reset(self) -> None:
        """Forgets what was written."""
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise write_error(self.path.parent, error) from error
        self.size, self._digest = 0, _sha256()

    def commit_new(self, target: Path) -> Path:
        """Gives the file its name, or the next one that is free (``fox-2.png``); both are on the disk by then."""
        path = self._commit(target, _rename_to_free_name)
        _fsync_directory(path.parent)
        return path

    def commit_replace(self, target: Path) -> Path:
        """Gives the file that name, in place of the file that has it; after a power cut it may be the old one again."""
        return self._commit(target, Path.replace)

    def discard(self) -> None:
        """Closes the file, and removes it if it was not given a name; never raises what cannot be helped."""
        if sys.platform == "win32":  # where an open file cannot be removed; elsewhere its lock guards it until the end
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
    """A new temporary file beside ``target``, whose directory is made; StoreError when that place will not do.

    What the same job left behind when it was killed is removed on the way.
    """
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            sidecar_path(target).lstat()  # a name that is too long is told now, not after the download
        for number in range(1, MAX_NAME_ATTEMPTS):
            path = target.parent / partial_name(target.stem, job_id, number)
            _remove_if_stale(path)
            with suppress(FileExistsError):
                file = FileIO(path, "xb+")
                if _lock(file) is not False and _is_same_file(file, path):
                    return AtomicFile(path, file)
                file.close()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise write_error(target, error) from error
    raise StorageError(f"cannot write {target}: no temporary name is free there")


def remove_stale_parts(folder: Path) -> None:
    """Removes the temporary files in a folder whose processes were killed; one that somebody holds stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if STALE_PART_PATTERN.fullmatch(entry.name):
                _remove_if_stale(folder / entry.name)


def write_atomic(path: Path, data: bytes, *, copy_mode_from: Path, job_id: str = "") -> None:
    """Writes a small file whole or not at all, over the one that was there; its mode is that of ``like``."""
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
    """Renames to the first free name. A link fails where a file is; so does renaming on Windows."""
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
        with suppress(OSError):  # the file has its name; a second one beside it does no harm
            temp_path.unlink()
        return path
    raise StorageError(f"cannot write {target}: no name like it is free there")


def _rename_no_clobber(temp_path: Path, path: Path) -> bool:
    """Renames where links do not exist (FAT, some shares), unless the name is taken.

    A file of its own reserves the name among all hfmedia processes, so that the name itself never stands for an
    empty file; only a stranger who makes that very name in the same microsecond would be overwritten.
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


def _fsync_directory(path: Path) -> None:
    """Makes a new name durable, where the system can do that; the bytes are safe already."""
    if sys.platform == "win32":
        return
    with suppress(OSError):  # some shares cannot, and the file is there all the same
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _remove_if_stale(path: Path) -> None:
    """Removes a temporary file that nobody holds: its process was killed."""
    if sys.platform == "win32" or not path.exists():
        return
    with suppress(OSError), FileIO(path, "rb+") as file:
        if _lock(file) and _is_same_file(file, path):
            path.unlink()


def _lock(file: FileIO) -> bool | None:
    """Locks the file until it is closed; False when somebody else holds it, None where there are no locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_same_file(file: FileIO, path: Path) -> bool:
    """Whether that path still leads to this file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sha256() -> Any:
    import hashlib

    return hashlib.sha256()
