#include "core/model/families/decoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const struct rb_head_shape rb_decoder_heads[] = {
    {.kind = RB_HEAD_CLASSIFIER, /* before the other: a tied model may store its unembedding too */
     .marker = RB_CLASSIFIER_WEIGHT,
     .dense = RB_SLOT_NONE,
     .norm = RB_SLOT_NONE,
     .output = RB_CLASSIFIER_WEIGHT,
     .stored_as = "score.weight",
     .last_token = true},
    {.kind = RB_HEAD_CAUSAL,
     .marker = RB_UNEMBEDDING_WEIGHT,
     .dense = RB_SLOT_NONE,
     .norm = RB_SLOT_NONE,
     .output = RB_UNEMBEDDING_WEIGHT,
     .stored_as = "lm_head.weight or embed_out.weight"},
    {.kind = RB_HEAD_NONE},
};

void rb_decoder_describe(struct rb_config *c)
{
    c->norm_place = RB_NORM_BEFORE;
    c->final_norm = true;
    c->attention.causal = true;
    c->attention_bias = c->attention_output_bias = c->mlp_bias = true;
}

/* ---- what is refused ---- */

static bool says_nothing(const json_t *v)
{
    return v == NULL || json_is_null(v) || json_is_false(v) ||
           (json_is_integer(v) && json_integer_value(v) == 0);
}

static enum rb_status refuse(const char *label, const json_t *json, struct rb_error *err)
{
    static const struct {
        const char *key, *what;
    } refused[] = {
        {"quantization_config", "quantized weights are not supported"},
        {"add_cross_attention", "cross attention is not supported"},
        {"is_encoder_decoder", "cross attention is not supported"},
        {"alibi", "ALiBi is not supported: learnt or rotary positions are"},
        {"use_alibi", "ALiBi is not supported: learnt or rotary positions are"},
        {"num_local_experts", "a mixture of experts is not supported"},
        {"num_experts", "a mixture of experts is not supported"},
        {"n_routed_experts", "a mixture of experts is not supported"},
        {"use_qk_norm", "norms of queries and keys are not part of this architecture"},
        {"attn_logit_softcapping", "capped logits are not supported"},
        {"final_logit_softcapping", "capped logits are not supported"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (!says_nothing(json_object_get(json, refused[i].key)))
            return rb_error_at(err, RB_ECONFIG, refused[i].key, "%s: \"%s\": %s", label,
                               refused[i].key, refused[i].what);
    const json_t *types = json_object_get(json, "layer_types"), *type;
    size_t i;
    json_array_foreach(types, i, type)
    {
        const char *name = json_string_value(type);
        if (name == NULL || strcmp(name, "full_attention") != 0)
            return rb_error_at(err, RB_ECONFIG, "layer_types",
                               "%s: \"layer_types\": expected \"full_attention\" in every layer: "
                               "sliding windows are not supported",
                               label);
    }
    return RB_OK;
}

/* ---- members ---- */

static enum rb_status read_size(const char *label, const json_t *json, const char *key,
                                uint32_t fallback, uint32_t *ret, struct rb_error *err)
{
    uint32_t size;
    enum rb_status s = rb_config_read_id(label, json, key, RB_SIZE_MAX, fallback, &size, err);
    if (s == RB_OK && size == 0)
        return rb_error_at(err, RB_ECONFIG, key,
                           "%s: \"%s\": expected an integer from 1 to %d, found 0", label, key,
                           RB_SIZE_MAX);
    if (s == RB_OK)
        *ret = size;
    return s;
}

static enum rb_status read_activation(const char *label, const json_t *json, const char *key,
                                      enum rb_activation fallback, enum rb_activation *ret,
                                      struct rb_error *err)
{
    static const struct {
        const char *name;
        enum rb_activation activation;
    } names[] = {
        {"gelu", RB_ACTIVATION_GELU},
        {"gelu_new", RB_ACTIVATION_GELU_TANH},
        {"gelu_pytorch_tanh", RB_ACTIVATION_GELU_TANH},
        {"gelu_fast", RB_ACTIVATION_GELU_TANH}, /* the same to its last digits */
        {"silu", RB_ACTIVATION_SILU},
        {"swish", RB_ACTIVATION_SILU},
        {"relu", RB_ACTIVATION_RELU},
        {"tanh", RB_ACTIVATION_TANH},
    };
    const json_t *v = json_object_get(json, key);
    const char *text = json_string_value(v);
    if (v == NULL) {
        *ret = fallback;
        return RB_OK;
    }
    for (size_t i = 0; text != NULL && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i].name) == 0) {
            *ret = names[i].activation;
            return RB_OK;
        }
    return rb_error_at(err, RB_ECONFIG, key,
                       "%s: \"%s\": expected gelu, gelu_new, silu, relu or tanh, found %.80s",
                       label, key, text != NULL ? text : "no string");
}

