/* core/model/norm.h: the norms of a description, whatever their kind. */
#ifndef RB_CORE_MODEL_NORM_H
#define RB_CORE_MODEL_NORM_H

#include "core/model/config.h"

/* y = norm(x + bias + skip) per row of (rows, n), times weight, plus shift; bias and skip may be
 * NULL; y may be x or skip. LayerNorm with population variance, eps inside the root (METHOD 1).
 * RMSNorm takes neither bias nor skip, and shift is not read. */
void rb_norm(const struct rb_config *c, float *y, const float *x, const float *bias,
             const float *skip, const float *weight, const float *shift, size_t rows, size_t n);

#endif
