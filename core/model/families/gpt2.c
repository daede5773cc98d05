/* GPT-2: norms before, learnt positions; stored transposed, queries, keys and values in thirds. */
#include "core/model/families/decoder.h"
#include "core/model/families/rows.h"

#define LAYER "h.%u."
#define LINEAR(tensor, r, c, row, column)                                                          \
    {                                                                                              \
        .name = LAYER tensor ".weight", .rows = RB_DIM_##r, .columns = RB_DIM_##c,                 \
        .row_axis = RB_AXIS_##row, .column_axis = RB_AXIS_##column, .per_layer = true, .view = {   \
            .layout = RB_LAYOUT_TRANSPOSED                                                         \
        }                                                                                          \
    }

static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    [RB_WORD_EMBEDDINGS] = RB_MATRIX("wte.weight", VOCAB, HIDDEN, FIXED, RES_FIRST),
    [RB_POSITION_EMBEDDINGS] = RB_MATRIX("wpe.weight", POSITIONS, HIDDEN, FIXED, RES_FIRST),
    RB_FUSED_ROWS(LAYER "attn.c_attn", TRANSPOSED, PART, RB_ALWAYS),
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
    RB_DECODER_HEAD_ROWS("lm_head.weight"),
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

/* reorder_and_upcast_attn changes the order of rounding only. */
static enum rb_status parse(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err)
{
    static const struct rb_decoder_spelling spelling = {
        .shape = {.keys = keys, .positions = 1024, .inner = 4},
        .epsilon = "layer_norm_epsilon",
        .epsilon_default = 1e-5,
        .activation = "activation_function",
        .activation_default = RB_ACTIVATION_GELU_TANH,
        .tied = true,
    };
    bool scaled = true;
    rb_decoder_describe(ret);
    ret->norm_kind = RB_NORM_LAYER;
    enum rb_status s = rb_decoder_read(label, json, &spelling, ret, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "scale_attn_weights", true, &scaled, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "scale_attn_by_inverse_layer_idx", false,
                                &ret->attention.scale_by_layer, err);
    ret->attention.unscaled = !scaled;
    return s;
}

const struct rb_family rb_family_gpt2 = {.model_type = "gpt2",
                                         .prefix = "transformer.",
                                         .parse = parse,
                                         .rows = rows,
                                         .heads = rb_decoder_heads,
                                         .keys = keys,
                                         .ignored = ignored};
