"""Schema history of the ledger file; see ``DatabaseSchema.migrations`` for the rules.

Steps 1 to 3 create the tables under the names that they had until version 3. Step 4 replaces them: a new file takes the
same path as an old one, so both have the same schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import msgspec

from hfmedia.sqlite import DatabaseSchema, split_statements

from .process_locks import ProcessLocks

CORE_TABLES = """
CREATE TABLE facts (
    seq  INTEGER PRIMARY KEY,
    job  TEXT NOT NULL,
    at   REAL NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX facts_of_a_job ON facts (job);
CREATE TRIGGER facts_stay BEFORE UPDATE ON facts BEGIN SELECT RAISE(ABORT, 'a fact is never changed'); END;

CREATE TABLE jobs (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    key      TEXT UNIQUE,
    state    TEXT NOT NULL,
    ended    INTEGER NOT NULL,
    created  REAL NOT NULL,
    updated  REAL NOT NULL,
    task     TEXT NOT NULL,
    model    TEXT NOT NULL,
    provider TEXT,
    attempts INTEGER NOT NULL,
    cost     REAL,
    unit     TEXT,
    body     TEXT NOT NULL
);
CREATE INDEX jobs_that_go_on ON jobs (ended) WHERE ended = 0;
"""

CLAIMS_TABLE = """
CREATE TABLE claims (
    job   TEXT PRIMARY KEY,
    owner TEXT NOT NULL
) WITHOUT ROWID;
"""

VIEWS = """
CREATE VIEW story AS SELECT seq, at, job, kind, body FROM facts ORDER BY seq;
CREATE VIEW overview AS SELECT id, state, created, updated, task, provider, model, body FROM jobs ORDER BY seq;
"""

RENAMED_TABLES = """
DROP VIEW story;
DROP VIEW overview;
ALTER TABLE jobs RENAME TO old_jobs;
ALTER TABLE claims RENAME TO old_claims;

CREATE TABLE entries (
    seq       INTEGER PRIMARY KEY,  -- the order of events; the clock may jump, this does not
    job_id    TEXT NOT NULL,
    timestamp REAL NOT NULL,        -- unix seconds
    kind      TEXT NOT NULL,
    body      TEXT NOT NULL         -- the entry, as JSON
);
CREATE INDEX entries_by_job ON entries (job_id);

CREATE TABLE jobs (                   -- the state that the entries add up to; can be rebuilt from them
    seq             INTEGER PRIMARY KEY,  -- of the entry that created the job
    id              TEXT NOT NULL UNIQUE,
    idempotency_key TEXT UNIQUE,
    state           TEXT NOT NULL,
    is_terminal     INTEGER NOT NULL,     -- 1 when nothing more will happen without a caller
    created_at      REAL NOT NULL,        -- unix seconds
    updated_at      REAL NOT NULL,
    task            TEXT NOT NULL,
    model           TEXT NOT NULL,
    provider        TEXT,
    attempts        INTEGER NOT NULL,
    cost            REAL,                 -- as the provider reported it; NULL is unknown, not 0
    unit            TEXT,
    body            TEXT NOT NULL         -- the job, as JSON
);
CREATE INDEX unfinished_jobs ON jobs (is_terminal) WHERE is_terminal = 0;  -- small, however old the ledger is

CREATE TABLE claims (          -- the process that runs each job; the claim of a dead process is void
    job_id TEXT PRIMARY KEY,
    owner  TEXT NOT NULL       -- holds the lock on OWNER.lock in the folder of owners while it is alive
) WITHOUT ROWID;
INSERT INTO claims (job_id, owner) SELECT job, owner FROM old_claims;
DROP TABLE old_claims;
"""

RENAMED_VIEWS = """
DROP TABLE facts;
DROP TABLE old_jobs;
CREATE TRIGGER entries_immutable BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'an entry is never changed'); END;

CREATE VIEW history AS
SELECT
    seq,
    strftime('%Y-%m-%d %H:%M:%S', timestamp, 'unixepoch', 'localtime') AS timestamp,
    job_id,
    kind,
    CASE kind
        WHEN 'created' THEN
            json_extract(body, '$.request.task') || ' on ' || json_extract(body, '$.request.model')
            || coalesce(': ' || json_extract(body, '$.request.prompt'), '')
        WHEN 'routed' THEN
            'to ' || json_extract(body, '$.route.provider') || ', ' || json_extract(body, '$.route.via')
        WHEN 'sending' THEN 'attempt ' || json_extract(body, '$.attempt')
        WHEN 'accepted' THEN 'as ' || json_extract(body, '$.handle.id')
        WHEN 'resolved' THEN json_extract(body, '$.decision')
        WHEN 'made' THEN
            json_array_length(body, '$.outputs') || ' output(s), cost '
            || coalesce(json_extract(body, '$.cost.amount') || ' ' || json_extract(body, '$.cost.unit'), 'unknown')
        WHEN 'stored' THEN json_extract(body, '$.media.files[0].path')
        ELSE json_extract(body, '$.message')
    END AS description
FROM entries ORDER BY seq;

CREATE VIEW overview AS
SELECT
    id,
    state,
    strftime('%Y-%m-%d %H:%M:%S', created_at, 'unixepoch', 'localtime') AS created_at,
    strftime('%Y-%m-%d %H:%M:%S', updated_at, 'unixepoch', 'localtime') AS updated_at,
    task,
    provider,
    model,
    json_extract(body, '$.request.prompt') AS prompt,
    attempts,
    cost,
    unit,
    json_extract(body, '$.media.files[0].path') AS file,
    json_extract(body, '$.error') AS error
