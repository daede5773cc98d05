-- What to know before a job's results are used, found while it ran; NULL: nothing.
ALTER TABLE jobs ADD COLUMN warning TEXT;
