"""Writer: group commit, one transaction and one fsync per batch of work items.

An item checks before it writes, so one that is rejected leaves the others of its batch untouched.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection

from hfmedia.core.errors import HfmediaError, StorageError
from hfmedia.core.job import InvalidTransitionError, Job
from hfmedia.sqlite import close, connect, rollback, to_storage_error

from .base import IdempotencyKeyInUseError, apply_entries
from .db_thread import WorkItem, WorkResult
from .migrations import LEDGER_SCHEMA
from .process_locks import ProcessLocks
from .serialization import EncodedEntry, decode_job, job_columns

PRUNE_BATCH_SIZE = 500  # jobs deleted in one transaction, so that other writers do not wait long
UPDATE_COLUMNS = ("state", "is_terminal", "updated_at", "provider", "attempts", "cost", "unit", "body")
INSERT_COLUMNS = ("seq", "id", "idempotency_key", "created_at", "task", "model", *UPDATE_COLUMNS)
INSERT_ENTRY = "INSERT INTO entries (job_id, timestamp, kind, body) VALUES (?, ?, ?, ?)"
INSERT_JOB = (
    f"INSERT INTO jobs ({', '.join(INSERT_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in INSERT_COLUMNS)})"
)
UPDATE_JOB = f"UPDATE jobs SET {', '.join(f'{name} = :{name}' for name in UPDATE_COLUMNS)} WHERE id = :id"


class LedgerWriter:
    """Runs batches of writes on one connection, which is opened with the first of them."""

    def __init__(
        self, path: Path, locks: ProcessLocks, busy_timeout: float, on_commit: Callable[[int], None] | None
    ) -> None:
        self._path = path
        self._locks = locks
        self._busy_timeout = busy_timeout
        self._on_commit = on_commit
        self._connection: Connection | None = None
        self._file_stat: os.stat_result | None = None

    def run_batch(self, items: list[WorkItem]) -> list[WorkResult]:
        """Run all items in one transaction; one that SQLite rejects gets the error, and the others are run again."""
        finished: list[WorkResult] = []
        pending = list(items)
        while pending:
            try:
                connection = self._open()
                connection.execute("BEGIN IMMEDIATE")
            except (sqlite3.Error, OSError, ValueError, StorageError) as error:
                return finished + [WorkResult(item, error=self._translate_error(error)) for item in pending]
            results, aborted = _run_all(connection, pending)
            if aborted is not None:
                self._rollback(connection)
                finished.append(aborted._replace(error=self._translate_error(aborted.error)))
                pending.remove(aborted.item)
                continue
            commit_error = self._commit(connection, len(pending))
            if commit_error is not None:
                results = [WorkResult(item, error=self._translate_error(commit_error)) for item in pending]
            return finished + results
        return finished

    def close(self) -> None:
        """Release all claims and close the connection."""
        if self._connection is not None:
            with suppress(sqlite3.Error):  # claims without a lock are void anyway
                if self._locks.owner_id is not None:
                    self._connection.execute("DELETE FROM claims WHERE owner = ?", (self._locks.owner_id,))
            close(self._connection)
        self._locks.release()

    def _open(self) -> Connection:
        if self._file_stat is not None and not self._is_same_file(
            self._file_stat
        ):  # SQLite would go on writing to the unlinked file
            raise StorageError(f"the ledger {self._path} was removed or replaced while in use; restart the program")
        if self._connection is None:
            self._connection = connect(LEDGER_SCHEMA, self._path, self._busy_timeout)
            self._file_stat = self._path.stat()
        return self._connection

    def _is_same_file(self, expected: os.stat_result) -> bool:
        try:
            return os.path.samestat(expected, self._path.stat())
        except FileNotFoundError:
            return False

    def _commit(self, connection: Connection, item_count: int) -> sqlite3.Error | None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback(connection)
            return error
        if self._on_commit is not None:
            self._on_commit(item_count)
        return None

    def _rollback(self, connection: Connection) -> None:
        if not rollback(connection):
            close(connection)
            self._connection = None

    def _translate_error(self, error: BaseException | None) -> BaseException | None:
        if isinstance(error, sqlite3.Error | OSError | ValueError):
            return to_storage_error(LEDGER_SCHEMA, self._path, error)
        return error


def _run_all(connection: Connection, items: list[WorkItem]) -> tuple[list[WorkResult], WorkResult | None]:
    """Return the results of all items, or the item that failed, whose batch has to be rolled back."""
    results: list[WorkResult] = []
    for item in items:
        try:
            results.append(WorkResult(item, item.func(connection)))
        except (InvalidTransitionError, HfmediaError) as error:
            results.append(WorkResult(item, error=error))
        except Exception as error:
            return results, WorkResult(item, error=error)
    return results, None


def append(connection: Connection, locks: ProcessLocks, entries: tuple[EncodedEntry, ...]) -> Job:
    """Append entries of one job and return it; creating a job claims it until it is terminal or released."""
    job_id, key = entries[0].entry.job_id, entries[0].key
    row = connection.execute("SELECT body FROM jobs WHERE id = ?", (job_id,)).fetchone()
    previous = decode_job(job_id, row[0]) if row else None
    job = apply_entries(previous, *(encoded.entry for encoded in entries))
    columns = job_columns(job)
    if previous is None:
        existing = key and connection.execute("SELECT id FROM jobs WHERE idempotency_key = ?", (key,)).fetchone()
        if existing:
            raise IdempotencyKeyInUseError(existing[0])
        if not claim(connection, locks, job.id):
            raise InvalidTransitionError(f"job {job.id} is running in another process")
    rows = [(job.id, encoded.entry.timestamp, encoded.kind, encoded.body) for encoded in entries]
    seq = connection.execute(INSERT_ENTRY, rows[0]).lastrowid
    connection.executemany(INSERT_ENTRY, rows[1:])
    if previous is None:
        connection.execute(INSERT_JOB, {**columns, "seq": seq, "idempotency_key": key})
    else:
        connection.execute(UPDATE_JOB, columns)
    if previous is not None and job.is_terminal:
        connection.execute("DELETE FROM claims WHERE job_id = ?", (job.id,))
    return job


def claim(connection: Connection, locks: ProcessLocks, job_id: str) -> bool:
    """Claim a job; False when another live process owns it."""
    owner_id = locks.acquire_owner_id()
    row = connection.execute("SELECT owner FROM claims WHERE job_id = ?", (job_id,)).fetchone()
    if row and row[0] != owner_id and locks.is_alive(row[0]):
        return False
    if not row or row[0] != owner_id:
        connection.execute("REPLACE INTO claims (job_id, owner) VALUES (?, ?)", (job_id, owner_id))
    return True


def release(connection: Connection, locks: ProcessLocks, job_id: str) -> None:
    """Release the claim of this ledger on a job."""
    connection.execute("DELETE FROM claims WHERE job_id = ? AND owner = ?", (job_id, locks.owner_id))


def prune(connection: Connection, locks: ProcessLocks, before: float, states: frozenset[str]) -> int:
    """Delete one batch of old jobs with their entries and return its size, 0 when none are left."""
    for (owner_id,) in connection.execute("SELECT DISTINCT owner FROM claims").fetchall():
        if not locks.is_alive(owner_id):
            connection.execute("DELETE FROM claims WHERE owner = ?", (owner_id,))
    placeholders = ", ".join("?" * len(states))
    pruned = connection.execute(
        f"SELECT id FROM jobs WHERE state IN ({placeholders}) AND updated_at < ? "
        "AND id NOT IN (SELECT job_id FROM claims) LIMIT ?",
        (*states, before, PRUNE_BATCH_SIZE),
    ).fetchall()
    connection.executemany("DELETE FROM entries WHERE job_id = ?", pruned)
    connection.executemany("DELETE FROM jobs WHERE id = ?", pruned)
    return len(pruned)
