#include "core/model/config.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char *type_name(const json_t *v)
{
    static const char *const names[] = {"an object",     "an array", "a string", "an integer",
                                        "a real number", "true",     "false",    "null"};
    return v == NULL ? "nothing" : names[json_typeof(v)];
}

/* A string in quotes, else the name of its type. */
static const char *found_text(const json_t *v, char *buffer, size_t size)
{
    if (!json_is_string(v))
        return type_name(v);
    (void)snprintf(buffer, size, "\"%s\"", json_string_value(v));
    return buffer;
}

/* "bert", "electra" or "roberta": what a model_type may be. */
static const char *expected_types(char *buffer, size_t size)
{
    const struct rb_family *const *f = rb_families();
    size_t n = 0;
    for (size_t i = 0; f[i] != NULL && n < size; i++)
        n += (size_t)snprintf(buffer + n, size - n, "%s\"%s\"",
                              i == 0             ? ""
                              : f[i + 1] == NULL ? " or "
                                                 : ", ",
                              f[i]->model_type);
    return buffer;
}

enum rb_status rb_config_parse(const char *label, const json_t *json,
                               const struct rb_family **ret_family, struct rb_config *ret,
                               struct rb_error *err)
{
    const json_t *type = json_object_get(json, "model_type");
    const struct rb_family *f =
        json_is_string(type) ? rb_family_find(json_string_value(type)) : NULL;
    char expected[256], found[256];
    if (f == NULL)
        return rb_error_at(
            err, RB_ECONFIG, "model_type", "%s: \"model_type\": expected %s, found %s", label,
            expected_types(expected, sizeof expected), found_text(type, found, sizeof found));
    struct rb_config c = {.tie_word_embeddings = true};
    enum rb_status s = f->parse(label, json, &c, err);
    if (s != RB_OK)
        return s;
    rb_config_read_class(json, &c);
    *ret_family = f;
    *ret = c;
    return RB_OK;
}

uint64_t rb_config_dim(const struct rb_config *c, enum rb_dim dim)
{
    switch (dim) {
    case RB_DIM_NONE:
    case RB_DIM_ONE:
        return 1;
    case RB_DIM_VOCAB:
        return c->vocab_size;
    case RB_DIM_POSITIONS:
        return c->max_position_embeddings;
    case RB_DIM_TYPES:
        return c->type_vocab_size;
    case RB_DIM_HIDDEN:
        return c->hidden_size;
    case RB_DIM_EMBEDDING:
        return c->embedding_size;
    case RB_DIM_QUERY:
        return (uint64_t)c->attention.heads * c->attention.head_dim;
    case RB_DIM_KEY:
        return (uint64_t)c->attention.kv_heads * c->attention.head_dim;
    case RB_DIM_INNER:
        return c->mlp.inner_size;
    case RB_DIM_LABELS:
        return c->num_labels;
    case RB_DIM_TWO:
        return 2;
    }
    return 0;
}

/* ---- equality ---- */

enum kind { KIND_SIZE, KIND_FLAG, KIND_FLAG_NOT, KIND_FLOAT, KIND_DOUBLE, KIND_ACTIVATION };

