"""The book's file: its tables, and how it is opened."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from hfmedia import sqlite
from hfmedia.sqlite import DatabaseSchema

BUSY_TIMEOUT = 30.0  # seconds for waiting for other processes

CREATE_TABLES = """
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

CREATE_DELETIONS_INDEX = "CREATE INDEX orders_with_deletions ON orders (at, id) WHERE deleted != '{}';"

SCHEMA = DatabaseSchema(
    "the gateway's book", 0x68666D67, (CREATE_TABLES, CREATE_DELETIONS_INDEX),  # the number spells "hfmg"
    {sqlite3.SQLITE_NOTADB: "it is not a database; move it away, and all keys must be made anew"},
)  # fmt: skip


def connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """A connection to the book, of the newest version; the one that ``writes`` makes the file where there is none.

    Raises sqlite3.Error or OSError for what ``database.spoken`` puts into words, and StoreError for a file that is not
    ours.
    """
    if not writable:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only = ON")
        return connection
    connection = sqlite.connect(SCHEMA, path, BUSY_TIMEOUT, any_thread=True)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        path.chmod(0o600)  # it signs links: copied from elsewhere, it is for its owner alone all the same
    return connection
