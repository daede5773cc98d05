-- A phase between evaluating and writing.
ALTER TABLE jobs ADD COLUMN merging_seconds REAL;

-- How the checkpoints that it writes are made; NULL: from before, linear.
ALTER TABLE jobs ADD COLUMN written TEXT;
