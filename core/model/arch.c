#include "core/model/arch.h"

#include <math.h>
#include <string.h>

#define LAYER "encoder.layer.%u."

/* METHOD 5, as a table. Vectors have one axis, the rows. The decoder's columns are the transform's
 * output; while it is tied, both follow residual.0, which keeps the tie. */
static const struct rb_tensor_row bert_rows[RB_ROLE_COUNT] = {
#define ROW(role, name, alias, rows, columns, row_axis, column_axis, per_layer, outside, need)     \
    [role] = {role, name, alias, rows, columns, row_axis, column_axis, per_layer, outside, need}
#define ONCE(role, name, rows, columns, row_axis, column_axis)                                     \
    ROW(role, name, NULL, rows, columns, row_axis, column_axis, false, false, RB_ALWAYS)
#define EACH(role, name, rows, columns, row_axis, column_axis)                                     \
    ROW(role, LAYER name, NULL, rows, columns, row_axis, column_axis, true, false, RB_ALWAYS)
#define NORM(role, name, alias, axis, per_layer, outside, need)                                    \
    ROW(role, name, alias, RB_DIM_HIDDEN, RB_DIM_NONE, axis, RB_AXIS_FIXED, per_layer, outside,    \
        need)
    ONCE(RB_WORD_EMBEDDINGS, "embeddings.word_embeddings.weight", RB_DIM_VOCAB, RB_DIM_HIDDEN,
         RB_AXIS_FIXED, RB_AXIS_RES_FIRST),
    ONCE(RB_POSITION_EMBEDDINGS, "embeddings.position_embeddings.weight", RB_DIM_POSITIONS,
         RB_DIM_HIDDEN, RB_AXIS_FIXED, RB_AXIS_RES_FIRST),
    ONCE(RB_TYPE_EMBEDDINGS, "embeddings.token_type_embeddings.weight", RB_DIM_TYPES, RB_DIM_HIDDEN,
         RB_AXIS_FIXED, RB_AXIS_RES_FIRST),
    NORM(RB_EMBEDDINGS_LN_WEIGHT, "embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma",
         RB_AXIS_RES_FIRST, false, false, RB_ALWAYS),
    NORM(RB_EMBEDDINGS_LN_BIAS, "embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta",
         RB_AXIS_RES_FIRST, false, false, RB_ALWAYS),
    EACH(RB_QUERY_WEIGHT, "attention.self.query.weight", RB_DIM_HIDDEN, RB_DIM_HIDDEN, RB_AXIS_QK,
         RB_AXIS_RES_IN),
    EACH(RB_QUERY_BIAS, "attention.self.query.bias", RB_DIM_HIDDEN, RB_DIM_NONE, RB_AXIS_QK,
         RB_AXIS_FIXED),
    EACH(RB_KEY_WEIGHT, "attention.self.key.weight", RB_DIM_HIDDEN, RB_DIM_HIDDEN, RB_AXIS_QK,
         RB_AXIS_RES_IN),
    EACH(RB_KEY_BIAS, "attention.self.key.bias", RB_DIM_HIDDEN, RB_DIM_NONE, RB_AXIS_QK,
         RB_AXIS_FIXED),
    EACH(RB_VALUE_WEIGHT, "attention.self.value.weight", RB_DIM_HIDDEN, RB_DIM_HIDDEN, RB_AXIS_MHA,
         RB_AXIS_RES_IN),
    EACH(RB_VALUE_BIAS, "attention.self.value.bias", RB_DIM_HIDDEN, RB_DIM_NONE, RB_AXIS_MHA,
         RB_AXIS_FIXED),
    EACH(RB_ATTENTION_OUTPUT_WEIGHT, "attention.output.dense.weight", RB_DIM_HIDDEN, RB_DIM_HIDDEN,
         RB_AXIS_RES_MID, RB_AXIS_MHA),
    EACH(RB_ATTENTION_OUTPUT_BIAS, "attention.output.dense.bias", RB_DIM_HIDDEN, RB_DIM_NONE,
         RB_AXIS_RES_MID, RB_AXIS_FIXED),
    NORM(RB_ATTENTION_LN_WEIGHT, LAYER "attention.output.LayerNorm.weight",
         LAYER "attention.output.LayerNorm.gamma", RB_AXIS_RES_MID, true, false, RB_ALWAYS),
    NORM(RB_ATTENTION_LN_BIAS, LAYER "attention.output.LayerNorm.bias",
         LAYER "attention.output.LayerNorm.beta", RB_AXIS_RES_MID, true, false, RB_ALWAYS),
    EACH(RB_INTERMEDIATE_WEIGHT, "intermediate.dense.weight", RB_DIM_INTERMEDIATE, RB_DIM_HIDDEN,
         RB_AXIS_FF, RB_AXIS_RES_MID),
    EACH(RB_INTERMEDIATE_BIAS, "intermediate.dense.bias", RB_DIM_INTERMEDIATE, RB_DIM_NONE,
         RB_AXIS_FF, RB_AXIS_FIXED),
    EACH(RB_OUTPUT_WEIGHT, "output.dense.weight", RB_DIM_HIDDEN, RB_DIM_INTERMEDIATE,
         RB_AXIS_RES_OUT, RB_AXIS_FF),
    EACH(RB_OUTPUT_BIAS, "output.dense.bias", RB_DIM_HIDDEN, RB_DIM_NONE, RB_AXIS_RES_OUT,
         RB_AXIS_FIXED),
    NORM(RB_OUTPUT_LN_WEIGHT, LAYER "output.LayerNorm.weight", LAYER "output.LayerNorm.gamma",
         RB_AXIS_RES_OUT, true, false, RB_ALWAYS),
    NORM(RB_OUTPUT_LN_BIAS, LAYER "output.LayerNorm.bias", LAYER "output.LayerNorm.beta",
         RB_AXIS_RES_OUT, true, false, RB_ALWAYS),
    ROW(RB_POOLER_WEIGHT, "pooler.dense.weight", NULL, RB_DIM_HIDDEN, RB_DIM_HIDDEN, RB_AXIS_POOLER,
        RB_AXIS_RES_LAST, false, false, RB_WITH_CLASSIFIER),
    ROW(RB_POOLER_BIAS, "pooler.dense.bias", NULL, RB_DIM_HIDDEN, RB_DIM_NONE, RB_AXIS_POOLER,
        RB_AXIS_FIXED, false, false, RB_WITH_CLASSIFIER),
    ROW(RB_TRANSFORM_WEIGHT, "cls.predictions.transform.dense.weight", NULL, RB_DIM_HIDDEN,
        RB_DIM_HIDDEN, RB_AXIS_TRANSFORM, RB_AXIS_RES_LAST, false, true, RB_WITH_MLM),
    ROW(RB_TRANSFORM_BIAS, "cls.predictions.transform.dense.bias", NULL, RB_DIM_HIDDEN, RB_DIM_NONE,
        RB_AXIS_TRANSFORM, RB_AXIS_FIXED, false, true, RB_WITH_MLM),
    NORM(RB_TRANSFORM_LN_WEIGHT, "cls.predictions.transform.LayerNorm.weight",
         "cls.predictions.transform.LayerNorm.gamma", RB_AXIS_TRANSFORM, false, true, RB_WITH_MLM),
    NORM(RB_TRANSFORM_LN_BIAS, "cls.predictions.transform.LayerNorm.bias",
         "cls.predictions.transform.LayerNorm.beta", RB_AXIS_TRANSFORM, false, true, RB_WITH_MLM),
    ROW(RB_DECODER_WEIGHT, "cls.predictions.decoder.weight", NULL, RB_DIM_VOCAB, RB_DIM_HIDDEN,
        RB_AXIS_FIXED, RB_AXIS_TRANSFORM, false, true, RB_WITH_MLM),
    ROW(RB_DECODER_BIAS, "cls.predictions.bias", "cls.predictions.decoder.bias", RB_DIM_VOCAB,
        RB_DIM_NONE, RB_AXIS_FIXED, RB_AXIS_FIXED, false, true, RB_WITH_MLM),
    ROW(RB_CLASSIFIER_WEIGHT, "classifier.weight", NULL, RB_DIM_LABELS, RB_DIM_HIDDEN,
        RB_AXIS_FIXED, RB_AXIS_POOLER, false, true, RB_WITH_CLASSIFIER),
    ROW(RB_CLASSIFIER_BIAS, "classifier.bias", NULL, RB_DIM_LABELS, RB_DIM_NONE, RB_AXIS_FIXED,
        RB_AXIS_FIXED, false, true, RB_WITH_CLASSIFIER),
    ROW(RB_NEXT_SENTENCE_WEIGHT, "cls.seq_relationship.weight", NULL, RB_DIM_TWO, RB_DIM_HIDDEN,
        RB_AXIS_FIXED, RB_AXIS_POOLER, false, true, RB_IF_PRESENT),
    ROW(RB_NEXT_SENTENCE_BIAS, "cls.seq_relationship.bias", NULL, RB_DIM_TWO, RB_DIM_NONE,
        RB_AXIS_FIXED, RB_AXIS_FIXED, false, true, RB_IF_PRESENT),
#undef ROW
#undef ONCE
#undef EACH
#undef NORM
};

