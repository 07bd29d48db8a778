"""Who lives: each ledger that carries jobs holds the operating system's lock on a file of its own while it lives.

The system drops the lock when the process ends, however it ends; no clock is asked. One machine shares a ledger.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

NAME = re.compile(r"[0-9]+-[0-9a-f]{32}")
TRIES = 100  # to get a file of our own; each can only fail when a neighbour sweeps in the same microsecond

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int, *, mine: bool) -> bool:
        """Locks the first byte. There are no shared locks here: two who look at once may both see a living owner."""
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        if not mine:
            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        return True

else:
    import fcntl

    def _lock(handle: int, *, mine: bool) -> bool:
        """Locks the open file until it is closed; False when somebody else holds it. Those who look do so together."""
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if mine else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class Owners:
    """The folder of owners beside a ledger, and our own name in it once we need one. Everything here blocks."""

    def __init__(self, ledger: Path) -> None:
        self.folder = ledger.with_name(f"{ledger.name}.owners")
        self._handle: int | None = None
        self._name = ""
        _all.add(self)

    @property
    def name(self) -> str | None:
        """Our name, if we have needed one."""
        return self._name if self._handle is not None else None

    def me(self) -> str:
        """Our name, under lock from now on; OSError when the disk will not have it."""
        if self._handle is None:
            self._enter()
        return self._name

    def lives(self, name: str) -> bool:
        """Whether the owner of that name is a living process; the file of a dead one is swept away."""
        if self._handle is not None and name == self._name:
            return True
        if not NAME.fullmatch(name):
            return False
        path = self.folder / f"{name}.lock"
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        except PermissionError:  # another user's, so better taken for a living one
            return True
        try:
            if not _lock(handle, mine=False):
                return True
            if sys.platform != "win32":
                with suppress(OSError):
                    path.unlink()
        finally:
            os.close(handle)
        return False

    def leave(self) -> None:
        """Gives our name up."""
        if self._handle is None:
            return
        with suppress(OSError):
            if sys.platform != "win32":
                self._path().unlink()
        self.forget()
        with suppress(OSError):
            if sys.platform == "win32":
                self._path().unlink()
        with suppress(OSError):
            self.folder.rmdir()  # when we were the last

    def forget(self) -> None:
        """Closes our file without unlocking it for a parent process, which has it open too."""
        if self._handle is not None:
            with suppress(OSError):
                os.close(self._handle)
        self._handle = None

    def _path(self) -> Path:
        return self.folder / f"{self._name}.lock"

    def _enter(self) -> None:
        for _ in range(TRIES):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._name = f"{os.getpid()}-{uuid.uuid4().hex}"
            try:
                handle = os.open(self._path(), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            except FileNotFoundError:  # the last one left and took the folder along
                continue
            if _lock(handle, mine=True) and self._path().exists():
                self._handle = handle
                self._sweep()
                return
            os.close(handle)
        raise OSError(f"no lock can be had in {self.folder}")

    def _sweep(self) -> None:
        """Removes what those left behind who died."""
        for path in self.folder.glob("*.lock"):
            if path.stem != self._name:
                self.lives(path.stem)


_all: WeakSet[Owners] = WeakSet()


def _forget_all() -> None:
    """In a child after a fork: the parent's claims are the parent's, and end with it."""
    for owners in list(_all):
        owners.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
