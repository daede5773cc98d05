/* core/align/collect.h: the moments of pairs of models, over the same sequences. */
#ifndef RB_CORE_ALIGN_COLLECT_H
#define RB_CORE_ALIGN_COLLECT_H

#include "core/align/collect_plan.h"
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
/* The same in slabs as two models have them: each pair's moments are, bit for bit, those that
 * rb_collect_new makes of it, and a slab's features take (count / 2) times the memory. */
enum rb_status rb_collect_pairs_new(const struct rb_model *const *models, size_t count,
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
/* Before the first round, of a pair: its sums are made in these groups of layers, and go to a file
 * at `path` (rb_moments_save's; whole or absent); what rb_collect_take gives is mapped from there.
 * The same bits as without. split is of the same models, taps and tokens. RB_ENOMEM; the program
 * may then also end with what writing and mapping a file can end with. */
enum rb_status rb_collect_in_groups(struct rb_program *p, const struct rb_collect_split *split,
                                    const char *path, struct rb_error *err) RB_MUST_CHECK;

#endif