/* In the order in which differences are told. */
static const struct member {
    const char *name;
    size_t offset;
    enum kind kind;
} members[] = {
#define MEMBER(name, member, kind)                                                                 \
    {                                                                                              \
        name, offsetof(struct rb_config, member), kind                                             \
    }
    MEMBER("vocab_size", vocab_size, KIND_SIZE),
    MEMBER("hidden_size", hidden_size, KIND_SIZE),
    MEMBER("embedding_size", embedding_size, KIND_SIZE),
    MEMBER("num_hidden_layers", num_hidden_layers, KIND_SIZE),
    MEMBER("num_attention_heads", attention.heads, KIND_SIZE),
    MEMBER("num_key_value_heads", attention.kv_heads, KIND_SIZE),
    MEMBER("head_dim", attention.head_dim, KIND_SIZE),
    MEMBER("intermediate_size", mlp.inner_size, KIND_SIZE),
    MEMBER("max_position_embeddings", max_position_embeddings, KIND_SIZE),
    MEMBER("type_vocab_size", type_vocab_size, KIND_SIZE),
    MEMBER("pad_token_id", padding_id, KIND_SIZE),
    MEMBER("num_labels", num_labels, KIND_SIZE),
    MEMBER("layer_norm_eps", norm_eps, KIND_FLOAT),
    MEMBER("hidden_act", mlp.activation, KIND_ACTIVATION),
    MEMBER("use_parallel_residual", parallel_residual, KIND_FLAG),
    MEMBER("scale_attn_weights", attention.unscaled, KIND_FLAG_NOT),
    MEMBER("scale_attn_by_inverse_layer_idx", attention.scale_by_layer, KIND_FLAG),
    MEMBER("rotary_dims", attention.rope.dims, KIND_SIZE),
    MEMBER("rope_theta", attention.rope.theta, KIND_DOUBLE),
    MEMBER("rope_scaling", attention.rope.scaling, KIND_SIZE),
    MEMBER("rope_scaling.factor", attention.rope.factor, KIND_DOUBLE),
    MEMBER("rope_scaling.low_freq_factor", attention.rope.low_frequency_factor, KIND_DOUBLE),
    MEMBER("rope_scaling.high_freq_factor", attention.rope.high_frequency_factor, KIND_DOUBLE),
    MEMBER("rope_scaling.original_max_position_embeddings", attention.rope.original_positions,
           KIND_SIZE),
    MEMBER("attention_bias", attention_bias, KIND_FLAG),
    MEMBER("mlp_bias", mlp_bias, KIND_FLAG),
#undef MEMBER
};

static const char *const activation_names[] = {"none", "gelu", "gelu_new", "silu", "relu", "tanh"};

static const void *at(const struct rb_config *c, const struct member *m)
{
    return (const char *)c + m->offset;
}

static void value_text(const struct rb_config *c, const struct member *m, char *ret, size_t size)
{
    const void *p = at(c, m);
    switch (m->kind) {
    case KIND_SIZE:
        (void)snprintf(ret, size, "%u", *(const uint32_t *)p);
        break;
    case KIND_FLAG:
        (void)snprintf(ret, size, "%s", *(const bool *)p ? "true" : "false");
        break;
    case KIND_FLAG_NOT:
        (void)snprintf(ret, size, "%s", *(const bool *)p ? "false" : "true");
        break;
    case KIND_FLOAT:
        (void)snprintf(ret, size, "%g", (double)*(const float *)p);
        break;
    case KIND_DOUBLE:
        (void)snprintf(ret, size, "%g", *(const double *)p);
        break;
    case KIND_ACTIVATION:
        (void)snprintf(ret, size, "%s", activation_names[*(const enum rb_activation *)p]);
        break;
    }
}

static bool same(const struct rb_config *a, const struct rb_config *b, const struct member *m)
{
    static const size_t bytes[] = {
        [KIND_SIZE] = sizeof(uint32_t), [KIND_FLAG] = sizeof(bool),
        [KIND_FLAG_NOT] = sizeof(bool), [KIND_FLOAT] = sizeof(float),
        [KIND_DOUBLE] = sizeof(double), [KIND_ACTIVATION] = sizeof(enum rb_activation),
    };
    return memcmp(at(a, m), at(b, m), bytes[m->kind]) == 0;
}

static const char *key_of(const struct rb_config_key *keys, const char *member)
{
    for (size_t i = 0; keys != NULL && keys[i].member != NULL; i++)
        if (strcmp(keys[i].member, member) == 0)
            return keys[i].key;
    return member;
}

enum rb_status rb_configs_equal(const struct rb_family *f, const struct rb_config *a,
                                const struct rb_config *b, bool labels, struct rb_error *err)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const struct member *m = &members[i];
        if (same(a, b, m) || (!labels && m->offset == offsetof(struct rb_config, num_labels)))
            continue;
        char in_a[32], in_b[32];
        const char *key = key_of(f->keys, m->name);
        value_text(a, m, in_a, sizeof in_a);
        value_text(b, m, in_b, sizeof in_b);
        return rb_error_at(err, RB_EMODELS, key, "%s: %s in a, %s in b", key, in_a, in_b);
    }
    return RB_OK;
}

