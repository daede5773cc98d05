-- All terms of the row's job as a set of bits, one (id % 63) for each: a filter by several terms passes
-- over jobs that cannot fit without looking for their other terms. -1 fits everything: rows from before.
ALTER TABLE job_terms ADD COLUMN mask INTEGER NOT NULL DEFAULT -1;
