-- The first schema. Times are milliseconds since 1970, digests 32 bytes, statuses their names in the
-- API. Append-only: what has been released is never edited, a change is a new file.

-- ---- what jobs can name ----

CREATE TABLE models (
    name TEXT PRIMARY KEY,
    imported INTEGER NOT NULL CHECK (imported IN (0, 1)),
    path TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('incomplete', 'ready', 'invalid')),
    architecture TEXT,
    hidden_size INTEGER NOT NULL,
    num_layers INTEGER NOT NULL,
    num_heads INTEGER NOT NULL,
    intermediate_size INTEGER NOT NULL,
    vocab_size INTEGER NOT NULL,
    max_position_embeddings INTEGER NOT NULL,
    parameters INTEGER NOT NULL,
    dtype TEXT,
    bytes INTEGER NOT NULL,
    sha256 BLOB,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE model_files (
    model TEXT NOT NULL REFERENCES models (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 BLOB,
    PRIMARY KEY (model, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE model_problems (
    model TEXT NOT NULL REFERENCES models (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (model, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE datasets (
    name TEXT PRIMARY KEY,
    imported INTEGER NOT NULL CHECK (imported IN (0, 1)),
    path TEXT NOT NULL,
    format TEXT NOT NULL CHECK (format IN ('text', 'jsonl', 'tsv')),
    text_field TEXT,
    text_pair_field TEXT,
    label_field TEXT,
    lines INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 BLOB,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ---- jobs ----

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL
        CHECK (status IN ('queued', 'running', 'canceling', 'succeeded', 'failed', 'canceled')),
    phase TEXT,
    rank INTEGER NOT NULL, -- ascending, then by seq, is the order in which jobs run
    priority INTEGER NOT NULL GENERATED ALWAYS AS (-rank) VIRTUAL,
    name TEXT,
    spec TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    run_attempts INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER,
    finished_ms INTEGER,
    updated_ms INTEGER NOT NULL,
    version INTEGER NOT NULL,
    retry_of TEXT,
    barrier_chord REAL,
    barrier_mean REAL,
    control_barrier_chord REAL,
    control_barrier_mean REAL,
    reduction REAL,
    equivalent INTEGER CHECK (equivalent IN (0, 1)),
    loading_seconds REAL,
    aligning_seconds REAL,
    solving_seconds REAL,
    certifying_seconds REAL,
    evaluating_seconds REAL,
    writing_seconds REAL,
    peak_bytes INTEGER NOT NULL,
    error_code TEXT,
    error_detail TEXT
) STRICT;

-- Every list is a merge of runs of one of these, one run a status; each ends with seq.
CREATE INDEX jobs_by_created ON jobs (status, created_ms);
CREATE INDEX jobs_by_updated ON jobs (status, updated_ms);
CREATE INDEX jobs_by_rank ON jobs (status, rank);

CREATE TABLE job_inputs (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 BLOB,
    PRIMARY KEY (job, position)
) STRICT, WITHOUT ROWID;

-- What jobs are found by: labels (name and value), models and datasets (name).
CREATE TABLE terms (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('label', 'model', 'dataset')),
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (kind, name, value)
) STRICT;

-- status and created_ms are the job's, so that a filtered page in order is one run of the index.
CREATE TABLE job_terms (
    term INTEGER NOT NULL REFERENCES terms (id),
    status TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    PRIMARY KEY (term, status, created_ms, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_terms_by_job ON job_terms (job, term);

CREATE TRIGGER job_terms_follow AFTER UPDATE OF status ON jobs WHEN OLD.status <> NEW.status
BEGIN
    UPDATE job_terms SET status = NEW.status WHERE job = NEW.seq;
END;

CREATE TRIGGER terms_swept AFTER DELETE ON job_terms
BEGIN
    DELETE FROM terms
    WHERE id = OLD.term AND NOT EXISTS (SELECT 1 FROM job_terms WHERE term = OLD.term);
END;

-- Jobs by status, so that counting them is no scan.
CREATE TABLE job_counts (
    status TEXT PRIMARY KEY,
    jobs INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO job_counts
VALUES ('queued', 0), ('running', 0), ('canceling', 0), ('succeeded', 0), ('failed', 0), ('canceled', 0);

CREATE TRIGGER jobs_count_added AFTER INSERT ON jobs
BEGIN
    UPDATE job_counts SET jobs = jobs + 1 WHERE status = NEW.status;
END;
CREATE TRIGGER jobs_count_removed AFTER DELETE ON jobs
BEGIN
    UPDATE job_counts SET jobs = jobs - 1 WHERE status = OLD.status;
END;
CREATE TRIGGER jobs_count_moved AFTER UPDATE OF status ON jobs WHEN OLD.status <> NEW.status
BEGIN
    UPDATE job_counts SET jobs = jobs - 1 WHERE status = OLD.status;
    UPDATE job_counts SET jobs = jobs + 1 WHERE status = NEW.status;
END;

-- ---- what jobs have finished ----

CREATE TABLE stages (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    stage TEXT NOT NULL,
    product TEXT NOT NULL,
    seconds REAL NOT NULL,
    finished_ms INTEGER NOT NULL,
    PRIMARY KEY (job, position),
    UNIQUE (job, stage)
) STRICT, WITHOUT ROWID;

CREATE TABLE points (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    curve TEXT NOT NULL CHECK (curve IN ('aligned', 'control')),
    position INTEGER NOT NULL,
    lambda REAL NOT NULL,
    loss REAL NOT NULL,
    standard_error REAL,
    pseudo_perplexity REAL,
    accuracy REAL,
    f1 REAL,
    matthews REAL,
    pearson REAL,
    spearman REAL,
    PRIMARY KEY (job, curve, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE artifacts (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 BLOB,
    PRIMARY KEY (job, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    type TEXT NOT NULL,
    data TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_job ON events (job);

-- ---- requests ----

CREATE TABLE idempotency (
    token TEXT NOT NULL,
    key TEXT NOT NULL,
    request_sha256 BLOB NOT NULL,
    http_status INTEGER NOT NULL,
    location TEXT,
    response TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (token, key)
) STRICT;
CREATE INDEX idempotency_by_age ON idempotency (created_ms);

-- The tokens themselves are in the file "tokens": server/store/tokens.h says why.
CREATE TABLE token_uses (
    token TEXT PRIMARY KEY,
    used_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ---- what need not be computed twice ----

CREATE TABLE hashes (
    path TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE moments (
    key TEXT PRIMARY KEY,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX moments_by_use ON moments (used_ms);
