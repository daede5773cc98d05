-- What the curve says about merging (api/verdict.h); NULL: no curve, or from before.
ALTER TABLE jobs ADD COLUMN verdict TEXT;
ALTER TABLE jobs ADD COLUMN moved_nearly INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN best_lambda REAL;
ALTER TABLE jobs ADD COLUMN best_loss REAL;
ALTER TABLE jobs ADD COLUMN best_metric REAL;
ALTER TABLE jobs ADD COLUMN loss_a REAL;
ALTER TABLE jobs ADD COLUMN loss_b REAL;
ALTER TABLE jobs ADD COLUMN metric_a REAL;
ALTER TABLE jobs ADD COLUMN metric_b REAL;
ALTER TABLE jobs ADD COLUMN metric TEXT;
ALTER TABLE jobs ADD COLUMN chance_loss REAL;
ALTER TABLE jobs ADD COLUMN chance_accuracy REAL;