FROM jobs ORDER BY seq;
"""

# Version 3 to 4, by JSON object. Tables of data that is already written: never changed together with the structs.
JOB_STATES = {
    "new": "created",
    "ready": "routed",
    "sending": "submitting",
    "doubt": "in_doubt",
    "running": "running",
    "finished": "completed",
    "stored": "stored",
    "failed": "failed",
    "cancelled": "cancelled",
}
FAILURE_KINDS = {
    "unsent": "not_sent",
    "lost": "no_response",
    "unreadable": "invalid_response",
    "refused": "rejected",
    "content": "content_policy",
    "credential": "authentication",
    "credit": "insufficient_credit",
    "forbidden": "permission_denied",
    "busy": "rate_limited",
    "server": "server_error",
    "gateway": "gateway_error",
    "failed": "generation_failed",
    "gone": "expired",
    "time": "deadline_exceeded",
}
CREATION_FIELDS = {
    "key": "idempotency_key",
    "choice": "requested_model",
    "folder": "output_folder",
    "file": "output_file",
}
ENTRY_FIELDS = {"job": "job_id", "at": "timestamp", "reached": "provider_confirmed", **CREATION_FIELDS}
JOB_FIELDS = {
    "created": "created_at",
    "updated": "updated_at",
    "sent": "submitted_at",
    "made": "completed_at",
    "sent_request": "provider_request",
    "refusals": "rejections",
    **CREATION_FIELDS,
}
REQUIRED_FIELDS = {  # of an entry, by its tag
    "created": ("request",),
    "routed": ("route", "request"),
    "sending": ("attempt",),
    "accepted": ("handle",),
    "refused": ("kind", "message"),
    "doubted": ("message",),
    "resolved": ("decision",),
    "made": ("outputs",),
    "stored": ("media",),
    "failed": ("kind", "message"),
    "cancelled": ("reached",),
}


def rename_to_field_names(connection: Connection) -> None:
    """Move every row to the tables of version 4 and every JSON body to its field names and values.

    Rows are streamed, so memory stays bounded; the freed pages of the old tables are reused by later entries. Raises
    ValueError for a body that cannot be read, and while a process of an earlier version runs jobs.
    """
    _require_no_running_owner(connection)
    for statement in split_statements(RENAMED_TABLES):
        connection.execute(statement)
    connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", _converted_entries(connection))
    connection.executemany(
        f"INSERT INTO jobs VALUES ({', '.join('?' * 14)})",
        _converted_jobs(connection),
    )
    for statement in split_statements(RENAMED_VIEWS):
        connection.execute(statement)


def _require_no_running_owner(connection: Connection) -> None:
    """Raise ValueError while another process runs jobs: of an earlier version, it could not record their results."""
    _, _, file = connection.execute("PRAGMA database_list").fetchone()
    locks = ProcessLocks(Path(file))
    for (owner,) in connection.execute("SELECT DISTINCT owner FROM claims").fetchall():
        if locks.is_alive(owner):
            pid = owner.partition("-")[0]
            raise ValueError(f"process {pid} of an earlier version is running jobs; stop it or wait for it first")


def _converted_entries(connection: Connection) -> Iterator[tuple[Any, ...]]:
    for seq, job_id, timestamp, kind, body in connection.execute("SELECT * FROM facts ORDER BY seq"):
        yield seq, job_id, timestamp, kind, _converted(body, _convert_entry, f"entry {seq} of job {job_id}")


def _converted_jobs(connection: Connection) -> Iterator[tuple[Any, ...]]:
    for seq, job_id, key, state, *columns, body in connection.execute("SELECT * FROM old_jobs ORDER BY seq"):
        if state not in JOB_STATES:
            raise ValueError(f"job {job_id} has the unknown state {state!r}")
        yield seq, job_id, key, JOB_STATES[state], *columns, _converted(body, _convert_job, f"job {job_id}")


def _converted(body: Any, convert: Callable[[dict[str, Any]], dict[str, Any]], label: str) -> str:
    """Return a JSON body in its new form; raises ValueError when it is not what version 3 wrote."""
    try:
        fields = msgspec.json.decode(body)
        if not isinstance(fields, dict):
            raise TypeError("it is not a JSON object")
        return msgspec.json.encode(convert(fields)).decode()  # pyright: ignore[reportUnknownArgumentType]
    except KeyError as error:
        raise ValueError(f"{label} cannot be read: {error} is missing or unknown") from error
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"{label} cannot be read: {str(error)[:200]}") from error


def _convert_entry(fields: dict[str, Any]) -> dict[str, Any]:
    for name in ("job", "at", *REQUIRED_FIELDS[fields["fact"]]):
        fields[name]  # raises KeyError
    if fields["fact"] == "refused":
        fields["kind"] = FAILURE_KINDS[fields["kind"]]
    elif fields["fact"] == "failed":  # any text was allowed here
        fields["kind"] = FAILURE_KINDS.get(fields["kind"], fields["kind"])
    return _renamed(fields, ENTRY_FIELDS)


def _convert_job(fields: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "request"):
        fields[name]  # raises KeyError
    if "state" in fields:
        fields["state"] = JOB_STATES[fields["state"]]
    return _renamed(fields, JOB_FIELDS)


def _renamed(fields: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Rename the fields of an entry or a job, those of its handle included, and keep their order."""
    if fields.get("handle") is not None:
        fields["handle"] = {("job_path" if name == "path" else name): value for name, value in fields["handle"].items()}
    return {names.get(name, name): value for name, value in fields.items()}


LEDGER_SCHEMA = DatabaseSchema(
    "the ledger",
    0x68666D6C,  # spells "hfml"
    (CORE_TABLES, CLAIMS_TABLE, VIEWS, rename_to_field_names),
)
