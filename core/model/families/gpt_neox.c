/* GPT-NeoX (Pythia): norms before, rotary on a part of each head, attention and MLP side by side;
 * queries, keys and values stored in one tensor, head by head. */
#include "core/model/families/decoder.h"
#include "core/model/families/rows.h"

#include <stddef.h>

#define LAYER "layers.%u."
#define BY_HEAD(part, r, row)                                                                      \
    {                                                                                              \
        .name = LAYER "attention.query_key_value.weight", .rows = RB_DIM_##r,                      \
        .columns = RB_DIM_HIDDEN, .row_axis = RB_AXIS_##row, .column_axis = RB_AXIS_RES_IN,        \
        .per_layer = true, .view = {                                                               \
            RB_LAYOUT_BY_HEAD,                                                                     \
            part,                                                                                  \
            3                                                                                      \
        }                                                                                          \
    }
#define BY_HEAD_BIAS(part, r, row)                                                                 \
    {                                                                                              \
        .name = LAYER "attention.query_key_value.bias", .rows = RB_DIM_##r,                        \
        .row_axis = RB_AXIS_##row, .per_layer = true, .need = RB_WITH_ATTENTION_BIAS, .view = {    \
            RB_LAYOUT_BY_HEAD,                                                                     \
            part,                                                                                  \
            3                                                                                      \
        }                                                                                          \
    }

static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    [RB_WORD_EMBEDDINGS] = RB_MATRIX("embed_in.weight", VOCAB, HIDDEN, FIXED, RES_FIRST),
    [RB_QUERY_WEIGHT] = BY_HEAD(0, QUERY, Q),
    [RB_QUERY_BIAS] = BY_HEAD_BIAS(0, QUERY, Q),
    [RB_KEY_WEIGHT] = BY_HEAD(1, KEY, K),
    [RB_KEY_BIAS] = BY_HEAD_BIAS(1, KEY, K),
    [RB_VALUE_WEIGHT] = BY_HEAD(2, KEY, V),
    [RB_VALUE_BIAS] = BY_HEAD_BIAS(2, KEY, V),
    [RB_ATTENTION_OUTPUT_WEIGHT] =
        RB_LAYER_MATRIX(LAYER "attention.dense.weight", HIDDEN, QUERY, RES_MID, O),
    [RB_ATTENTION_OUTPUT_BIAS] = {.name = LAYER "attention.dense.bias",
                                  .rows = RB_DIM_HIDDEN,
                                  .row_axis = RB_AXIS_RES_MID,
                                  .per_layer = true,
                                  .need = RB_WITH_ATTENTION_OUTPUT_BIAS},
    [RB_ATTENTION_NORM_WEIGHT] = RB_LAYER_NORM(LAYER "input_layernorm.weight", NULL, RES_IN),
    [RB_ATTENTION_NORM_BIAS] = RB_LAYER_NORM(LAYER "input_layernorm.bias", NULL, RES_IN),
    [RB_UP_WEIGHT] = RB_LAYER_MATRIX(LAYER "mlp.dense_h_to_4h.weight", INNER, HIDDEN, FF, RES_MID),
    [RB_UP_BIAS] = RB_LAYER_VECTOR(LAYER "mlp.dense_h_to_4h.bias", INNER, FF),
    [RB_DOWN_WEIGHT] =
        RB_LAYER_MATRIX(LAYER "mlp.dense_4h_to_h.weight", HIDDEN, INNER, RES_OUT, FF),
    [RB_DOWN_BIAS] = RB_LAYER_VECTOR(LAYER "mlp.dense_4h_to_h.bias", HIDDEN, RES_OUT),
    [RB_MLP_NORM_WEIGHT] = RB_LAYER_NORM(LAYER "post_attention_layernorm.weight", NULL, RES_MID),
    [RB_MLP_NORM_BIAS] = RB_LAYER_NORM(LAYER "post_attention_layernorm.bias", NULL, RES_MID),
    [RB_FINAL_NORM_WEIGHT] = RB_NORM("final_layer_norm.weight", NULL, RES_LAST),
    [RB_FINAL_NORM_BIAS] = RB_NORM("final_layer_norm.bias", NULL, RES_LAST),
    [RB_UNEMBEDDING_WEIGHT] =
        RB_HEAD_MATRIX("embed_out.weight", VOCAB, HIDDEN, FIXED, RES_LAST, RB_WITH_CAUSAL, true),
    [RB_CLASSIFIER_WEIGHT] =
        RB_HEAD_MATRIX("score.weight", LABELS, HIDDEN, FIXED, RES_LAST, RB_WITH_CLASSIFIER, true),
};

static const struct rb_config_key keys[] = {
    {"rotary_dims", "rotary_pct"},
    {"rope_theta", "rotary_emb_base"},
    {NULL, NULL},
};

static const char *const ignored[] = {".attention.bias", ".attention.masked_bias",
                                      "rotary_emb.inv_freq", NULL};

static enum rb_status read_sizes(const char *label, const json_t *json, struct rb_config *ret,
                                 struct rb_error *err)
{
    static const struct rb_config_size sizes[] = {
        {"vocab_size", RB_SIZE_MAX, 0, offsetof(struct rb_config, vocab_size)},
        {"hidden_size", RB_SIZE_MAX, 0, offsetof(struct rb_config, hidden_size)},
        {"num_hidden_layers", RB_LAYERS_MAX, 0, offsetof(struct rb_config, num_hidden_layers)},
        {"num_attention_heads", RB_SIZE_MAX, 0, offsetof(struct rb_config, attention.heads)},
        {"intermediate_size", RB_SIZE_MAX, 0, offsetof(struct rb_config, mlp.inner_size)},
        {"max_position_embeddings", RB_SIZE_MAX, 2048,
         offsetof(struct rb_config, max_position_embeddings)},
    };
    enum rb_status s =
        rb_config_read_sizes(label, json, sizes, sizeof sizes / sizeof sizes[0], ret, err);
    if (s == RB_OK)
        s = rb_config_set_heads(label, "hidden_size", "num_attention_heads", ret, err);
    ret->embedding_size = ret->hidden_size;
    ret->max_length = ret->max_position_embeddings;
    return s;
}

static enum rb_status parse(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err)
{
    static const struct rb_decoder_rope_keys rope = {"rotary_emb_base", "rotary_pct", 1e4, 0.25};
    rb_decoder_describe(ret);
    ret->norm_kind = RB_NORM_LAYER;
    enum rb_status s = rb_decoder_refuse(label, json, err);
    if (s == RB_OK)
        s = read_sizes(label, json, ret, err);
    if (s == RB_OK)
        s = rb_decoder_read_rope(label, json, &rope, ret, err);
    if (s == RB_OK)
        s = rb_config_read_labels(label, json, &ret->num_labels, err);
    if (s == RB_OK)
        s = rb_config_read_epsilon(label, json, "layer_norm_eps", 1e-5, &ret->norm_eps, err);
    if (s == RB_OK)
        s = rb_decoder_read_activation(label, json, "hidden_act", RB_ACTIVATION_GELU,
                                       &ret->mlp.activation, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "use_parallel_residual", true, &ret->parallel_residual,
                                err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "attention_bias", true, &ret->attention_bias, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "tie_word_embeddings", false,
                                &ret->tie_word_embeddings, err);
    ret->attention_output_bias = ret->attention_bias;
    return s;
}

const struct rb_family rb_family_gpt_neox = {
    .model_type = "gpt_neox",
    .prefix = "gpt_neox.",
    .parse = parse,
    .rows = rows,
    .heads = rb_decoder_heads,
    .keys = keys,
    .ignored = ignored,
};
