#include "core/model/activation.h"
#include "core/model/kernels.h"

#include <assert.h>

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

void rb_activate_gated(enum rb_activation act, float *y, const float *gate, const float *gate_bias,
                       const float *up_bias, size_t rows, size_t n)
{
    const struct rb_kernels *k = rb_kernels();
    const rb_gated_fn kernels[] = {
        [RB_ACTIVATION_GELU] = k->gated_gelu, [RB_ACTIVATION_GELU_TANH] = k->gated_gelu_new,
        [RB_ACTIVATION_SILU] = k->gated_silu, [RB_ACTIVATION_RELU] = k->gated_relu,
        [RB_ACTIVATION_TANH] = k->gated_tanh,
    };
    assert(act != RB_ACTIVATION_NONE);
    kernels[act](y, gate, gate_bias, y, up_bias, rows, n);
}
