/* tests/unit/random_decoder.h: Hugging Face folders of models that read from left to right, of any
 * shape, drawn from a seed; and other models that compute the same function (METHOD 9).
 *
 * A model is kept as its linear maps (out, in), whatever its family stores; only writing it knows
 * names, fused and transposed tensors. All of this is written from METHOD 9 and Hugging Face's
 * names, not from core/model/families, so that a mistake there does not meet itself here. */
#ifndef RB_TESTS_RANDOM_DECODER_H
#define RB_TESTS_RANDOM_DECODER_H

#include "unit/numbers.h"
#include "unit/random_sequences.h"
#include "unit/tmpdir.h"

#include "core/model/model.h"
#include "core/sequences.h"
#include "core/tensor/safetensors_write.h"

#include <errno.h>

enum decoder_family { GPT2, NEOX, LLAMA, QWEN2, OLMO2, DECODER_FAMILIES };

struct decoder_shape {
    const char *name; /* for messages */
    enum decoder_family family;
    size_t hidden, layers, heads, kv_heads, head_dim, inner;
    size_t vocab, positions, rotary; /* rotary: entries of each head; 0 for GPT-2 only */
    size_t labels;                   /* 0: a causal head, else a classifier */
    enum rb_dtype dtype;
    bool parallel; /* NeoX */
    bool tied;     /* the unembedding is the word embeddings */
    bool copied;   /* tied, and the file holds the copy all the same */
    bool bare;     /* names without prefix */
    bool buffers;  /* masks and frequencies, which are no weights */
    bool biases;   /* NeoX, Llama, OLMo-2: attention_bias; Llama: mlp_bias too */
    bool newer;    /* rope_parameters instead of rope_theta and its like */
    bool llama3;   /* rope_scaling of that type */
    bool by_layer; /* GPT-2: scale_attn_by_inverse_layer_idx */
    bool unscaled; /* GPT-2: scale_attn_weights false */
};

/* What a model may have, as linear maps. Those of layers come first. */
enum decoder_part {
    D_QUERY,
    D_QUERY_BIAS,
    D_KEY,
    D_KEY_BIAS,
    D_VALUE,
    D_VALUE_BIAS,
    D_QUERY_NORM,
    D_KEY_NORM,
    D_OUTPUT,
    D_OUTPUT_BIAS,
    D_NORM1,
    D_NORM1_BIAS,
    D_NORM2,
    D_NORM2_BIAS,
    D_UP,
    D_UP_BIAS,
    D_GATE,
    D_GATE_BIAS,
    D_DOWN,
    D_DOWN_BIAS,
    D_LAYER_PARTS,
    D_WORDS = D_LAYER_PARTS,
    D_POSITIONS,
    D_FINAL,
    D_FINAL_BIAS,
    D_UNEMBEDDING,
    D_SCORE,
    D_PARTS
};

/* Sizes: Hidden, Query width, Key width, Inner, Vocabulary, Positions, Labels. Axes: e residual,
 * q queries, k keys, v values, o what the output reads, f FF, '.' fixed. */
static const struct {
    const char *sizes, *axes;
} decoder_parts[D_PARTS] = {
    [D_QUERY] = {"QH", "qe"},       [D_QUERY_BIAS] = {"Q", "q"}, [D_KEY] = {"KH", "ke"},
    [D_KEY_BIAS] = {"K", "k"},      [D_VALUE] = {"KH", "ve"},    [D_VALUE_BIAS] = {"K", "v"},
    [D_QUERY_NORM] = {"Q", "q"},    [D_KEY_NORM] = {"K", "k"},   [D_OUTPUT] = {"HQ", "eo"},
    [D_OUTPUT_BIAS] = {"H", "e"},   [D_NORM1] = {"H", "e"},      [D_NORM1_BIAS] = {"H", "e"},
    [D_NORM2] = {"H", "e"},         [D_NORM2_BIAS] = {"H", "e"}, [D_UP] = {"IH", "fe"},
    [D_UP_BIAS] = {"I", "f"},       [D_GATE] = {"IH", "fe"},     [D_GATE_BIAS] = {"I", "f"},
    [D_DOWN] = {"HI", "ef"},        [D_DOWN_BIAS] = {"H", "e"},  [D_WORDS] = {"VH", ".e"},
    [D_POSITIONS] = {"PH", ".e"},   [D_FINAL] = {"H", "e"},      [D_FINAL_BIAS] = {"H", "e"},
    [D_UNEMBEDDING] = {"VH", ".e"}, [D_SCORE] = {"LH", ".e"},
};

