#include "core/model/layer.h"
#include "core/model/attention.h"
#include "core/model/mlp.h"
#include "core/model/norm.h"

#include <string.h>

static void keep(float *tap, const float *from, size_t floats)
{
    if (tap != NULL)
        memcpy(tap, from, floats * sizeof(float));
}

/* x = norm(x + attention(x)), then x = norm(x + mlp(x)). y: (rows, hidden_size). */
static enum rb_status norm_after_addition(const struct rb_layer_call *call, float *x, float *y,
                                          struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_config *c = call->config;
    const float *const *w = call->weights->w;
    size_t d = c->hidden_size, rows = rb_layer_rows(call);
    enum rb_status s = rb_attention_forward(call, x, y, scratch, err);
    if (s != RB_OK)
        return s;
    rb_norm(c, x, y, w[RB_ATTENTION_OUTPUT_BIAS], x, w[RB_ATTENTION_NORM_WEIGHT],
            w[RB_ATTENTION_NORM_BIAS], rows, d);
    keep(call->taps.middle, x, rows * d);
    s = rb_mlp_forward(call, x, rows, y, scratch, err);
    if (s == RB_OK && !call->stop_after_ff)
        rb_norm(c, x, y, w[RB_DOWN_BIAS], x, w[RB_MLP_NORM_WEIGHT], w[RB_MLP_NORM_BIAS], rows, d);
    return s;
}

enum rb_status rb_layer_forward(const struct rb_layer_call *call, float *x,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    size_t rows = rb_layer_rows(call);
    float *y = rb_scratch_alloc(scratch, rows * call->config->hidden_size, sizeof(float));
    if (y == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a layer over %zu tokens",
                            rb_span_tokens(&call->span));
    return norm_after_addition(call, x, y, scratch, err);
}

double rb_layer_cost(const struct rb_config *c, double tokens, double rows, double pairs)
{
    double d = c->hidden_size, inner = c->mlp.inner_size;
    double q = (double)rb_config_dim(c, RB_DIM_QUERY), kv = (double)rb_config_dim(c, RB_DIM_KEY);
    return tokens * 4 * d * kv + rows * (4 * d * q + (c->mlp.gated ? 6 : 4) * d * inner) +
           4 * q * pairs;
}

double rb_layer_flops(const struct rb_config *c, const size_t *starts, size_t count)
{
    double pairs = 0;
    for (size_t s = 0; s < count; s++) {
        double n = (double)(starts[s + 1] - starts[s]);
        pairs += n * n;
    }
    double tokens = (double)(starts[count] - starts[0]);
    return rb_layer_cost(c, tokens, tokens, pairs);
}
