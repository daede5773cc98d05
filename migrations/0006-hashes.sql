-- More of what tells whether a file is still the one that was hashed. Rows from before fit no file.
ALTER TABLE hashes ADD COLUMN device INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hashes ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;
