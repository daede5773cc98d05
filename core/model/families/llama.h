/* core/model/families/llama.h: what Llama's relatives have of it. */
#ifndef RB_CORE_MODEL_FAMILIES_LLAMA_H
#define RB_CORE_MODEL_FAMILIES_LLAMA_H

#include "core/model/families/decoder.h"
#include "core/model/families/rows.h"

/* Sizes, heads, rotary positions, RMSNorm, SwiGLU; biases nowhere, norms before: whoever has others
 * says so afterwards. eps: rms_norm_eps where the config has none. */
enum rb_status rb_llama_describe(const char *label, const json_t *json, double eps,
                                 struct rb_config *ret, struct rb_error *err) RB_MUST_CHECK;

#define RB_LLAMA_LAYER "layers.%u."
#define RB_LLAMA_BIAS(tensor, r, row, when)                                                        \
    {                                                                                              \
        .name = RB_LLAMA_LAYER tensor ".bias", .rows = RB_DIM_##r, .row_axis = RB_AXIS_##row,      \
        .per_layer = true, .need = (when)                                                          \
    }
#define RB_LLAMA_MATRIX(tensor, r, c, row, column)                                                 \
    RB_LAYER_MATRIX(RB_LLAMA_LAYER tensor ".weight", r, c, row, column)

/* All but the norms of the layers and the biases of the MLP. */
#define RB_LLAMA_ROWS                                                                              \
    [RB_WORD_EMBEDDINGS] = RB_MATRIX("embed_tokens.weight", VOCAB, HIDDEN, FIXED, RES_FIRST),      \
    [RB_QUERY_WEIGHT] = RB_LLAMA_MATRIX("self_attn.q_proj", QUERY, HIDDEN, Q, RES_IN),             \
    [RB_QUERY_BIAS] = RB_LLAMA_BIAS("self_attn.q_proj", QUERY, Q, RB_WITH_ATTENTION_BIAS),         \
    [RB_KEY_WEIGHT] = RB_LLAMA_MATRIX("self_attn.k_proj", KEY, HIDDEN, K, RES_IN),                 \
    [RB_KEY_BIAS] = RB_LLAMA_BIAS("self_attn.k_proj", KEY, K, RB_WITH_ATTENTION_BIAS),             \
    [RB_VALUE_WEIGHT] = RB_LLAMA_MATRIX("self_attn.v_proj", KEY, HIDDEN, V, RES_IN),               \
    [RB_VALUE_BIAS] = RB_LLAMA_BIAS("self_attn.v_proj", KEY, V, RB_WITH_ATTENTION_BIAS),           \
    [RB_ATTENTION_OUTPUT_WEIGHT] = RB_LLAMA_MATRIX("self_attn.o_proj", HIDDEN, QUERY, RES_MID, O), \
    [RB_ATTENTION_OUTPUT_BIAS] =                                                                   \
        RB_LLAMA_BIAS("self_attn.o_proj", HIDDEN, RES_MID, RB_WITH_ATTENTION_OUTPUT_BIAS),         \
    [RB_GATE_WEIGHT] = RB_LLAMA_MATRIX("mlp.gate_proj", INNER, HIDDEN, FF_GATE, RES_MID),          \
    [RB_UP_WEIGHT] = RB_LLAMA_MATRIX("mlp.up_proj", INNER, HIDDEN, FF, RES_MID),                   \
    [RB_DOWN_WEIGHT] = RB_LLAMA_MATRIX("mlp.down_proj", HIDDEN, INNER, RES_OUT, FF),               \
    [RB_FINAL_NORM_WEIGHT] = RB_NORM("norm.weight", NULL, RES_LAST),                               \
    RB_DECODER_HEAD_ROWS("lm_head.weight")

/* RMSNorms before attention and MLP. */
#define RB_LLAMA_NORM_ROWS                                                                         \
    [RB_ATTENTION_NORM_WEIGHT] =                                                                   \
        RB_LAYER_NORM(RB_LLAMA_LAYER "input_layernorm.weight", NULL, RES_IN),                      \
    [RB_MLP_NORM_WEIGHT] =                                                                         \
        RB_LAYER_NORM(RB_LLAMA_LAYER "post_attention_layernorm.weight", NULL, RES_MID)

extern const struct rb_config_key rb_llama_keys[];
extern const char *const rb_llama_ignored[];
/* The family of a file that has `parse` and `rows`. */
#define RB_LLAMA_FAMILY(type)                                                                      \
    {                                                                                              \
        .model_type = (type), .prefix = "model.", .parse = parse, .rows = rows,                    \
        .heads = rb_decoder_heads, .keys = rb_llama_keys, .ignored = rb_llama_ignored              \
    }

#endif
