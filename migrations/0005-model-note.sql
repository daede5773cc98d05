-- What is worth knowing of a model that can be used; NULL: nothing, or from before.
ALTER TABLE models ADD COLUMN note TEXT;
