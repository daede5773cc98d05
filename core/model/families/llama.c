/* Llama: RMSNorm before, rotary positions, grouped queries, SwiGLU. */
#include "core/model/families/llama.h"

static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    RB_LLAMA_ROWS,
    RB_LLAMA_NORM_ROWS,
    [RB_GATE_BIAS] = RB_LLAMA_BIAS("mlp.gate_proj", INNER, FF_GATE, RB_WITH_MLP_BIAS),
    [RB_UP_BIAS] = RB_LLAMA_BIAS("mlp.up_proj", INNER, FF, RB_WITH_MLP_BIAS),
    [RB_DOWN_BIAS] = RB_LLAMA_BIAS("mlp.down_proj", HIDDEN, RES_OUT, RB_WITH_MLP_BIAS),
};

const struct rb_config_key rb_llama_keys[] = {
    {"layer_norm_eps", "rms_norm_eps"},
    {"rotary_dims", "head_dim"},
    {NULL, NULL},
};

const char *const rb_llama_ignored[] = {"rotary_emb.inv_freq", NULL};

enum rb_status rb_llama_describe(const char *label, const json_t *json, double eps,
                                 struct rb_config *ret, struct rb_error *err)
{
    static const struct rb_decoder_rope_keys rope = {"rope_theta", NULL, 1e4, 1};
    const struct rb_decoder_spelling spelling = {
        .shape = {.positions = 2048},
        .grouped = true,
        .rope = &rope,
        .epsilon = "rms_norm_eps",
        .epsilon_default = eps,
        .activation = "hidden_act",
        .activation_default = RB_ACTIVATION_SILU,
    };
    rb_decoder_describe(ret);
    ret->norm_kind = RB_NORM_RMS;
    ret->attention_bias = ret->attention_output_bias = ret->mlp_bias = false;
    ret->mlp.gated = true;
    return rb_decoder_read(label, json, &spelling, ret, err);
}

static enum rb_status parse(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err)
{
    enum rb_status s = rb_llama_describe(label, json, 1e-6, ret, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "attention_bias", false, &ret->attention_bias, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "mlp_bias", false, &ret->mlp_bias, err);
    ret->attention_output_bias = ret->attention_bias;
    return s;
}

const struct rb_family rb_family_llama = RB_LLAMA_FAMILY("llama");
