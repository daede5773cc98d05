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
    static const struct rb_config_shape shape = {.positions = 2048};
    static const struct rb_decoder_rope_keys rope = {"rope_theta", NULL, 1e4, 1};
    rb_decoder_describe(ret);
    ret->norm_kind = RB_NORM_RMS;
    ret->attention_bias = ret->attention_output_bias = ret->mlp_bias = false;
    ret->mlp.gated = true;
    enum rb_status s = rb_decoder_refuse(label, json, err);
    if (s == RB_OK)
        s = rb_config_read_shape(label, json, &shape, ret, err);
    if (s == RB_OK)
        s = rb_decoder_read_heads(label, json, ret, err);
    if (s == RB_OK)
        s = rb_decoder_read_rope(label, json, &rope, ret, err);
    if (s == RB_OK)
        s = rb_config_read_labels(label, json, &ret->num_labels, err);
    if (s == RB_OK)
        s = rb_decoder_read_tokens(label, json, ret, err);
    if (s == RB_OK)
        s = rb_config_read_epsilon(label, json, "rms_norm_eps", eps, &ret->norm_eps, err);
    if (s == RB_OK)
        s = rb_decoder_read_activation(label, json, "hidden_act", RB_ACTIVATION_SILU,
                                       &ret->mlp.activation, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "tie_word_embeddings", false,
                                &ret->tie_word_embeddings, err);
    return s;
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
