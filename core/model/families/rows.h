/* core/model/families/rows.h: how the families write the rows of their tables. Dims and axes are
 * given without their prefixes RB_DIM_ and RB_AXIS_. */
#ifndef RB_CORE_MODEL_FAMILIES_ROWS_H
#define RB_CORE_MODEL_FAMILIES_ROWS_H

#include "core/model/family.h"

/* A matrix or vector of the whole model, inside the prefix, always there. */
#define RB_MATRIX(tensor, r, c, row, column)                                                       \
    {                                                                                              \
        .name = (tensor), .rows = RB_DIM_##r, .columns = RB_DIM_##c, .row_axis = RB_AXIS_##row,    \
        .column_axis = RB_AXIS_##column                                                            \
    }
#define RB_NORM(tensor, other, row)                                                                \
    {                                                                                              \
        .name = (tensor), .alias = (other), .rows = RB_DIM_HIDDEN, .row_axis = RB_AXIS_##row       \
    }
/* Of every layer. */
#define RB_LAYER_MATRIX(tensor, r, c, row, column)                                                 \
    {                                                                                              \
        .name = (tensor), .rows = RB_DIM_##r, .columns = RB_DIM_##c, .row_axis = RB_AXIS_##row,    \
        .column_axis = RB_AXIS_##column, .per_layer = true                                         \
    }
#define RB_LAYER_VECTOR(tensor, r, row)                                                            \
    {                                                                                              \
        .name = (tensor), .rows = RB_DIM_##r, .row_axis = RB_AXIS_##row, .per_layer = true         \
    }
#define RB_LAYER_NORM(tensor, other, row)                                                          \
    {                                                                                              \
        .name = (tensor), .alias = (other), .rows = RB_DIM_HIDDEN, .row_axis = RB_AXIS_##row,      \
        .per_layer = true                                                                          \
    }
/* Of a head; out: the name stands outside the family's prefix. */
#define RB_HEAD_MATRIX(tensor, r, c, row, column, when, out)                                       \
    {                                                                                              \
        .name = (tensor), .rows = RB_DIM_##r, .columns = RB_DIM_##c, .row_axis = RB_AXIS_##row,    \
        .column_axis = RB_AXIS_##column, .need = (when), .outside = (out)                          \
    }
#define RB_HEAD_VECTOR(tensor, other, r, row, when, out)                                           \
    {                                                                                              \
        .name = (tensor), .alias = (other), .rows = RB_DIM_##r, .row_axis = RB_AXIS_##row,         \
        .need = (when), .outside = (out)                                                           \
    }

/* Queries, keys and values stored in one tensor: `how` its weight lies, and its bias. */
#define RB_FUSED_MATRIX(tensor, how, k, r, row)                                                    \
    {                                                                                              \
        .name = tensor ".weight", .rows = RB_DIM_##r, .columns = RB_DIM_HIDDEN,                    \
        .row_axis = RB_AXIS_##row, .column_axis = RB_AXIS_RES_IN, .per_layer = true, .view = {     \
            RB_LAYOUT_##how,                                                                       \
            k,                                                                                     \
            3                                                                                      \
        }                                                                                          \
    }
#define RB_FUSED_VECTOR(tensor, how, k, r, row, when)                                              \
    {                                                                                              \
        .name = tensor ".bias", .rows = RB_DIM_##r, .row_axis = RB_AXIS_##row, .per_layer = true,  \
        .need = (when), .view = {                                                                  \
            RB_LAYOUT_##how,                                                                       \
            k,                                                                                     \
            3                                                                                      \
        }                                                                                          \
    }
#define RB_FUSED_ROWS(tensor, how, bias_how, when)                                                 \
    [RB_QUERY_WEIGHT] = RB_FUSED_MATRIX(tensor, how, 0, QUERY, Q),                                 \
    [RB_KEY_WEIGHT] = RB_FUSED_MATRIX(tensor, how, 1, KEY, K),                                     \
    [RB_VALUE_WEIGHT] = RB_FUSED_MATRIX(tensor, how, 2, KEY, V),                                   \
    [RB_QUERY_BIAS] = RB_FUSED_VECTOR(tensor, bias_how, 0, QUERY, Q, when),                        \
    [RB_KEY_BIAS] = RB_FUSED_VECTOR(tensor, bias_how, 1, KEY, K, when),                            \
    [RB_VALUE_BIAS] = RB_FUSED_VECTOR(tensor, bias_how, 2, KEY, V, when)

