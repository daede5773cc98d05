-- On what a job was computed, as JSON (api/job.h); NULL: never claimed, or from before.
ALTER TABLE jobs ADD COLUMN environment TEXT;
