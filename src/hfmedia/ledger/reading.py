"""The hand that reads: jobs in pages, so that a million of them need no more memory than a hundred.

Readers never wait for a writer, and see all that was written before they asked.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from hfmedia.core.errors import HfmediaError
from hfmedia.core.job import ENDED, Fact, Job
from hfmedia.database import close, connect, explained

from .migrations import LEDGER
from .owners import Owners
from .port import Wanted
from .rows import read_fact, read_job
from .worker import Deed, Result

PAGE = 100  # jobs; about 2 KiB each


class Reading:
    """Deeds on one connection, which is opened with the first of them."""

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._connection: Connection | None = None

    def round(self, deeds: list[Deed]) -> list[Result]:
        """One after the other; each fails for itself."""
        return [self._read(deed) for deed in deeds]

    def put_away(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            close(self._connection)

    def _read(self, deed: Deed) -> Result:
        try:
            if self._connection is None:
                self._connection = connect(LEDGER, self._path, self._patience)
            return Result(deed, deed.work(self._connection))
        except HfmediaError as error:
            return Result(deed, error=error)
        except (sqlite3.Error, OSError, ValueError) as error:
            return Result(deed, error=explained(LEDGER, self._path, error))


def job(connection: Connection, job_id: str) -> Job | None:
    """The job of that id."""
    row = connection.execute("SELECT body FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return read_job(job_id, row[0]) if row else None


def find(connection: Connection, key: str) -> Job | None:
    """The job of that idempotency key."""
    row = connection.execute("SELECT id, body FROM jobs WHERE key = ?", (key,)).fetchone()
    return read_job(row[0], row[1]) if row else None


def facts(connection: Connection, job_id: str) -> list[Fact]:
    """All of a job, in their order."""
    rows = connection.execute("SELECT body FROM facts WHERE job = ? ORDER BY seq", (job_id,)).fetchall()
    return [read_fact(job_id, body) for (body,) in rows]


def newest(connection: Connection) -> int:
    """Where the last job stands, 0 without any."""
    (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()
    return int(seq)


def page(
    connection: Connection, which: Wanted, place: tuple[int, int], newest_first: bool, most: int
) -> list[tuple[int, Job]]:
    """Up to ``most`` jobs that stand between two places, both included, each with its own place."""
    conditions = "seq BETWEEN ? AND ?"
    values: list[Any] = list(place)
    for condition, value in (
        ("provider = ?", which.provider),
        ("model = ?", which.model),
        ("created >= ?", which.since),
    ):
        if value is not None:
            conditions += f" AND {condition}"
            values.append(value)
    if which.states is not None:
        conditions += f" AND state IN ({', '.join('?' * len(which.states))})"
        values += which.states
        if not which.states & ENDED:
            conditions += " AND ended = 0"  # the index of these is short; the others are walked in their order
    order = "DESC" if newest_first else "ASC"
    sql = f"SELECT seq, id, body FROM jobs WHERE {conditions} ORDER BY seq {order} LIMIT ?"
    rows = connection.execute(sql, (*values, most)).fetchall()
    return [(seq, read_job(job_id, body)) for seq, job_id, body in rows]


def owner(connection: Connection, owners: Owners, job_id: str) -> str | None:
    """Who carries the job and lives."""
    row = connection.execute("SELECT owner FROM claims WHERE job = ?", (job_id,)).fetchone()
    return str(row[0]) if row and owners.lives(row[0]) else None


def carried(connection: Connection, owners: Owners) -> dict[str, str]:
    """What is carried by whom of those who live."""
    rows = connection.execute("SELECT job, owner FROM claims ORDER BY job").fetchall()
    alive = {name for name in {name for _, name in rows} if owners.lives(name)}
    return {job_id: name for job_id, name in rows if name in alive}
