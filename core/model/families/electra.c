/* ELECTRA: BERT's layers; embeddings that may be narrower (E) and are then projected, a generator
 * that speaks in that narrow basis, a discriminator. */
#include "core/model/config.h"
#include "core/model/families/bert.h"
#include "core/model/families/rows.h"

#include <stddef.h>

/* Where E is hidden_size there is no projection, and the embeddings' basis is residual.0. */
static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    RB_BERT_EMBEDDING_ROWS(EMBEDDING, EMBEDDING),
    [RB_EMBEDDINGS_PROJECTION_WEIGHT] =
        RB_HEAD_MATRIX("embeddings_project.weight", HIDDEN, EMBEDDING, RES_FIRST, EMBEDDING,
                       RB_WITH_PROJECTION, false),
    [RB_EMBEDDINGS_PROJECTION_BIAS] = RB_HEAD_VECTOR("embeddings_project.bias", NULL, HIDDEN,
                                                     RES_FIRST, RB_WITH_PROJECTION, false),
    RB_BERT_LAYER_ROWS,
    RB_MLM_ROWS(EMBEDDING, "generator_predictions.dense", "generator_lm_head"),
    RB_MLM_NORM_ROWS(EMBEDDING, "generator_predictions.LayerNorm"),
    [RB_UNEMBEDDING_BIAS] =
        RB_HEAD_VECTOR("generator_lm_head.bias", NULL, VOCAB, FIXED, RB_WITH_MLM, true),
    RB_BERT_CLASSIFIER_ROWS,
    [RB_DISCRIMINATOR_DENSE_WEIGHT] =
        RB_HEAD_MATRIX("discriminator_predictions.dense.weight", HIDDEN, HIDDEN, POOLER, RES_LAST,
                       RB_WITH_DISCRIMINATOR, true),
    [RB_DISCRIMINATOR_DENSE_BIAS] = RB_HEAD_VECTOR("discriminator_predictions.dense.bias", NULL,
                                                   HIDDEN, POOLER, RB_WITH_DISCRIMINATOR, true),
    [RB_DISCRIMINATOR_WEIGHT] =
        RB_HEAD_MATRIX("discriminator_predictions.dense_prediction.weight", ONE, HIDDEN, FIXED,
                       POOLER, RB_WITH_DISCRIMINATOR, true),
    [RB_DISCRIMINATOR_BIAS] = RB_HEAD_VECTOR("discriminator_predictions.dense_prediction.bias",
                                             NULL, ONE, FIXED, RB_WITH_DISCRIMINATOR, true),
};

static const struct rb_head_shape heads[] = {
    RB_MLM_HEAD("generator_predictions", RB_ACTIVATION_GELU),
    RB_CLASSIFIER_HEAD(RB_CLASSIFIER_DENSE_WEIGHT, "classifier.out_proj", RB_ACTIVATION_GELU),
    {.kind = RB_HEAD_DISCRIMINATOR,
     .marker = RB_DISCRIMINATOR_WEIGHT,
     .dense = RB_DISCRIMINATOR_DENSE_WEIGHT,
     .norm = RB_SLOT_NONE,
     .output = RB_DISCRIMINATOR_WEIGHT,
     .stored_as = "discriminator_predictions"},
    {.kind = RB_HEAD_NONE},
};

static enum rb_status parse(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err)
{
    static const struct rb_config_size width = {"embedding_size", RB_SIZE_MAX, 128,
                                                offsetof(struct rb_config, embedding_size)};
    enum rb_status s = rb_bert_parse(label, json, ret, err);
    return s == RB_OK ? rb_config_read_sizes(label, json, &width, 1, ret, err) : s;
}

const struct rb_family rb_family_electra = {.model_type = "electra",
                                            .prefix = "electra.",
                                            .parse = parse,
                                            .rows = rows,
                                            .heads = heads,
                                            .ignored = rb_encoder_ignored};
