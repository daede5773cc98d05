/* DistilBERT: BERT's layers under names of its own, no token types, no pooler. */
#include "core/model/config.h"
#include "core/model/families/bert.h"
#include "core/model/families/rows.h"

#define LAYER "transformer.layer.%u."

static const struct rb_tensor_row rows[RB_SLOT_COUNT] = {
    [RB_WORD_EMBEDDINGS] =
        RB_MATRIX("embeddings.word_embeddings.weight", VOCAB, HIDDEN, FIXED, RES_FIRST),
    [RB_POSITION_EMBEDDINGS] =
        RB_MATRIX("embeddings.position_embeddings.weight", POSITIONS, HIDDEN, FIXED, RES_FIRST),
    [RB_EMBEDDINGS_NORM_WEIGHT] = RB_NORM("embeddings.LayerNorm.weight", NULL, RES_FIRST),
    [RB_EMBEDDINGS_NORM_BIAS] = RB_NORM("embeddings.LayerNorm.bias", NULL, RES_FIRST),
    [RB_QUERY_WEIGHT] = RB_LAYER_MATRIX(LAYER "attention.q_lin.weight", QUERY, HIDDEN, Q, RES_IN),
    [RB_QUERY_BIAS] = RB_LAYER_VECTOR(LAYER "attention.q_lin.bias", QUERY, Q),
    [RB_KEY_WEIGHT] = RB_LAYER_MATRIX(LAYER "attention.k_lin.weight", KEY, HIDDEN, K, RES_IN),
    [RB_KEY_BIAS] = RB_LAYER_VECTOR(LAYER "attention.k_lin.bias", KEY, K),
    [RB_VALUE_WEIGHT] = RB_LAYER_MATRIX(LAYER "attention.v_lin.weight", KEY, HIDDEN, V, RES_IN),
    [RB_VALUE_BIAS] = RB_LAYER_VECTOR(LAYER "attention.v_lin.bias", KEY, V),
    [RB_ATTENTION_OUTPUT_WEIGHT] =
        RB_LAYER_MATRIX(LAYER "attention.out_lin.weight", HIDDEN, QUERY, RES_MID, O),
    [RB_ATTENTION_OUTPUT_BIAS] = RB_LAYER_VECTOR(LAYER "attention.out_lin.bias", HIDDEN, RES_MID),
    [RB_ATTENTION_NORM_WEIGHT] = RB_LAYER_NORM(LAYER "sa_layer_norm.weight", NULL, RES_MID),
    [RB_ATTENTION_NORM_BIAS] = RB_LAYER_NORM(LAYER "sa_layer_norm.bias", NULL, RES_MID),
    [RB_UP_WEIGHT] = RB_LAYER_MATRIX(LAYER "ffn.lin1.weight", INNER, HIDDEN, FF, RES_MID),
    [RB_UP_BIAS] = RB_LAYER_VECTOR(LAYER "ffn.lin1.bias", INNER, FF),
    [RB_DOWN_WEIGHT] = RB_LAYER_MATRIX(LAYER "ffn.lin2.weight", HIDDEN, INNER, RES_OUT, FF),
    [RB_DOWN_BIAS] = RB_LAYER_VECTOR(LAYER "ffn.lin2.bias", HIDDEN, RES_OUT),
    [RB_MLP_NORM_WEIGHT] = RB_LAYER_NORM(LAYER "output_layer_norm.weight", NULL, RES_OUT),
    [RB_MLP_NORM_BIAS] = RB_LAYER_NORM(LAYER "output_layer_norm.bias", NULL, RES_OUT),
    RB_MLM_ROWS(HIDDEN, "vocab_transform", "vocab_projector"),
    RB_MLM_NORM_ROWS(HIDDEN, "vocab_layer_norm"),
    [RB_UNEMBEDDING_BIAS] =
        RB_HEAD_VECTOR("vocab_projector.bias", NULL, VOCAB, FIXED, RB_WITH_MLM, true),
    [RB_CLASSIFIER_DENSE_WEIGHT] = RB_HEAD_MATRIX("pre_classifier.weight", HIDDEN, HIDDEN, POOLER,
                                                  RES_LAST, RB_WITH_CLASSIFIER, true),
    [RB_CLASSIFIER_DENSE_BIAS] =
        RB_HEAD_VECTOR("pre_classifier.bias", NULL, HIDDEN, POOLER, RB_WITH_CLASSIFIER, true),
    [RB_CLASSIFIER_WEIGHT] = RB_HEAD_MATRIX("classifier.weight", LABELS, HIDDEN, FIXED, POOLER,
                                            RB_WITH_CLASSIFIER, true),
    [RB_CLASSIFIER_BIAS] =
        RB_HEAD_VECTOR("classifier.bias", NULL, LABELS, FIXED, RB_WITH_CLASSIFIER, true),
};

static const struct rb_head_shape heads[] = {
    RB_MLM_HEAD("vocab_transform", RB_ACTIVATION_NONE), /* the config's */
    RB_CLASSIFIER_HEAD(RB_CLASSIFIER_DENSE_WEIGHT, "classifier.weight", RB_ACTIVATION_RELU),
    {.kind = RB_HEAD_NONE},
};

static const struct rb_config_key keys[] = {{"hidden_size", "dim"},
                                            {"num_hidden_layers", "n_layers"},
                                            {"num_attention_heads", "n_heads"},
                                            {"intermediate_size", "hidden_dim"},
                                            {"hidden_act", "activation"},
                                            {NULL, NULL}};
static const char *const ignored[] = {"embeddings.position_ids", NULL};

static enum rb_status parse(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err)
{
    static const struct rb_config_shape shape = {.keys = keys, .positions = 512};
    enum rb_status s = rb_config_read_shape(label, json, &shape, ret, err);
    if (s == RB_OK)
        s = rb_config_set_heads(label, &shape, ret, err);
    if (s == RB_OK)
        s = rb_config_read_labels(label, json, &ret->num_labels, err);
    if (s == RB_OK)
        s = rb_config_require_text(label, json, "activation", "gelu", err);
    if (s == RB_OK)
        s = rb_config_read_flag(label, json, "tie_word_embeddings", true, &ret->tie_word_embeddings,
                                err);
    rb_encoder_describe(ret);
    ret->norm_eps = 1e-12F; /* no config says otherwise */
    return s;
}

const struct rb_family rb_family_distilbert = {.model_type = "distilbert",
                                               .prefix = "distilbert.",
                                               .parse = parse,
                                               .rows = rows,
                                               .heads = heads,
                                               .keys = keys,
                                               .ignored = ignored};