static enum rb_status read_heads(const char *label, const json_t *json, struct rb_config *c,
                                 struct rb_error *err)
{
    struct rb_attention *a = &c->attention;
    enum rb_status s = read_size(label, json, "num_key_value_heads", a->heads, &a->kv_heads, err);
    if (s != RB_OK)
        return s;
    if (a->heads % a->kv_heads != 0)
        return rb_error_at(err, RB_ECONFIG, "num_key_value_heads",
                           "%s: \"num_attention_heads\" %u is not divisible by "
                           "\"num_key_value_heads\" %u",
                           label, a->heads, a->kv_heads);
    const json_t *given = json_object_get(json, "head_dim");
    if ((given == NULL || json_is_null(given)) && c->hidden_size % a->heads != 0)
        return rb_error_at(err, RB_ECONFIG, "num_attention_heads",
                           "%s: \"hidden_size\" %u is not divisible by \"num_attention_heads\" %u, "
                           "and there is no \"head_dim\"",
                           label, c->hidden_size, a->heads);
    s = read_size(label, json, "head_dim", c->hidden_size / a->heads, &a->head_dim, err);
    if (s == RB_OK && (uint64_t)a->heads * a->head_dim > RB_SIZE_MAX)
        return rb_error_at(err, RB_ECONFIG, "head_dim",
                           "%s: \"head_dim\": %u heads of %u are wider than %d", label, a->heads,
                           a->head_dim, RB_SIZE_MAX);
    return s;
}

/* A token's id; none where it is absent, null, -1 or beyond the vocabulary: no text has such a one
 * (Llama's configs with a padding added by the tokenizer). */
static enum rb_status read_token(const char *label, const char *key, const json_t *v,
                                 uint32_t vocab_size, bool *ret_has, uint32_t *ret,
                                 struct rb_error *err)
{
    *ret_has = false;
    if (v == NULL || json_is_null(v))
        return RB_OK;
    if (!json_is_integer(v) || json_integer_value(v) < -1)
        return rb_error_at(err, RB_ECONFIG, key, "%s: \"%s\": expected a token's id, found %s",
                           label, key, json_is_integer(v) ? "one below 0" : "something else");
    json_int_t id = json_integer_value(v);
    *ret_has = id >= 0 && id < (json_int_t)vocab_size;
    *ret = *ret_has ? (uint32_t)id : 0;
    return RB_OK;
}

static enum rb_status read_tokens(const char *label, const json_t *json, struct rb_config *c,
                                  struct rb_error *err)
{
    const json_t *pad = json_object_get(json, "pad_token_id");
    const json_t *eos = json_object_get(json, "eos_token_id");
    if (json_is_array(eos))
        eos = json_array_get(eos, 0); /* Llama 3 has several; the first ends a text */
    enum rb_status s = read_token(label, "pad_token_id", pad, c->vocab_size, &c->has_padding_token,
                                  &c->padding_token, err);
    return s != RB_OK ? s
                      : read_token(label, "eos_token_id", eos, c->vocab_size, &c->has_eos_token,
                                   &c->eos_token, err);
}

/* ---- rotary positions ---- */

/* A number in (low, high]. */
static enum rb_status read_number(const char *label, const json_t *json, const char *key,
                                  double fallback, double low, double high, double *ret,
                                  struct rb_error *err)
{
    const json_t *v = json_object_get(json, key);
    double number = v == NULL || json_is_null(v) ? fallback : json_number_value(v);
    if ((v != NULL && !json_is_null(v) && !json_is_number(v)) || !(number > low && number <= high))
        return rb_error_at(err, RB_ECONFIG, key,
                           "%s: \"%s\": expected a number above %g up to %g, "
                           "found %s",
                           label, key, low, high,
                           v == NULL           ? "none"
                           : json_is_number(v) ? "one outside"
                                               : "something else");
    *ret = number;
    return RB_OK;
}

static enum rb_status read_llama3(const char *label, const json_t *scaling, struct rb_rope *r,
                                  struct rb_error *err)
{
    double original = 0;
    enum rb_status s = read_number(label, scaling, "factor", 0, 0, 1e6, &r->factor, err);
    if (s == RB_OK)
        s = read_number(label, scaling, "low_freq_factor", 0, 0, 1e6, &r->low_frequency_factor,
                        err);
    if (s == RB_OK)
        s = read_number(label, scaling, "high_freq_factor", 0, r->low_frequency_factor, 1e6,
                        &r->high_frequency_factor, err);
    if (s == RB_OK)
        s = read_number(label, scaling, "original_max_position_embeddings", 0, 0, RB_SIZE_MAX,
                        &original, err);
    if (s == RB_OK) {
        r->scaling = RB_ROPE_LLAMA3;
        r->original_positions = (uint32_t)original;
    }
    return s;
}

