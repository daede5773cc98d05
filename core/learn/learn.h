/* core/learn/learn.h: learning the maps of B (METHOD 11).
 *
 * DESIGN. A step draws a lambda and some blocks of text, computes the loss of theta(lambda) = (1 -
 * lambda) A + lambda pi(B) and its gradient in the maps, and moves the maps by Adam. theta is read
 * through the one blend that everything else uses; no second set of weights is ever held: a layer's
 * theta, its moved B and its gradient are in memory while the way back is in that layer. Rounds of
 * a step, each of independent items, so that the numbers do not depend on how many threads ran:
 *
 *     maps -> embed -> layer 0 … L-1 -> head -> layer L-1 … 0 -> embeddings -> update
 *
 * Every `LOOK_EVERY` steps the loss at lambda = 1/2 on the held part of the text is looked at; when
 * it has not fallen for `patience` looks learning ends, and the best maps are kept. Everything that
 * a step depends on is in the state (rb_learn_save): a run that continues from one gives the bits
 * of a run that was never interrupted. */
#ifndef RB_CORE_LEARN_LEARN_H
#define RB_CORE_LEARN_LEARN_H

#include "core/align/options.h"
#include "core/learn/batch.h"
#include "core/learn/look.h"
#include "core/learn/options.h"
#include "core/model/blend.h"
#include "core/program.h"

/* What of `groups` (enum rb_learn_group; 0: everything) may be learned for that model after an
 * alignment with those options, into o's residual, query_keys and values. RB_EMODELS, saying why,
 * for a group that may not, and where nothing is left to learn; RB_EHEAD as rb_learn_new. */
enum rb_status rb_learn_admit(const struct rb_model *m, const struct rb_align_options *align,
                              unsigned groups, struct rb_learn_options *o,
                              struct rb_error *err) RB_MUST_CHECK;

/* Borrows a, b, motions and text until freed; motion_a may be NULL (A as it is). motion_b's maps
 * are taken over: after the program has finished they are the learned ones, orthogonal to rounding,
 * and they point into the program (rb_learn_apply takes them out). RB_EINPUT when the
 * text holds fewer than two blocks, RB_EHEAD when the models have no head that predicts tokens,
 * RB_ENOMEM. */
enum rb_status rb_learn_new(const struct rb_model *a, const struct rb_motion *motion_a,
                            const struct rb_model *b, struct rb_motion *motion_b,
                            const struct rb_learn_text *text, const struct rb_learn_options *o,
                            struct rb_program **ret, struct rb_error *err) RB_MUST_CHECK;

/* Steps done, of options.steps. */
uint32_t rb_learn_steps_done(const struct rb_program *p);
/* The training curve so far; borrowed, count entries. */
const struct rb_learn_look *rb_learn_curve(const struct rb_program *p, size_t *ret_count);
/* The step whose maps are kept. */
uint32_t rb_learn_best_step(const struct rb_program *p);
/* Loss of the last step; NaN before the first. */
double rb_learn_last_loss(const struct rb_program *p);

/* Is it between two steps? */
bool rb_learn_at_step(const struct rb_program *p);
/* Memory beyond mapped weights, and cost of all steps in flops, for the plan. */
uint64_t rb_learn_bytes(const struct rb_model *m, const struct rb_learn_options *o,
                        size_t block_size);
double rb_learn_cost(const struct rb_model *m, const struct rb_learn_options *o, size_t block_size);

#endif
