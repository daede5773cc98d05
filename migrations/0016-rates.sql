-- How fast a machine was found to be at what: one core in a matrix product ("machine"), and each
-- phase against what was expected of it. By processor and kernel of OpenBLAS.
CREATE TABLE rates (
    cpu TEXT NOT NULL,
    kernel TEXT NOT NULL,
    what TEXT NOT NULL,
    rate REAL NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (cpu, kernel, what)
) STRICT, WITHOUT ROWID;
