/* core/model/family.h: what a model family is, as data.
 *
 * A family's file (core/model/families/) says how its config.json becomes one neutral description
 * (struct rb_config) and lists its tensors: what each is to a block (its slot), how it lies in the
 * file (its view), its sizes, and what moves each of its axes (METHOD 5 and 9). Nothing outside
 * that folder knows the name of a tensor or a config key of one family, and no block asks which
 * family it works for: it reads the description.
 *
 * Linear weights are (out, in) to every reader, whatever the file stores.
 */
#ifndef RB_CORE_MODEL_FAMILY_H
#define RB_CORE_MODEL_FAMILY_H

#include "core/status.h"

#include <jansson.h>
#include <stdint.h>

/* ---- the description: config.json, checked ---- */

enum rb_positions {
    RB_POSITIONS_INDEX,    /* learnt; token t of a sequence reads row t */
    RB_POSITIONS_UNPADDED, /* learnt; padding_id + the count of ids so far that are not padding_id
                            * (padding itself reads row padding_id): RoBERTa */
    RB_POSITIONS_ROTARY,   /* none learnt: queries and keys are turned by their position */
};

enum rb_norm_kind { RB_NORM_LAYER, RB_NORM_RMS };
enum rb_norm_place {
    RB_NORM_AFTER_ADDITION, /* x = norm(x + f(x)): BERT */
    RB_NORM_BEFORE,         /* x = x + f(norm(x)): GPT-2, GPT-NeoX, Llama */
    RB_NORM_AFTER_SUBLAYER, /* x = x + norm(f(x)): OLMo-2 */
};

enum rb_activation {
    RB_ACTIVATION_NONE,
    RB_ACTIVATION_GELU,      /* erf form */
    RB_ACTIVATION_GELU_TANH, /* the tanh form: gelu_new, gelu_pytorch_tanh */
    RB_ACTIVATION_SILU,
    RB_ACTIVATION_RELU,
    RB_ACTIVATION_TANH,
};

enum rb_rope_scaling { RB_ROPE_PLAIN, RB_ROPE_LLAMA3 };

struct rb_rope {
    uint32_t dims; /* of each head that are turned, the first ones; 0: no rotary positions */
    double theta;
    enum rb_rope_scaling scaling;
    double factor, low_frequency_factor, high_frequency_factor; /* RB_ROPE_LLAMA3 */
    uint32_t original_positions;
};

struct rb_attention {
    uint32_t heads, kv_heads, head_dim; /* heads is a multiple of kv_heads */
    bool causal;
    bool unscaled;       /* scores not divided by sqrt(head_dim): GPT-2's option */
    bool scale_by_layer; /* scores divided by the layer's number (from 1) too: GPT-2's option */
    bool query_key_norm; /* RMS over the whole query and key rows, with gains: OLMo-2 */
    struct rb_rope rope;
};

struct rb_mlp {
    uint32_t inner_size;
    enum rb_activation activation;
    bool gated; /* down(act(gate x) * up x); else down(act(up x)) */
};

struct rb_config {
    uint32_t vocab_size, hidden_size, num_hidden_layers;
    uint32_t embedding_size;          /* E; unlike hidden_size only with an embeddings projection */
    uint32_t max_position_embeddings; /* as the config has it: rows of a learnt table */
    uint32_t max_length;              /* tokens that one sequence may have */
    uint32_t type_vocab_size;         /* 0: no token types */
    enum rb_positions positions;
    uint32_t padding_id;    /* RB_POSITIONS_UNPADDED */
    bool embeddings_norm;   /* a norm after the sum of the embeddings */
    bool final_norm;        /* a norm after the last layer */
    bool parallel_residual; /* x + attention(norm1 x) + mlp(norm2 x); else one after the other */
    enum rb_norm_kind norm_kind;
    enum rb_norm_place norm_place;
    float norm_eps;
    struct rb_attention attention;
    struct rb_mlp mlp;
    bool attention_bias, attention_output_bias, mlp_bias; /* which linear maps have one */
    enum rb_activation head_activation; /* of an MLM transform or a discriminator */
    bool has_padding_token;   /* a classifier over the last token passes over padding_token */
    uint32_t padding_token;
    bool has_eos_token; /* ends each row of causal text where the tokenizer names no such token */
    uint32_t eos_token;
    uint32_t num_labels;      /* of a classifier: from num_labels or id2label, default 2 */
    bool tie_word_embeddings; /* the unembedding is the word embeddings */
    char class_name[64];      /* "architectures"[0], e.g. "BertForMaskedLM"; "" if absent */
};

/* ---- heads ---- */

enum rb_head {
    RB_HEAD_NONE,
    RB_HEAD_MLM,
    RB_HEAD_CLASSIFIER,
    RB_HEAD_CAUSAL,
    RB_HEAD_DISCRIMINATOR, /* one logit per token: was it replaced? (ELECTRA) */
    RB_HEAD_COUNT
};

