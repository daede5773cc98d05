/* GPT-NeoX (Pythia): norms before, rotary on a part of each head, attention and MLP side by side;
 * queries, keys and values stored in one tensor, head by head. */
#include "core/model/families/decoder.h"
#include "core/model/families/rows.h"

#define LAYER "layers.%u."

static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    [RB_WORD_EMBEDDINGS] = RB_MATRIX("embed_in.weight", VOCAB, HIDDEN, FIXED, RES_FIRST),
    RB_FUSED_ROWS(LAYER "attention.query_key_value", BY_HEAD, BY_HEAD, RB_WITH_ATTENTION_BIAS),
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
    RB_DECODER_HEAD_ROWS("embed_out.weight"),
};

static const struct rb_config_key keys[] = {
    {"rotary_dims", "rotary_pct"},
    {"rope_theta", "rotary_emb_base"},
    {NULL, NULL},
};

static const char *const ignored[] = {".attention.bias", ".attention.masked_bias",
                                      "rotary_emb.inv_freq", NULL};

static enum rb_status parse(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err)
{
    static const struct rb_decoder_rope_keys rope = {"rotary_emb_base", "rotary_pct", 1e4, 0.25};
    static const struct rb_decoder_spelling spelling = {
        .shape = {.positions = 2048},
        .rope = &rope,
        .epsilon = "layer_norm_eps",
        .epsilon_default = 1e-5,
        .activation = "hidden_act",
        .activation_default = RB_ACTIVATION_GELU,
    };
    rb_decoder_describe(ret);
    ret->norm_kind = RB_NORM_LAYER;
    enum rb_status s = rb_decoder_read(label, json, &spelling, ret, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "use_parallel_residual", true, &ret->parallel_residual,
                                err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "attention_bias", true, &ret->attention_bias, err);
    ret->attention_output_bias = ret->attention_bias;
    return s;
}

const struct rb_family rb_family_gpt_neox = {.model_type = "gpt_neox",
                                             .prefix = "gpt_neox.",
                                             .parse = parse,
                                             .rows = rows,
                                             .heads = rb_decoder_heads,
                                             .keys = keys,
                                             .ignored = ignored};
