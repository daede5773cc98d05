/* core/align/rotate.h: the basis inside matched heads (METHOD 4, rotate_heads). */
#ifndef RB_CORE_ALIGN_ROTATE_H
#define RB_CORE_ALIGN_ROTATE_H

#include "core/align/moments.h"

/* Orthogonal Procrustes: R (n, n) orthogonal that maximises tr(R^T M), M (n, n) row-major F64.
 * With M = U S W^T, R = U W^T. RB_ENUMERIC when the SVD does not converge, RB_ENOMEM. */
enum rb_status rb_procrustes(const double *m, size_t n, float *ret, struct rb_scratch *scratch,
                             struct rb_error *err) RB_MUST_CHECK;

/* For each of A's heads, R from queries and keys (moved by index: unit i of A goes with index[i] of
 * B): M = E[q_B^T q_A] / |.|_F + cov(k_B, k_A) / |.|_F. ret: (heads, d_h, d_h). */
enum rb_status rb_rotate_keys(const struct rb_tap *q, const struct rb_tap *k, const uint32_t *index,
                              size_t heads, float *ret, struct rb_scratch *scratch,
                              struct rb_error *err) RB_MUST_CHECK;
/* S from the head outputs: M = cov(v_B, v_A). */
enum rb_status rb_rotate_values(const struct rb_tap *mha, const uint32_t *index, size_t heads,
                                float *ret, struct rb_scratch *scratch,
                                struct rb_error *err) RB_MUST_CHECK;

#endif
