/* core/model/trunk.h: a whole model over a slab of sequences, in rounds: embeddings, then layer
 * after layer. While one layer's items run, the next layer's weights are brought to F32 beside
 * them. What a head needs comes out; heads are their owners' business (core/merge,
 * core/align/certify.c). */
#ifndef RB_CORE_MODEL_TRUNK_H
#define RB_CORE_MODEL_TRUNK_H

#include "core/model/forward.h"

/* Which tokens' last layer anybody reads. Only these are computed after the last layer's keys and
 * values. */
enum rb_reads { RB_READ_ALL, RB_READ_FIRST, RB_READ_TARGETS };

struct rb_trunk {
    const struct rb_blend *blend; /* borrowed */
    const struct rb_sequences *sequences;
    enum rb_reads reads;
    enum rb_role head_first, head_last; /* roles brought to F32 beside the last layer; equal: one */
    bool with_head;
    struct rb_weights head; /* ready when the rounds are over */

    size_t from, to; /* sequences of the slab */
    size_t *spans;   /* (span_count + 1) */
    size_t span_count, span_capacity;
    float *x; /* (slab tokens, hidden_size) */
    size_t x_floats;
    struct rb_weights weights[2]; /* layer l lives in weights[l % 2] */
    uint32_t layer;               /* of the present round; 0 also while embedding */
    bool embedding;
    uint32_t *rows;    /* tokens read, relative to their span, span after span */
    size_t *first_row; /* (span_count + 1) where a span's begin in rows */
    size_t row_capacity;
};

/* Zero-initialise the struct first. head_first > head_last: no head. */
void rb_trunk_init(struct rb_trunk *t, const struct rb_blend *blend,
                   const struct rb_sequences *sequences, enum rb_reads reads,
                   enum rb_role head_first, enum rb_role head_last);
void rb_trunk_deinit(struct rb_trunk *t);

/* Begins the slab of sequences [from, to) with its first round. RB_ENOMEM. */
enum rb_status rb_trunk_begin(struct rb_trunk *t, size_t from, size_t to, size_t *ret_items,
                              struct rb_error *err) RB_MUST_CHECK;
/* The next round; 0 items when the last layer's output is there. */
enum rb_status rb_trunk_next(struct rb_trunk *t, size_t *ret_items,
                             struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_trunk_item(struct rb_trunk *t, size_t item, struct rb_scratch *scratch,
                             struct rb_error *err) RB_MUST_CHECK;
double rb_trunk_item_cost(const struct rb_trunk *t, size_t item);

/* Rows read in the whole slab, and where each lies after the last round: ret (rows) pointers. */
size_t rb_trunk_rows(const struct rb_trunk *t);
const float *rb_trunk_row(const struct rb_trunk *t, size_t span, size_t i);

/* Useful flops over sequences [from, to), last layer's savings counted. */
double rb_trunk_flops(const struct rb_config *c, const struct rb_sequences *s, enum rb_reads reads,
                      size_t from, size_t to);
/* Sequences [from, *) that make a slab of about `tokens` tokens. */
size_t rb_slab_end(const struct rb_sequences *s, size_t from, size_t tokens);

#endif
