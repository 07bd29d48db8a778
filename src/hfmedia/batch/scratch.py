"""Scratch database of one run: what must be remembered about every line, on disk instead of in memory.

An anonymous SQLite file that no other process can open; SQLite deletes it on close, and when the process is killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from hfmedia.core.errors import StorageError

CACHE_KIB = 16 * 1024  # KiB of it in memory
SCHEMA = """
    CREATE TABLE first (kind TEXT, name TEXT, line INTEGER, PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE TABLE counts (digest BLOB PRIMARY KEY, n INTEGER) WITHOUT ROWID;
    CREATE TABLE done (key TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE images (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT) WITHOUT ROWID;
    CREATE TABLE previous (position INTEGER PRIMARY KEY, key TEXT, body BLOB, matched INTEGER DEFAULT 0);
    CREATE INDEX previous_keys ON previous (key);
"""


class ScratchDb:
    """Names, counts, keys and digests of the lines read so far. Used by one thread at a time, in any thread."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA)
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._db.execute("BEGIN")

    def earlier_line(self, kind: str, name: str, line: int) -> int | None:
        """Record a name and return the line that already has it; None when this line is the first."""
        try:
            self._execute("INSERT INTO first VALUES (?, ?, ?)", kind, name, line)
        except sqlite3.IntegrityError:
            row = self._execute("SELECT line FROM first WHERE kind = ? AND name = ?", kind, name).fetchone()
            return int(row[0])
        return None

    def count_earlier(self, digest: bytes) -> int:
        """Count a digest and return the number of its earlier occurrences since ``reset_counts``."""
        upsert = "INSERT INTO counts VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n"
        return int(self._execute(upsert, digest).fetchone()[0]) - 1

    def reset_counts(self) -> None:
        """Reset the counts of all digests, before the input is read again from its start."""
        self._execute("DELETE FROM counts")

    def mark_done(self, key: str) -> None:
        """Record that the output with this key exists."""
        self._execute("INSERT OR IGNORE INTO done VALUES (?)", key)

    def is_done(self, key: str) -> bool:
        """Whether ``mark_done`` was called for this key."""
        return self._execute("SELECT 1 FROM done WHERE key = ?", key).fetchone() is not None

    def image_digest(self, path: str, stamp: str) -> str | None:
        """Return the recorded digest of a file, None when there is none or the file has changed since."""
        row = self._execute("SELECT digest FROM images WHERE path = ? AND stamp = ?", path, stamp).fetchone()
        return row and str(row[0])

    def set_image_digest(self, path: str, stamp: str, digest: str) -> None:
        """Record the digest of a file."""
        self._execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?)", path, stamp, digest)

    def clear_previous(self) -> None:
        """Delete the lines of the earlier index."""
        self._execute("DELETE FROM previous")

    def add_previous(self, key: str, body: bytes) -> None:
        """Record one line of an earlier index."""
        self._execute("INSERT INTO previous (key, body) VALUES (?, ?)", key, body)

    def take_previous(self, key: str) -> list[bytes]:
        """Return the lines of an earlier index with this key, and mark them as matched by a line of this input."""
        rows = self._execute("UPDATE previous SET matched = 1 WHERE key = ? RETURNING position, body", key).fetchall()
        return [body for _, body in sorted(rows)]

    def unmatched_previous(self) -> Iterator[bytes]:
        """Yield the lines of an earlier index whose keys this input does not have, in their order."""
        for (body,) in self._execute("SELECT body FROM previous WHERE NOT matched ORDER BY position"):
            yield body

    def close(self) -> None:
        """Close and delete the database."""
        self._db.close()

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            message = f"the batch's temporary database cannot be written ({error}); set TMPDIR to a disk with space"
            raise StorageError(message) from error


def file_stamp(path: Path) -> str:
    """Return a stamp that changes when a file does; OSError when the file does not exist."""
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
