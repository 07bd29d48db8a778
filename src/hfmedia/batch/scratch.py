"""Marks: what has to be remembered of every line, on the disk and not in memory, and gone when the batch is.

One private SQLite file that nobody else sees; SQLite removes it by itself, also when the process is killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from hfmedia.core.errors import StorageError

CACHE_KIB = 16 * 1024  # KiB of it in memory
SCHEMA = """
    CREATE TABLE first (kind TEXT, name TEXT, line INTEGER, PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE TABLE counts (print BLOB PRIMARY KEY, n INTEGER) WITHOUT ROWID;
    CREATE TABLE done (key TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE images (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT) WITHOUT ROWID;
    CREATE TABLE told (place INTEGER PRIMARY KEY, key TEXT, body BLOB, here INTEGER DEFAULT 0);
    CREATE INDEX told_keys ON told (key);
"""


class ScratchDb:
    """What is remembered while a sheet is read. Used by one thread at a time, whichever."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA)
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._db.execute("BEGIN")

    def earlier_line(self, kind: str, name: str, line: int) -> int | None:
        """The line that had this name before; None when this line is the first."""
        try:
            self._execute("INSERT INTO first VALUES (?, ?, ?)", kind, name, line)
        except sqlite3.IntegrityError:
            row = self._execute("SELECT line FROM first WHERE kind = ? AND name = ?", kind, name).fetchone()
            return int(row[0])
        return None

    def count_earlier(self, digest: bytes) -> int:
        """How often this digest was counted before, since ``recount``."""
        upsert = "INSERT INTO counts VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n"
        return int(self._execute(upsert, digest).fetchone()[0]) - 1

    def reset_counts(self) -> None:
        """Counts anew: the sheet is read from its beginning again."""
        self._execute("DELETE FROM counts")

    def mark_done(self, key: str) -> None:
        """The output with this key is there."""
        self._execute("INSERT OR IGNORE INTO done VALUES (?)", key)

    def is_done(self, key: str) -> bool:
        """Whether ``finish`` was told so."""
        return self._execute("SELECT 1 FROM done WHERE key = ?", key).fetchone() is not None

    def image_digest(self, path: str, stamp: str) -> str | None:
        """What ``keep_digest`` was told of the file, when it has not changed since."""
        row = self._execute("SELECT digest FROM images WHERE path = ? AND stamp = ?", path, stamp).fetchone()
        return row and str(row[0])

    def set_image_digest(self, path: str, stamp: str, digest: str) -> None:
        """Remembers the digest of a file."""
        self._execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?)", path, stamp, digest)

    def clear_previous(self) -> None:
        """Forgets what ``tell`` was told."""
        self._execute("DELETE FROM told")

    def add_previous(self, key: str, body: bytes) -> None:
        """Remembers one line of an earlier index."""
        self._execute("INSERT INTO told (key, body) VALUES (?, ?)", key, body)

    def take_previous(self, key: str) -> list[bytes]:
        """What an earlier index says of a key; from now on it counts as belonging to a line of this sheet."""
        rows = self._execute("UPDATE told SET here = 1 WHERE key = ? RETURNING place, body", key).fetchall()
        return [body for _, body in sorted(rows)]

    def unmatched_previous(self) -> Iterator[bytes]:
        """What an earlier index says of keys that this sheet does not have, in its order."""
        for (body,) in self._execute("SELECT body FROM told WHERE NOT here ORDER BY place"):
            yield body

    def close(self) -> None:
        """Forgets everything."""
        self._db.close()

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise StorageError(f"the batch's temporary file cannot be written ({error}); TMPDIR says where") from error


def file_stamp(path: Path) -> str:
    """What changes when a file does; OSError when it is not there."""
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
