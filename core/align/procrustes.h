/* core/align/procrustes.h: the orthogonal matrix nearest to another, by LAPACK's SVD (as OpenBLAS
 * carries it); inside heads, and inside heads with rotary positions (METHOD 4 and 10; whole
 * streams: polar.h). All in F64, row-major. */
#ifndef RB_CORE_ALIGN_PROCRUSTES_H
#define RB_CORE_ALIGN_PROCRUSTES_H

#include "core/memory.h"
#include "core/status.h"

/* Orthogonal Procrustes: R (n, n) orthogonal that maximises tr(R^T M). With M = U S W^T,
 * R = U W^T. For n up to some hundreds: works in scratch. RB_ENUMERIC when the SVD does not
 * converge, RB_ENOMEM. */
enum rb_status rb_procrustes(const double *m, size_t n, double *ret, struct rb_scratch *scratch,
                             struct rb_error *err) RB_MUST_CHECK;

/* R of one head for queries and keys that are turned by their position: a turn in each plane of
 * coordinates i and i + dims / 2, the only maps that commute with rotary positions; any orthogonal
 * matrix on what lies beyond `dims`. dims: even, at most n. */
enum rb_status rb_procrustes_rotary(const double *m, size_t n, size_t dims, double *ret,
                                    struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* M (n, n) <- P M P + add 1 1^T, P = I - 1 1^T / n, in place. */
void rb_procrustes_centre(double *m, size_t n, double add);
/* Makes M (n, n) admit only maps with O 1 = 1 (LayerNorm): M <- P M P + (|M| / n) 1 1^T,
 * P = I - 1 1^T / n. In place. */
void rb_procrustes_keep_ones(double *m, size_t n);

/* max |R^T R - 1|. */
double rb_orthogonality(const float *r, size_t n);

#endif
