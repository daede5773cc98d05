/* core/align/heads.h: matching heads from the similarities of their units (METHOD 4 and 9).
 *
 * A model has `groups` key-value heads of d_h units, each shared by `queries` query heads; with
 * queries = 1 (plain attention) a group is a head. */
#ifndef RB_CORE_ALIGN_HEADS_H
#define RB_CORE_ALIGN_HEADS_H

#include "core/program.h"

struct rb_heads_shape {
    size_t groups, queries, units; /* KV, R, d_h */
    bool in_order;                 /* query heads stay in their places inside a group too */
};

/* What was found for each pair (g, g') of groups, A's and B's. */
struct rb_heads_work {
    uint32_t *inner;   /* (groups, groups, units) pi: unit pi[t] of B's head goes with t of A's */
    uint32_t *queries; /* (groups, groups, queries) sigma: B's query head sigma[i] with A's i */
    float *value;      /* (groups, groups) the sum of matched similarities */
};

enum rb_status rb_heads_work_init(struct rb_heads_work *w, const struct rb_heads_shape *s,
                                  struct rb_error *err) RB_MUST_CHECK;
void rb_heads_work_deinit(struct rb_heads_work *w);

/* One pair. c: similarities of the head outputs, rows: the queries * units units of A's group g,
 * columns: all of B's. v: of the value projections, rows: the units of A's g, columns: all of B's;
 * not read with queries = 1. With more, by turns until sigma stays, at most 10 times: METHOD 9.
 * Errors as rb_assignment_solve. */
enum rb_status rb_heads_match(const struct rb_heads_shape *s, const float *c, const float *v,
                              size_t g, size_t other, struct rb_heads_work *w,
                              struct rb_worker *worker, struct rb_error *err) RB_MUST_CHECK;

/* The answer under an assignment of groups: B's group assigned[g] to A's g. heads: (groups *
 * queries) query heads; index: (groups * queries * units) units of head outputs; values: (groups *
 * units) units of the value projection. values and heads may be NULL. */
void rb_heads_assemble(const struct rb_heads_shape *s, const struct rb_heads_work *w,
                       const uint32_t *assigned, uint32_t *heads, uint32_t *index,
                       uint32_t *values);

#endif
