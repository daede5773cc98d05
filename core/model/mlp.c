#include "core/model/mlp.h"
#include "core/model/activation.h"
#include "core/model/linear.h"

enum rb_status rb_mlp_forward(const struct rb_layer_call *call, const float *in, size_t rows,
                              float *y, struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_config *c = call->config;
    const float *const *w = call->weights->w;
    size_t d = c->hidden_size, inner = c->mlp.inner_size;
    float *ff = rb_layer_place(call->taps.ff, rows * inner, scratch);
    float *gate = c->mlp.gated ? rb_scratch_alloc(scratch, rows * inner, sizeof(float)) : NULL;
    if (ff == NULL || (c->mlp.gated && gate == NULL))
        return rb_error_set(err, RB_ENOMEM, "no memory for the MLP over %zu tokens", rows);
    rb_linear(in, rows, d, w[RB_UP_WEIGHT], inner, ff);
    if (c->mlp.gated) {
        rb_linear(in, rows, d, w[RB_GATE_WEIGHT], inner, gate);
        rb_activate_gated(c->mlp.activation, ff, gate, w[RB_GATE_BIAS], w[RB_UP_BIAS], rows, inner);
    } else {
        rb_activate(c->mlp.activation, ff, w[RB_UP_BIAS], rows, inner);
    }
    if (!call->stop_after_ff)
        rb_linear(ff, rows, inner, w[RB_DOWN_WEIGHT], d, y);
    return RB_OK;
}