struct decoder_tensor {
    size_t rows, columns; /* a vector has one column */
    double *values;       /* NULL: the model has no such part */
};

struct random_decoder {
    struct decoder_shape shape;
    struct decoder_tensor *tensors; /* (layers, D_PARTS); parts of no layer: layer 0 */
};

static inline struct decoder_tensor *decoder_at(const struct random_decoder *m, size_t layer,
                                                enum decoder_part part)
{
    return &m->tensors[layer * D_PARTS + part];
}

static inline size_t decoder_size(const struct decoder_shape *s, char letter)
{
    switch (letter) {
    case 'H':
        return s->hidden;
    case 'Q':
        return s->heads * s->head_dim;
    case 'K':
        return s->kv_heads * s->head_dim;
    case 'I':
        return s->inner;
    case 'V':
        return s->vocab;
    case 'P':
        return s->positions;
    case 'L':
        return s->labels;
    default:
        return 1;
    }
}

static inline bool decoder_gated(const struct decoder_shape *s)
{
    return s->family >= LLAMA;
}

static inline bool decoder_has(const struct decoder_shape *s, enum decoder_part part)
{
    bool layer_norm = s->family == GPT2 || s->family == NEOX;
    switch (part) {
    case D_QUERY_BIAS:
    case D_KEY_BIAS:
    case D_VALUE_BIAS:
        return s->family == GPT2 || s->family == QWEN2 || s->biases;
    case D_OUTPUT_BIAS:
        return s->family == GPT2 || s->biases;
    case D_UP_BIAS:
    case D_DOWN_BIAS:
        return layer_norm || (s->family == LLAMA && s->biases);
    case D_GATE_BIAS:
        return s->family == LLAMA && s->biases;
    case D_GATE:
        return decoder_gated(s);
    case D_NORM1_BIAS:
    case D_NORM2_BIAS:
    case D_FINAL_BIAS:
        return layer_norm;
    case D_QUERY_NORM:
    case D_KEY_NORM:
        return s->family == OLMO2;
    case D_POSITIONS:
        return s->family == GPT2;
    case D_UNEMBEDDING:
        return s->labels == 0 && !s->tied;
    case D_SCORE:
        return s->labels > 0;
    default:
        return true;
    }
}

static inline double decoder_rounded(enum rb_dtype dtype, double x)
{
    float single = (float)x;
    uint64_t room;
    if (dtype == RB_F64)
        return x;
    rb_dtype_from_f32(dtype, &single, &room, 1);
    rb_dtype_to_f32(dtype, &room, &single, 1);
    return (double)single;
}

static inline double decoder_value(enum decoder_part part, size_t columns, uint64_t *seed)
{
    double x = random_normal(seed);
    switch (part) {
    case D_NORM1:
    case D_NORM2:
    case D_FINAL:
    case D_QUERY_NORM:
    case D_KEY_NORM:
        return 1 + 0.25 * x;
    case D_WORDS:
    case D_POSITIONS:
        return 0.4 * x;
    default:
        return columns == 1 ? 0.25 * x : x / sqrt((double)columns);
    }
}

