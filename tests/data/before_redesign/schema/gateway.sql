-- PRAGMA user_version = 0
-- PRAGMA application_id = 1751543143
-- PRAGMA journal_mode = wal
-- PRAGMA page_size = 4096
-- meta: ('version', 2)
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
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
CREATE UNIQUE INDEX names_of_keys ON keys (name) WHERE revoked IS NULL;
CREATE UNIQUE INDEX orders_once ON orders (key, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX orders_by_age ON orders (at, id);
CREATE INDEX orders_of_a_key ON orders (key, at, id);
CREATE INDEX tabs_of_a_key ON tabs (key, counted, standing, micro, images, videos);
CREATE INDEX tabs_that_are_open ON tabs (counted) WHERE standing = 'reserved';
CREATE INDEX orders_with_deletions ON orders (at, id) WHERE deleted != '{}';