/* The head of masked language models: a dense map into a basis `width` wide, activation, norm, the
 * decoder. Names without their ending; the biases of the decoder, and a norm that has older names,
 * are the family's own rows. The decoder's columns are the transform's output; while it is tied,
 * both follow the basis of the embeddings, which keeps the tie. */
#define RB_MLM_ROWS(width, dense, decoder)                                                         \
    [RB_TRANSFORM_WEIGHT] =                                                                        \
        RB_HEAD_MATRIX(dense ".weight", width, HIDDEN, TRANSFORM, RES_LAST, RB_WITH_MLM, true),    \
    [RB_TRANSFORM_BIAS] =                                                                          \
        RB_HEAD_VECTOR(dense ".bias", NULL, width, TRANSFORM, RB_WITH_MLM, true),                  \
    [RB_UNEMBEDDING_WEIGHT] =                                                                      \
        RB_HEAD_MATRIX(decoder ".weight", VOCAB, width, FIXED, TRANSFORM, RB_WITH_MLM, true)
#define RB_MLM_NORM_ROWS(width, norm)                                                              \
    [RB_TRANSFORM_NORM_WEIGHT] =                                                                   \
        RB_HEAD_VECTOR(norm ".weight", NULL, width, TRANSFORM, RB_WITH_MLM, true),                 \
    [RB_TRANSFORM_NORM_BIAS] =                                                                     \
        RB_HEAD_VECTOR(norm ".bias", NULL, width, TRANSFORM, RB_WITH_MLM, true)
#define RB_MLM_HEAD(stored, act)                                                                   \
    {                                                                                              \
        .kind = RB_HEAD_MLM, .marker = RB_TRANSFORM_WEIGHT, .dense = RB_TRANSFORM_WEIGHT,          \
        .norm = RB_TRANSFORM_NORM_WEIGHT, .output = RB_UNEMBEDDING_WEIGHT, .stored_as = (stored),  \
        .activation = (act)                                                                        \
    }
/* A classifier over the first token; hidden: the slot of its hidden layer. */
#define RB_CLASSIFIER_HEAD(hidden, stored, act)                                                    \
    {                                                                                              \
        .kind = RB_HEAD_CLASSIFIER, .marker = RB_CLASSIFIER_WEIGHT, .dense = (hidden),             \
        .norm = RB_SLOT_NONE, .output = RB_CLASSIFIER_WEIGHT, .stored_as = (stored),               \
        .activation = (act)                                                                        \
    }

/* The heads of models that read from left to right (rb_decoder_heads). */
#define RB_DECODER_HEAD_ROWS(unembedding)                                                          \
    [RB_UNEMBEDDING_WEIGHT] =                                                                      \
        RB_HEAD_MATRIX(unembedding, VOCAB, HIDDEN, FIXED, RES_LAST, RB_WITH_CAUSAL, true),         \
    [RB_CLASSIFIER_WEIGHT] =                                                                       \
        RB_HEAD_MATRIX("score.weight", LABELS, HIDDEN, FIXED, RES_LAST, RB_WITH_CLASSIFIER, true)

/* The embeddings of BERT, RoBERTa and ELECTRA: their width and its axis. */
#define RB_BERT_EMBEDDING_ROWS(width, axis)                                                        \
    [RB_WORD_EMBEDDINGS] =                                                                         \
        RB_MATRIX("embeddings.word_embeddings.weight", VOCAB, width, FIXED, axis),                 \
    [RB_POSITION_EMBEDDINGS] =                                                                     \
        RB_MATRIX("embeddings.position_embeddings.weight", POSITIONS, width, FIXED, axis),         \
    [RB_TYPE_EMBEDDINGS] =                                                                         \
        RB_MATRIX("embeddings.token_type_embeddings.weight", TYPES, width, FIXED, axis),           \
    [RB_EMBEDDINGS_NORM_WEIGHT] =                                                                  \
        RB_HEAD_VECTOR("embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma", width, axis,   \
                       RB_ALWAYS, false),                                                          \
    [RB_EMBEDDINGS_NORM_BIAS] = RB_HEAD_VECTOR(                                                    \
        "embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta", width, axis, RB_ALWAYS, false)

