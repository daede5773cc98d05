-- Whose it is: the name of the token it was asked for with; '' without one, or from before.
ALTER TABLE jobs ADD COLUMN submitted_by TEXT NOT NULL DEFAULT '';
ALTER TABLE models ADD COLUMN submitted_by TEXT NOT NULL DEFAULT '';
ALTER TABLE datasets ADD COLUMN submitted_by TEXT NOT NULL DEFAULT '';
ALTER TABLE groups ADD COLUMN submitted_by TEXT NOT NULL DEFAULT '';

-- How many of theirs may run at once, as the token said when the job was submitted; NULL: any number.
ALTER TABLE jobs ADD COLUMN running_limit INTEGER;

CREATE INDEX jobs_by_submitter ON jobs (submitted_by, status, created_ms);
CREATE INDEX jobs_by_turn ON jobs (status, rank, submitted_by, seq);

-- When each last had a job begun, in turns: the least has the next.
CREATE TABLE turns (
    submitted_by TEXT PRIMARY KEY,
    turn INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
