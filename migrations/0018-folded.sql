-- A third curve, the folded control's. The check of a column can only be changed with its table.
CREATE TABLE points_of_three (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    curve TEXT NOT NULL CHECK (curve IN ('aligned', 'control', 'folded')),
    position INTEGER NOT NULL,
    lambda REAL NOT NULL,
    loss REAL NOT NULL,
    standard_error REAL,
    pseudo_perplexity REAL,
    accuracy REAL,
    f1 REAL,
    matthews REAL,
    pearson REAL,
    spearman REAL,
    perplexity REAL,
    PRIMARY KEY (job, curve, position)
) STRICT, WITHOUT ROWID;
INSERT INTO points_of_three SELECT job, curve, position, lambda, loss, standard_error, pseudo_perplexity, accuracy, f1,
    matthews, pearson, spearman, perplexity FROM points;
DROP TABLE points;
ALTER TABLE points_of_three RENAME TO points;

CREATE TABLE point_blocks_of_three (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    curve TEXT NOT NULL CHECK (curve IN ('aligned', 'control', 'folded')),
    position INTEGER NOT NULL,
    blocks BLOB NOT NULL,
    PRIMARY KEY (job, curve, position)
) STRICT, WITHOUT ROWID;
INSERT INTO point_blocks_of_three SELECT job, curve, position, blocks FROM point_blocks;
DROP TABLE point_blocks;
ALTER TABLE point_blocks_of_three RENAME TO point_blocks;