/* ---- for families ---- */

static enum rb_status read_size(const char *label, const json_t *json,
                                const struct rb_config_size *row, uint32_t *ret,
                                struct rb_error *err)
{
    const json_t *v = json_object_get(json, row->key);
    if (v == NULL && row->fallback > 0) {
        *ret = row->fallback;
        return RB_OK;
    }
    if (!json_is_integer(v))
        return rb_error_at(err, RB_ECONFIG, row->key,
                           "%s: \"%s\": expected an integer from 1 to %u, "
                           "found %s",
                           label, row->key, row->most, type_name(v));
    json_int_t n = json_integer_value(v);
    if (n < 1 || n > (json_int_t)row->most)
        return rb_error_at(err, RB_ECONFIG, row->key,
                           "%s: \"%s\": expected an integer from 1 to %u, "
                           "found %" JSON_INTEGER_FORMAT,
                           label, row->key, row->most, n);
    *ret = (uint32_t)n;
    return RB_OK;
}

enum rb_status rb_config_read_sizes(const char *label, const json_t *json,
                                    const struct rb_config_size *rows, size_t count,
                                    struct rb_config *ret, struct rb_error *err)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t *target = (uint32_t *)(void *)((char *)ret + rows[i].offset);
        enum rb_status s = read_size(label, json, &rows[i], target, err);
        if (s != RB_OK)
            return s;
    }
    return RB_OK;
}

enum rb_status rb_config_read_shape(const char *label, const json_t *json,
                                    const struct rb_config_shape *shape, struct rb_config *ret,
                                    struct rb_error *err)
{
    const struct rb_config_size sizes[] = {
        {"vocab_size", RB_SIZE_MAX, 0, offsetof(struct rb_config, vocab_size)},
        {"hidden_size", RB_SIZE_MAX, 0, offsetof(struct rb_config, hidden_size)},
        {"num_hidden_layers", RB_LAYERS_MAX, 0, offsetof(struct rb_config, num_hidden_layers)},
        {"num_attention_heads", RB_SIZE_MAX, 0, offsetof(struct rb_config, attention.heads)},
        {"intermediate_size", RB_SIZE_MAX, 0, offsetof(struct rb_config, mlp.inner_size)},
        {"max_position_embeddings", RB_SIZE_MAX, shape->positions,
         offsetof(struct rb_config, max_position_embeddings)},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct rb_config_size size = sizes[i];
        size.key = key_of(shape->keys, size.key);
        bool inner = size.offset == offsetof(struct rb_config, mlp.inner_size);
        const json_t *v = json_object_get(json, size.key);
        enum rb_status s = RB_OK;
        if (inner && shape->inner > 0 && (v == NULL || json_is_null(v)))
            ret->mlp.inner_size = ret->hidden_size <= RB_SIZE_MAX / shape->inner
                                      ? shape->inner * ret->hidden_size
                                      : RB_SIZE_MAX;
        else
            s = rb_config_read_sizes(label, json, &size, 1, ret, err);
        if (s != RB_OK)
            return s;
    }
    ret->embedding_size = ret->hidden_size;
    ret->max_length = ret->max_position_embeddings;
    return RB_OK;
}

enum rb_status rb_config_require_text(const char *label, const json_t *json, const char *key,
                                      const char *expected, struct rb_error *err)
{
    const json_t *v = json_object_get(json, key);
    char found[256];
    if (v == NULL || (json_is_string(v) && strcmp(json_string_value(v), expected) == 0))
        return RB_OK;
    return rb_error_at(err, RB_ECONFIG, key, "%s: \"%s\": expected \"%s\", found %s", label, key,
                       expected, found_text(v, found, sizeof found));
}

