-- Jobs that were asked for together (api/sweep.h): a sweep's spec, grid and labels as JSON.
CREATE TABLE groups (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    name TEXT,
    labels TEXT NOT NULL,
    spec TEXT NOT NULL,
    grid TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

-- position: the job's place in its group; a retry takes that of the job it repeats.
ALTER TABLE jobs ADD COLUMN group_seq INTEGER REFERENCES groups (seq);
ALTER TABLE jobs ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_by_group ON jobs (group_seq, status, created_ms) WHERE group_seq IS NOT NULL;
