"""SQLite files of ours: made for their owner alone, opened, brought up to date, and what SQLite says in plain words.

Everything here blocks. Such a file is never opened by other means while SQLite has it: closing it would drop SQLite's
own locks.
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

RETRY_PAUSE = 0.01  # seconds between two tries where SQLite does not wait by itself

# What SQLite says, by the primary code of its error, and what to do about it.
ERROR_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full; make room there",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write it, or a limit on the size of files was met",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only; make it writable or choose another place",
    sqlite3.SQLITE_PERM: "you may not read or write it; choose another place",
    sqlite3.SQLITE_AUTH: "you may not read or write it; choose another place",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; look at the rights of the file and its folder",
    sqlite3.SQLITE_BUSY: "another process has kept it locked for too long; try again when that one is done",
    sqlite3.SQLITE_LOCKED: "another process has kept it locked for too long; try again when that one is done",
    sqlite3.SQLITE_NOTADB: "it is not a database; move it away or choose another place",
    sqlite3.SQLITE_CORRUPT: "it is damaged; copy it and its -wal file, then try the sqlite3 shell's .recover",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_TOOBIG: "that is too large for it",
}


Migration = str | Callable[[sqlite3.Connection], None]  # an SQL script, or a function that changes the tables


class DatabaseSchema(NamedTuple):
    """One kind of file.

    Attributes:
        words: what people call it, ``the ledger``.
        application: the number by which it is told from other programs' databases.
        steps: how its tables came to be: step n, a script, leads from version n to n + 1. Steps are only ever
            appended; one that has been published is never changed.
        reasons: what to do about an error of SQLite's where that is not what REASONS says.
    """

    label: str
    application_id: int
    migrations: tuple[Migration, ...]
    error_hints: Mapping[int, str] = {}


def to_storage_error(schema: DatabaseSchema, path: Path, error: sqlite3.Error | OSError | ValueError) -> StorageError:
    """A StoreError that says what happened to the file and what to do."""
    if isinstance(error, sqlite3.Error):
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        hint = schema.error_hints.get(code) or ERROR_HINTS.get(code, "")
        detail = f"{hint} (SQLite: {error})" if hint else f"SQLite says: {error}"
    else:
        detail = getattr(error, "strerror", None) or str(error)
    return StorageError(f"{schema.label} {path} cannot be used: {detail}")


@contextmanager
def translate_errors(schema: DatabaseSchema, path: Path) -> Generator[None, None, None]:
    """Turns what SQLite or the disk says in the block into a StoreError with what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise to_storage_error(schema, path, error) from error


def connect(schema: DatabaseSchema, path: Path, busy_timeout: float, *, any_thread: bool = False) -> sqlite3.Connection:
    """A connection to the file, of the newest version; it and its folder are made if they are not there.

    Raises sqlite3.Error, OSError or ValueError for what ``explained`` puts into words, and StoreError for a file that
    is something else. ``patience`` is for waiting for other processes, in seconds.
    """
    if path.is_dir():
        raise StorageError(f"{schema.label} {path} cannot be used: it is a folder; name a file in it")
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
    """All of the block or nothing of it, and nobody else writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        rollback(connection)
        raise


def rollback(connection: sqlite3.Connection) -> bool:
    """Undoes what was begun; False when not even that is possible, and the connection is good for nothing more."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def close(connection: sqlite3.Connection) -> None:
    """Closes the connection; a disk that fails now took nothing that was promised."""
    with suppress(sqlite3.Error), closing(connection):
        pass


def split_statements(script: str) -> list[str]:
    """The statements of a script; sqlite3's own way of running one would commit before it."""
    complete: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            complete.append(pending.strip())
            pending = ""
    return complete


def _create(path: Path) -> None:
    """An empty file that only its owner can read; SQLite gives its side files the same rights."""
    for folder in reversed([folder for folder in path.parents if not folder.exists()]):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _check_application_id(schema: DatabaseSchema, path: Path, connection: sqlite3.Connection) -> None:
    """StoreError for another program's database, before anything is written into it."""
    # The tables first: a neighbour may be making it.
    (table_count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != schema.application_id and (application_id or table_count):
        reason = "it is another program's database; choose another place"
        raise StorageError(f"{schema.label} {path} cannot be used: {reason}")


def _enable_wal(connection: sqlite3.Connection, busy_timeout: float) -> None:
    """Lets readers and a writer work side by side. A disk that cannot do that stays slower and as safe."""
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # SQLite does not wait here when two processes begin at once
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_PAUSE)


def _read_version(schema: DatabaseSchema, path: Path, connection: sqlite3.Connection) -> int:
    """The version of the tables, 0 for none yet; StoreError when it is newer than this program."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return 0
    row = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    version = row[0] if row else None
    if not isinstance(version, int) or version < 0:
        raise StorageError(f"{schema.label} {path} cannot be used: it does not say which version it is of")
    if version > len(schema.migrations):
        raise StorageError(
            f"{schema.label} {path} is of version {version}, newer than this hfmedia, which knows {len(schema.migrations)}; "
            "upgrade hfmedia, or choose another place"
        )
    return version


def _migrate(schema: DatabaseSchema, path: Path, connection: sqlite3.Connection) -> None:
    """Takes every step that is missing, all or none of them, while no other process does."""
    with transaction(connection):
        version = _read_version(schema, path, connection)  # again: somebody else may have been quicker
        if version == 0:
            connection.execute(f"PRAGMA application_id = {schema.application_id}")
            connection.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        for migration in schema.migrations[version:]:
            if callable(migration):
                migration(connection)
                continue
            for statement in split_statements(migration):
                connection.execute(statement)
        connection.execute("REPLACE INTO meta (name, value) VALUES ('version', ?)", (len(schema.migrations),))