/* ---- tensors ---- */

enum rb_dim {
    RB_DIM_NONE, /* no such axis: a vector has one */
    RB_DIM_VOCAB,
    RB_DIM_POSITIONS,
    RB_DIM_TYPES,
    RB_DIM_HIDDEN,
    RB_DIM_EMBEDDING, /* E */
    RB_DIM_QUERY,     /* heads * head_dim */
    RB_DIM_KEY,       /* kv_heads * head_dim; also values */
    RB_DIM_INNER,     /* the MLP's */
    RB_DIM_LABELS,
    RB_DIM_ONE, /* a discriminator's logit */
    RB_DIM_TWO, /* next-sentence head */
};

/* What moves an axis. l is the layer that the tensor belongs to, L the number of layers. Rows that
 * make a basis are moved by its map, columns that read it by the inverse. A file of an alignment
 * holds the numbers of those that groups are named after: new ones go to the end. */
enum rb_axis {
    RB_AXIS_FIXED,
    RB_AXIS_FF,        /* layer.l.ff: rows of up, columns of down */
    RB_AXIS_V,         /* layer.l.mha: value rows (kv_heads * head_dim) */
    RB_AXIS_Q,         /* query rows (heads * head_dim): layer.l.qk, else layer.l.mha */
    RB_AXIS_RES_FIRST, /* residual.0 */
    RB_AXIS_RES_IN,    /* residual.2l */
    RB_AXIS_RES_MID,   /* residual.2l+1 */
    RB_AXIS_RES_OUT,   /* residual.2l+2 */
    RB_AXIS_RES_LAST,  /* residual.2L */
    RB_AXIS_TRANSFORM, /* output of the MLM transform = input of the unembedding */
    RB_AXIS_POOLER,    /* output of the pooler = input of the classifier */
    RB_AXIS_K,         /* key rows (kv_heads * head_dim): as the queries, inverse transposed */
    RB_AXIS_O,         /* the attention output's columns (heads * head_dim): V's map, spread over
                        * the query heads of a group */
    RB_AXIS_FF_GATE,   /* rows of gate: layer.l.ff without its signs */
    RB_AXIS_EMBEDDING, /* the E-wide basis, where E is not hidden_size */
    RB_AXIS_COUNT
};

/* What a block calls its tensors. Where weight and bias are neighbours, the bias comes second. */
enum rb_slot {
    RB_WORD_EMBEDDINGS,
    RB_POSITION_EMBEDDINGS,
    RB_TYPE_EMBEDDINGS,
    RB_EMBEDDINGS_NORM_WEIGHT,
    RB_EMBEDDINGS_NORM_BIAS,
    RB_EMBEDDINGS_PROJECTION_WEIGHT,
    RB_EMBEDDINGS_PROJECTION_BIAS,
    RB_QUERY_WEIGHT, /* from here to RB_MLP_NORM_BIAS: per layer */
    RB_QUERY_BIAS,
    RB_KEY_WEIGHT,
    RB_KEY_BIAS,
    RB_VALUE_WEIGHT,
    RB_VALUE_BIAS,
    RB_QUERY_NORM,
    RB_KEY_NORM,
    RB_ATTENTION_OUTPUT_WEIGHT,
    RB_ATTENTION_OUTPUT_BIAS,
    RB_ATTENTION_NORM_WEIGHT, /* the attention's norm, wherever norm_place says it stands */
    RB_ATTENTION_NORM_BIAS,
    RB_UP_WEIGHT,
    RB_UP_BIAS,
    RB_GATE_WEIGHT,
    RB_GATE_BIAS,
    RB_DOWN_WEIGHT,
    RB_DOWN_BIAS,
    RB_MLP_NORM_WEIGHT,
    RB_MLP_NORM_BIAS,
    RB_FINAL_NORM_WEIGHT,
    RB_FINAL_NORM_BIAS,
    RB_POOLER_WEIGHT, /* the encoder's own, over the first token */
    RB_POOLER_BIAS,
    RB_TRANSFORM_WEIGHT, /* MLM: dense, activation, norm before the unembedding */
    RB_TRANSFORM_BIAS,
    RB_TRANSFORM_NORM_WEIGHT,
    RB_TRANSFORM_NORM_BIAS,
    RB_UNEMBEDDING_WEIGHT,
    RB_UNEMBEDDING_BIAS,
    RB_CLASSIFIER_DENSE_WEIGHT, /* where the classifier's hidden layer is not the pooler */
    RB_CLASSIFIER_DENSE_BIAS,
    RB_CLASSIFIER_WEIGHT,
    RB_CLASSIFIER_BIAS,
    RB_DISCRIMINATOR_DENSE_WEIGHT,
    RB_DISCRIMINATOR_DENSE_BIAS,
    RB_DISCRIMINATOR_WEIGHT,
    RB_DISCRIMINATOR_BIAS,
    RB_NEXT_SENTENCE_WEIGHT,
    RB_NEXT_SENTENCE_BIAS,
    RB_SLOT_COUNT,
    RB_SLOT_NONE = RB_SLOT_COUNT
};

