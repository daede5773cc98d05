/* server/work/rounds.h: evaluate.precision: blocks in rounds of 16, 32, 64 … over all lambdas until
 * the aligned barrier over the chord is known well enough (METHOD 13).
 *
 * What each point's blocks add up to is kept in the store as they are evaluated. Which round comes
 * next, and which lambdas belong to it, follows from the blocks alone, first to last: after a
 * restart everything is decided as it was before. Points are recorded once the last round is over.
 * Loop thread only. */
#ifndef RB_SERVER_WORK_ROUNDS_H
#define RB_SERVER_WORK_ROUNDS_H

#include "core/merge/curve.h"
#include "core/status.h"

#include <stdbool.h>

struct rb_run;

struct rb_rounds {
    size_t lambdas, total; /* blocks that there are */
    size_t blocks;         /* of the present round, from the first on */
    /* (RB_CURVE_COUNT * lambdas) by curve and index: the blocks evaluated so far, and how many. The
     * folded control's are those of the last round, which it has no part in finding. */
    struct rb_block **sums;
    size_t *have;
};

/* Reads what the store has. The caller owns *ret: rb_rounds_free. */
enum rb_status rb_rounds_new(const struct rb_run *run, struct rb_rounds **ret,
                             struct rb_error *err) RB_MUST_CHECK;
void rb_rounds_free(struct rb_rounds *r); /* r may be NULL */

/* Sets the round and ret_members (lambdas): the indices that belong to it. True when the barrier is
 * known well enough or the blocks have run out; else some member lacks blocks. */
bool rb_rounds_next(struct rb_rounds *r, const struct rb_run *run, bool *ret_members);
/* How many of the round's blocks this point has: those from there on are to be evaluated. */
size_t rb_rounds_have(const struct rb_rounds *r, int curve, size_t index);
/* Takes and keeps the next blocks of a point; the other curves', too, where they are the same. */
enum rb_status rb_rounds_add(struct rb_rounds *r, const struct rb_run *run, int curve, size_t index,
                             const struct rb_block *blocks, size_t count,
                             struct rb_error *err) RB_MUST_CHECK;
/* A point from the round's blocks. */
void rb_rounds_point(const struct rb_rounds *r, const struct rb_run *run, int curve, size_t index,
                     struct rb_point *ret);

#endif