/* rope_scaling, or rope_parameters, which says the type in the same words. */
static enum rb_status read_scaling(const char *label, const char *key, const json_t *scaling,
                                   struct rb_rope *r, struct rb_error *err)
{
    if (scaling == NULL || json_is_null(scaling))
        return RB_OK;
    if (!json_is_object(scaling))
        return rb_error_at(err, RB_ECONFIG, key, "%s: \"%s\": expected an object or null", label,
                           key);
    const json_t *type = json_object_get(scaling, "rope_type");
    if (type == NULL)
        type = json_object_get(scaling, "type");
    const char *name = type == NULL ? "default" : json_string_value(type);
    if (name != NULL && strcmp(name, "default") == 0)
        return RB_OK;
    if (name != NULL && strcmp(name, "llama3") == 0)
        return read_llama3(label, scaling, r, err);
    return rb_error_at(err, RB_ECONFIG, key,
                       "%s: \"%s\": expected rope_type default or llama3, found %.80s", label, key,
                       name != NULL ? name : "no string");
}

static enum rb_status read_rope(const char *label, const json_t *json,
                                const struct rb_decoder_rope_keys *keys, struct rb_config *c,
                                struct rb_error *err)
{
    struct rb_rope *r = &c->attention.rope;
    const json_t *newer = json_object_get(json, "rope_parameters");
    double part = keys->part_default;
    enum rb_status s =
        read_number(label, json, "rope_theta", keys->theta_default, 0, 1e12, &r->theta, err);
    if (s == RB_OK)
        s = read_number(label, json, keys->theta, r->theta, 0, 1e12, &r->theta, err);
    if (s == RB_OK && keys->part != NULL)
        s = read_number(label, json, keys->part, part, 0, 1, &part, err);
    if (s == RB_OK)
        s = read_scaling(label, "rope_scaling", json_object_get(json, "rope_scaling"), r, err);
    if (s == RB_OK)
        s = read_scaling(label, "rope_parameters", newer, r, err);
    if (s == RB_OK && json_is_object(newer))
        s = read_number(label, newer, "rope_theta", r->theta, 0, 1e12, &r->theta, err);
    const json_t *places[] = {json, newer};
    for (size_t i = 0; i < 2 && s == RB_OK; i++)
        s = read_number(label, places[i], "partial_rotary_factor", part, 0, 1, &part, err);
    if (s != RB_OK)
        return s;
    if (keys->part == NULL && part < 1)
        return rb_error_at(err, RB_ECONFIG, "partial_rotary_factor",
                           "%s: \"partial_rotary_factor\": expected 1, found %g: heads of this "
                           "architecture turn whole",
                           label, part);
    r->dims = (uint32_t)(part * c->attention.head_dim);
    if (r->dims < 2 || r->dims % 2 != 0)
        return rb_error_at(err, RB_ECONFIG, keys->part != NULL ? keys->part : "head_dim",
                           "%s: \"%s\": %u of %u entries of a head turn: expected an even number, "
                           "at least 2",
                           label, keys->part != NULL ? keys->part : "head_dim", r->dims,
                           c->attention.head_dim);
    c->positions = RB_POSITIONS_ROTARY;
    return RB_OK;
}

/* ---- all of it ---- */

enum rb_status rb_decoder_read(const char *label, const json_t *json,
                               const struct rb_decoder_spelling *spelling, struct rb_config *c,
                               struct rb_error *err)
{
    enum rb_status s = refuse(label, json, err);
    if (s == RB_OK)
        s = rb_config_read_shape(label, json, &spelling->shape, c, err);
    if (s == RB_OK)
        s = spelling->grouped ? read_heads(label, json, c, err)
                              : rb_config_set_heads(label, &spelling->shape, c, err);
    if (s == RB_OK && spelling->rope != NULL)
        s = read_rope(label, json, spelling->rope, c, err);
    else if (s == RB_OK)
        c->positions = RB_POSITIONS_INDEX;
    if (s == RB_OK)
        s = rb_config_read_labels(label, json, &c->num_labels, err);
    if (s == RB_OK)
        s = read_tokens(label, json, c, err);
    if (s == RB_OK)
        s = rb_config_read_epsilon(label, json, spelling->epsilon, spelling->epsilon_default,
                                   &c->norm_eps, err);
    if (s == RB_OK)
        s = read_activation(label, json, spelling->activation, spelling->activation_default,
                            &c->mlp.activation, err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "tie_word_embeddings", spelling->tied,
                                &c->tie_word_embeddings, err);
    return s;
}
