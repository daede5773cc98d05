/* core/align/turns.h: orthogonal maps of several models that agree with each other as well as they
 * can (METHOD 13): coordinate ascent by polar factors. */
#ifndef RB_CORE_ALIGN_TURNS_H
#define RB_CORE_ALIGN_TURNS_H

#include "core/align/pairs.h"
#include "core/program.h"

enum { RB_ASCENT_ROUNDS = 50 };

/* What was maximised, at the start and after each round; it never falls. */
struct rb_objective {
    uint32_t rounds; /* that were taken; the last one changed nothing, unless there were 50 */
    double values[RB_ASCENT_ROUNDS + 1]; /* (rounds + 1) */
};

/* The orthogonal matrix (n, n) that maximises tr(R^T M) among those admitted. */
typedef enum rb_status rb_turns_polar(const void *data, const double *m, size_t n, double *ret,
                                      struct rb_scratch *scratch, struct rb_error *err);

struct rb_turns {
    size_t count, n;
    const double *const *pairs; /* by rb_pair_place: (n, n) M of two models, rows B's units */
    double *turns;              /* (count, n, n) improved in place; the first one's stays */
    rb_turns_polar *polar;
    const void *data;
};

/* Maximises sum over a < b of tr(R_b^T M_ab R_a): model by model R = polar(sum of M R of the
 * others), taken where it raises that sum by more than a millionth, until a round takes none. Uses
 * the worker's scratch. RB_ENOMEM, RB_ENUMERIC, RB_ECANCELED. */
enum rb_status rb_turns_ascend(const struct rb_turns *t, struct rb_objective *ret,
                               struct rb_worker *w, struct rb_error *err) RB_MUST_CHECK;

#endif
