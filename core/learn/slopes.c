#include "core/learn/slopes.h"

rb_slope_fn rb_slope(enum rb_activation act)
{
    const struct rb_kernels *k = rb_kernels();
    const rb_slope_fn table[] = {
        [RB_ACTIVATION_GELU] = k->slope_gelu, [RB_ACTIVATION_GELU_TANH] = k->slope_gelu_new,
        [RB_ACTIVATION_SILU] = k->slope_silu, [RB_ACTIVATION_RELU] = k->slope_relu,
        [RB_ACTIVATION_TANH] = k->slope_tanh,
    };
    return table[act];
}

void rb_norm_back(const struct rb_config *c, const float *weight, const float *x, const float *dy,
                  size_t rows, size_t n, double *dweight, double *dshift, float *dx)
{
    bool layer = c->norm_kind == RB_NORM_LAYER;
    const struct rb_kernels *k = rb_kernels();
    (layer ? k->layer_norm_back : k->rms_norm_back)(dx, x, dy, weight, c->norm_eps, rows, n,
                                                    dweight, layer ? dshift : NULL);
}
