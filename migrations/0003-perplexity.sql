-- What task clm measures beside the loss.
ALTER TABLE points ADD COLUMN perplexity REAL;
