/* core/text/sequences.h: token sequences packed end to end, without padding, as the forward pass
 * reads them; and the tasks' inputs and targets of METHOD 7. */
#ifndef RB_CORE_TEXT_SEQUENCES_H
#define RB_CORE_TEXT_SEQUENCES_H

#include "core/text/dataset.h"
#include "core/text/tokenizer.h"

struct rb_sequences {
    size_t count;        /* sequences */
    size_t *starts;      /* (count + 1): sequence s is tokens [starts[s], starts[s+1]) */
    int32_t *ids;        /* (tokens) input ids */
    uint8_t *types;      /* (tokens) token type, 0 or 1 */
    uint8_t *special;    /* (tokens) 1 for the [CLS] and [SEP] that the encoder added */
    int32_t *targets;    /* (tokens) MLM: the id to predict, -1 where nothing is; else NULL */
    size_t target_count; /* predicted positions in all */
    double *labels;      /* (count) classification and regression; else NULL */
    uint64_t *rows;      /* (count) line in the file each came from, for messages; blocks: 0 */
};

static inline size_t rb_sequences_tokens(const struct rb_sequences *s)
{
    return s->count > 0 ? s->starts[s->count] : 0;
}

void rb_sequences_deinit(struct rb_sequences *s);

/* How a dataset's bytes are read: everything that the readers need, borrowed. */
struct rb_dataset_view {
    const char *label; /* name in messages */
    enum rb_format format;
    struct rb_fields fields;
    const char *data;
    size_t bytes;
};

/* Alignment, METHOD 2: one row = one sequence [CLS] … [SEP] (pairs: [CLS] a [SEP] b [SEP], types
 * 0/1, longest first truncation as in Hugging Face's fast tokenizers), truncated to max_length
 * tokens in all; the first max_rows rows (0: all; later ones are not looked at). Text without a
 * single token besides [CLS]/[SEP] still counts as a sequence. Classification and regression,
 * METHOD 7: the same with labels where fields.label is given. RB_EDATASET when no usable row,
 * RB_ENOMEM. max_length >= 2 (pairs 3), else RB_EINPUT. */
enum rb_status rb_sequences_from_rows(const struct rb_tokenizer *t,
                                      const struct rb_dataset_view *data, size_t max_rows,
                                      size_t max_length, struct rb_sequences *ret,
                                      struct rb_error *err) RB_MUST_CHECK;

/* MLM, METHOD 7: rows concatenated as [CLS] tokens [SEP] runs (never truncated), cut into blocks of
 * block_size, the remainder dropped, at most max_blocks (0: all); masked as METHOD 7 says with
 * seed and mask_probability in (0, 1]. Only data's fields.text is read; all types are 0.
 * RB_EDATASET when not one block is filled, or when no position is predicted; RB_EINPUT for a
 * block_size of 0 or a probability out of range; reading stops as soon as max_blocks are full. */
enum rb_status rb_sequences_mlm(const struct rb_tokenizer *t, const struct rb_dataset_view *data,
                                size_t block_size, size_t max_blocks, double mask_probability,
                                uint64_t seed, struct rb_sequences *ret,
                                struct rb_error *err) RB_MUST_CHECK;

/* METHOD 7's generator: uniform in [0, 1) for (seed, block s, position t, draw k). */
double rb_mask_uniform(uint64_t seed, uint64_t s, uint64_t t, uint64_t k);
/* METHOD 7's mix, for other deterministic choices. */
uint64_t rb_mix(uint64_t x);

#endif