static inline void random_decoder_init(struct random_decoder *m, const struct decoder_shape *s,
                                       uint64_t seed)
{
    *m = (struct random_decoder){.shape = *s};
    m->tensors = must_alloc(s->layers * D_PARTS, sizeof *m->tensors);
    for (size_t l = 0; l < s->layers; l++)
        for (enum decoder_part p = 0; p < D_PARTS; p++) {
            struct decoder_tensor *t = decoder_at(m, l, p);
            const char *sizes = decoder_parts[p].sizes;
            if (!decoder_has(s, p) || (p >= D_LAYER_PARTS && l > 0))
                continue;
            t->rows = decoder_size(s, sizes[0]);
            t->columns = sizes[1] != '\0' ? decoder_size(s, sizes[1]) : 1;
            t->values = must_alloc(t->rows * t->columns, sizeof(double));
            for (size_t i = 0; i < t->rows * t->columns; i++)
                t->values[i] = decoder_rounded(s->dtype, decoder_value(p, t->columns, &seed));
        }
}

static inline void random_decoder_deinit(struct random_decoder *m)
{
    for (size_t i = 0; i < m->shape.layers * D_PARTS; i++)
        free(m->tensors[i].values);
    free(m->tensors);
    *m = (struct random_decoder){0};
}

/* ---- the same function in another basis ---- */

/* New unit i is old unit index[i]. The layers' arrays hold one vector per layer. */
struct decoder_moves {
    uint32_t *residual;
    uint32_t *ff;            /* (layers, inner) */
    uint32_t *q, *k, *v, *o; /* (layers, width) */
};

static inline uint32_t *decoder_axis(const struct decoder_shape *s, const struct decoder_moves *v,
                                     char axis, size_t layer)
{
    size_t wide = decoder_size(s, 'Q'), narrow = decoder_size(s, 'K');
    switch (axis) {
    case 'e':
        return v->residual;
    case 'f':
        return v->ff + layer * s->inner;
    case 'q':
        return v->q + layer * wide;
    case 'k':
        return v->k + layer * narrow;
    case 'v':
        return v->v + layer * narrow;
    case 'o':
        return v->o + layer * wide;
    default:
        return NULL;
    }
}

/* Key-value heads in random order, in each its query heads, in each value head its units; queries
 * and keys follow with their units only where nothing turns them. */
static inline void decoder_head_moves(const struct decoder_shape *s, struct decoder_moves *m,
                                      size_t layer, uint64_t *seed)
{
    size_t dh = s->head_dim, group = s->heads / s->kv_heads;
    uint32_t *kv = must_alloc(s->kv_heads, sizeof *kv), *units = must_alloc(dh, sizeof *units);
    uint32_t *heads = must_alloc(group, sizeof *heads);
    random_permutation(seed, kv, s->kv_heads);
    for (size_t g = 0; g < s->kv_heads; g++) {
        random_permutation(seed, units, dh);
        random_permutation(seed, heads, group);
        for (size_t u = 0; u < dh; u++) {
            size_t inner = s->rotary > 0 ? u : units[u], from = kv[g] * dh;
            decoder_axis(s, m, 'v', layer)[g * dh + u] = (uint32_t)from + units[u];
            decoder_axis(s, m, 'k', layer)[g * dh + u] = (uint32_t)(from + inner);
            for (size_t h = 0; h < group; h++) {
                size_t to = (g * group + h) * dh + u, head = (kv[g] * group + heads[h]) * dh;
                decoder_axis(s, m, 'o', layer)[to] = (uint32_t)head + units[u];
                decoder_axis(s, m, 'q', layer)[to] = (uint32_t)(head + inner);
            }
        }
    }
    free(kv);
    free(units);
    free(heads);
}