static const char *const bert_ignored[] = {"embeddings.position_ids", "embeddings.token_type_ids",
                                           NULL};

static const struct rb_architecture bert = {
    .model_type = "bert",
    .prefix = "bert.",
    .rows = bert_rows,
    .row_count = RB_ROLE_COUNT,
    .ignored = bert_ignored,
};

static const struct rb_architecture *const architectures[] = {&bert, NULL};

const struct rb_architecture *const *rb_architectures(void)
{
    return architectures;
}

const struct rb_architecture *rb_architecture_find(const char *model_type)
{
    for (size_t i = 0; architectures[i] != NULL; i++)
        if (strcmp(architectures[i]->model_type, model_type) == 0)
            return architectures[i];
    return NULL;
}

/* ---- config.json ---- */

enum { MAX_LAYERS = 1024, MAX_SIZE = 1 << 24 };

static const char *type_name(const json_t *v)
{
    static const char *const names[] = {"an object",     "an array", "a string", "an integer",
                                        "a real number", "true",     "false",    "null"};
    return v == NULL ? "nothing" : names[json_typeof(v)];
}

static enum rb_status read_size(const char *label, const json_t *json, const char *key,
                                uint32_t most, uint32_t fallback, uint32_t *ret,
                                struct rb_error *err)
{
    const json_t *v = json_object_get(json, key);
    if (v == NULL && fallback > 0) {
        *ret = fallback;
        return RB_OK;
    }
    if (!json_is_integer(v))
        return rb_error_at(err, RB_ECONFIG, key,
                           "%s: \"%s\": expected an integer from 1 to %u, "
                           "found %s",
                           label, key, most, type_name(v));
    json_int_t n = json_integer_value(v);
    if (n < 1 || n > (json_int_t)most)
        return rb_error_at(err, RB_ECONFIG, key,
                           "%s: \"%s\": expected an integer from 1 to %u, "
                           "found %" JSON_INTEGER_FORMAT,
                           label, key, most, n);
    *ret = (uint32_t)n;
    return RB_OK;
}

