"""Schema of gateway.sqlite3: its tables, their migrations, and opening the file."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from hfmedia import sqlite
from hfmedia.sqlite import DatabaseSchema, split_statements

BUSY_TIMEOUT = 30.0  # seconds to wait for the locks of other processes

VERSION_1 = """
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE keys (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    hash    BLOB NOT NULL,
    made    REAL NOT NULL,
    revoked REAL,
    body    TEXT NOT NULL
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
    deleted         TEXT NOT NULL,
    body            TEXT NOT NULL
);
CREATE UNIQUE INDEX orders_once ON orders (key, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX orders_by_age ON orders (at, id);
CREATE INDEX orders_of_a_key ON orders (key, at, id);

CREATE TABLE tabs (
    id       TEXT PRIMARY KEY,
    key      TEXT NOT NULL,
    counted  REAL NOT NULL,
    standing TEXT NOT NULL,
    reserved INTEGER NOT NULL,
    micro    INTEGER NOT NULL,
    images   INTEGER NOT NULL,
    videos   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tabs_of_a_key ON tabs (key, counted, standing, micro, images, videos);
CREATE INDEX tabs_that_are_open ON tabs (counted) WHERE standing = 'reserved';
"""

VERSION_2 = "CREATE INDEX orders_with_deletions ON orders (at, id) WHERE deleted != '{}';"

VERSION_3 = """
CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    key_hash   BLOB NOT NULL,      -- SHA-256 of the key's plaintext, which is not stored
    created_at REAL NOT NULL,      -- unix seconds, like every time here
    revoked_at REAL,
    body       TEXT NOT NULL       -- ApiKey as JSON
);
CREATE UNIQUE INDEX api_keys_active_name ON api_keys (name) WHERE revoked_at IS NULL;

CREATE TABLE generations (
    id              TEXT PRIMARY KEY,
    caller_id       TEXT NOT NULL,
    kind            TEXT NOT NULL,
    api             TEXT NOT NULL,
    created_at      REAL NOT NULL,
    idempotency_key TEXT,
    fingerprint     TEXT NOT NULL,
    deleted_outputs TEXT NOT NULL, -- JSON: index of each deleted output, and when it was deleted
    body            TEXT NOT NULL  -- Generation as JSON, as it was created
);
CREATE UNIQUE INDEX generations_idempotency ON generations (caller_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX generations_by_age ON generations (created_at, id);
CREATE INDEX generations_by_caller ON generations (caller_id, created_at, id);
CREATE INDEX generations_with_deletions ON generations (created_at, id) WHERE deleted_outputs != '{}';

CREATE TABLE charges (             -- what counts against limits; outlives a purged generation until its month is over
    id             TEXT PRIMARY KEY,  -- of the generation
    caller_id      TEXT NOT NULL,
    counted_at     REAL NOT NULL,     -- decides the day and the month in which it counts
    status         TEXT NOT NULL,     -- reserved, charged, or estimated: billed at a price that was not reported
    reserved_micro INTEGER NOT NULL,  -- micro-USD
    micro_usd      INTEGER NOT NULL,  -- micro-USD that count
    images         INTEGER NOT NULL,
    videos         INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX charges_by_caller ON charges (caller_id, counted_at, status, micro_usd, images, videos);
CREATE INDEX charges_open ON charges (counted_at) WHERE status = 'reserved';
"""

# JSON names of version 2 that version 3 renames.
_KEY_FIELDS = {"made": "created_at", "expires": "expires_at", "revoked": "revoked_at"}
_GENERATION_FIELDS = {
    "key": "caller_id",
    "at": "created_at",
    "ask": "spec",
    "told": "response_context",
    "own_token": "uses_caller_token",
    "reserved": "reserved_usd",
    "charged": "charged_usd",
    "settled": "is_settled",
    "deleted": "deleted_outputs",
}


def _migrate_to_version_3(connection: sqlite3.Connection) -> None:
    """Move every row into tables with the current names; amounts, times and digests are copied unchanged."""
    for statement in split_statements(VERSION_3):
        connection.execute(statement)
    keys = connection.execute("SELECT id, name, hash, made, revoked, body FROM keys")
    connection.executemany(
        "INSERT INTO api_keys (id, name, key_hash, created_at, revoked_at, body) VALUES (?, ?, ?, ?, ?, ?)",
        ((*columns, _rename_fields(body, _KEY_FIELDS)) for *columns, body in keys),
    )
    orders = connection.execute(
        "SELECT id, key, kind, api, at, idempotency_key, fingerprint, deleted, body FROM orders"
    )
    connection.executemany(
        "INSERT INTO generations (id, caller_id, kind, api, created_at, idempotency_key, fingerprint, "
        "deleted_outputs, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((*columns, _rename_fields(body, _GENERATION_FIELDS)) for *columns, body in orders),
    )
    connection.execute(
        "INSERT INTO charges (id, caller_id, counted_at, status, reserved_micro, micro_usd, images, videos) "
        "SELECT id, key, counted, standing, reserved, micro, images, videos FROM tabs"
    )
    for table in ("keys", "orders", "tabs"):
        connection.execute(f"DROP TABLE {table}")


def _rename_fields(body: str, names: dict[str, str]) -> str:
    """Rename the members of a JSON object. ``json`` keeps integers and floats exact, whatever their size."""
    fields: dict[str, Any] = json.loads(body)
    renamed = {names.get(name, name): value for name, value in fields.items()}
    return json.dumps(renamed, ensure_ascii=False, separators=(",", ":"))


SCHEMA = DatabaseSchema(
    "the gateway's database", 0x68666D67, (VERSION_1, VERSION_2, _migrate_to_version_3),  # the number spells "hfmg"
    {sqlite3.SQLITE_NOTADB: "it is not a database; move it away and create all API keys again"},
)  # fmt: skip


def connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Open the database, migrated to the newest version; a writable connection creates a missing file.

    Raises sqlite3.Error or OSError for ``sqlite.translate_errors``, and StorageError for a file of another program or
    a newer version.
    """
    if not writable:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only = ON")
        return connection
    connection = sqlite.connect(SCHEMA, path, BUSY_TIMEOUT, any_thread=True)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        path.chmod(0o600)  # it holds the signing secret: a copy with wider permissions is narrowed to its owner
    return connection
