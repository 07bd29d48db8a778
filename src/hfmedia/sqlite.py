"""SQLite files of hfmedia: creating, opening, migrating, and translating SQLite's errors into advice.

Everything here blocks. Never open such a file by other means while SQLite uses it: closing it would drop SQLite's own
locks.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .core.errors import StorageError

RETRY_PAUSE = 0.01  # seconds between two attempts where SQLite does not wait on its own

Migration = str | Callable[[sqlite3.Connection], None]

# Advice by the primary code of SQLite's error.
ERROR_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space on it",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write it, or a file size limit was reached",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only; make it writable or choose another path",
    sqlite3.SQLITE_PERM: "permission denied; choose another path",
    sqlite3.SQLITE_AUTH: "permission denied; choose another path",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the permissions of the file and its folder",
    sqlite3.SQLITE_BUSY: "another process kept it locked for too long; try again when that process is done",
    sqlite3.SQLITE_LOCKED: "another process kept it locked for too long; try again when that process is done",
    sqlite3.SQLITE_NOTADB: "it is not a database; move it away or choose another path",
    sqlite3.SQLITE_CORRUPT: "it is damaged; copy it and its -wal file, then try the sqlite3 shell's .recover",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_TOOBIG: "a value is too large for it",
}


class DatabaseSchema(NamedTuple):
    """The identity and history of one kind of database file.

    Attributes:
        label: the name used in messages, such as ``the ledger``.
        application_id: the number that tells it apart from other programs' databases.
        migrations: step n leads from version n to n + 1. A step is a script, or a function of the connection that
            raises ValueError for content it cannot convert. Steps are only ever appended; the effect of a published
            step never changes.
        error_hints: advice by SQLite error code where ERROR_HINTS does not fit.
    """

    label: str
    application_id: int
    migrations: tuple[Migration, ...]
    error_hints: Mapping[int, str] = {}


def to_storage_error(schema: DatabaseSchema, path: Path, error: sqlite3.Error | OSError | ValueError) -> StorageError:
    """Build a StorageError that reports what happened to the file and what to do."""
    if isinstance(error, sqlite3.Error):
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        hint = schema.error_hints.get(code) or ERROR_HINTS.get(code, "")
        detail = f"{hint} (SQLite: {error})" if hint else f"SQLite error: {error}"
    else:
        detail = getattr(error, "strerror", None) or str(error)
    return StorageError(f"{schema.label} {path} cannot be used: {detail}")


@contextmanager
def translate_errors(schema: DatabaseSchema, path: Path) -> Generator[None, None, None]:
    """Raise the SQLite and disk errors of the block as a StorageError with advice."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise to_storage_error(schema, path, error) from error


def connect(schema: DatabaseSchema, path: Path, busy_timeout: float, *, any_thread: bool = False) -> sqlite3.Connection:
    """Open the file at the newest version, creating it and its folder when missing.

    ``busy_timeout`` is how long to wait for other processes, in seconds. Raises sqlite3.Error, OSError or ValueError,
    which ``to_storage_error`` translates, and StorageError for a file of another kind or one that cannot be migrated.
    """
    if path.is_dir():
        raise StorageError(f"{schema.label} {path} cannot be used: it is a folder; give the path of a file")
    _create(path)
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=not any_thread)
    try:
        _check_application_id(schema, path, connection)
        version = _read_version(schema, path, connection)
        _enable_wal(connection, busy_timeout)
        connection.execute("PRAGMA synchronous = FULL")  # a commit returns when it is on the disk
        connection.execute("PRAGMA fullfsync = ON")  # macOS needs more than fsync for that; elsewhere nothing changes
        connection.execute("PRAGMA temp_store = MEMORY")
        if version < len(schema.migrations):
            _migrate(schema, path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[sqlite3.Connection, None, None]:
    """Run the block atomically while no other connection writes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        rollback(connection)
        raise


def rollback(connection: sqlite3.Connection) -> bool:
    """Roll back the open transaction; False when even that fails and the connection has to be closed."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def close(connection: sqlite3.Connection) -> None:
    """Close the connection; a disk error at this point loses nothing that was committed."""
    with suppress(sqlite3.Error), closing(connection):
        pass


def split_statements(script: str) -> list[str]:
    """Split a script into statements; ``executescript`` would commit the open transaction first."""
    complete: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            complete.append(pending.strip())
            pending = ""
    return complete


def _create(path: Path) -> None:
    """Create an empty file readable by its owner only; SQLite gives its side files the same permissions."""
    for folder in reversed([folder for folder in path.parents if not folder.exists()]):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _check_application_id(schema: DatabaseSchema, path: Path, connection: sqlite3.Connection) -> None:
    """Raise StorageError for another program's database, before anything is written to it."""
    # Count the tables first: another process may be creating the file right now.
    (table_count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != schema.application_id and (application_id or table_count):
        reason = "it is another program's database; choose another path"
        raise StorageError(f"{schema.label} {path} cannot be used: {reason}")


def _enable_wal(connection: sqlite3.Connection, busy_timeout: float) -> None:
    """Let readers work alongside a writer. On a disk without support for that, it stays slower but as safe."""
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # SQLite does not wait here when two processes start together
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_PAUSE)


def _read_version(schema: DatabaseSchema, path: Path, connection: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 before the first; raises StorageError when this hfmedia does not know it."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return 0
    row = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    version = row[0] if row else None
    if not isinstance(version, int) or version < 0:
        raise StorageError(f"{schema.label} {path} cannot be used: it does not say which version it has")
    if version > len(schema.migrations):
        raise StorageError(
            f"{schema.label} {path} has version {version}, newer than this hfmedia, which supports "
            f"{len(schema.migrations)}; upgrade hfmedia or choose another path"
        )
    return version


def _migrate(schema: DatabaseSchema, path: Path, connection: sqlite3.Connection) -> None:
    """Run every missing migration in one transaction; raises StorageError, the file unchanged, when one fails."""
    with transaction(connection):
        version = _read_version(schema, path, connection)  # again: another process may have migrated it meanwhile
        if version == 0:
            connection.execute(f"PRAGMA application_id = {schema.application_id}")
            connection.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        for migration in schema.migrations[version:]:
            try:
                apply_migration(migration, connection)
            except ValueError as error:
                raise StorageError(
                    f"{schema.label} {path} cannot be upgraded from version {version}: {error}; it was left unchanged"
                ) from error
        connection.execute("REPLACE INTO meta (name, value) VALUES ('version', ?)", (len(schema.migrations),))


def apply_migration(migration: Migration, connection: sqlite3.Connection) -> None:
    """Run one step in the open transaction."""
    if callable(migration):
        migration(connection)
        return
    for statement in split_statements(migration):
        connection.execute(statement)
