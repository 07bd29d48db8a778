"""The hand that writes: a round of deeds is one transaction and one wait for the disk.

A deed looks before it writes, so that one which is refused leaves the others of its round alone.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection

from hfmedia.core.errors import HfmediaError, StoreError
from hfmedia.core.job import ImpossibleError, Job
from hfmedia.database import close, connect, explained, rollback

from .migrations import LEDGER
from .owners import Owners
from .port import KeyTakenError, after
from .rows import Entry, job_columns, read_job
from .worker import Deed, Result

AT_ONCE = 500  # jobs forgotten in one transaction, so that nobody waits long for us
CHANGING = ("state", "ended", "updated", "provider", "attempts", "cost", "unit", "body")
COLUMNS = ("seq", "id", "key", "created", "task", "model", *CHANGING)
INSERT_FACT = "INSERT INTO facts (job, at, kind, body) VALUES (?, ?, ?, ?)"
INSERT_JOB = f"INSERT INTO jobs ({', '.join(COLUMNS)}) VALUES ({', '.join(f':{name}' for name in COLUMNS)})"
UPDATE_JOB = f"UPDATE jobs SET {', '.join(f'{name} = :{name}' for name in CHANGING)} WHERE id = :id"


class Writing:
    """Rounds of deeds on one connection, which is opened with the first of them."""

    def __init__(self, path: Path, owners: Owners, patience: float, on_commit: Callable[[int], None] | None) -> None:
        self._path = path
        self._owners = owners
        self._patience = patience
        self._on_commit = on_commit
        self._connection: Connection | None = None
        self._file: os.stat_result | None = None

    def round(self, deeds: list[Deed]) -> list[Result]:
        """All of them in one transaction; one that SQLite cannot do is told so, and the others begin again."""
        settled: list[Result] = []
        left = list(deeds)
        while left:
            try:
                connection = self._open()
                connection.execute("BEGIN IMMEDIATE")
            except (sqlite3.Error, OSError, ValueError, StoreError) as error:
                return settled + [Result(deed, error=self._told(error)) for deed in left]
            results, spoiler = _try_all(connection, left)
            if spoiler is not None:
                self._undo(connection)
                settled.append(spoiler._replace(error=self._told(spoiler.error)))
                left.remove(spoiler.deed)
                continue
            failure = self._commit(connection, len(left))
            if failure is not None:
                results = [Result(deed, error=self._told(failure)) for deed in left]
            return settled + results
        return settled

    def put_away(self) -> None:
        """Gives up what we carry, and closes the connection."""
        if self._connection is not None:
            with suppress(sqlite3.Error):  # without our lock our claims are worth nothing anyway
                if self._owners.name is not None:
                    self._connection.execute("DELETE FROM claims WHERE owner = ?", (self._owners.name,))
            close(self._connection)
        self._owners.leave()

    def _open(self) -> Connection:
        if self._file is not None and not self._is_still(self._file):  # SQLite would write into a file without a name
            raise StoreError(f"the ledger {self._path} was removed or replaced while it was in use; start again")
        if self._connection is None:
            self._connection = connect(LEDGER, self._path, self._patience)
            self._file = self._path.stat()
        return self._connection

    def _is_still(self, file: os.stat_result) -> bool:
        try:
            return os.path.samestat(file, self._path.stat())
        except FileNotFoundError:
            return False

    def _commit(self, connection: Connection, deeds: int) -> sqlite3.Error | None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(connection)
            return error
        if self._on_commit is not None:
            self._on_commit(deeds)
        return None

    def _undo(self, connection: Connection) -> None:
        if not rollback(connection):
            close(connection)
            self._connection = None

    def _told(self, error: BaseException | None) -> BaseException | None:
        if isinstance(error, sqlite3.Error | OSError | ValueError):
            return explained(LEDGER, self._path, error)
        return error


def _try_all(connection: Connection, deeds: list[Deed]) -> tuple[list[Result], Result | None]:
    """The results of all; or the deed that broke off, whose traces must go with those of the others."""
    results: list[Result] = []
    for deed in deeds:
        try:
            results.append(Result(deed, deed.work(connection)))
        except (ImpossibleError, HfmediaError) as error:
            results.append(Result(deed, error=error))
        except Exception as error:
            return results, Result(deed, error=error)
    return results, None


def append(connection: Connection, owners: Owners, told: tuple[Entry, ...]) -> Job:
    """The job after these facts of it; whoever creates it carries it until it ends or is released."""
    job_id, key = told[0].fact.job, told[0].key
    row = connection.execute("SELECT body FROM jobs WHERE id = ?", (job_id,)).fetchone()
    before = read_job(job_id, row[0]) if row else None
    job = after(before, *(one.fact for one in told))
    columns = job_columns(job)
    if before is None:
        taken = key and connection.execute("SELECT id FROM jobs WHERE key = ?", (key,)).fetchone()
        if taken:
            raise KeyTakenError(taken[0])
        if not claim(connection, owners, job.id):
            raise ImpossibleError(f"job {job.id} is carried by another process")
    rows = [(job.id, one.fact.at, one.kind, one.body) for one in told]
    seq = connection.execute(INSERT_FACT, rows[0]).lastrowid
    connection.executemany(INSERT_FACT, rows[1:])
    if before is None:
        connection.execute(INSERT_JOB, {**columns, "seq": seq, "key": key})
    else:
        connection.execute(UPDATE_JOB, columns)
    if before is not None and job.ended:
        connection.execute("DELETE FROM claims WHERE job = ?", (job.id,))
    return job


def claim(connection: Connection, owners: Owners, job_id: str) -> bool:
    """Whether we carry the job now."""
    me = owners.me()
    row = connection.execute("SELECT owner FROM claims WHERE job = ?", (job_id,)).fetchone()
    if row and row[0] != me and owners.lives(row[0]):
        return False
    if not row or row[0] != me:
        connection.execute("REPLACE INTO claims (job, owner) VALUES (?, ?)", (job_id, me))
    return True


def release(connection: Connection, owners: Owners, job_id: str) -> None:
    """We carry it no longer."""
    connection.execute("DELETE FROM claims WHERE job = ? AND owner = ?", (job_id, owners.name))


def forget(connection: Connection, owners: Owners, before: float, states: frozenset[str]) -> int:
    """Removes some of the old jobs with their facts, and tells how many; 0 when there are none left."""
    for (owner,) in connection.execute("SELECT DISTINCT owner FROM claims").fetchall():
        if not owners.lives(owner):
            connection.execute("DELETE FROM claims WHERE owner = ?", (owner,))
    marks = ", ".join("?" * len(states))
    gone = connection.execute(
        f"SELECT id FROM jobs WHERE state IN ({marks}) AND updated < ? AND id NOT IN (SELECT job FROM claims) LIMIT ?",
        (*states, before, AT_ONCE),
    ).fetchall()
    connection.executemany("DELETE FROM facts WHERE job = ?", gone)
    connection.executemany("DELETE FROM jobs WHERE id = ?", gone)
    return len(gone)
