-- What config.json and the tokenizer's files say of a model; NULL and 0: not known, or from before.
ALTER TABLE models ADD COLUMN family TEXT;
ALTER TABLE models ADD COLUMN tokenizer TEXT;
ALTER TABLE models ADD COLUMN tokenizer_size INTEGER NOT NULL DEFAULT 0;
