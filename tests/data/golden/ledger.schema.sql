CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
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
CREATE INDEX unfinished_jobs ON jobs (is_terminal) WHERE is_terminal = 0;
CREATE TABLE claims (          -- the process that runs each job; the claim of a dead process is void
    job_id TEXT PRIMARY KEY,
    owner  TEXT NOT NULL       -- holds the lock on OWNER.lock in the folder of owners while it is alive
) WITHOUT ROWID;
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
-- meta and application_id: [('version', 4), (1751543148,)]