/* A member that, if present, must hold the one value that the forward pass implements. */
static enum rb_status require_text(const char *label, const json_t *json, const char *key,
                                   const char *expected, struct rb_error *err)
{
    const json_t *v = json_object_get(json, key);
    if (v == NULL || (json_is_string(v) && strcmp(json_string_value(v), expected) == 0))
        return RB_OK;
    return rb_error_at(err, RB_ECONFIG, key, "%s: \"%s\": expected \"%s\", found %s%s%s", label,
                       key, expected, json_is_string(v) ? "\"" : "",
                       json_is_string(v) ? json_string_value(v) : type_name(v),
                       json_is_string(v) ? "\"" : "");
}

static enum rb_status read_labels(const char *label, const json_t *json, uint32_t *ret,
                                  struct rb_error *err)
{
    const json_t *names = json_object_get(json, "id2label");
    uint32_t fallback = 2;
    if (names != NULL) {
        if (!json_is_object(names))
            return rb_error_at(err, RB_ECONFIG, "id2label",
                               "%s: \"id2label\": expected an object, found %s", label,
                               type_name(names));
        if (json_object_size(names) > 0 && json_object_size(names) <= 65536)
            fallback = (uint32_t)json_object_size(names);
    }
    return read_size(label, json, "num_labels", 65536, fallback, ret, err);
}