static inline void decoder_moves_init(struct decoder_moves *m, const struct decoder_shape *s,
                                      uint64_t *seed)
{
    size_t wide = decoder_size(s, 'Q'), narrow = decoder_size(s, 'K');
    *m = (struct decoder_moves){
        .residual = must_alloc(s->hidden, sizeof(uint32_t)),
        .ff = must_alloc(s->layers * s->inner, sizeof(uint32_t)),
        .q = must_alloc(s->layers * wide, sizeof(uint32_t)),
        .k = must_alloc(s->layers * narrow, sizeof(uint32_t)),
        .v = must_alloc(s->layers * narrow, sizeof(uint32_t)),
        .o = must_alloc(s->layers * wide, sizeof(uint32_t)),
    };
    random_permutation(seed, m->residual, s->hidden);
    for (size_t l = 0; l < s->layers; l++) {
        random_permutation(seed, m->ff + l * s->inner, s->inner);
        decoder_head_moves(s, m, l, seed);
    }
}

static inline void decoder_moves_deinit(struct decoder_moves *m)
{
    free(m->residual);
    free(m->ff);
    free(m->q);
    free(m->k);
    free(m->v);
    free(m->o);
}

static inline void random_decoder_move(struct random_decoder *m, const struct decoder_moves *v)
{
    for (size_t l = 0; l < m->shape.layers; l++)
        for (enum decoder_part p = 0; p < D_PARTS; p++) {
            struct decoder_tensor *t = decoder_at(m, l, p);
            const char *axes = decoder_parts[p].axes;
            if (t->values == NULL)
                continue;
            const uint32_t *rows = decoder_axis(&m->shape, v, axes[0], l);
            const uint32_t *columns = decoder_axis(&m->shape, v, axes[1], l);
            double *moved = must_alloc(t->rows * t->columns, sizeof *moved);
            for (size_t i = 0; i < t->rows; i++)
                for (size_t j = 0; j < t->columns; j++)
                    moved[i * t->columns + j] =
                        t->values[(rows != NULL ? rows[i] : i) * t->columns +
                                  (columns != NULL ? columns[j] : j)];
            free(t->values);
            t->values = moved;
        }
}

/* ---- as a folder ---- */

/* What each family calls a part; "" where it lies in a fused tensor, which is written apart. */
static const char *const decoder_names[DECODER_FAMILIES][D_PARTS] = {
    [GPT2] = {[D_OUTPUT] = "h.%zu.attn.c_proj.weight",
              [D_OUTPUT_BIAS] = "h.%zu.attn.c_proj.bias",
              [D_NORM1] = "h.%zu.ln_1.weight",
              [D_NORM1_BIAS] = "h.%zu.ln_1.bias",
              [D_NORM2] = "h.%zu.ln_2.weight",
              [D_NORM2_BIAS] = "h.%zu.ln_2.bias",
              [D_UP] = "h.%zu.mlp.c_fc.weight",
              [D_UP_BIAS] = "h.%zu.mlp.c_fc.bias",
              [D_DOWN] = "h.%zu.mlp.c_proj.weight",
              [D_DOWN_BIAS] = "h.%zu.mlp.c_proj.bias",
              [D_WORDS] = "wte.weight",
              [D_POSITIONS] = "wpe.weight",
              [D_FINAL] = "ln_f.weight",
              [D_FINAL_BIAS] = "ln_f.bias",
              [D_UNEMBEDDING] = "lm_head.weight",
              [D_SCORE] = "score.weight",
              [D_QUERY] = "h.%zu.attn.c_attn.weight",
              [D_QUERY_BIAS] = "h.%zu.attn.c_attn.bias"},
    [NEOX] = {[D_OUTPUT] = "layers.%zu.attention.dense.weight",
              [D_OUTPUT_BIAS] = "layers.%zu.attention.dense.bias",
              [D_NORM1] = "layers.%zu.input_layernorm.weight",
              [D_NORM1_BIAS] = "layers.%zu.input_layernorm.bias",
              [D_NORM2] = "layers.%zu.post_attention_layernorm.weight",
              [D_NORM2_BIAS] = "layers.%zu.post_attention_layernorm.bias",
              [D_UP] = "layers.%zu.mlp.dense_h_to_4h.weight",
              [D_UP_BIAS] = "layers.%zu.mlp.dense_h_to_4h.bias",
              [D_DOWN] = "layers.%zu.mlp.dense_4h_to_h.weight",
              [D_DOWN_BIAS] = "layers.%zu.mlp.dense_4h_to_h.bias",
              [D_WORDS] = "embed_in.weight",
              [D_FINAL] = "final_layer_norm.weight",
              [D_FINAL_BIAS] = "final_layer_norm.bias",
              [D_UNEMBEDDING] = "embed_out.weight",
              [D_SCORE] = "score.weight",
              [D_QUERY] = "layers.%zu.attention.query_key_value.weight",
              [D_QUERY_BIAS] = "layers.%zu.attention.query_key_value.bias"},
};

