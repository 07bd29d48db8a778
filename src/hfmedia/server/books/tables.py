"""The book's file: made, opened, brought up to date, and what SQLite says of it in plain words.

Step n of the list leads from version n to version n + 1; steps are only ever appended, a published one never changes.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from hfmedia.core.errors import StoreError

APPLICATION = 0x68666D67  # "hfmg", so that no other program's database is taken for a book
PATIENCE = 30.0  # seconds for waiting for other processes
PAUSE = 0.01  # seconds between two tries where SQLite does not wait by itself

TABLES = """
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE keys (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    hash    BLOB NOT NULL,         -- SHA-256 of the key's text, which itself is nowhere
    made    REAL NOT NULL,         -- unix seconds, as every time here
    revoked REAL,
    body    TEXT NOT NULL          -- the key, as JSON
);
CREATE UNIQUE INDEX names_of_keys ON keys (name) WHERE revoked IS NULL;

CREATE TABLE orders (
    id              TEXT PRIMARY KEY,
    key             TEXT NOT NULL,
    kind            TEXT NOT NULL,
    api             TEXT NOT NULL,
    at              REAL NOT NULL,
    idempotency_key TEXT,
    fingerprint     TEXT NOT NULL,
    deleted         TEXT NOT NULL, -- JSON: when each output was deleted
    body            TEXT NOT NULL  -- the order as it was given, as JSON
);
CREATE UNIQUE INDEX orders_once ON orders (key, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX orders_by_age ON orders (at, id);
CREATE INDEX orders_of_a_key ON orders (key, at, id);

CREATE TABLE tabs (                -- what counts against limits; stays for its month when the order is forgotten
    id       TEXT PRIMARY KEY,     -- of the order
    key      TEXT NOT NULL,
    counted  REAL NOT NULL,        -- the time that decides its day and its month
    standing TEXT NOT NULL,        -- reserved, charged, or estimated: bought at a price that nobody told
    reserved INTEGER NOT NULL,     -- micro-USD
    micro    INTEGER NOT NULL,     -- micro-USD that count
    images   INTEGER NOT NULL,
    videos   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tabs_of_a_key ON tabs (key, counted, standing, micro, images, videos);
CREATE INDEX tabs_that_are_open ON tabs (counted) WHERE standing = 'reserved';
"""

STEPS: list[str] = [TABLES]

# What SQLite says, by the primary code of its error, and what to do about it.
REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; make room there",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write it",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only; make it writable",
    sqlite3.SQLITE_PERM: "you may not read or write it",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; look at the rights of the file and its folder",
    sqlite3.SQLITE_BUSY: "another process has kept it locked for too long; try again when that one is done",
    sqlite3.SQLITE_NOTADB: "it is not a database; move it away, and all keys must be made anew",
    sqlite3.SQLITE_CORRUPT: "it is damaged; copy it and its -wal file, then try the sqlite3 shell's .recover",
}


@contextmanager
def spoken(path: Path) -> Generator[None, None, None]:
    """Turns what SQLite or the disk says in the block into a StoreError with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        words = REASONS.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF, "")
        said = f"{words} (SQLite: {error})" if words else f"SQLite says: {error}"
        raise StoreError(f"the gateway's book {path} cannot be used: {said}") from error
    except OSError as error:
        raise StoreError(f"the gateway's book {path} cannot be used: {error.strerror or error}") from error


def connect(path: Path, *, writes: bool) -> sqlite3.Connection:
    """A connection to the book, of the newest version; the one that ``writes`` makes the file where there is none.

    Raises sqlite3.Error or OSError for what ``spoken`` puts into words, and StoreError for a file that is not ours.
    """
    if path.is_dir():
        raise StoreError(f"the gateway's book {path} cannot be used: it is a folder")
    if writes:
        _make(path)
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        if not writes:
            connection.execute("PRAGMA query_only = ON")
            return connection
        _refuse_strangers(path, connection)
        _version(path, connection)
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")  # a commit returns when it is on the disk
        connection.execute("PRAGMA fullfsync = ON")  # macOS needs more than fsync for that; elsewhere nothing changes
        _migrate(path, connection)
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
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def _make(path: Path) -> None:
    """An empty file that only its owner can read; SQLite gives its side files the same rights."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    if os.name == "posix" and path.stat().st_mode & 0o077:
        path.chmod(0o600)  # it signs links: copied from elsewhere, it is for its owner alone all the same


def _refuse_strangers(path: Path, connection: sqlite3.Connection) -> None:
    """StoreError for another program's database, before anything is written into it."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION and (application or tables):
        raise StoreError(f"the gateway's book {path} cannot be used: it is another program's database")


def _version(path: Path, connection: sqlite3.Connection) -> int:
    """The version of the tables, 0 for none yet; StoreError when it is newer than this program."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= len(STEPS):
        raise StoreError(
            f"the gateway's book {path} is of version {version}, newer than this hfmedia, which knows {len(STEPS)}; "
            "upgrade hfmedia, or choose another HFMEDIA_HOME"
        )
    return int(version)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Lets readers and a writer work side by side. A disk that cannot do that stays slower and as safe."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # SQLite does not wait here when two processes begin at once
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    """Takes every step that is missing, all or none of them, while no other process does."""
    if _version(path, connection) == len(STEPS):
        return
    with transaction(connection):
        for step in STEPS[_version(path, connection) :]:  # asked again: somebody else may have been quicker
            for statement in _statements(step):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")


def _statements(script: str) -> list[str]:
    """The statements of a script; sqlite3's own way of running one would commit before it."""
    found: list[str] = []
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text.strip())
            text = ""
    return found
