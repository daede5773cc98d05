-- A phase between solving and certifying.
ALTER TABLE jobs ADD COLUMN learning_seconds REAL;
