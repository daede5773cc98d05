/* GPT-2: norms before, learnt positions; stored transposed, queries, keys and values in thirds. */
#include "core/model/families/decoder.h"
#include "core/model/families/rows.h"

#include <stddef.h>

#define LAYER "h.%u."
#define LINEAR(tensor, r, c, row, column)                                                          \
    {                                                                                              \
        .name = LAYER tensor ".weight", .rows = RB_DIM_##r, .columns = RB_DIM_##c,                 \
        .row_axis = RB_AXIS_##row, .column_axis = RB_AXIS_##column, .per_layer = true, .view = {   \
            .layout = RB_LAYOUT_TRANSPOSED                                                         \
        }                                                                                          \
    }
#define THIRD(k, r, row)                                                                           \
    {                                                                                              \
        .name = LAYER "attn.c_attn.weight", .rows = RB_DIM_##r, .columns = RB_DIM_HIDDEN,          \
        .row_axis = RB_AXIS_##row, .column_axis = RB_AXIS_RES_IN, .per_layer = true, .view = {     \
            RB_LAYOUT_TRANSPOSED,                                                                  \
            k,                                                                                     \
            3                                                                                      \
        }                                                                                          \
    }
#define THIRD_BIAS(k, r, row)                                                                      \
    {                                                                                              \
        .name = LAYER "attn.c_attn.bias", .rows = RB_DIM_##r, .row_axis = RB_AXIS_##row,           \
        .per_layer = true, .view = {                                                               \
            RB_LAYOUT_PART,                                                                        \
            k,                                                                                     \
            3                                                                                      \
        }                                                                                          \
    }

static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    [RB_WORD_EMBEDDINGS] = RB_MATRIX("wte.weight", VOCAB, HIDDEN, FIXED, RES_FIRST),
    [RB_POSITION_EMBEDDINGS] = RB_MATRIX("wpe.weight", POSITIONS, HIDDEN, FIXED, RES_FIRST),
    [RB_QUERY_WEIGHT] = THIRD(0, QUERY, Q),
    [RB_QUERY_BIAS] = THIRD_BIAS(0, QUERY, Q),
    [RB_KEY_WEIGHT] = THIRD(1, KEY, K),
    [RB_KEY_BIAS] = THIRD_BIAS(1, KEY, K),
    [RB_VALUE_WEIGHT] = THIRD(2, KEY, V),
    [RB_VALUE_BIAS] = THIRD_BIAS(2, KEY, V),
    [RB_ATTENTION_OUTPUT_WEIGHT] = LINEAR("attn.c_proj", HIDDEN, QUERY, RES_MID, O),
    [RB_ATTENTION_OUTPUT_BIAS] = RB_LAYER_VECTOR(LAYER "attn.c_proj.bias", HIDDEN, RES_MID),
    [RB_ATTENTION_NORM_WEIGHT] = RB_LAYER_NORM(LAYER "ln_1.weight", NULL, RES_IN),
    [RB_ATTENTION_NORM_BIAS] = RB_LAYER_NORM(LAYER "ln_1.bias", NULL, RES_IN),
    [RB_UP_WEIGHT] = LINEAR("mlp.c_fc", INNER, HIDDEN, FF, RES_MID),
    [RB_UP_BIAS] = RB_LAYER_VECTOR(LAYER "mlp.c_fc.bias", INNER, FF),
    [RB_DOWN_WEIGHT] = LINEAR("mlp.c_proj", HIDDEN, INNER, RES_OUT, FF),
    [RB_DOWN_BIAS] = RB_LAYER_VECTOR(LAYER "mlp.c_proj.bias", HIDDEN, RES_OUT),
    [RB_MLP_NORM_WEIGHT] = RB_LAYER_NORM(LAYER "ln_2.weight", NULL, RES_MID),
    [RB_MLP_NORM_BIAS] = RB_LAYER_NORM(LAYER "ln_2.bias", NULL, RES_MID),
    [RB_FINAL_NORM_WEIGHT] = RB_NORM("ln_f.weight", NULL, RES_LAST),
    [RB_FINAL_NORM_BIAS] = RB_NORM("ln_f.bias", NULL, RES_LAST),
    [RB_UNEMBEDDING_WEIGHT] =
        RB_HEAD_MATRIX("lm_head.weight", VOCAB, HIDDEN, FIXED, RES_LAST, RB_WITH_CAUSAL, true),
    [RB_CLASSIFIER_WEIGHT] =
        RB_HEAD_MATRIX("score.weight", LABELS, HIDDEN, FIXED, RES_LAST, RB_WITH_CLASSIFIER, true),
};

