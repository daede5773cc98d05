-- The summed losses of each block behind a point (core/merge/curve.h): what errors of barriers are made
-- of. (count) times sum, sum of squares and number of predictions, little-endian F64.
CREATE TABLE point_blocks (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    curve TEXT NOT NULL CHECK (curve IN ('aligned', 'control')),
    position INTEGER NOT NULL,
    blocks BLOB NOT NULL,
    PRIMARY KEY (job, curve, position)
) STRICT, WITHOUT ROWID;
ALTER TABLE jobs ADD COLUMN reduction_error REAL;
