/* core/align/collect.h: the moments of pairs of models, over the same sequences. */
#ifndef RB_CORE_ALIGN_COLLECT_H
#define RB_CORE_ALIGN_COLLECT_H

#include "core/align/moments.h"
#include "core/align/pairs.h"
#include "core/model/blend.h"
#include "core/program.h"
#include "core/sequences.h"

/* A program that runs both models on the sequences and leaves the moments of the taps asked for.
 * Borrows everything until freed; a and b must be equal (rb_models_equal). pooling and
 * special_tokens are read from o. The caller owns *ret. RB_EDATASET when the sequences do not fit
 * the models (rb_sequences_check), or hold nothing but special tokens and those do not count. */
enum rb_status rb_collect_new(const struct rb_model *a, const struct rb_model *b,
                              const struct rb_sequences *sequences, unsigned taps,
                              const struct rb_align_options *o, struct rb_program **ret,
                              struct rb_error *err) RB_MUST_CHECK;
/* The same of any number of equal models: one set of moments per pair, A its first model. Every
 * model is in one pair at least; its features are computed once, however many it is in. models and
 * pairs are copied, what models point to is borrowed. */
enum rb_status rb_collect_many_new(const struct rb_model *const *models, size_t count,
                                   const struct rb_pair *pairs, size_t pair_count,
                                   const struct rb_sequences *sequences, unsigned taps,
                                   const struct rb_align_options *o, struct rb_program **ret,
                                   struct rb_error *err) RB_MUST_CHECK;
/* Before the first round: a model's features as this motion has them (folded). Borrowed. */
void rb_collect_move(struct rb_program *p, size_t model, const struct rb_motion *motion);
/* After the program has finished: gives the moments of a pair away; the caller owns them. */
struct rb_moments *rb_collect_take_pair(struct rb_program *p, size_t pair);
/* Of the only pair. */
struct rb_moments *rb_collect_take(struct rb_program *p);
/* Bytes of accumulators and of buffers that a collection needs; for the plan of a job. */
void rb_collect_estimate(const struct rb_model *m, size_t models, size_t pairs, unsigned taps,
                         uint64_t tokens, uint64_t *ret_accumulator_bytes,
                         uint64_t *ret_buffer_bytes, double *ret_cost);

#endif
