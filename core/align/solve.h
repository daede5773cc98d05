/* core/align/solve.h: every assignment of METHOD 4, from the moments. */
#ifndef RB_CORE_ALIGN_SOLVE_H
#define RB_CORE_ALIGN_SOLVE_H

#include "core/align/alignment.h"
#include "core/align/moments.h"
#include "core/program.h"

/* Solves every assignment of METHOD 4 from the moments; a program. Borrows moments until freed.
 * RB_EMODELS when the moments lack a tap or are of another size than the model; RB_ENOMEM. */
enum rb_status rb_solve_new(const struct rb_config *c, enum rb_head head,
                            const struct rb_moments *moments, const struct rb_align_options *o,
                            struct rb_program **ret, struct rb_error *err) RB_MUST_CHECK;
/* Gives a solving program both models as they were collected (motions: their folds, or NULL),
 * before its first round: it reads their weights where `match` says so. Borrowed until freed. */
void rb_solve_models(struct rb_program *p, const struct rb_blend_term *a,
                     const struct rb_blend_term *b);
/* Before its first round: maps alone are wanted, groups get no correlations. */
void rb_solve_without_report(struct rb_program *p);
/* After it has finished: the caller owns the alignment. */
struct rb_alignment *rb_solve_take(struct rb_program *p);
/* Bytes that it takes beside the moments: where the stream turns M from each source, its map, and
 * the SVD's; where FF and heads are matched by weights what each worker compares them in. */
uint64_t rb_solve_bytes(const struct rb_config *c, const struct rb_align_options *o,
                        unsigned workers);

#endif
