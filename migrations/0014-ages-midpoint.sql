-- What is removed by its age (--keep-jobs, --keep-artifacts) is found without a scan.
CREATE INDEX jobs_by_finish ON jobs (finished_ms) WHERE finished_ms IS NOT NULL;
-- Jobs whose alignment another job was given: they outlive it.
CREATE INDEX job_inputs_by_source ON job_inputs (name) WHERE role = 'from_job';

-- The loss halfway between A and B (api/verdict.h); NULL: not measured, or from before.
ALTER TABLE jobs ADD COLUMN midpoint_loss REAL;
