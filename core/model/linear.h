/* core/model/linear.h: the matrix product that all linear maps are. */
#ifndef RB_CORE_MODEL_LINEAR_H
#define RB_CORE_MODEL_LINEAR_H

#include <stddef.h>

/* y (rows, out) = x (rows, in) w^T, w (out, in); all row-major. */
void rb_linear(const float *x, size_t rows, size_t in, const float *w, size_t out, float *y);

#endif