static const char *const llama_names[D_PARTS] = {
    [D_QUERY] = "layers.%zu.self_attn.q_proj.weight",
    [D_QUERY_BIAS] = "layers.%zu.self_attn.q_proj.bias",
    [D_KEY] = "layers.%zu.self_attn.k_proj.weight",
    [D_KEY_BIAS] = "layers.%zu.self_attn.k_proj.bias",
    [D_VALUE] = "layers.%zu.self_attn.v_proj.weight",
    [D_VALUE_BIAS] = "layers.%zu.self_attn.v_proj.bias",
    [D_QUERY_NORM] = "layers.%zu.self_attn.q_norm.weight",
    [D_KEY_NORM] = "layers.%zu.self_attn.k_norm.weight",
    [D_OUTPUT] = "layers.%zu.self_attn.o_proj.weight",
    [D_OUTPUT_BIAS] = "layers.%zu.self_attn.o_proj.bias",
    [D_NORM1] = "layers.%zu.input_layernorm.weight",
    [D_NORM2] = "layers.%zu.post_attention_layernorm.weight",
    [D_UP] = "layers.%zu.mlp.up_proj.weight",
    [D_UP_BIAS] = "layers.%zu.mlp.up_proj.bias",
    [D_GATE] = "layers.%zu.mlp.gate_proj.weight",
    [D_GATE_BIAS] = "layers.%zu.mlp.gate_proj.bias",
    [D_DOWN] = "layers.%zu.mlp.down_proj.weight",
    [D_DOWN_BIAS] = "layers.%zu.mlp.down_proj.bias",
    [D_WORDS] = "embed_tokens.weight",
    [D_FINAL] = "norm.weight",
    [D_UNEMBEDDING] = "lm_head.weight",
    [D_SCORE] = "score.weight",
};

static inline bool decoder_fused(const struct decoder_shape *s)
{
    return s->family == GPT2 || s->family == NEOX;
}

/* NULL: the part has no tensor of its own. */
static inline const char *decoder_template(const struct decoder_shape *s, enum decoder_part p)
{
    if (s->family == OLMO2 && p == D_NORM1)
        return "layers.%zu.post_attention_layernorm.weight";
    if (s->family == OLMO2 && p == D_NORM2)
        return "layers.%zu.post_feedforward_layernorm.weight";
    return decoder_fused(s) ? decoder_names[s->family][p] : llama_names[p];
}

static inline void decoder_name(const struct decoder_shape *s, enum decoder_part p, size_t layer,
                                char *buffer, size_t size)
{
    static const char *const prefixes[] = {"transformer.", "gpt_neox.", "model.", "model.",
                                           "model."};
    bool outside = p == D_UNEMBEDDING || p == D_SCORE;
    const char *name = decoder_template(s, p), *number = strchr(name, '%');
    const char *prefix = outside || s->bare ? "" : prefixes[s->family];
    if (number == NULL)
        (void)snprintf(buffer, size, "%s%s", prefix, name);
    else
        (void)snprintf(buffer, size, "%s%.*s%zu%s", prefix, (int)(number - name), name, layer,
                       number + 3);
}

