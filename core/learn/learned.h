/* core/learn/learned.h: one matrix under learning: an orthogonal matrix, of which the first planes
 * may be bound to turns, and which may be stretched (METHOD 10 and 11).
 *
 * Entries i and i + planes, i < planes, make a plane that turns by an angle of its own: what rotary
 * positions leave free of a query-key basis. The rest, from entry 2 planes on, is any orthogonal
 * matrix (core/learn/cayley.h). Stretched, it is Q f(W), W symmetric, and a plane's turn times
 * f(w); f(x) = exp(c tanh(x / c)), so that the condition number stays below exp(2 c) = 100. All
 * F64. */
#ifndef RB_CORE_LEARN_LEARNED_H
#define RB_CORE_LEARN_LEARNED_H

#include "core/learn/cayley.h"

struct rb_learned {
    size_t n, planes;
    double *angles;        /* (planes) at the start; owned */
    struct rb_cayley rest; /* (n - 2 planes), unless that is 0 */
    double *value;         /* (n, n) F of the last rb_learned_value; owned */
    double *dual;          /* (n, n) F^-T; the same pointer unless it stretches */
    size_t parameters;     /* planes + (n - 2 planes)^2, twice that where it stretches */
    /* Where it stretches, of the rest: W's eigenvectors (rows), what f makes of its eigenvalues,
     * and f(W), f(W)^-1; one block, owned. NULL: it does not. */
    double *vectors, *roots, *stretch, *shrink;
};

/* base (n, n): where learning starts, with parameters 0; orthogonal, and of the shape above.
 * centred: keep base's row and column sums (no planes then, no stretching). RB_ENOMEM. The caller
 * owns *ret. */
enum rb_status rb_learned_init(struct rb_learned *ret, size_t n, size_t planes, const double *base,
                               bool centred, bool stretches, struct rb_error *err) RB_MUST_CHECK;
void rb_learned_deinit(struct rb_learned *l);

/* l->value and l->dual of x (parameters). RB_ENUMERIC. */
enum rb_status rb_learned_value(struct rb_learned *l, const double *x,
                                struct rb_error *err) RB_MUST_CHECK;
/* dL/dx into dx (parameters), from dvalue (n, n) = dL/dvalue at the last value, which was that of
 * x; scratch (n, n). */
void rb_learned_gradient(const struct rb_learned *l, const double *x, const double *dvalue,
                         double *dx, double *scratch);
/* The last value, its orthogonal part orthogonal to rounding: value and dual themselves.
 * RB_ENOMEM, RB_ENUMERIC. */
enum rb_status rb_learned_project(struct rb_learned *l, struct rb_error *err) RB_MUST_CHECK;

#endif
