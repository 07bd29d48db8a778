-- PRAGMA user_version = 0
-- PRAGMA application_id = 1751543148
-- PRAGMA journal_mode = wal
-- PRAGMA page_size = 4096
-- meta: ('version', 3)
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE facts (
    seq  INTEGER PRIMARY KEY,  -- the order of events; the clock may jump, this does not
    job  TEXT NOT NULL,
    at   REAL NOT NULL,        -- unix seconds
    kind TEXT NOT NULL,
    body TEXT NOT NULL         -- the fact, as JSON
);
CREATE TABLE jobs (            -- what the facts add up to; could be made anew from them
    seq      INTEGER PRIMARY KEY,  -- of the fact that created the job
    id       TEXT NOT NULL UNIQUE,
    key      TEXT UNIQUE,          -- the caller's idempotency key
    state    TEXT NOT NULL,
    ended    INTEGER NOT NULL,     -- 1 when nothing more will happen by itself
    created  REAL NOT NULL,        -- unix seconds
    updated  REAL NOT NULL,
    task     TEXT NOT NULL,
    model    TEXT NOT NULL,
    provider TEXT,
    attempts INTEGER NOT NULL,
    cost     REAL,                 -- as the provider reported it; NULL is unknown, not 0
    unit     TEXT,
    body     TEXT NOT NULL         -- the job, as JSON
);
CREATE TABLE claims (          -- who carries what; a claim of a process that died is worth nothing
    job   TEXT PRIMARY KEY,
    owner TEXT NOT NULL        -- holds the lock on OWNER.lock in the folder of owners while it lives
) WITHOUT ROWID;
CREATE INDEX facts_of_a_job ON facts (job);
CREATE INDEX jobs_that_go_on ON jobs (ended) WHERE ended = 0;
CREATE TRIGGER facts_stay BEFORE UPDATE ON facts BEGIN SELECT RAISE(ABORT, 'a fact is never changed'); END;
CREATE VIEW story AS
SELECT
    seq,
    strftime('%Y-%m-%d %H:%M:%S', at, 'unixepoch', 'localtime') AS time,
    job,
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
        WHEN 'stored' THEN json_extract(body, '$.media.path')
        ELSE json_extract(body, '$.message')
    END AS what
FROM facts ORDER BY seq;
CREATE VIEW overview AS
SELECT
    id,
    state,
    strftime('%Y-%m-%d %H:%M:%S', created, 'unixepoch', 'localtime') AS created,
    strftime('%Y-%m-%d %H:%M:%S', updated, 'unixepoch', 'localtime') AS updated,
    task,
    provider,
    model,
    json_extract(body, '$.request.prompt') AS prompt,
    attempts,
    cost,
    unit,
    json_extract(body, '$.media.path') AS file,
    json_extract(body, '$.error') AS error
FROM jobs ORDER BY seq;
