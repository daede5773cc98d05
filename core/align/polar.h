/* core/align/polar.h: the orthogonal matrix nearest to a large one, in steps (METHOD 10), so that
 * whoever waits sees it go on and can stop it between two of them.
 *
 * O = U V^T of M = U S V^T, by LAPACK's own pieces: M is brought to bidiagonal form some columns at
 * a time (dlabrd, as dgebrd does), that form is taken apart by divide and conquer (dbdsdc), and
 * both reflections are put around U V^T (dormbr). The same as rb_polar, which is all steps at once,
 * to rounding of LAPACK's dgesdd, the reference in the tests. */
#ifndef RB_CORE_ALIGN_POLAR_H
#define RB_CORE_ALIGN_POLAR_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

struct rb_polar;

/* O of m (n, n) row-major, n >= 1; m is copied. The caller owns *ret: rb_polar_free. RB_ENOMEM. */
enum rb_status rb_polar_new(const double *m, size_t n, struct rb_polar **ret,
                            struct rb_error *err) RB_MUST_CHECK;
void rb_polar_free(struct rb_polar *p); /* p may be NULL */

/* How many steps a matrix of n rows takes, and what step k costs, in floating-point operations of a
 * matrix product that take as long. */
size_t rb_polar_steps(size_t n);
double rb_polar_step_cost(size_t n, size_t step);
/* The next step. RB_ENUMERIC when M holds something that is no number, or divide and conquer does
 * not converge; RB_ENOMEM. */
enum rb_status rb_polar_step(struct rb_polar *p, struct rb_error *err) RB_MUST_CHECK;
/* After all steps: O (n, n) row-major; p's own. */
const double *rb_polar_result(const struct rb_polar *p);

/* All of it at once; ret (n, n) may be m. */
enum rb_status rb_polar(const double *m, size_t n, double *ret, struct rb_error *err) RB_MUST_CHECK;
double rb_polar_cost(double n);      /* of all steps */
uint64_t rb_polar_bytes(uint64_t n); /* at most at a time, m itself apart */

#endif