/* One tensor as it goes to the file. */
struct decoder_stored {
    char name[128];
    size_t rows, columns;
    bool vector;
    double *values;
};

/* Query, key and value one under the other, or head by head; (3 width, columns). */
static inline double *decoder_fuse(const struct random_decoder *m, size_t layer,
                                   enum decoder_part first)
{
    const struct decoder_shape *s = &m->shape;
    const struct decoder_tensor *q = decoder_at(m, layer, first);
    size_t width = q->rows, columns = q->columns, dh = s->head_dim;
    double *all = must_alloc(3 * width * columns, sizeof *all);
    for (size_t part = 0; part < 3; part++)
        for (size_t r = 0; r < width; r++) {
            size_t to = s->family == GPT2 ? part * width + r : (r / dh * 3 + part) * dh + r % dh;
            memcpy(all + to * columns, decoder_at(m, layer, first + 2 * part)->values + r * columns,
                   columns * sizeof *all);
        }
    return all;
}

static inline double *decoder_transpose(double *values, size_t rows, size_t columns)
{
    double *t = must_alloc(rows * columns, sizeof *t);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            t[j * rows + i] = values[i * columns + j];
    free(values);
    return t;
}

/* false: the part is not stored under a name of its own. */
static inline bool decoder_store(const struct random_decoder *m, size_t layer, enum decoder_part p,
                                 struct decoder_stored *ret)
{
    const struct decoder_shape *s = &m->shape;
    bool copy = p == D_UNEMBEDDING && s->copied && s->labels == 0;
    const struct decoder_tensor *t = decoder_at(m, layer, copy ? D_WORDS : p);
    if (t->values == NULL || decoder_template(s, p) == NULL || (p >= D_LAYER_PARTS && layer > 0))
        return false;
    bool fused = decoder_fused(s) && (p == D_QUERY || p == D_QUERY_BIAS);
    *ret = (struct decoder_stored){
        .rows = t->rows, .columns = t->columns, .vector = decoder_parts[p].sizes[1] == '\0'};
    decoder_name(s, p, layer, ret->name, sizeof ret->name);
    if (fused) {
        ret->values = decoder_fuse(m, layer, p);
        ret->rows *= 3;
    } else {
        ret->values = must_alloc(t->rows * t->columns, sizeof(double));
        memcpy(ret->values, t->values, t->rows * t->columns * sizeof(double));
    }
    if (s->family == GPT2 && !ret->vector && p < D_LAYER_PARTS) {
        ret->values = decoder_transpose(ret->values, ret->rows, ret->columns);
        size_t rows = ret->rows;
        ret->rows = ret->columns;
        ret->columns = rows;
    }
    return true;
}

static inline void decoder_write_values(struct rb_st_writer *w, size_t index, enum rb_dtype dtype,
                                        const double *values, size_t n)
{
    struct rb_error err;
    void *encoded = must_alloc(n, sizeof(double));
    float *single = must_alloc(n, sizeof *single);
    for (size_t i = 0; i < n; i++)
        single[i] = (float)values[i];
    if (dtype == RB_F64)
        memcpy(encoded, values, n * sizeof *values);
    else
        rb_dtype_from_f32(dtype, single, encoded, n);
    MUST(rb_st_writer_write(w, index, 0, encoded, n * rb_dtype_bytes(dtype), &err), &err);
    free(encoded);
    free(single);
}

