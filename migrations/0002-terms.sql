-- All terms of the row's job as a set of bits, one (id % 63) for each: a filter by several terms passes
-- over jobs that cannot fit without looking for their other terms. -1 fits everything: rows from before.
ALTER TABLE job_terms ADD COLUMN mask INTEGER NOT NULL DEFAULT -1;

-- On how many jobs a term is: the rarest of a filter's terms leads.
ALTER TABLE terms ADD COLUMN jobs INTEGER NOT NULL DEFAULT 0;
UPDATE terms SET jobs = (SELECT count(*) FROM job_terms WHERE term = terms.id);

CREATE TRIGGER terms_counted AFTER INSERT ON job_terms
BEGIN
    UPDATE terms SET jobs = jobs + 1 WHERE id = NEW.term;
END;
DROP TRIGGER terms_swept;
CREATE TRIGGER terms_swept AFTER DELETE ON job_terms
BEGIN
    UPDATE terms SET jobs = jobs - 1 WHERE id = OLD.term;
    DELETE FROM terms WHERE id = OLD.term AND jobs = 0;
END;
