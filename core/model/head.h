/* core/model/head.h: what stands on the last layer, as the family's rb_head_shape describes it:
 * some rows, the final norm of a model that has one, a hidden layer with activation and norm as far
 * as the head has them, then the rows of the output weight, read tile by tile so that the logits of
 * a vocabulary are never all in memory.
 */
#ifndef RB_CORE_MODEL_HEAD_H
#define RB_CORE_MODEL_HEAD_H

#include "core/model/weights.h"

uint32_t rb_head_width(const struct rb_model *m);   /* of what the output weight reads */
uint32_t rb_head_outputs(const struct rb_model *m); /* logits per row; the width without a head */

/* Which tokens' last layer anybody reads. Only these are computed after the last layer's keys and
 * values. */
enum rb_reads { RB_READ_ALL, RB_READ_FIRST, RB_READ_LAST, RB_READ_TARGETS };
enum rb_reads rb_head_reads(const struct rb_model *m);

/* Does the head read one token of each sequence (a classifier) rather than one row per position? */
bool rb_head_per_sequence(const struct rb_model *m);

/* The hidden layer's weights; nothing to do without one. RB_ENOMEM. */
enum rb_status rb_head_begin(struct rb_weights *w, const struct rb_blend *blend,
                             struct rb_error *err) RB_MUST_CHECK;

/* x (rows, hidden_size) -> y (rows, width) through final norm and hidden layer; a copy without
 * either. RB_ENOMEM.
 */
enum rb_status rb_head_apply(const struct rb_model *m, const struct rb_weights *w, const float *x,
                             size_t rows, float *y, struct rb_scratch *scratch,
                             struct rb_error *err) RB_MUST_CHECK;

/* Rows [first, first + count) of the output weight (count, width) and of its bias (count), zeros
 * where the head has none; in scratch. RB_ENOMEM. */
struct rb_head_tile {
    const float *weight, *bias;
};
enum rb_status rb_head_read_tile(const struct rb_blend *blend, size_t first, size_t count,
                                 struct rb_head_tile *ret, struct rb_scratch *scratch,
                                 struct rb_error *err) RB_MUST_CHECK;

/* Floating-point operations of the hidden layer for one row, and of the logits of one row. */
double rb_head_hidden_cost(const struct rb_model *m);
double rb_head_logits_cost(const struct rb_model *m);

#endif
