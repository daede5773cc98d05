#include "core/model/norm.h"
#include "core/model/kernels.h"

#include <assert.h>

void rb_norm(const struct rb_config *c, float *y, const float *x, const float *bias,
             const float *skip, const float *weight, const float *shift, size_t rows, size_t n)
{
    if (c->norm_kind == RB_NORM_RMS) {
        assert(bias == NULL && skip == NULL);
        rb_kernels()->rms_norm(y, x, weight, c->norm_eps, rows, n);
        return;
    }
    rb_kernels()->layer_norm(y, x, bias, skip, weight, shift, c->norm_eps, rows, n);
}
