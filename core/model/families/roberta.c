/* RoBERTa: BERT's layers; positions that count from the padding id on, and heads of its own.
 * CamemBERT and XLM-RoBERTa are the same model; whether theirs can be read is up to the tokenizer,
 * which must be byte-level BPE (core/text). */
#include "core/model/config.h"
#include "core/model/families/bert.h"
#include "core/model/families/rows.h"

static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    RB_BERT_EMBEDDING_ROWS(HIDDEN, RES_FIRST),
    RB_BERT_LAYER_ROWS,
    [RB_POOLER_WEIGHT] = RB_HEAD_MATRIX("pooler.dense.weight", HIDDEN, HIDDEN, POOLER, RES_LAST,
                                        RB_IF_PRESENT, false),
    [RB_POOLER_BIAS] =
        RB_HEAD_VECTOR("pooler.dense.bias", NULL, HIDDEN, POOLER, RB_IF_PRESENT, false),
    RB_MLM_ROWS(HIDDEN, "lm_head.dense", "lm_head.decoder"),
    RB_MLM_NORM_ROWS(HIDDEN, "lm_head.layer_norm"),
    [RB_UNEMBEDDING_BIAS] =
        RB_HEAD_VECTOR("lm_head.bias", "lm_head.decoder.bias", VOCAB, FIXED, RB_WITH_MLM, true),
    RB_BERT_CLASSIFIER_ROWS,
};

static const struct rb_head_shape heads[] = {
    RB_MLM_HEAD("lm_head.dense", RB_ACTIVATION_GELU),
    RB_CLASSIFIER_HEAD(RB_CLASSIFIER_DENSE_WEIGHT, "classifier.out_proj", RB_ACTIVATION_TANH),
    {.kind = RB_HEAD_NONE},
};

static enum rb_status parse(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err)
{
    enum rb_status s = rb_bert_parse(label, json, ret, err);
    if (s == RB_OK)
        s = rb_config_read_id(label, json, "pad_token_id", ret->vocab_size - 1, 1, &ret->padding_id,
                              err);
    if (s != RB_OK)
        return s;
    if (ret->max_position_embeddings <= ret->padding_id + 1)
        return rb_error_at(
            err, RB_ECONFIG, "max_position_embeddings",
            "%s: \"max_position_embeddings\": positions begin at \"pad_token_id\" + 1 "
            "= %u: expected more than that, found %u",
            label, ret->padding_id + 1, ret->max_position_embeddings);
    ret->positions = RB_POSITIONS_UNPADDED;
    ret->max_length = ret->max_position_embeddings - ret->padding_id - 1;
    return RB_OK;
}

#define ROBERTA(type)                                                                              \
    {                                                                                              \
        .model_type = (type), .prefix = "roberta.", .parse = parse, .rows = rows, .heads = heads,  \
        .ignored = rb_encoder_ignored                                                              \
    }

const struct rb_family rb_family_roberta = ROBERTA("roberta");
const struct rb_family rb_family_camembert = ROBERTA("camembert");
const struct rb_family rb_family_xlm_roberta = ROBERTA("xlm-roberta");
