#include "core/model/layer.h"
#include "core/model/attention.h"
#include "core/model/causal.h"
#include "core/model/kernels.h"
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

/* x = x + attention(norm1 x), then x = x + mlp(norm2 x); with a parallel residual both read the
 * same x. */
static enum rb_status norm_before(const struct rb_layer_call *call, float *x, float *y,
                                  struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_config *c = call->config;
    const float *const *w = call->weights->w;
    const struct rb_kernels *k = rb_kernels();
    size_t d = c->hidden_size, rows = rb_layer_rows(call), n = rb_span_tokens(&call->span);
    float *normed = rb_scratch_alloc(scratch, n * d, sizeof(float));
    float *more = c->parallel_residual ? rb_scratch_alloc(scratch, rows * d, sizeof(float)) : y;
    if (normed == NULL || more == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the norms of %zu tokens", n);
    rb_norm(c, normed, x, NULL, NULL, w[RB_ATTENTION_NORM_WEIGHT], w[RB_ATTENTION_NORM_BIAS], n, d);
    enum rb_status s = rb_attention_forward(call, normed, y, scratch, err);
    if (s != RB_OK)
        return s;
    rb_attention_keep_rows(call, x, d);
    if (!c->parallel_residual) {
        k->add_residual(x, y, w[RB_ATTENTION_OUTPUT_BIAS], rows, d);
        keep(call->taps.middle, x, rows * d);
    }
    rb_norm(c, normed, x, NULL, NULL, w[RB_MLP_NORM_WEIGHT], w[RB_MLP_NORM_BIAS], rows, d);
    s = rb_mlp_forward(call, normed, rows, more, scratch, err);
    if (s != RB_OK || call->stop_after_ff)
        return s;
    if (c->parallel_residual)
        k->add_residual(x, y, w[RB_ATTENTION_OUTPUT_BIAS], rows, d);
    k->add_residual(x, more, w[RB_DOWN_BIAS], rows, d);
    return RB_OK;
}

/* x = x + norm(attention(x)), then x = x + norm(mlp(x)). */
static enum rb_status norm_after_sublayer(const struct rb_layer_call *call, float *x, float *y,
                                          struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_config *c = call->config;
    const float *const *w = call->weights->w;
    const struct rb_kernels *k = rb_kernels();
    size_t d = c->hidden_size, rows = rb_layer_rows(call);
    enum rb_status s = rb_attention_forward(call, x, y, scratch, err);
    if (s != RB_OK)
        return s;
    k->add_bias(y, w[RB_ATTENTION_OUTPUT_BIAS], rows, d);
    rb_norm(c, y, y, NULL, NULL, w[RB_ATTENTION_NORM_WEIGHT], w[RB_ATTENTION_NORM_BIAS], rows, d);
    k->add_residual(x, y, NULL, rows, d);
    keep(call->taps.middle, x, rows * d);
    s = rb_mlp_forward(call, x, rows, y, scratch, err);
    if (s != RB_OK || call->stop_after_ff)
        return s;
    k->add_bias(y, w[RB_DOWN_BIAS], rows, d);
    rb_norm(c, y, y, NULL, NULL, w[RB_MLP_NORM_WEIGHT], w[RB_MLP_NORM_BIAS], rows, d);
    k->add_residual(x, y, NULL, rows, d);
    return RB_OK;
}

enum rb_status rb_layer_forward(const struct rb_layer_call *call, float *x,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    size_t rows = rb_layer_rows(call);
    float *y = rb_scratch_alloc(scratch, rows * call->config->hidden_size, sizeof(float));
    if (y == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a layer over %zu tokens",
                            rb_span_tokens(&call->span));
    switch (call->config->norm_place) {
    case RB_NORM_AFTER_ADDITION:
        return norm_after_addition(call, x, y, scratch, err);
    case RB_NORM_BEFORE:
        return norm_before(call, x, y, scratch, err);
    case RB_NORM_AFTER_SUBLAYER:
        break;
    }
    return norm_after_sublayer(call, x, y, scratch, err);
}

double rb_layer_cost(const struct rb_config *c, double tokens, double rows, double pairs)
{
    double d = c->hidden_size, inner = c->mlp.inner_size;
    double q = (double)rb_config_dim(c, RB_DIM_QUERY), kv = (double)rb_config_dim(c, RB_DIM_KEY);
    return tokens * 4 * d * kv + rows * (4 * d * q + (c->mlp.gated ? 6 : 4) * d * inner) +
           4 * q * pairs;
}

uint64_t rb_layer_scratch_bytes(const struct rb_config *c, uint64_t tokens, uint64_t longest)
{
    uint64_t d = c->hidden_size, inner = c->mlp.inner_size;
    uint64_t wide = rb_config_dim(c, RB_DIM_QUERY), narrow = rb_config_dim(c, RB_DIM_KEY);
    const struct rb_causal causal = {.heads = c->attention.heads,
                                     .kv_heads = c->attention.kv_heads,
                                     .head_dim = c->attention.head_dim};
    uint64_t attention = c->attention.causal ? rb_causal_floats(&causal, (size_t)longest) + longest
                                             : longest * longest;
    uint64_t streams = 1U + (c->norm_place == RB_NORM_BEFORE ? 1U : 0) + c->parallel_residual;
    uint64_t row = streams * d + 2 * (wide + narrow) + (c->mlp.gated ? 2 : 1) * inner;
    return (tokens * row + attention) * sizeof(float);
}

double rb_layer_keys(const struct rb_config *c, double length)
{
    return c->attention.causal ? (length + 1) / 2 : length;
}

double rb_layer_pairs(const struct rb_config *c, const size_t *starts, size_t count)
{
    double pairs = 0;
    for (size_t s = 0; s < count; s++) {
        double n = (double)(starts[s + 1] - starts[s]);
        pairs += n * rb_layer_keys(c, n);
    }
    return pairs;
}

double rb_layer_flops(const struct rb_config *c, const size_t *starts, size_t count)
{
    double tokens = (double)(starts[count] - starts[0]);
    return rb_layer_cost(c, tokens, tokens, rb_layer_pairs(c, starts, count));
}
