CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    key_hash   BLOB NOT NULL,      -- SHA-256 of the key's plaintext, which is not stored
    created_at REAL NOT NULL,      -- unix seconds, like every time here
    revoked_at REAL,
    body       TEXT NOT NULL       -- ApiKey as JSON
);
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
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX api_keys_active_name ON api_keys (name) WHERE revoked_at IS NULL;
CREATE INDEX charges_by_caller ON charges (caller_id, counted_at, status, micro_usd, images, videos);
CREATE INDEX charges_open ON charges (counted_at) WHERE status = 'reserved';
CREATE INDEX generations_by_age ON generations (created_at, id);
CREATE INDEX generations_by_caller ON generations (caller_id, created_at, id);
CREATE UNIQUE INDEX generations_idempotency ON generations (caller_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX generations_with_deletions ON generations (created_at, id) WHERE deleted_outputs != '{}';
