#include "core/model/activation.h"
#include "core/model/kernels.h"

void rb_activate(enum rb_activation act, float *x, const float *bias, size_t rows, size_t n)
{
    const struct rb_kernels *k = rb_kernels();
    void (*const kernels[])(float *, const float *, size_t, size_t) = {
        [RB_ACTIVATION_NONE] = k->add_bias,           [RB_ACTIVATION_GELU] = k->bias_gelu,
        [RB_ACTIVATION_GELU_TANH] = k->bias_gelu_new, [RB_ACTIVATION_SILU] = k->bias_silu,
        [RB_ACTIVATION_RELU] = k->bias_relu,          [RB_ACTIVATION_TANH] = k->bias_tanh,
    };
    kernels[act](x, bias, rows, n);
}