static inline size_t decoder_store_all(const struct random_decoder *m, struct decoder_stored *ret)
{
    const struct decoder_shape *s = &m->shape;
    size_t n = 0;
    for (size_t l = 0; l < s->layers; l++)
        for (enum decoder_part p = 0; p < D_PARTS; p++)
            n += decoder_store(m, l, p, &ret[n]);
    if (s->buffers && s->family != QWEN2) /* a mask, or frequencies */
        for (size_t l = 0; l < s->layers; l++, n++) {
            const char *template = s->family == GPT2   ? "h.%zu.attn.bias"
                                   : s->family == NEOX ? "layers.%zu.attention.bias"
                                                       : "layers.%zu.self_attn.rotary_emb.inv_freq";
            const char *number = strchr(template, '%');
            ret[n] = (struct decoder_stored){.rows = 3, .columns = 1, .vector = true};
            (void)snprintf(ret[n].name, sizeof ret[n].name, "%s%.*s%zu%s",
                           s->bare             ? ""
                           : s->family == GPT2 ? "transformer."
                           : s->family == NEOX ? "gpt_neox."
                                               : "model.",
                           (int)(number - template), template, l, number + 3);
            ret[n].values = must_alloc(3, sizeof(double));
        }
    return n;
}

static inline void decoder_write_weights(const struct random_decoder *m, const char *path)
{
    struct rb_error err;
    struct rb_st_writer *w;
    size_t most = (m->shape.layers + 1) * (D_PARTS + 1);
    struct decoder_stored *stored = must_alloc(most, sizeof *stored);
    struct rb_st_spec *specs = must_alloc(most, sizeof *specs);
    size_t n = decoder_store_all(m, stored);
    for (size_t i = 0; i < n; i++)
        specs[i] = (struct rb_st_spec){.name = stored[i].name,
                                       .dtype = m->shape.dtype,
                                       .rank = stored[i].vector ? 1 : 2,
                                       .shape = {stored[i].rows, stored[i].columns}};
    MUST(rb_st_writer_open(path, specs, n, NULL, 0, &w, &err), &err);
    for (size_t i = 0; i < n; i++) {
        decoder_write_values(w, i, m->shape.dtype, stored[i].values,
                             stored[i].rows * stored[i].columns);
        free(stored[i].values);
    }
    MUST(rb_st_writer_commit(w, &err), &err);
    free(stored);
    free(specs);
}

/* ---- config.json ---- */

static const double DECODER_THETA = 5000, DECODER_EPS = 1e-5;

static inline json_t *decoder_scaling(const struct decoder_shape *s, bool newer)
{
    json_t *r = json_object();
    json_object_set_new(r, "rope_type", json_string(s->llama3 ? "llama3" : "default"));
    if (newer)
        json_object_set_new(r, "rope_theta", json_real(DECODER_THETA));
    if (newer && s->family == NEOX)
        json_object_set_new(r, "partial_rotary_factor",
                            json_real((double)s->rotary / (double)s->head_dim));
    if (s->llama3) {
        json_object_set_new(r, "factor", json_real(4));
        json_object_set_new(r, "low_freq_factor", json_real(1));
        json_object_set_new(r, "high_freq_factor", json_real(4));
        json_object_set_new(r, "original_max_position_embeddings", json_integer(64));
    }
    return r;
}

static inline void decoder_set(json_t *c, const char *key, size_t value)
{
    json_object_set_new(c, key, json_integer((json_int_t)value));
}

static inline void decoder_rope_config(const struct decoder_shape *s, json_t *c)
{
    if (s->newer) {
        json_object_set_new(c, "rope_parameters", decoder_scaling(s, true));
        return;
    }
    json_object_set_new(c, s->family == NEOX ? "rotary_emb_base" : "rope_theta",
                        json_real(DECODER_THETA));
    if (s->family == NEOX)
        json_object_set_new(c, "rotary_pct", json_real((double)s->rotary / (double)s->head_dim));
    json_object_set_new(c, "rope_scaling", s->llama3 ? decoder_scaling(s, false) : json_null());
}

