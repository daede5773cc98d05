/* core/learn/learn_fold.h: from gradients of weights to those of maps; private to core/learn, and
 * tests of it. */
#ifndef RB_CORE_LEARN_LEARN_FOLD_H
#define RB_CORE_LEARN_LEARN_FOLD_H

#include "core/learn/learn_internal.h"

/* Which of a layer's tensors the maps move, and room for their gradients. RB_ENOMEM. */
enum rb_status rb_learn_list_wanted(struct rb_learn *c, struct rb_error *err) RB_MUST_CHECK;

/* Parts of the present layer's gradients, from the tape. */
size_t rb_learn_gradient_items(const struct rb_learn *c);
void rb_learn_gradient_item(const struct rb_learn *c, size_t item);

/* What the present layer's moved weights, of which only the stream's map asks, make of the call's
 * span: wanted[].rows. After rb_tape_back of that call.
 *
 * G = theta^T H of a reader and H = dY^T X are (dY theta)^T X, of a writer (X theta^T)^T dY: with
 * rows over the batch H need not be there, nor be multiplied by theta. */
void rb_learn_stream_rows(const struct rb_learn *c, const struct rb_tape_call *call);

/* The stream's G in tiles of rows, and the matrices of the present layer's heads: from the
 * gradients, or rows, and the moved weights of that layer. */
size_t rb_learn_stream_items(const struct rb_learn *c);
size_t rb_learn_head_items(const struct rb_learn *c);
void rb_learn_fold_stream(const struct rb_learn *c, size_t item);
void rb_learn_fold_heads(const struct rb_learn *c, size_t item);
/* FF's units of the present layer, some slots an item. RB_ENOMEM. */
size_t rb_learn_unit_items(const struct rb_learn *c);
enum rb_status rb_learn_fold_units(const struct rb_learn *c, size_t item,
                                   struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;
/* The order of the present layer's heads, a slot an item. */
size_t rb_learn_order_items(const struct rb_learn *c);
void rb_learn_fold_order(const struct rb_learn *c, size_t item);
/* Stream tiles: what the unembedding and the final norm's bias say, and the embeddings. */
enum rb_status rb_learn_fold_output(const struct rb_learn *c, size_t item,
                                    struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_learn_fold_embeddings(const struct rb_learn *c, size_t item,
                                        struct rb_scratch *scratch,
                                        struct rb_error *err) RB_MUST_CHECK;

#endif
