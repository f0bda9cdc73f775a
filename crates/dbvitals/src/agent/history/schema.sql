-- The history of a dbvitals agent. People read the views; docs/operating/history.md names them.
-- Tables may change with PRAGMA user_version, views only grow.

CREATE TABLE backend (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    seen_ms INTEGER NOT NULL          -- when something of it was written last
);

CREATE TABLE run (                    -- when an agent was there to keep a history
    id INTEGER PRIMARY KEY,
    began_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL
);

CREATE TABLE kept (                   -- from when on there is everything
    what TEXT PRIMARY KEY,
    since_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE transition (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    backend INTEGER NOT NULL,
    line TEXT NOT NULL,               -- as /api/v1/transitions has it
    evidence TEXT NOT NULL            -- what both paths saw, and what to do
);
CREATE INDEX transition_at ON transition (at_ms, id);
CREATE INDEX transition_of ON transition (backend, at_ms, id);

CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    depth TEXT NOT NULL,
    phase TEXT NOT NULL
);

CREATE TABLE digest (
    slot INTEGER NOT NULL,            -- ten minutes, since 1970: what is pruned at once
    backend INTEGER NOT NULL,
    minute INTEGER NOT NULL,          -- since 1970
    series INTEGER NOT NULL,
    count INTEGER NOT NULL,
    p50_us INTEGER NOT NULL,
    p95_us INTEGER NOT NULL,
    p99_us INTEGER NOT NULL,
    max_us INTEGER NOT NULL,
    buckets BLOB NOT NULL,            -- all of it, to put minutes together
    PRIMARY KEY (slot, backend, minute, series)
) WITHOUT ROWID;

CREATE VIEW transitions AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch') AS at,
    name AS backend,
    json_extract(line, '$.change') AS change,
    json_extract(line, '$.from') AS was,
    json_extract(line, '$.to') AS became,
    json_extract(line, '$.cause') AS cause,
    json_extract(line, '$.class') AS class,
    json_extract(line, '$.detail') AS detail,
    json_extract(evidence, '$.remedy') AS remedy,
    evidence
FROM transition JOIN backend ON backend.id = transition.backend;

CREATE VIEW latency AS
SELECT
    strftime('%Y-%m-%dT%H:%M:00Z', minute * 60, 'unixepoch') AS at,
    name AS backend,
    path,
    depth,
    phase,
    count,
    p50_us / 1000.0 AS p50_ms,
    p95_us / 1000.0 AS p95_ms,
    p99_us / 1000.0 AS p99_ms,
    max_us / 1000.0 AS max_ms
FROM digest
JOIN backend ON backend.id = digest.backend
JOIN series ON series.id = digest.series;

CREATE VIEW runs AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', began_ms / 1000.0, 'unixepoch') AS began,
    strftime('%Y-%m-%dT%H:%M:%fZ', seen_ms / 1000.0, 'unixepoch') AS seen
FROM run;
