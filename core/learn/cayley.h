/* core/learn/cayley.h: orthogonal matrices that can be learned.
 *
 * DESIGN. An orthogonal matrix is held as Q = Q0 C(K), C(K) = (I - K)^-1 (I + K), K = W - W^T
 * (METHOD 11): Q0 is where learning starts and never changes, W (n, n) is free and starts at 0.
 * `centred` matrices keep Q 1 = 1 and Q^T 1 = 1 where Q0 does, which a LayerNorm's stream needs:
 * the rows and columns of W are centred first. Everything is F64; a learned matrix is projected
 * to exact orthogonality (polar factor) before anybody else sees it. The Cayley transform solves
 * one linear system a step; its factors are kept for the way back. */
#ifndef RB_CORE_LEARN_CAYLEY_H
#define RB_CORE_LEARN_CAYLEY_H

#include "core/status.h"

struct rb_cayley {
    size_t n;
    bool centred;
    double *base; /* (n, n) Q0, row-major; owned, and the block that the next three lie in */
    double *q;    /* (n, n) Q = Q0 C(K) of the last rb_cayley_value */
    double *c;    /* (n, n) C(K) */
    double *lu;   /* (n, n) factors of (I - K)^T as LAPACK leaves them */
    int *pivots;  /* (n) */
};

/* Copies base. RB_ENOMEM. The caller owns *ret: rb_cayley_deinit. */
enum rb_status rb_cayley_init(struct rb_cayley *ret, size_t n, const double *base, bool centred,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_cayley_deinit(struct rb_cayley *c);

/* Q of W (n, n) into c->q. RB_ENUMERIC when W is not finite (I - K itself is never singular). */
enum rb_status rb_cayley_value(struct rb_cayley *c, const double *w,
                               struct rb_error *err) RB_MUST_CHECK;

/* With dq (n, n) = dL/dQ at the last value: dL/dW into dw (n, n). dq is overwritten. */
void rb_cayley_gradient(const struct rb_cayley *c, double *dq, double *dw);

/* The nearest orthogonal matrix to c->q, (n, n) row-major: what is saved and applied. RB_ENOMEM,
 * RB_ENUMERIC. */
enum rb_status rb_cayley_project(const struct rb_cayley *c, double *ret,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
