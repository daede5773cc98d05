#include "core/model/norm.h"
#include "core/model/kernels.h"

void rb_norm(const struct rb_config *c, float *y, const float *x, const float *bias,
             const float *skip, const float *weight, const float *shift, size_t rows, size_t n)
{
    rb_kernels()->layer_norm(y, x, bias, skip, weight, shift, c->norm_eps, rows, n);
}
