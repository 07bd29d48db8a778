"""Failures of the ledger on disk: each is reported clearly, and no entry is acknowledged that is not written."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hfmedia.core.errors import StorageError
from hfmedia.ledger import SqliteLedger
from hfmedia.ledger.migrations import LEDGER_SCHEMA

from .builders import created_entry
from .child_process import run_command

UNPRIVILEGED_UID = 65534


def garbage(path: Path) -> None:
    """Write a file that is not a database."""
    path.write_bytes(b"this is a letter, not a ledger\n" * 300)


def short_garbage(path: Path) -> None:
    """One that is shorter than a database's header."""
    path.write_text("{}")


def another_programs(path: Path) -> None:
    """Another program's database."""
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE cookies (name)")


def newer(path: Path) -> None:
    """A ledger of a version that is not known here."""
    versioned(path, len(LEDGER_SCHEMA.migrations) + 1)


def nonsense(path: Path) -> None:
    """Write a ledger whose version is not a number."""
    versioned(path, "three")


def versioned(path: Path, version: int | str) -> None:
    """A ledger that says it is of that version."""
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"PRAGMA application_id = {LEDGER_SCHEMA.application_id}")
        other.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        other.execute("INSERT INTO meta VALUES ('version', ?)", (version,))


def folder(path: Path) -> None:
    """A folder in its place."""
    path.mkdir()


def content(path: Path) -> bytes | None:
    """All bytes of a file, None when there is none."""
    return path.read_bytes() if path.is_file() else None


def damage(path: Path) -> None:
    """Noise over every page but the first."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


def nowhere(path: Path) -> None:
    """A file in the place of its folder."""
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (garbage, "not a database"),
        (short_garbage, "not a database"),
        (another_programs, "another program's database"),
        (newer, "newer than this hfmedia.*upgrade"),
        (nonsense, "which version"),
        (folder, "is a folder"),
        (nowhere, "File exists|Not a directory"),
    ],
)
async def test_a_file_that_is_not_a_ledger_is_rejected_and_left_unchanged(
    path: Path, make: Callable[[Path], None], message: str
) -> None:
    """In reading and in writing, with a sentence; not a byte of it is changed."""
    path.parent.mkdir()
    make(path)
    before = content(path)
    ledger = SqliteLedger(path)
    for operation in (ledger.append(created_entry("a")), ledger.get("a"), ledger.claim("a")):
        with pytest.raises(StorageError, match=message):
            await operation
    await ledger.aclose()
    assert content(path) == before


async def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """A null character, and a name longer than any disk takes."""
    for name in ("a\0b", "x" * 300):
        ledger = SqliteLedger(tmp_path / name)
        with pytest.raises(StorageError, match="cannot be used"):
            await ledger.append(created_entry("a"))
        await ledger.aclose()


def move(path: Path, to: Path) -> None:
    """Renames, over whatever was there."""
    path.replace(to)


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A disk of 600 KB at that folder."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mounts")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def unprivileged() -> Iterator[Path]:
    """Give a folder of its own to a user without root privileges."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if os.geteuid():
            yield place
            return
        os.chown(place, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
        os.seteuid(UNPRIVILEGED_UID)
        try:
            yield place
        finally:
            os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="rights work otherwise there")
async def test_a_read_only_ledger_is_refused_when_it_should_be_written() -> None:
    """The file, then the folder in which it shall be made; what was written can be read."""
    with unprivileged() as place:
        path = place / "ledger.sqlite3"
        first = SqliteLedger(path)
        await first.append(created_entry("a"))
        await first.aclose()
        path.chmod(0o400)
        ledger = SqliteLedger(path)
        with pytest.raises(StorageError, match="read-only"):
            await ledger.append(created_entry("b"))
        await ledger.aclose()
        path.chmod(0o600)
        place.chmod(0o500)
        ledger = SqliteLedger(place / "other.sqlite3")
        with pytest.raises(StorageError, match="Permission denied"):
            await ledger.append(created_entry("b"))
        await ledger.aclose()
        ledger = SqliteLedger(path)
        with pytest.raises(StorageError):
            await ledger.append(created_entry("b"))
        await ledger.aclose()
        place.chmod(0o700)
        again = SqliteLedger(path)
        assert [job.id async for job in again.iter_jobs()] == ["a"]
        await again.aclose()