/* The classifier of RoBERTa and ELECTRA: over the first token, with a hidden layer of its own. */
#define RB_BERT_CLASSIFIER_ROWS                                                                    \
    [RB_CLASSIFIER_DENSE_WEIGHT] = RB_HEAD_MATRIX("classifier.dense.weight", HIDDEN, HIDDEN,       \
                                                  POOLER, RES_LAST, RB_WITH_CLASSIFIER, true),     \
    [RB_CLASSIFIER_DENSE_BIAS] =                                                                   \
        RB_HEAD_VECTOR("classifier.dense.bias", NULL, HIDDEN, POOLER, RB_WITH_CLASSIFIER, true),   \
    [RB_CLASSIFIER_WEIGHT] = RB_HEAD_MATRIX("classifier.out_proj.weight", LABELS, HIDDEN, FIXED,   \
                                            POOLER, RB_WITH_CLASSIFIER, true),                     \
    [RB_CLASSIFIER_BIAS] =                                                                         \
        RB_HEAD_VECTOR("classifier.out_proj.bias", NULL, LABELS, FIXED, RB_WITH_CLASSIFIER, true)

/* The layers of BERT, RoBERTa and ELECTRA. */
#define RB_BERT_LAYER "encoder.layer.%u."
#define RB_BERT_LAYER_ROWS                                                                         \
    [RB_QUERY_WEIGHT] =                                                                            \
        RB_LAYER_MATRIX(RB_BERT_LAYER "attention.self.query.weight", QUERY, HIDDEN, Q, RES_IN),    \
    [RB_QUERY_BIAS] = RB_LAYER_VECTOR(RB_BERT_LAYER "attention.self.query.bias", QUERY, Q),        \
    [RB_KEY_WEIGHT] =                                                                              \
        RB_LAYER_MATRIX(RB_BERT_LAYER "attention.self.key.weight", KEY, HIDDEN, K, RES_IN),        \
    [RB_KEY_BIAS] = RB_LAYER_VECTOR(RB_BERT_LAYER "attention.self.key.bias", KEY, K),              \
    [RB_VALUE_WEIGHT] =                                                                            \
        RB_LAYER_MATRIX(RB_BERT_LAYER "attention.self.value.weight", KEY, HIDDEN, V, RES_IN),      \
    [RB_VALUE_BIAS] = RB_LAYER_VECTOR(RB_BERT_LAYER "attention.self.value.bias", KEY, V),          \
    [RB_ATTENTION_OUTPUT_WEIGHT] =                                                                 \
        RB_LAYER_MATRIX(RB_BERT_LAYER "attention.output.dense.weight", HIDDEN, QUERY, RES_MID, O), \
    [RB_ATTENTION_OUTPUT_BIAS] =                                                                   \
        RB_LAYER_VECTOR(RB_BERT_LAYER "attention.output.dense.bias", HIDDEN, RES_MID),             \
    [RB_ATTENTION_NORM_WEIGHT] =                                                                   \
        RB_LAYER_NORM(RB_BERT_LAYER "attention.output.LayerNorm.weight",                           \
                      RB_BERT_LAYER "attention.output.LayerNorm.gamma", RES_MID),                  \
    [RB_ATTENTION_NORM_BIAS] =                                                                     \
        RB_LAYER_NORM(RB_BERT_LAYER "attention.output.LayerNorm.bias",                             \
                      RB_BERT_LAYER "attention.output.LayerNorm.beta", RES_MID),                   \
    [RB_UP_WEIGHT] =                                                                               \
        RB_LAYER_MATRIX(RB_BERT_LAYER "intermediate.dense.weight", INNER, HIDDEN, FF, RES_MID),    \
    [RB_UP_BIAS] = RB_LAYER_VECTOR(RB_BERT_LAYER "intermediate.dense.bias", INNER, FF),            \
    [RB_DOWN_WEIGHT] =                                                                             \
        RB_LAYER_MATRIX(RB_BERT_LAYER "output.dense.weight", HIDDEN, INNER, RES_OUT, FF),          \
    [RB_DOWN_BIAS] = RB_LAYER_VECTOR(RB_BERT_LAYER "output.dense.bias", HIDDEN, RES_OUT),          \
    [RB_MLP_NORM_WEIGHT] = RB_LAYER_NORM(RB_BERT_LAYER "output.LayerNorm.weight",                  \
                                         RB_BERT_LAYER "output.LayerNorm.gamma", RES_OUT),         \
    [RB_MLP_NORM_BIAS] = RB_LAYER_NORM(RB_BERT_LAYER "output.LayerNorm.bias",                      \
                                       RB_BERT_LAYER "output.LayerNorm.beta", RES_OUT)

#endif