enum rb_status rb_config_read_flag(const char *label, const json_t *json, const char *key,
                                   bool fallback, bool *ret, struct rb_error *err)
{
    const json_t *v = json_object_get(json, key);
    if (v != NULL && !json_is_boolean(v))
        return rb_error_at(err, RB_ECONFIG, key, "%s: \"%s\": expected true or false, found %s",
                           label, key, type_name(v));
    *ret = v == NULL ? fallback : json_is_true(v);
    return RB_OK;
}

enum rb_status rb_config_require_flag(const char *label, const json_t *json, const char *key,
                                      bool expected, const char *why, struct rb_error *err)
{
    const json_t *v = json_object_get(json, key);
    if (!json_is_boolean(v) || json_is_true(v) == expected)
        return RB_OK;
    return rb_error_at(err, RB_ECONFIG, key, "%s: \"%s\": expected %s%s, found %s", label, key,
                       expected ? "true" : "false", why, expected ? "false" : "true");
}

enum rb_status rb_config_read_epsilon(const char *label, const json_t *json, const char *key,
                                      double fallback, float *ret, struct rb_error *err)
{
    const json_t *v = json_object_get(json, key);
    double eps = v == NULL ? fallback : json_number_value(v);
    if ((v != NULL && !json_is_number(v)) || !(eps >= 0 && eps <= 1))
        return rb_error_at(err, RB_ECONFIG, key,
                           "%s: \"%s\": expected a number from 0 to 1, found %s", label, key,
                           json_is_number(v) ? "one outside" : type_name(v));
    *ret = (float)eps;
    return RB_OK;
}

enum rb_status rb_config_read_id(const char *label, const json_t *json, const char *key,
                                 uint32_t most, uint32_t fallback, uint32_t *ret,
                                 struct rb_error *err)
{
    const json_t *v = json_object_get(json, key);
    if (v == NULL || json_is_null(v)) {
        *ret = fallback;
        return RB_OK;
    }
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 0 || n > (json_int_t)most)
        return rb_error_at(err, RB_ECONFIG, key,
                           "%s: \"%s\": expected an integer from 0 to %u, found %s", label, key,
                           most, json_is_integer(v) ? "one outside" : type_name(v));
    *ret = (uint32_t)n;
    return RB_OK;
}

enum rb_status rb_config_read_labels(const char *label, const json_t *json, uint32_t *ret,
                                     struct rb_error *err)
{
    const json_t *names = json_object_get(json, "id2label");
    struct rb_config_size row = {"num_labels", RB_CLASSES_MAX, 2, 0};
    if (names != NULL) {
        if (!json_is_object(names))
            return rb_error_at(err, RB_ECONFIG, "id2label",
                               "%s: \"id2label\": expected an object, found %s", label,
                               type_name(names));
        if (json_object_size(names) > 0 && json_object_size(names) <= RB_CLASSES_MAX)
            row.fallback = (uint32_t)json_object_size(names);
    }
    return read_size(label, json, &row, ret, err);
}

enum rb_status rb_config_set_heads(const char *label, const struct rb_config_shape *shape,
                                   struct rb_config *c, struct rb_error *err)
{
    const char *width_key = key_of(shape->keys, "hidden_size");
    const char *heads_key = key_of(shape->keys, "num_attention_heads");
    if (c->hidden_size % c->attention.heads != 0)
        return rb_error_at(err, RB_ECONFIG, heads_key,
                           "%s: \"%s\" %u is not divisible by \"%s\" %u", label, width_key,
                           c->hidden_size, heads_key, c->attention.heads);
    c->attention.kv_heads = c->attention.heads;
    c->attention.head_dim = c->hidden_size / c->attention.heads;
    return RB_OK;
}

void rb_config_read_class(const json_t *json, struct rb_config *ret)
{
    const char *name = json_string_value(json_array_get(json_object_get(json, "architectures"), 0));
    if (name != NULL && strlen(name) < sizeof ret->class_name)
        memcpy(ret->class_name, name, strlen(name) + 1);
}