async def test_a_ledger_that_stays_locked_is_reported_and_works_again(path: Path) -> None:
    """After the busy timeout nothing is written; reading never waits."""
    ledger = SqliteLedger(path, busy_timeout=0.1)
    await ledger.append(created_entry("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(*(ledger.append(created_entry(name)) for name in "bc"), return_exceptions=True)
        for result in results:
            assert isinstance(result, StorageError)
            assert "another process" in str(result)
        assert [job.id async for job in ledger.iter_jobs()] == ["a"]
        other.execute("ROLLBACK")
    await ledger.append(created_entry("b"))
    assert [job.id async for job in ledger.iter_jobs()] == ["a", "b"]
    await ledger.aclose()


async def test_a_damaged_ledger_is_reported(path: Path) -> None:
    """Pages of noise in the middle; no job is invented."""
    ledger = SqliteLedger(path)
    await asyncio.gather(*(ledger.append(created_entry(f"j{number}")) for number in range(200)))
    await ledger.aclose()
    damage(path)
    ledger = SqliteLedger(path)
    for operation in (ledger.get("j5"), ledger.append(created_entry("new")), ledger.entries("j5")):
        with pytest.raises(StorageError, match="damaged"):
            await operation
    await ledger.aclose()


async def test_a_job_that_cannot_be_read_is_reported_by_its_id(disk: SqliteLedger, path: Path) -> None:
    """Written by another hand, or by a later version within the same tables."""
    await disk.append(created_entry("a"))
    for body in ("{", '{"id": "a"}', b"\xff\xfe"):
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE jobs SET body = ?", (body,))
        with pytest.raises(StorageError, match="job a") as caught:
            await disk.get("a")
        assert caught.value.job_id == "a"


async def test_a_ledger_that_is_removed_accepts_no_more_entries(disk: SqliteLedger, path: Path) -> None:
    """SQLite would go on writing to the unlinked file, and no later process would find the entries."""
    await disk.append(created_entry("a"))
    elsewhere = path.with_name("elsewhere")
    move(path, elsewhere)
    with pytest.raises(StorageError, match="removed or replaced"):
        await disk.append(created_entry("b"))
    short_garbage(path)
    with pytest.raises(StorageError, match="removed or replaced"):
        await disk.append(created_entry("b"))
    move(elsewhere, path)
    await disk.append(created_entry("b"))
    assert [job.id async for job in disk.iter_jobs()] == ["a", "b"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files there")
async def test_a_file_that_may_grow_no_more_claims_nothing(path: Path) -> None:
    """Every append that returned is there, and none that raised; with room again it goes on."""
    result = await asyncio.to_thread(run_command, "grow", path, 200_000)
    assert result["rejected"] > 0
    assert "disk" in result["message"]
    await check_after_full_disk(path, result)


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="mounting needs root on Linux")
async def test_a_full_disk_claims_nothing(path: Path) -> None:
    """The same on a small disk that is really full."""
    with small_disk(path.parent):
        result = await asyncio.to_thread(run_command, "grow", path, 0)
        assert result["rejected"] > 0
        assert "full" in result["message"] or "disk" in result["message"]
        await check_after_full_disk(path, result)


async def check_after_full_disk(path: Path, result: dict[str, list[str]]) -> None:
    """Check that everything acknowledged to the child is written, and that the ledger works."""
    ledger = SqliteLedger(path)
    assert [job.id async for job in ledger.iter_jobs()] == result["written"]
    for job in result["written"]:
        assert len(await ledger.entries(job)) == 1
    await ledger.aclose()
