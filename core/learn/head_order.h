/* core/learn/head_order.h: which head of B goes with which of A, learned straight through (METHOD
 * 11): scores Z whose best assignment is taken, and the gradient of that permutation goes to Z.
 *
 * DESIGN. Of key-value heads: queries follow theirs. Heads are called by the slot that they have at
 * the start; slot i holds head order[i], with all that belongs to it: its units in their order and
 * the matrices inside it, which are learned on wherever it stands. A layer's parameters lie in the
 * maps' one vector: Z (n, n), then the assignment itself (n) as numbers that no gradient reaches.
 * With theta the moved weights and H their gradient, dP[i, j] is <H of slot i, theta of head j>. */
#ifndef RB_CORE_LEARN_HEAD_ORDER_H
#define RB_CORE_LEARN_HEAD_ORDER_H

#include "core/model/blend.h"
#include "core/program.h"

enum { RB_LEARN_HEAD_AXES = 4 }; /* queries, keys, values, what the output reads */

struct rb_learn_head_order {
    uint32_t layers;
    size_t n, group, head_dim; /* key-value heads; query heads of each */
    size_t parameters;         /* of a layer; 0: nothing is learned here */
    uint32_t *order;           /* (layers, n) owned */
    /* (layers) by axis: units as the motion reads them, and as they were at the start; owned. */
    uint32_t **index[RB_LEARN_HEAD_AXES], **start[RB_LEARN_HEAD_AXES];
};

/* Points the motion's maps inside heads at arrays of *ret. RB_ENOMEM. */
enum rb_status rb_learn_head_order_init(struct rb_learn_head_order *ret, const struct rb_config *c,
                                        struct rb_motion *motion,
                                        struct rb_error *err) RB_MUST_CHECK;
void rb_learn_head_order_deinit(struct rb_learn_head_order *o);

/* Scores and assignment at the start, into a layer's parameters: what stands there is 0. */
void rb_learn_head_order_start(const struct rb_learn_head_order *o, double *x);
/* Parameters of a layer to what the motion reads; solve: Z's best assignment is taken first, into
 * x. RB_ENUMERIC, RB_ENOMEM. */
enum rb_status rb_learn_head_order_value(struct rb_learn_head_order *o, uint32_t layer, double *x,
                                         bool solve, struct rb_worker *w,
                                         struct rb_error *err) RB_MUST_CHECK;
/* Where that head of a layer stands now. */
uint32_t rb_learn_head_order_slot(const struct rb_learn_head_order *o, uint32_t layer,
                                  uint32_t head);

/* dx += what slot i says: theta and h (rows, columns) of one tensor that moves with heads, which
 * are its columns or its rows. */
void rb_learn_head_order_fold(const struct rb_learn_head_order *o, uint32_t layer, size_t i,
                              const float *theta, const float *h, size_t rows, size_t columns,
                              bool in_columns, double *dx);

/* v (count, n parts of any size, side by side), brought into a layer's order; count is a multiple
 * of n, old room for as many. */
void rb_learn_head_order_apply(const struct rb_learn_head_order *o, uint32_t layer, uint32_t *v,
                               size_t count, uint32_t *old);

#endif
