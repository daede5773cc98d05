/* core/learn/batch.h: the blocks of one step, and what is to be predicted in them. A pure function
 * of (text, seed, step). */
#ifndef RB_CORE_LEARN_BATCH_H
#define RB_CORE_LEARN_BATCH_H

#include "core/learn/options.h"
#include "core/model/model.h"
#include "core/model/spans.h"
#include "core/sequences.h"
#include "core/status.h"

/* Text to learn from: blocks of equal length, unmasked; `special` marks what is never predicted. */
struct rb_learn_text {
    const struct rb_sequences *blocks;
    int32_t mask_id;          /* MLM (METHOD 7); -1: the next token is predicted */
    uint32_t mask_vocabulary; /* random replacements are drawn below this */
    double mask_probability;
};

/* Of the tokens that may be masked, those that are (METHOD 7). */
#define RB_LEARN_MASKED 0.15

/* Held-out blocks of a look, at most. */
enum { RB_LEARN_HELD_BLOCKS = 64 };

struct rb_learn_batch {
    struct rb_sequences s; /* owned; what its arrays hold changes from step to step */
    size_t block_size, capacity;
    size_t *spans; /* (span_count + 1) first block of each span: 256 tokens, or one block */
    size_t span_count;
};

/* Room for `blocks` blocks of the text's length. RB_ENOMEM. The caller owns *ret. */
enum rb_status rb_learn_batch_init(struct rb_learn_batch *ret, const struct rb_learn_text *text,
                                   size_t blocks, struct rb_error *err) RB_MUST_CHECK;
void rb_learn_batch_deinit(struct rb_learn_batch *b);

/* Blocks of the text that one may learn from: the first nine tenths, at least one. The rest is
 * held out; none of a text of one block. */
size_t rb_learn_train_blocks(const struct rb_learn_text *text);

/* Blocks drawn for step `step`, each from any token on inside those to learn from, masked anew
 * (METHOD 7, with the step in the seed). */
void rb_learn_batch_draw(struct rb_learn_batch *b, const struct rb_learn_text *text, size_t blocks,
                         uint64_t seed, uint32_t step);
/* Held-out blocks [first, first + count), masked the same way at every look. */
void rb_learn_batch_held(struct rb_learn_batch *b, const struct rb_learn_text *text, size_t first,
                         size_t count, uint64_t seed);
/* The next ones of a look, as many as there is room for: from *first on, which moves behind them.
 * False: all RB_LEARN_HELD_BLOCKS, or all there are, have been looked at. */
bool rb_learn_batch_look(struct rb_learn_batch *b, const struct rb_learn_text *text, size_t *first,
                         uint64_t seed);

/* The sequences of span i, and its first token's row. */
struct rb_span rb_learn_batch_span(const struct rb_learn_batch *b, size_t i);
size_t rb_learn_batch_row(const struct rb_learn_batch *b, size_t i);

/* Blocks of a step of `tokens` tokens, at least one; and of that many tokens those that are
 * predicted, for costs: all, or the masked ones of a masked language model. */
size_t rb_learn_step_blocks(size_t tokens, size_t block_size);
double rb_learn_predicted(const struct rb_model *m, size_t tokens);

/* The lambda of a step. */
double rb_learn_draw_lambda(const struct rb_learn_options *o, uint32_t step);

#endif
