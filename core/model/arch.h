/* core/model/arch.h: what an architecture is, as data.
 *
 * One table per model family lists its tensors: name template, the size of each axis, and the
 * permutation group by which each axis moves (METHOD 5). Binding a checkpoint, applying a
 * permutation, describing and writing walk that table; nothing else knows tensor names.
 */
#ifndef RB_CORE_MODEL_ARCH_H
#define RB_CORE_MODEL_ARCH_H

#include "core/status.h"

#include <jansson.h>
#include <stdint.h>

enum rb_dim {
    RB_DIM_NONE, /* no such axis */
    RB_DIM_VOCAB,
    RB_DIM_POSITIONS,
    RB_DIM_TYPES,
    RB_DIM_HIDDEN,
    RB_DIM_INTERMEDIATE,
    RB_DIM_LABELS,
    RB_DIM_TWO, /* next-sentence head */
};

/* What moves an axis. l is the layer that the tensor belongs to, L the number of layers. */
enum rb_axis {
    RB_AXIS_FIXED,
    RB_AXIS_FF,        /* layer.l.ff */
    RB_AXIS_MHA,       /* layer.l.mha: values and the output projection's input */
    RB_AXIS_QK,        /* layer.l.qk: queries and keys; layer.l.mha unless separate_qk */
    RB_AXIS_RES_FIRST, /* residual.0 */
    RB_AXIS_RES_IN,    /* residual.2l */
    RB_AXIS_RES_MID,   /* residual.2l+1 */
    RB_AXIS_RES_OUT,   /* residual.2l+2 */
    RB_AXIS_RES_LAST,  /* residual.2L */
    RB_AXIS_TRANSFORM, /* output of the MLM transform = input of the decoder */
    RB_AXIS_POOLER,    /* output of the pooler = input of the classifier */
    RB_AXIS_COUNT
};

enum rb_head { RB_HEAD_NONE, RB_HEAD_MLM, RB_HEAD_CLASSIFIER };

enum rb_role { /* the tensors the forward pass names; order = BERT's table */
               RB_WORD_EMBEDDINGS,
               RB_POSITION_EMBEDDINGS,
               RB_TYPE_EMBEDDINGS,
               RB_EMBEDDINGS_LN_WEIGHT,
               RB_EMBEDDINGS_LN_BIAS,
               RB_QUERY_WEIGHT,
               RB_QUERY_BIAS,
               RB_KEY_WEIGHT,
               RB_KEY_BIAS,
               RB_VALUE_WEIGHT,
               RB_VALUE_BIAS,
               RB_ATTENTION_OUTPUT_WEIGHT,
               RB_ATTENTION_OUTPUT_BIAS,
               RB_ATTENTION_LN_WEIGHT,
               RB_ATTENTION_LN_BIAS,
               RB_INTERMEDIATE_WEIGHT,
               RB_INTERMEDIATE_BIAS,
               RB_OUTPUT_WEIGHT,
               RB_OUTPUT_BIAS,
               RB_OUTPUT_LN_WEIGHT,
               RB_OUTPUT_LN_BIAS,
               RB_POOLER_WEIGHT,
               RB_POOLER_BIAS,
               RB_TRANSFORM_WEIGHT,
               RB_TRANSFORM_BIAS,
               RB_TRANSFORM_LN_WEIGHT,
               RB_TRANSFORM_LN_BIAS,
               RB_DECODER_WEIGHT,
               RB_DECODER_BIAS,
               RB_CLASSIFIER_WEIGHT,
               RB_CLASSIFIER_BIAS,
               RB_NEXT_SENTENCE_WEIGHT,
               RB_NEXT_SENTENCE_BIAS,
               RB_ROLE_COUNT
};

enum rb_need {
    RB_ALWAYS,
    RB_WITH_MLM,        /* needed when the head is RB_HEAD_MLM */
    RB_WITH_CLASSIFIER, /* needed when the head is RB_HEAD_CLASSIFIER */
    RB_IF_PRESENT, /* moved and merged where both checkpoints have it, read by no forward pass */
};

struct rb_tensor_row {
    enum rb_role role;
    const char
        *name; /* "encoder.layer.%u.attention.self.query.weight"; without the family prefix */
    const char *alias;         /* another name for the same tensor, or NULL */
    enum rb_dim rows, columns; /* columns RB_DIM_NONE: a vector */
    enum rb_axis row_axis, column_axis;
    bool per_layer;
    bool outside; /* the name stands outside the family prefix ("cls.", "classifier.") */
    enum rb_need need;
};

struct rb_architecture {
    const char *model_type;           /* config.json's "model_type" */
    const char *prefix;               /* "bert."; checkpoints of the bare encoder leave it out */
    const struct rb_tensor_row *rows; /* indexed by role */
    size_t row_count;
    const char *const *ignored; /* name suffixes of buffers that are not weights; NULL-terminated */
};

/* NULL if no table has that model_type. */
const struct rb_architecture *rb_architecture_find(const char *model_type);
/* All of them, for documentation and error messages; NULL-terminated. */
const struct rb_architecture *const *rb_architectures(void);

/* config.json, checked. */
struct rb_config {
    uint32_t vocab_size, hidden_size, num_hidden_layers, num_attention_heads;
    uint32_t intermediate_size, max_position_embeddings, type_vocab_size;
    uint32_t num_labels; /* of a classifier: from num_labels or id2label, default 2 */
    float layer_norm_eps;
    bool tie_word_embeddings; /* default true */
    char class_name[64];      /* "architectures"[0], e.g. "BertForMaskedLM"; "" if absent */
};

/* Checks: object members present and of the right type, positive and within bounds (layers <= 1024,
 * sizes <= 2^24), hidden_size divisible by heads, hidden_act "gelu" (the erf form), absolute
 * positions, no decoder (causal attention). RB_ECONFIG naming the member, what was found, what was
 * expected. */
enum rb_status rb_config_parse(const char *label, const json_t *json,
                               const struct rb_architecture **ret_arch, struct rb_config *ret,
                               struct rb_error *err) RB_MUST_CHECK;

uint64_t rb_config_dim(const struct rb_config *c, enum rb_dim dim); /* 1 for RB_DIM_NONE */

#endif
