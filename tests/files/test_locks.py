"""Locks between processes, and the removal of what a killed process left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hfmedia.files.locks import is_same_file, remove_if_unlocked, try_advisory_lock, try_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")

HOLDER = """
import sys
from hfmedia.files.locks import try_lock
file = open(sys.argv[1], "rb+")
assert try_lock(file.fileno())
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_lock_of_another_process_is_seen_until_that_process_is_killed(tmp_path: Path) -> None:
    """And its file is removed only after that."""
    path = tmp_path / "a.part"
    path.write_bytes(b"half")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with path.open("rb+") as file:
            assert try_lock(file.fileno()) is False
            assert try_lock(file.fileno(), shared=True) is False
            assert try_advisory_lock(file.fileno()) is False
        remove_if_unlocked(path)
        assert path.exists()
    finally:
        holder.kill()
        holder.communicate()
    remove_if_unlocked(path)
    assert not path.exists()


def test_shared_locks_do_not_conflict(tmp_path: Path) -> None:
    """Two processes may look at the same time; opened twice, a file counts as two."""
    path = tmp_path / "a.lock"
    path.touch()
    with path.open("rb+") as one, path.open("rb+") as other:
        assert try_lock(one.fileno(), shared=True)
        assert try_lock(other.fileno(), shared=True)
        assert not try_lock(other.fileno())


def test_a_replaced_file_is_not_the_same(tmp_path: Path) -> None:
    """Nor is a removed one."""
    path = tmp_path / "a"
    path.touch()
    with path.open("rb+") as file:
        assert is_same_file(file.fileno(), path)
        (tmp_path / "b").touch()
        (tmp_path / "b").replace(path)
        assert not is_same_file(file.fileno(), path)
        path.unlink()
        assert not is_same_file(file.fileno(), path)


def test_removing_an_absent_file_is_fine(tmp_path: Path) -> None:
    """Another process may have been quicker."""
    remove_if_unlocked(tmp_path / "absent")