static enum rb_status read_epsilon(const char *label, const json_t *json, float *ret,
                                   struct rb_error *err)
{
    const json_t *v = json_object_get(json, "layer_norm_eps");
    double eps = v == NULL ? 1e-12 : json_number_value(v);
    if ((v != NULL && !json_is_number(v)) || !(eps >= 0 && eps <= 1))
        return rb_error_at(err, RB_ECONFIG, "layer_norm_eps",
                           "%s: \"layer_norm_eps\": expected a number from 0 to 1, found %s", label,
                           json_is_number(v) ? "one outside" : type_name(v));
    *ret = (float)eps;
    return RB_OK;
}

enum rb_status rb_config_parse(const char *label, const json_t *json,
                               const struct rb_architecture **ret_arch, struct rb_config *ret,
                               struct rb_error *err)
{
    const char *type = json_string_value(json_object_get(json, "model_type"));
    const struct rb_architecture *arch = type != NULL ? rb_architecture_find(type) : NULL;
    if (arch == NULL)
        return rb_error_at(err, RB_ECONFIG, "model_type",
                           "%s: \"model_type\": expected \"bert\", found %s%s%s", label,
                           type != NULL ? "\"" : "",
                           type != NULL ? type : type_name(json_object_get(json, "model_type")),
                           type != NULL ? "\"" : "");
    struct rb_config c = {.tie_word_embeddings = true};
    const struct {
        const char *key;
        uint32_t most, fallback;
        uint32_t *target;
    } sizes[] = {
        {"vocab_size", MAX_SIZE, 0, &c.vocab_size},
        {"hidden_size", MAX_SIZE, 0, &c.hidden_size},
        {"num_hidden_layers", MAX_LAYERS, 0, &c.num_hidden_layers},
        {"num_attention_heads", MAX_SIZE, 0, &c.num_attention_heads},
        {"intermediate_size", MAX_SIZE, 0, &c.intermediate_size},
        {"max_position_embeddings", MAX_SIZE, 512, &c.max_position_embeddings},
        {"type_vocab_size", 256, 2, &c.type_vocab_size},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        enum rb_status s = read_size(label, json, sizes[i].key, sizes[i].most, sizes[i].fallback,
                                     sizes[i].target, err);
        if (s != RB_OK)
            return s;
    }
    if (c.hidden_size % c.num_attention_heads != 0)
        return rb_error_at(err, RB_ECONFIG, "num_attention_heads",
                           "%s: \"hidden_size\" %u is not divisible by \"num_attention_heads\" %u",
                           label, c.hidden_size, c.num_attention_heads);
    enum rb_status s = read_labels(label, json, &c.num_labels, err);
    if (s == RB_OK)
        s = read_epsilon(label, json, &c.layer_norm_eps, err);
    if (s == RB_OK)
        s = require_text(label, json, "hidden_act", "gelu", err);
    if (s == RB_OK)
        s = require_text(label, json, "position_embedding_type", "absolute", err);
    if (s != RB_OK)
        return s;
    if (json_is_true(json_object_get(json, "is_decoder")))
        return rb_error_at(
            err, RB_ECONFIG, "is_decoder",
            "%s: \"is_decoder\": expected false (attention to both sides), found true", label);
    const json_t *tie = json_object_get(json, "tie_word_embeddings");
    if (tie != NULL && !json_is_boolean(tie))
        return rb_error_at(err, RB_ECONFIG, "tie_word_embeddings",
                           "%s: \"tie_word_embeddings\": expected true or false, found %s", label,
                           type_name(tie));
    c.tie_word_embeddings = tie == NULL || json_is_true(tie);
    const char *name = json_string_value(json_array_get(json_object_get(json, "architectures"), 0));
    if (name != NULL && strlen(name) < sizeof c.class_name)
        memcpy(c.class_name, name, strlen(name) + 1);
    *ret_arch = arch;
    *ret = c;
    return RB_OK;
}

uint64_t rb_config_dim(const struct rb_config *c, enum rb_dim dim)
{
    switch (dim) {
    case RB_DIM_NONE:
        return 1;
    case RB_DIM_VOCAB:
        return c->vocab_size;
    case RB_DIM_POSITIONS:
        return c->max_position_embeddings;
    case RB_DIM_TYPES:
        return c->type_vocab_size;
    case RB_DIM_HIDDEN:
        return c->hidden_size;
    case RB_DIM_INTERMEDIATE:
        return c->intermediate_size;
    case RB_DIM_LABELS:
        return c->num_labels;
    case RB_DIM_TWO:
        return 2;
    }
    return 0;
}
