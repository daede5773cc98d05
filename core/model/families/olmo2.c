/* OLMo-2: Llama with its norms after each sublayer, inside the addition, and RMSNorms over whole
 * queries and keys. */
#include "core/model/families/llama.h"

#define NORM(tensor, r, row)                                                                       \
    {                                                                                              \
        .name = RB_LLAMA_LAYER tensor ".weight", .rows = RB_DIM_##r, .row_axis = RB_AXIS_##row,    \
        .per_layer = true                                                                          \
    }

static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    RB_LLAMA_ROWS,
    [RB_QUERY_NORM] = NORM("self_attn.q_norm", QUERY, Q),
    [RB_KEY_NORM] = NORM("self_attn.k_norm", KEY, K),
    [RB_ATTENTION_NORM_WEIGHT] = NORM("post_attention_layernorm", HIDDEN, RES_MID),
    [RB_MLP_NORM_WEIGHT] = NORM("post_feedforward_layernorm", HIDDEN, RES_OUT),
};

static enum rb_status parse(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err)
{
    enum rb_status s = rb_llama_describe(label, json, 1e-5, ret, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "attention_bias", false, &ret->attention_bias, err);
    ret->attention_output_bias = ret->attention_bias;
    ret->attention.query_key_norm = true;
    ret->norm_place = RB_NORM_AFTER_SUBLAYER;
    return s;
}

const struct rb_family rb_family_olmo2 = RB_LLAMA_FAMILY("olmo2");
