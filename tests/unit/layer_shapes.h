/* tests/unit/layer_shapes.h: a layer at the edges of each block kind's shapes, and numbers for it.
 */
#ifndef RB_TESTS_LAYER_SHAPES_H
#define RB_TESTS_LAYER_SHAPES_H

#include "unit/numbers.h"

#include "unit/naive_layer.h"

/* Shapes at the edges: one key-value head, three queries a group, head_dim that is not
 * hidden / heads, half-rotary heads, nothing a multiple of 8. */
static const struct layer_shape {
    const char *name;
    struct rb_config c;
    size_t n;
} layer_shapes[] = {
    {"bert",
     {.hidden_size = 12,
      .norm_kind = RB_NORM_LAYER,
      .norm_place = RB_NORM_AFTER_ADDITION,
      .norm_eps = 1e-5F,
      .attention = {.heads = 3, .kv_heads = 3, .head_dim = 4},
      .mlp = {.inner_size = 17, .activation = RB_ACTIVATION_GELU},
      .attention_bias = true,
      .attention_output_bias = true,
      .mlp_bias = true},
     7},
    {"gpt2",
     {.hidden_size = 10,
      .norm_kind = RB_NORM_LAYER,
      .norm_place = RB_NORM_BEFORE,
      .norm_eps = 1e-5F,
      .attention =
          {.heads = 2, .kv_heads = 2, .head_dim = 5, .causal = true, .scale_by_layer = true},
      .mlp = {.inner_size = 13, .activation = RB_ACTIVATION_GELU_TANH},
      .attention_bias = true,
      .attention_output_bias = true,
      .mlp_bias = true},
     9},
    {"neox",
     {.hidden_size = 12,
      .norm_kind = RB_NORM_LAYER,
      .norm_place = RB_NORM_BEFORE,
      .norm_eps = 1e-5F,
      .parallel_residual = true,
      .attention = {.heads = 3, .kv_heads = 3, .head_dim = 4, .causal = true, .rope = {.dims = 2}},
      .mlp = {.inner_size = 11, .activation = RB_ACTIVATION_GELU},
      .attention_bias = true,
      .attention_output_bias = true,
      .mlp_bias = true},
     6},
    {"llama",
     {.hidden_size = 14,
      .norm_kind = RB_NORM_RMS,
      .norm_place = RB_NORM_BEFORE,
      .norm_eps = 1e-5F,
      .attention = {.heads = 6, .kv_heads = 2, .head_dim = 6, .causal = true, .rope = {.dims = 6}},
      .mlp = {.inner_size = 19, .activation = RB_ACTIVATION_SILU, .gated = true}},
     8},
    {"qwen2",
     {.hidden_size = 9,
      .norm_kind = RB_NORM_RMS,
      .norm_place = RB_NORM_BEFORE,
      .norm_eps = 1e-6F,
      .attention = {.heads = 3, .kv_heads = 1, .head_dim = 4, .causal = true, .rope = {.dims = 4}},
      .mlp = {.inner_size = 7, .activation = RB_ACTIVATION_SILU, .gated = true},
      .attention_bias = true,
      .mlp_bias = true},
     5},
    {"olmo2",
     {.hidden_size = 8,
      .norm_kind = RB_NORM_RMS,
      .norm_place = RB_NORM_AFTER_SUBLAYER,
      .norm_eps = 1e-6F,
      .attention = {.heads = 2,
                    .kv_heads = 1,
                    .head_dim = 6,
                    .causal = true,
                    .query_key_norm = true,
                    .rope = {.dims = 6}},
      .mlp = {.inner_size = 9, .activation = RB_ACTIVATION_SILU, .gated = true}},
     6},
    {"relu, one token",
     {.hidden_size = 5,
      .norm_kind = RB_NORM_LAYER,
      .norm_place = RB_NORM_AFTER_ADDITION,
      .norm_eps = 1e-12F,
      .attention = {.heads = 1, .kv_heads = 1, .head_dim = 5},
      .mlp = {.inner_size = 6, .activation = RB_ACTIVATION_RELU},
      .attention_bias = true,
      .attention_output_bias = true,
      .mlp_bias = true},
     1},
};

/* Elements of one layer's tensor of a slot; 0: the description has none. */
static inline size_t slot_size(const struct rb_config *c, enum rb_slot s)
{
    size_t d = c->hidden_size, q = (size_t)c->attention.heads * c->attention.head_dim;
    size_t k = (size_t)c->attention.kv_heads * c->attention.head_dim, i = c->mlp.inner_size;
    bool norm_bias = c->norm_kind == RB_NORM_LAYER;
    switch (s) {
    case RB_QUERY_WEIGHT:
        return q * d;
    case RB_KEY_WEIGHT:
    case RB_VALUE_WEIGHT:
        return k * d;
    case RB_QUERY_BIAS:
        return c->attention_bias ? q : 0;
    case RB_KEY_BIAS:
    case RB_VALUE_BIAS:
        return c->attention_bias ? k : 0;
    case RB_QUERY_NORM:
        return c->attention.query_key_norm ? q : 0;
    case RB_KEY_NORM:
        return c->attention.query_key_norm ? k : 0;
    case RB_ATTENTION_OUTPUT_WEIGHT:
        return d * q;
    case RB_ATTENTION_OUTPUT_BIAS:
        return c->attention_output_bias ? d : 0;
    case RB_ATTENTION_NORM_WEIGHT:
    case RB_MLP_NORM_WEIGHT:
        return d;
    case RB_ATTENTION_NORM_BIAS:
    case RB_MLP_NORM_BIAS:
        return norm_bias ? d : 0;
    case RB_UP_WEIGHT:
        return i * d;
    case RB_UP_BIAS:
        return c->mlp_bias ? i : 0;
    case RB_GATE_BIAS:
        return c->mlp_bias && c->mlp.gated ? i : 0;
    case RB_GATE_WEIGHT:
        return c->mlp.gated ? i * d : 0;
    case RB_DOWN_WEIGHT:
        return d * i;
    case RB_DOWN_BIAS:
        return c->mlp_bias ? d : 0;
    default:
        return 0;
    }
}

static inline double *random_doubles(size_t n, double low, double high, uint64_t *seed)
{
    double *x = naive_new(n);
    for (size_t i = 0; i < n; i++)
        x[i] = random_uniform(seed, low, high);
    return x;
}

static inline bool is_gain(enum rb_slot s)
{
    return s == RB_ATTENTION_NORM_WEIGHT || s == RB_MLP_NORM_WEIGHT || s == RB_QUERY_NORM ||
           s == RB_KEY_NORM;
}

#endif
