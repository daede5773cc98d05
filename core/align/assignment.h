/* core/align/assignment.h: linear sum assignment, exact.
 *
 * Prices by auction with a step that shrinks to 0 (Bertsekas, "The auction algorithm", Annals of
 * Operations Research 14 (1988); with the step 0 it is the augmenting row reduction of Jonker &
 * Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment
 * problems", Computing 38 (1987)), then their shortest augmenting paths for the few rows still
 * free: whatever the auction did, these make the result optimal. Costs are read in F32, everything
 * else is F64. */
#ifndef RB_CORE_ALIGN_ASSIGNMENT_H
#define RB_CORE_ALIGN_ASSIGNMENT_H

#include "core/program.h"

#include <stdint.h>

/* The permutation p that maximises sum_i similarity[i * stride + p[i]], i < n; every entry finite.
 * ret_index: (n). *ret_score: that sum, added in F64 in order of i. Ties are broken the same way
 * every time. RB_ENOMEM; RB_ECANCELED when the worker was stopped; RB_ENUMERIC naming the entry
 * when one is not finite. n >= 1; stride >= n. Uses the worker's scratch: 350 n bytes. */
enum rb_status rb_assignment_solve(const float *similarity, size_t n, size_t stride,
                                   uint32_t *ret_index, double *ret_score, struct rb_worker *w,
                                   struct rb_error *err) RB_MUST_CHECK;

/* About how many floating-point operations of a matrix product take as long; for estimates. */
double rb_assignment_cost(double n);

#endif
