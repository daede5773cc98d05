/* Qwen2: Llama with biases on queries, keys and values. */
#include "core/model/families/llama.h"

static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {RB_LLAMA_ROWS, RB_LLAMA_NORM_ROWS};

/* A window matters where some layer uses it and it is shorter than what the model takes. Newer
 * configs list the layers (rb_decoder_read), older ones say from which on. */
static enum rb_status refuse_window(const char *label, const json_t *json,
                                    const struct rb_config *c, struct rb_error *err)
{
    const json_t *window = json_object_get(json, "sliding_window");
    const json_t *first = json_object_get(json, "max_window_layers");
    const json_t *types = json_object_get(json, "layer_types");
    bool used = json_is_true(json_object_get(json, "use_sliding_window"));
    bool short_window = !json_is_integer(window) ||
                        json_integer_value(window) < (json_int_t)c->max_position_embeddings;
    bool some =
        !json_is_integer(first) || json_integer_value(first) < (json_int_t)c->num_hidden_layers;
    if (!used || !short_window || !some || json_is_null(window) || json_is_array(types))
        return RB_OK;
    return rb_error_at(err, RB_ECONFIG, "use_sliding_window",
                       "%s: \"use_sliding_window\": expected false: sliding windows are not "
                       "supported",
                       label);
}

static enum rb_status parse(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err)
{
    enum rb_status s = rb_llama_describe(label, json, 1e-6, ret, err);
    if (s == RB_OK)
        s = refuse_window(label, json, ret, err);
    ret->attention_bias = true;
    return s;
}

const struct rb_family rb_family_qwen2 = RB_LLAMA_FAMILY("qwen2");
