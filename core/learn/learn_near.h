/* core/learn/learn_near.h: what learning the stream's map takes where norms follow the additions
 * (METHOD 11, near): their gains and biases move too, and the embeddings have a norm or a
 * projection of their own. Private to core/learn. */
#ifndef RB_CORE_LEARN_LEARN_NEAR_H
#define RB_CORE_LEARN_LEARN_NEAR_H

#include "core/learn/learn_internal.h"

/* Does the gradient of the output weight say something about the stream? Not where a head has a
 * hidden layer between them. */
bool rb_learn_folds_output(const struct rb_model *m, const struct rb_learn_options *o);

/* Room, and B's gains. RB_ENOMEM. */
enum rb_status rb_learn_near_init(struct rb_learn *c, struct rb_error *err) RB_MUST_CHECK;
/* Bytes that it takes; 0 where nothing is near. */
uint64_t rb_learn_near_bytes(const struct rb_model *m, const struct rb_learn_options *o,
                             size_t tokens);

/* One span: theta's embeddings before their norm into c->summed, moved B's into x (span tokens,
 * hidden_size); where E is not hidden_size, theta's normed basis and what moved B's projection
 * makes of it. RB_ENOMEM. */
enum rb_status rb_learn_near_embed(const struct rb_learn *c, size_t span, float *x,
                                   struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;
/* One span: c->dx back through the norm of the embeddings. RB_ENOMEM. */
enum rb_status rb_learn_near_embed_back(const struct rb_learn *c, size_t span,
                                        struct rb_scratch *scratch,
                                        struct rb_error *err) RB_MUST_CHECK;

/* The gradient of one vector of a norm, summed over the spans in order: h (hidden_size). */
void rb_learn_near_norm(const struct rb_learn *c, int which, float *h);
/* Rows [first, first + count) of the stream's `gains` += g h^T of the norm at that tap. */
void rb_learn_near_fold_gain(const struct rb_learn *c, size_t first, size_t count, size_t tap,
                             const float *h);
/* Those rows of G += what the head's hidden layer says. RB_ENOMEM. */
enum rb_status rb_learn_near_fold_hidden(const struct rb_learn *c, size_t first, size_t count,
                                         struct rb_scratch *scratch,
                                         struct rb_error *err) RB_MUST_CHECK;

#endif
