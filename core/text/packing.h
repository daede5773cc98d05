/* core/text/packing.h: the rows of a dataset -> the tasks' packed sequences, and their targets
 * (METHOD 2 and 7). */
#ifndef RB_CORE_TEXT_PACKING_H
#define RB_CORE_TEXT_PACKING_H

#include "core/sequences.h"
#include "core/text/dataset.h"
#include "core/text/tokenizer.h"

/* How a dataset's bytes are read: everything that the readers need, borrowed. */
struct rb_dataset_view {
    const char *label; /* name in messages */
    enum rb_format format;
    struct rb_fields fields;
    const char *data;
    size_t bytes;
};

/* Alignment, METHOD 2: one row = one sequence, wrapped as the tokenizer's template says ([CLS] …
 * [SEP]; pairs [CLS] a [SEP] b [SEP]; pairs are truncated longest first as in Hugging Face's fast
 * tokenizers), truncated to max_length tokens in all; the first max_rows rows (0: all; later ones
 * are not looked at). Text without a single token of its own still counts as a sequence.
 * Classification and regression, METHOD 7: the same with labels where fields.label is given.
 * RB_EDATASET when no usable row, RB_ENOMEM. max_length must hold what the template adds, else
 * RB_EINPUT. */
enum rb_status rb_sequences_from_rows(const struct rb_tokenizer *t,
                                      const struct rb_dataset_view *data, size_t max_rows,
                                      size_t max_length, struct rb_sequences *ret,
                                      struct rb_error *err) RB_MUST_CHECK;

/* MLM, METHOD 7: rows concatenated as wrapped runs ([CLS] tokens [SEP], never truncated), cut into
 * blocks of block_size, the remainder dropped, at most max_blocks (0: all); masked as METHOD 7 says
 * with seed and mask_probability in (0, 1]. Only data's fields.text is read; all types are 0.
 * RB_EDATASET when not one block is filled, or when no position is predicted; RB_EINPUT for a
 * block_size of 0 or a probability out of range; RB_EHEAD for a tokenizer without a mask token;
 * reading stops as soon as max_blocks are full. */
enum rb_status rb_sequences_mlm(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                size_t block_size, size_t max_blocks, double mask_probability,
                                uint64_t seed, struct rb_sequences *ret,
                                struct rb_error *err) RB_MUST_CHECK;

/* Causal language modelling, METHOD 9: each row wrapped, then the tokenizer's EOS if it has one,
 * all end to end, cut into blocks of block_size (at least 2), the remainder dropped, at most
 * max_blocks (0: all). targets[t] is the token behind t in its block, -1 at the block's last. Only
 * data's fields.text is read; all types are 0. RB_EDATASET when not one block is filled, RB_EINPUT
 * for a block_size out of range, RB_ENOMEM. */
enum rb_status rb_sequences_clm(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                size_t block_size, size_t max_blocks, struct rb_sequences *ret,
                                struct rb_error *err) RB_MUST_CHECK;

/* Running text to learn from: blocks as the task cuts them (mlm: as rb_sequences_mlm, else as
 * rb_sequences_clm), unmasked and without targets; `special` marks what is never predicted.
 * As those two otherwise. */
enum rb_status rb_sequences_blocks(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                   bool mlm, size_t block_size, size_t max_blocks,
                                   struct rb_sequences *ret, struct rb_error *err) RB_MUST_CHECK;

#endif
