"""Reader: keyset-paginated queries in constant memory.

Readers never wait for a writer, and see everything that was committed before their query.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from hfmedia.core.errors import HfmediaError
from hfmedia.core.job import TERMINAL_STATES, Job, LedgerEntry
from hfmedia.sqlite import close, connect, to_storage_error

from .base import JobFilter
from .db_thread import WorkItem, WorkResult
from .migrations import LEDGER_SCHEMA
from .process_locks import ProcessLocks
from .serialization import decode_entry, decode_job

PAGE_SIZE = 100  # jobs; about 2 KiB each


class LedgerReader:
    """Runs queries on one connection, which is opened with the first of them."""

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._connection: Connection | None = None

    def run_batch(self, items: list[WorkItem]) -> list[WorkResult]:
        """Run the items one after the other; each fails separately."""
        return [self._execute(item) for item in items]

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            close(self._connection)

    def _execute(self, item: WorkItem) -> WorkResult:
        try:
            if self._connection is None:
                self._connection = connect(LEDGER_SCHEMA, self._path, self._busy_timeout)
            return WorkResult(item, item.func(self._connection))
        except HfmediaError as error:
            return WorkResult(item, error=error)
        except (sqlite3.Error, OSError, ValueError) as error:
            return WorkResult(item, error=to_storage_error(LEDGER_SCHEMA, self._path, error))


def get_job(connection: Connection, job_id: str) -> Job | None:
    """Return the job with that id."""
    row = connection.execute("SELECT body FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return decode_job(job_id, row[0]) if row else None


def find_by_key(connection: Connection, key: str) -> Job | None:
    """Return the job with that idempotency key."""
    row = connection.execute("SELECT id, body FROM jobs WHERE idempotency_key = ?", (key,)).fetchone()
    return decode_job(row[0], row[1]) if row else None


def list_entries(connection: Connection, job_id: str) -> list[LedgerEntry]:
    """Return the entries of a job in order."""
    rows = connection.execute("SELECT body FROM entries WHERE job_id = ? ORDER BY seq", (job_id,)).fetchall()
    return [decode_entry(job_id, body) for (body,) in rows]


def last_seq(connection: Connection) -> int:
    """Return the seq of the newest job, 0 without any."""
    (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()
    return int(seq)


def list_page(
    connection: Connection, job_filter: JobFilter, seq_range: tuple[int, int], newest_first: bool, limit: int
) -> list[tuple[int, Job]]:
    """Return up to ``limit`` jobs within a range of seq, both ends included, each with its seq."""
    conditions = "seq BETWEEN ? AND ?"
    values: list[Any] = list(seq_range)
    for condition, value in (
        ("provider = ?", job_filter.provider),
        ("model = ?", job_filter.model),
        ("created_at >= ?", job_filter.since),
    ):
        if value is not None:
            conditions += f" AND {condition}"
            values.append(value)
    if job_filter.states is not None:
        conditions += f" AND state IN ({', '.join('?' * len(job_filter.states))})"
        values += job_filter.states
        if not job_filter.states & TERMINAL_STATES:
            conditions += " AND is_terminal = 0"  # their index is short; terminal jobs are scanned by seq
    direction = "DESC" if newest_first else "ASC"
    sql = f"SELECT seq, id, body FROM jobs WHERE {conditions} ORDER BY seq {direction} LIMIT ?"
    rows = connection.execute(sql, (*values, limit)).fetchall()
    return [(seq, decode_job(job_id, body)) for seq, job_id, body in rows]


def find_owner(connection: Connection, locks: ProcessLocks, job_id: str) -> str | None:
    """Return the live owner of a job, if there is one."""
    row = connection.execute("SELECT owner FROM claims WHERE job_id = ?", (job_id,)).fetchone()
    return str(row[0]) if row and locks.is_alive(row[0]) else None


def list_claims(connection: Connection, locks: ProcessLocks) -> dict[str, str]:
    """Return the claims of live owners."""
    rows = connection.execute("SELECT job_id, owner FROM claims ORDER BY job_id").fetchall()
    alive = {owner_id for owner_id in {owner_id for _, owner_id in rows} if locks.is_alive(owner_id)}
    return {job_id: owner_id for job_id, owner_id in rows if owner_id in alive}
