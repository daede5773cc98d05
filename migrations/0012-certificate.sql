-- The certificate's kind (0 different, 1 near, 2 exact) and what is measured of near ones. Before, a
-- certificate was exact or it was not.
ALTER TABLE jobs ADD COLUMN kind INTEGER;
ALTER TABLE jobs ADD COLUMN kl REAL;
ALTER TABLE jobs ADD COLUMN top1_agreement REAL;
ALTER TABLE jobs ADD COLUMN loss_before REAL;
ALTER TABLE jobs ADD COLUMN loss_after REAL;
UPDATE jobs SET kind = CASE WHEN equivalent THEN 2 ELSE 0 END WHERE equivalent IS NOT NULL;
