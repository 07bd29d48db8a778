"""Process liveness by OS file locks: each ledger that runs jobs holds the lock on its own file while it is open.

The operating system drops the lock when the process ends, however it ends; no clock is involved. A ledger is shared
within one machine.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from hfmedia.files.locks import try_lock

OWNER_ID_PATTERN = re.compile(r"[0-9]+-[0-9a-f]{32}")
MAX_LOCK_ATTEMPTS = 100  # to create a lock file; one fails only when another process removes stale locks at that moment


class ProcessLocks:
    """The folder of lock files next to a ledger, and this ledger's own lock once it claims a job. Methods block."""

    def __init__(self, ledger_path: Path) -> None:
        self.folder = ledger_path.with_name(f"{ledger_path.name}.owners")
        self._fd: int | None = None
        self._owner_id = ""
        _instances.add(self)

    @property
    def owner_id(self) -> str | None:
        """The owner id of this ledger, None before its first claim."""
        return self._owner_id if self._fd is not None else None

    def acquire_owner_id(self) -> str:
        """Return the owner id, locked from now on; raises OSError when the lock file cannot be created."""
        if self._fd is None:
            self._acquire()
        return self._owner_id

    def is_alive(self, owner_id: str) -> bool:
        """Test whether the owner is a live process; the lock file of a dead one is removed."""
        if self._fd is not None and owner_id == self._owner_id:
            return True
        if not OWNER_ID_PATTERN.fullmatch(owner_id):
            return False
        path = self.folder / f"{owner_id}.lock"
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        except PermissionError:  # another user's: assume that it is alive
            return True
        try:
            if not try_lock(fd, shared=True):
                return True
            if sys.platform != "win32":
                with suppress(OSError):
                    path.unlink()
        finally:
            os.close(fd)
        return False

    def release(self) -> None:
        """Give up the owner id and remove its lock file."""
        if self._fd is None:
            return
        with suppress(OSError):
            if sys.platform != "win32":
                self._path().unlink()
        self.close_lock_file()
        with suppress(OSError):
            if sys.platform == "win32":
                self._path().unlink()
        with suppress(OSError):
            self.folder.rmdir()  # only succeeds for the last owner

    def close_lock_file(self) -> None:
        """Close the lock file without unlocking it for a parent process that has it open too."""
        if self._fd is not None:
            with suppress(OSError):
                os.close(self._fd)
        self._fd = None

    def _path(self) -> Path:
        return self.folder / f"{self._owner_id}.lock"

    def _acquire(self) -> None:
        for _ in range(MAX_LOCK_ATTEMPTS):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._owner_id = f"{os.getpid()}-{uuid.uuid4().hex}"
            try:
                fd = os.open(self._path(), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            except FileNotFoundError:  # the last owner left and removed the folder
                continue
            if try_lock(fd) and self._path().exists():
                self._fd = fd
                self._remove_stale_locks()
                return
            os.close(fd)
        raise OSError(f"cannot create a lock file in {self.folder}")

    def _remove_stale_locks(self) -> None:
        """Remove the lock files of dead processes."""
        for path in self.folder.glob("*.lock"):
            if path.stem != self._owner_id:
                self.is_alive(path.stem)


_instances: WeakSet[ProcessLocks] = WeakSet()


def _after_fork_in_child() -> None:
    """Drop inherited locks in a forked child: the claims belong to the parent and end with it."""
    for locks in list(_instances):
        locks.close_lock_file()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
