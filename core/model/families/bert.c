#include "core/model/families/bert.h"
#include "core/model/config.h"
#include "core/model/families/rows.h"

#include <stddef.h>

/* METHOD 5, as a table. Vectors have one axis, the rows. */
static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    RB_BERT_EMBEDDING_ROWS(HIDDEN, RES_FIRST),
    RB_BERT_LAYER_ROWS,
    [RB_POOLER_WEIGHT] = RB_HEAD_MATRIX("pooler.dense.weight", HIDDEN, HIDDEN, POOLER, RES_LAST,
                                        RB_WITH_CLASSIFIER, false),
    [RB_POOLER_BIAS] =
        RB_HEAD_VECTOR("pooler.dense.bias", NULL, HIDDEN, POOLER, RB_WITH_CLASSIFIER, false),
    RB_MLM_ROWS(HIDDEN, "cls.predictions.transform.dense", "cls.predictions.decoder"),
    [RB_TRANSFORM_NORM_WEIGHT] = RB_HEAD_VECTOR("cls.predictions.transform.LayerNorm.weight",
                                                "cls.predictions.transform.LayerNorm.gamma", HIDDEN,
                                                TRANSFORM, RB_WITH_MLM, true),
    [RB_TRANSFORM_NORM_BIAS] = RB_HEAD_VECTOR("cls.predictions.transform.LayerNorm.bias",
                                              "cls.predictions.transform.LayerNorm.beta", HIDDEN,
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
    RB_MLM_HEAD("cls.predictions", RB_ACTIVATION_GELU),
    RB_CLASSIFIER_HEAD(RB_POOLER_WEIGHT, "classifier.weight", RB_ACTIVATION_TANH),
    {.kind = RB_HEAD_NONE},
};

const char *const rb_encoder_ignored[] = {"embeddings.position_ids", "embeddings.token_type_ids",
                                          NULL};

enum rb_status rb_bert_parse(const char *label, const json_t *json, struct rb_config *ret,
                             struct rb_error *err)
{
    static const struct rb_config_shape shape = {.positions = 512};
    static const struct rb_config_size types = {"type_vocab_size", 256, 2,
                                                offsetof(struct rb_config, type_vocab_size)};
    enum rb_status s = rb_config_read_shape(label, json, &shape, ret, err);
    if (s == RB_OK)
        s = rb_config_read_sizes(label, json, &types, 1, ret, err);
    if (s == RB_OK)
        s = rb_config_set_heads(label, &shape, ret, err);
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
    c->positions = RB_POSITIONS_INDEX;
    c->embeddings_norm = true;
    c->norm_kind = RB_NORM_LAYER;
    c->norm_place = RB_NORM_AFTER_ADDITION;
    c->mlp.activation = c->head_activation = RB_ACTIVATION_GELU;
    c->attention_bias = c->attention_output_bias = c->mlp_bias = true;
}

const struct rb_family rb_family_bert = {.model_type = "bert",
                                         .prefix = "bert.",
                                         .parse = rb_bert_parse,
                                         .rows = rows,
                                         .heads = heads,
                                         .ignored = rb_encoder_ignored};
