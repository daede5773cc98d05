/* Llama: RMSNorm before, rotary positions, grouped queries, SwiGLU. */
#include "core/model/families/llama.h"

#include <stddef.h>

static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    RB_LLAMA_ROWS,
    RB_LLAMA_NORM_ROWS,
    [RB_GATE_BIAS] = RB_LLAMA_BIAS("mlp.gate_proj", INNER, FF_GATE, RB_WITH_MLP_BIAS),
    [RB_UP_BIAS] = RB_LLAMA_BIAS("mlp.up_proj", INNER, FF, RB_WITH_MLP_BIAS),
    [RB_DOWN_BIAS] = RB_LLAMA_BIAS("mlp.down_proj", HIDDEN, RES_OUT, RB_WITH_MLP_BIAS),
};

static const struct rb_config_key keys[] = {
    {"layer_norm_eps", "rms_norm_eps"},
    {"rotary_dims", "head_dim"},
    {NULL, NULL},
};

const char *const rb_llama_ignored[] = {"rotary_emb.inv_freq", NULL};

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
    ret->embedding_size = ret->hidden_size;
    ret->max_length = ret->max_position_embeddings;
    return s == RB_OK ? rb_decoder_read_heads(label, json, ret, err) : s;
}

enum rb_status rb_llama_describe(const char *label, const json_t *json, double eps,
                                 struct rb_config *ret, struct rb_error *err)
{
    static const struct rb_decoder_rope_keys rope = {"rope_theta", NULL, 1e4, 1};
    rb_decoder_describe(ret);
    ret->norm_kind = RB_NORM_RMS;
    ret->attention_bias = ret->attention_output_bias = ret->mlp_bias = false;
    ret->mlp.gated = true;
    enum rb_status s = rb_decoder_refuse(label, json, err);
    if (s == RB_OK)
        s = read_sizes(label, json, ret, err);
    if (s == RB_OK)
        s = rb_decoder_read_rope(label, json, &rope, ret, err);
    if (s == RB_OK)
        s = rb_config_read_labels(label, json, &ret->num_labels, err);
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

const struct rb_family rb_family_llama = {
    .model_type = "llama",
    .prefix = "model.",
    .parse = parse,
    .rows = rows,
    .heads = rb_decoder_heads,
    .keys = keys,
    .ignored = rb_llama_ignored,
};
