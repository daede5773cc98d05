#include "core/model/families/bert.h"
#include "core/model/config.h"
#include "core/model/families/rows.h"

#include <stddef.h>

#define LAYER "encoder.layer.%u."

/* METHOD 5, as a table. Vectors have one axis, the rows. The decoder's columns are the transform's
 * output; while it is tied, both follow residual.0, which keeps the tie. */
static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    RB_BERT_EMBEDDING_ROWS(HIDDEN, RES_FIRST),
    RB_BERT_LAYER_ROWS(LAYER),
    [RB_POOLER_WEIGHT] = RB_HEAD_MATRIX("pooler.dense.weight", HIDDEN, HIDDEN, POOLER, RES_LAST,
                                        RB_WITH_CLASSIFIER, false),
    [RB_POOLER_BIAS] =
        RB_HEAD_VECTOR("pooler.dense.bias", NULL, HIDDEN, POOLER, RB_WITH_CLASSIFIER, false),
    [RB_TRANSFORM_WEIGHT] = RB_HEAD_MATRIX("cls.predictions.transform.dense.weight", HIDDEN, HIDDEN,
                                           TRANSFORM, RES_LAST, RB_WITH_MLM, true),
    [RB_TRANSFORM_BIAS] = RB_HEAD_VECTOR("cls.predictions.transform.dense.bias", NULL, HIDDEN,
                                         TRANSFORM, RB_WITH_MLM, true),
    [RB_TRANSFORM_NORM_WEIGHT] = RB_HEAD_VECTOR("cls.predictions.transform.LayerNorm.weight",
                                                "cls.predictions.transform.LayerNorm.gamma", HIDDEN,
                                                TRANSFORM, RB_WITH_MLM, true),
    [RB_TRANSFORM_NORM_BIAS] = RB_HEAD_VECTOR("cls.predictions.transform.LayerNorm.bias",
                                              "cls.predictions.transform.LayerNorm.beta", HIDDEN,
                                              TRANSFORM, RB_WITH_MLM, true),
    [RB_UNEMBEDDING_WEIGHT] = RB_HEAD_MATRIX("cls.predictions.decoder.weight", VOCAB, HIDDEN, FIXED,
                                             TRANSFORM, RB_WITH_MLM, true),
    [RB_UNEMBEDDING_BIAS] = RB_HEAD_VECTOR("cls.predictions.bias", "cls.predictions.decoder.bias",
                                           VOCAB, FIXED, RB_WITH_MLM, true),
    [RB_CLASSIFIER_WEIGHT] = RB_HEAD_MATRIX("classifier.weight", LABELS, HIDDEN, FIXED, POOLER,
                                            RB_WITH_CLASSIFIER, true),
    [RB_CLASSIFIER_BIAS] =
        RB_HEAD_VECTOR("classifier.bias", NULL, LABELS, FIXED, RB_WITH_CLASSIFIER, true),
    [RB_NEXT_SENTENCE_WEIGHT] = RB_HEAD_MATRIX("cls.seq_relationship.weight", TWO, HIDDEN, FIXED,
                                               POOLER, RB_IF_PRESENT, true),
    [RB_NEXT_SENTENCE_BIAS] =
        RB_HEAD_VECTOR("cls.seq_relationship.bias", NULL, TWO, FIXED, RB_IF_PRESENT, true),
};

static const struct rb_head_shape heads[] = {
    {.kind = RB_HEAD_MLM,
     .marker = RB_TRANSFORM_WEIGHT,
     .dense = RB_TRANSFORM_WEIGHT,
     .norm = RB_TRANSFORM_NORM_WEIGHT,
     .output = RB_UNEMBEDDING_WEIGHT,
     .stored_as = "cls.predictions",
     .activation = RB_ACTIVATION_GELU},
    {.kind = RB_HEAD_CLASSIFIER,
     .marker = RB_CLASSIFIER_WEIGHT,
     .dense = RB_POOLER_WEIGHT,
     .norm = RB_SLOT_NONE,
     .output = RB_CLASSIFIER_WEIGHT,
     .stored_as = "classifier.weight",
     .activation = RB_ACTIVATION_TANH},
    {.kind = RB_HEAD_NONE},
};

static const char *const ignored[] = {"embeddings.position_ids", "embeddings.token_type_ids", NULL};

enum rb_status rb_bert_parse(const char *label, const json_t *json, struct rb_config *ret,
                             struct rb_error *err)
{
    static const struct rb_config_size sizes[] = {
        {"vocab_size", RB_SIZE_MAX, 0, offsetof(struct rb_config, vocab_size)},
        {"hidden_size", RB_SIZE_MAX, 0, offsetof(struct rb_config, hidden_size)},
        {"num_hidden_layers", RB_LAYERS_MAX, 0, offsetof(struct rb_config, num_hidden_layers)},
        {"num_attention_heads", RB_SIZE_MAX, 0, offsetof(struct rb_config, attention.heads)},
        {"intermediate_size", RB_SIZE_MAX, 0, offsetof(struct rb_config, mlp.inner_size)},
        {"max_position_embeddings", RB_SIZE_MAX, 512,
         offsetof(struct rb_config, max_position_embeddings)},
        {"type_vocab_size", 256, 2, offsetof(struct rb_config, type_vocab_size)},
    };
    enum rb_status s =
        rb_config_read_sizes(label, json, sizes, sizeof sizes / sizeof sizes[0], ret, err);
    if (s == RB_OK)
        s = rb_config_set_heads(label, "hidden_size", "num_attention_heads", ret, err);
    if (s == RB_OK)
        s = rb_config_read_labels(label, json, &ret->num_labels, err);
    if (s == RB_OK)
        s = rb_config_read_epsilon(label, json, "layer_norm_eps", 1e-12, &ret->norm_eps, err);
    if (s == RB_OK)
        s = rb_config_require_text(label, json, "hidden_act", "gelu", err);
    if (s == RB_OK)
        s = rb_config_require_text(label, json, "position_embedding_type", "absolute", err);
    if (s == RB_OK)
        s = rb_config_require_flag(label, json, "is_decoder", false, " (attention to both sides)",
                                   err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "tie_word_embeddings", true, &ret->tie_word_embeddings,
                                err);
    rb_encoder_describe(ret);
    return s;
}

void rb_encoder_describe(struct rb_config *c)
{
    c->embedding_size = c->hidden_size;
    c->max_length = c->max_position_embeddings;
    c->positions = RB_POSITIONS_INDEX;
    c->embeddings_norm = true;
    c->norm_kind = RB_NORM_LAYER;
    c->norm_place = RB_NORM_AFTER_ADDITION;
    c->mlp.activation = c->head_activation = RB_ACTIVATION_GELU;
    c->attention_bias = c->attention_output_bias = c->mlp_bias = true;
}

const struct rb_family rb_family_bert = {
    .model_type = "bert",
    .prefix = "bert.",
    .parse = rb_bert_parse,
    .rows = rows,
    .heads = heads,
    .ignored = ignored,
};