enum rb_need {
    RB_ALWAYS,
    RB_WITH_MLM,        /* needed when the head is RB_HEAD_MLM … */
    RB_WITH_CLASSIFIER, /* … and so on */
    RB_WITH_CAUSAL,
    RB_WITH_DISCRIMINATOR,
    RB_WITH_PROJECTION,     /* needed when embedding_size is not hidden_size, else not there */
    RB_WITH_ATTENTION_BIAS, /* needed when the description has attention_bias … */
    RB_WITH_ATTENTION_OUTPUT_BIAS,
    RB_WITH_MLP_BIAS,
    RB_IF_PRESENT, /* moved and merged where both checkpoints have it, read by no forward pass */
};

/* How a slot lies in its stored tensor. */
enum rb_layout {
    RB_LAYOUT_PLAIN,      /* (rows, columns) as the slot */
    RB_LAYOUT_PART,       /* rows [part, part + 1) * rows of a tensor with parts * rows rows */
    RB_LAYOUT_TRANSPOSED, /* stored (columns, rows); with parts > 1 the slot is a range of the
                           * stored columns: GPT-2's thirds. A vector is as RB_LAYOUT_PART */
    RB_LAYOUT_BY_HEAD,    /* per head the rows of all parts in turn: GPT-NeoX's q, k, v */
};

struct rb_view {
    enum rb_layout layout;
    uint8_t part, parts; /* part k of n; 0 of 0 is 0 of 1 */
};

struct rb_tensor_row {
    const char *name;          /* "encoder.layer.%u.attention.self.query.weight", without the
                                * family's prefix; NULL: the family has no such tensor */
    const char *alias;         /* another name for the same tensor, or NULL */
    enum rb_dim rows, columns; /* columns RB_DIM_NONE: a vector */
    enum rb_axis row_axis, column_axis;
    bool per_layer;
    bool outside; /* the name stands outside the family's prefix ("cls.", "classifier.") */
    enum rb_need need;
    struct rb_view view;
};

/* A head as data: rows of the last layer's output, [dense + activation], [norm], then the output
 * weight's rows: the vocabulary, the labels, or one. */
struct rb_head_shape {
    enum rb_head kind;
    enum rb_slot marker; /* the checkpoint has this head when this slot's tensor is stored */
    enum rb_slot dense;  /* its weight, the bias after it; RB_SLOT_NONE: none */
    enum rb_slot norm;   /* its weight, the bias after it; RB_SLOT_NONE: none */
    enum rb_slot output; /* its weight, the bias after it where the table has one */
    const char
        *stored_as; /* "cls.predictions": what a checkpoint with this head holds, for errors */
    enum rb_activation activation; /* after the dense; RB_ACTIVATION_NONE: head_activation */
    bool last_token; /* a classifier reads the last token that is not padding; else the first */
};

struct rb_config_key {
    const char *member; /* of struct rb_config, e.g. "hidden_size" */
    const char *key;    /* what this family's config.json calls it, e.g. "dim" */
};

struct rb_family {
    const char *model_type; /* config.json's "model_type" */
    const char *prefix;     /* "bert."; checkpoints of the bare encoder leave it out */
    /* Checks every member that the forward pass depends on. RB_ECONFIG naming the member, what was
     * found, what was expected. label: how errors call the file. */
    enum rb_status (*parse)(const char *label, const json_t *json, struct rb_config *ret,
                            struct rb_error *err);
    const struct rb_tensor_row *rows;  /* (RB_SLOT_COUNT), by slot */
    const struct rb_head_shape *heads; /* looked for in this order; ends with RB_HEAD_NONE */
    const struct rb_config_key *keys;  /* members that are called otherwise; ends with NULL */
    const char *const *ignored; /* name suffixes of buffers that are not weights; NULL-terminated */
};

/* One row per family file; nothing else tells them apart. */
extern const struct rb_family rb_family_bert;
extern const struct rb_family rb_family_camembert;
extern const struct rb_family rb_family_distilbert;
extern const struct rb_family rb_family_electra;
extern const struct rb_family rb_family_gpt2;
extern const struct rb_family rb_family_gpt_neox;
extern const struct rb_family rb_family_llama;
extern const struct rb_family rb_family_olmo2;
extern const struct rb_family rb_family_qwen2;
extern const struct rb_family rb_family_roberta;
extern const struct rb_family rb_family_xlm_roberta;

/* NULL if no family has that model_type. */
const struct rb_family *rb_family_find(const char *model_type);
/* All of them, for documentation and error messages; NULL-terminated. */
const struct rb_family *const *rb_families(void);
/* The family's row for a slot; NULL where it has no such tensor. */
const struct rb_tensor_row *rb_family_row(const struct rb_family *f, enum rb_slot slot);

#endif