static inline json_t *decoder_config(const struct decoder_shape *s)
{
    static const char *const types[] = {"gpt2", "gpt_neox", "llama", "qwen2", "olmo2"};
    bool gpt2 = s->family == GPT2;
    json_t *c = json_object();
    json_object_set_new(c, "model_type", json_string(types[s->family]));
    decoder_set(c, "vocab_size", s->vocab);
    decoder_set(c, gpt2 ? "n_embd" : "hidden_size", s->hidden);
    decoder_set(c, gpt2 ? "n_layer" : "num_hidden_layers", s->layers);
    decoder_set(c, gpt2 ? "n_head" : "num_attention_heads", s->heads);
    decoder_set(c, gpt2 ? "n_positions" : "max_position_embeddings", s->positions);
    if (gpt2 && s->inner == 4 * s->hidden)
        json_object_set_new(c, "n_inner", json_null());
    else
        decoder_set(c, gpt2 ? "n_inner" : "intermediate_size", s->inner);
    if (s->family >= LLAMA && s->kv_heads != s->heads)
        decoder_set(c, "num_key_value_heads", s->kv_heads);
    if (s->heads * s->head_dim != s->hidden)
        decoder_set(c, "head_dim", s->head_dim);
    json_object_set_new(c,
                        gpt2                ? "layer_norm_epsilon"
                        : s->family == NEOX ? "layer_norm_eps"
                                            : "rms_norm_eps",
                        json_real(DECODER_EPS));
    json_object_set_new(c, gpt2 ? "activation_function" : "hidden_act",
                        json_string(gpt2                ? "gelu_new"
                                    : s->family == NEOX ? "gelu"
                                                        : "silu"));
    json_object_set_new(c, "tie_word_embeddings", json_boolean(s->tied));
    if (s->labels > 0)
        decoder_set(c, "num_labels", s->labels);
    if (gpt2) {
        json_object_set_new(c, "scale_attn_by_inverse_layer_idx", json_boolean(s->by_layer));
        json_object_set_new(c, "scale_attn_weights", json_boolean(!s->unscaled));
        json_object_set_new(c, "reorder_and_upcast_attn", json_true());
        return c;
    }
    decoder_rope_config(s, c);
    if (s->family == NEOX)
        json_object_set_new(c, "use_parallel_residual", json_boolean(s->parallel));
    if (s->family != QWEN2)
        json_object_set_new(c, "attention_bias", json_boolean(s->biases));
    if (s->family == LLAMA)
        json_object_set_new(c, "mlp_bias", json_boolean(s->biases));
    return c;
}

/* Writes config.json and model.safetensors to a folder of that name, and opens it. */
static inline void random_decoder_open(const struct random_decoder *m, struct tmpdir *dir,
                                       const char *name, struct rb_model *ret)
{
    struct rb_error err;
    const char *folder = tmpdir_path(dir, name);
    char path[512];
    json_t *config = decoder_config(&m->shape);
    assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(json_dump_file(config, path, JSON_INDENT(2)), 0);
    json_decref(config);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    decoder_write_weights(m, path);
    MUST(rb_model_open(tmpdir_path(dir, name), ret, &err), &err);
}

/* ---- something to read ---- */

/* Sequences of shortest to longest tokens, each token's target the next one, none at the end;
 * labels suit the head. Free with rb_sequences_deinit. */
static inline struct rb_sequences decoder_sequences(const struct decoder_shape *s, size_t count,
                                                    size_t shortest, size_t longest, uint64_t seed)
{
    struct rb_sequences q = random_lengths(count, shortest, longest, &seed);
    size_t n = q.starts[count];
    for (size_t i = 0; i < n; i++)
        q.ids[i] = (int32_t)random_index(&seed, s->vocab);
    for (size_t i = 0; i < count; i++) {
        size_t end = q.starts[i + 1];
        for (size_t t = q.starts[i]; t < end; t++)
            q.targets[t] = t + 1 < end ? q.ids[t + 1] : -1;
        q.target_count += end - q.starts[i] - 1;
        q.labels[i] = s->labels > 1 ? (double)random_index(&seed, s->labels) : 0.5;
        q.rows[i] = i + 1;
    }
    return q;
}

#endif
