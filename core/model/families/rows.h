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

/* The layers of BERT, RoBERTa and ELECTRA; L: what stands before their names. */
#define RB_BERT_LAYER_ROWS(L)                                                                      \
    [RB_QUERY_WEIGHT] =                                                                            \
        RB_LAYER_MATRIX(L "attention.self.query.weight", QUERY, HIDDEN, Q, RES_IN),                \
    [RB_QUERY_BIAS] = RB_LAYER_VECTOR(L "attention.self.query.bias", QUERY, Q),                    \
    [RB_KEY_WEIGHT] = RB_LAYER_MATRIX(L "attention.self.key.weight", KEY, HIDDEN, K, RES_IN),      \
    [RB_KEY_BIAS] = RB_LAYER_VECTOR(L "attention.self.key.bias", KEY, K),                          \
    [RB_VALUE_WEIGHT] = RB_LAYER_MATRIX(L "attention.self.value.weight", KEY, HIDDEN, V, RES_IN),  \
    [RB_VALUE_BIAS] = RB_LAYER_VECTOR(L "attention.self.value.bias", KEY, V),                      \
    [RB_ATTENTION_OUTPUT_WEIGHT] =                                                                 \
        RB_LAYER_MATRIX(L "attention.output.dense.weight", HIDDEN, QUERY, RES_MID, O),             \
    [RB_ATTENTION_OUTPUT_BIAS] =                                                                   \
        RB_LAYER_VECTOR(L "attention.output.dense.bias", HIDDEN, RES_MID),                         \
    [RB_ATTENTION_NORM_WEIGHT] = RB_LAYER_NORM(L "attention.output.LayerNorm.weight",              \
                                               L "attention.output.LayerNorm.gamma", RES_MID),     \
    [RB_ATTENTION_NORM_BIAS] = RB_LAYER_NORM(L "attention.output.LayerNorm.bias",                  \
                                             L "attention.output.LayerNorm.beta", RES_MID),        \
    [RB_UP_WEIGHT] = RB_LAYER_MATRIX(L "intermediate.dense.weight", INNER, HIDDEN, FF, RES_MID),   \
    [RB_UP_BIAS] = RB_LAYER_VECTOR(L "intermediate.dense.bias", INNER, FF),                        \
    [RB_DOWN_WEIGHT] = RB_LAYER_MATRIX(L "output.dense.weight", HIDDEN, INNER, RES_OUT, FF),       \
    [RB_DOWN_BIAS] = RB_LAYER_VECTOR(L "output.dense.bias", HIDDEN, RES_OUT),                      \
    [RB_MLP_NORM_WEIGHT] =                                                                         \
        RB_LAYER_NORM(L "output.LayerNorm.weight", L "output.LayerNorm.gamma", RES_OUT),           \
    [RB_MLP_NORM_BIAS] =                                                                           \
        RB_LAYER_NORM(L "output.LayerNorm.bias", L "output.LayerNorm.beta", RES_OUT)

#endif