static const struct rb_config_key keys[] = {
    {"hidden_size", "n_embd"},
    {"num_hidden_layers", "n_layer"},
    {"num_attention_heads", "n_head"},
    {"intermediate_size", "n_inner"},
    {"max_position_embeddings", "n_positions"},
    {"layer_norm_eps", "layer_norm_epsilon"},
    {"hidden_act", "activation_function"},
    {NULL, NULL},
};

static const char *const ignored[] = {".attn.bias", ".attn.masked_bias", NULL};

static enum rb_status read_sizes(const char *label, const json_t *json, struct rb_config *ret,
                                 struct rb_error *err)
{
    static const struct rb_config_size sizes[] = {
        {"vocab_size", RB_SIZE_MAX, 0, offsetof(struct rb_config, vocab_size)},
        {"n_embd", RB_SIZE_MAX, 0, offsetof(struct rb_config, hidden_size)},
        {"n_layer", RB_LAYERS_MAX, 0, offsetof(struct rb_config, num_hidden_layers)},
        {"n_head", RB_SIZE_MAX, 0, offsetof(struct rb_config, attention.heads)},
        {"n_positions", RB_SIZE_MAX, 1024, offsetof(struct rb_config, max_position_embeddings)},
    };
    enum rb_status s =
        rb_config_read_sizes(label, json, sizes, sizeof sizes / sizeof sizes[0], ret, err);
    if (s == RB_OK)
        s = rb_config_set_heads(label, "n_embd", "n_head", ret, err);
    if (s != RB_OK)
        return s;
    uint32_t four = ret->hidden_size <= RB_SIZE_MAX / 4 ? 4 * ret->hidden_size : RB_SIZE_MAX;
    ret->embedding_size = ret->hidden_size;
    ret->max_length = ret->max_position_embeddings;
    return rb_decoder_read_size(label, json, "n_inner", four, &ret->mlp.inner_size, err);
}

/* reorder_and_upcast_attn changes the order of rounding only. */
static enum rb_status parse(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err)
{
    bool scaled = true;
    rb_decoder_describe(ret);
    ret->norm_kind = RB_NORM_LAYER;
    ret->positions = RB_POSITIONS_INDEX;
    enum rb_status s = rb_decoder_refuse(label, json, err);
    if (s == RB_OK)
        s = read_sizes(label, json, ret, err);
    if (s == RB_OK)
        s = rb_config_read_labels(label, json, &ret->num_labels, err);
    if (s == RB_OK)
        s = rb_config_read_epsilon(label, json, "layer_norm_epsilon", 1e-5, &ret->norm_eps, err);
    if (s == RB_OK)
        s = rb_decoder_read_activation(label, json, "activation_function", RB_ACTIVATION_GELU_TANH,
                                       &ret->mlp.activation, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "scale_attn_weights", true, &scaled, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "scale_attn_by_inverse_layer_idx", false,
                                &ret->attention.scale_by_layer, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "tie_word_embeddings", true, &ret->tie_word_embeddings,
                                err);
    ret->attention.unscaled = !scaled;
    return s;
}

const struct rb_family rb_family_gpt2 = {
    .model_type = "gpt2",
    .prefix = "transformer.",
    .parse = parse,
    .rows = rows,
    .heads = rb_decoder_heads,
    .keys = keys,
    .ignored = ignored,
};
