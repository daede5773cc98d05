/* tests/unit/random_model.h: Hugging Face folders of any shape, drawn from a seed; and another
 * model that computes the same function, made by permuting and rotating every group of units
 * (METHOD 5).
 *
 * The table below is written from METHOD 5 and Hugging Face's names, not from core/model/families,
 * so that a mistake there does not meet itself here. Values are what the dtype can hold. */
#ifndef RB_TESTS_RANDOM_MODEL_H
#define RB_TESTS_RANDOM_MODEL_H

#include "unit/numbers.h"
#include "unit/random_sequences.h"
#include "unit/tmpdir.h"

#include "core/model/model.h"
#include "core/sequences.h"
#include "core/tensor/safetensors_write.h"

#include <errno.h>

enum random_unembedding {
    DECODER_TIED,
    DECODER_COPIED, /* tied, and the file holds the copy that some exporters write */
    DECODER_UNTIED
};

struct random_shape {
    const char *name; /* for messages */
    uint32_t hidden, layers, heads, intermediate, vocab, positions, types, labels;
    enum rb_head head;
    enum rb_dtype dtype;
    bool bare;        /* names without "bert." */
    bool gamma_beta;  /* old names of the norms' weights */
    bool pretraining; /* beside an MLM head: pooler and next-sentence head */
    bool buffers;     /* position_ids, which is no weight */
    enum random_unembedding decoder;
    double scale; /* of the weights; 0: 1 */
};

/* Which models have a tensor. */
enum random_part { PART_ALL, PART_MLM, PART_DECODER, PART_POOLER, PART_NSP, PART_CLASSIFIER };

/* Sizes: Vocabulary, Positions, Types, Hidden, Intermediate, Labels, 2. Axes: 'e' the residual
 * stream, 'f' FF, 'm' head outputs, 'q' queries and keys, 't' transform, 'p' pooler, '.' fixed. */
static const struct random_row {
    const char *name;
    const char *sizes, *axes;
    enum random_part part;
} random_rows[] = {
    {"embeddings.word_embeddings.weight", "VH", ".e", PART_ALL},
    {"embeddings.position_embeddings.weight", "PH", ".e", PART_ALL},
    {"embeddings.token_type_embeddings.weight", "TH", ".e", PART_ALL},
    {"embeddings.LayerNorm.weight", "H", "e", PART_ALL},
    {"embeddings.LayerNorm.bias", "H", "e", PART_ALL},
    {"encoder.layer.%u.attention.self.query.weight", "HH", "qe", PART_ALL},
    {"encoder.layer.%u.attention.self.query.bias", "H", "q", PART_ALL},
    {"encoder.layer.%u.attention.self.key.weight", "HH", "qe", PART_ALL},
    {"encoder.layer.%u.attention.self.key.bias", "H", "q", PART_ALL},
    {"encoder.layer.%u.attention.self.value.weight", "HH", "me", PART_ALL},
    {"encoder.layer.%u.attention.self.value.bias", "H", "m", PART_ALL},
    {"encoder.layer.%u.attention.output.dense.weight", "HH", "em", PART_ALL},
    {"encoder.layer.%u.attention.output.dense.bias", "H", "e", PART_ALL},
    {"encoder.layer.%u.attention.output.LayerNorm.weight", "H", "e", PART_ALL},
    {"encoder.layer.%u.attention.output.LayerNorm.bias", "H", "e", PART_ALL},
    {"encoder.layer.%u.intermediate.dense.weight", "IH", "fe", PART_ALL},
    {"encoder.layer.%u.intermediate.dense.bias", "I", "f", PART_ALL},
    {"encoder.layer.%u.output.dense.weight", "HI", "ef", PART_ALL},
    {"encoder.layer.%u.output.dense.bias", "H", "e", PART_ALL},
    {"encoder.layer.%u.output.LayerNorm.weight", "H", "e", PART_ALL},
    {"encoder.layer.%u.output.LayerNorm.bias", "H", "e", PART_ALL},
    {"pooler.dense.weight", "HH", "pe", PART_POOLER},
    {"pooler.dense.bias", "H", "p", PART_POOLER},
    {"cls.predictions.transform.dense.weight", "HH", "te", PART_MLM},
    {"cls.predictions.transform.dense.bias", "H", "t", PART_MLM},
    {"cls.predictions.transform.LayerNorm.weight", "H", "t", PART_MLM},
    {"cls.predictions.transform.LayerNorm.bias", "H", "t", PART_MLM},
    {"cls.predictions.decoder.weight", "VH", ".t", PART_DECODER},
    {"cls.predictions.bias", "V", ".", PART_MLM},
    {"cls.seq_relationship.weight", "2H", ".p", PART_NSP},
    {"cls.seq_relationship.bias", "2", ".", PART_NSP},
    {"classifier.weight", "LH", ".p", PART_CLASSIFIER},
    {"classifier.bias", "L", ".", PART_CLASSIFIER},
};

struct random_tensor {
    const struct random_row *row;
    uint32_t layer;
    size_t rows, columns; /* a vector has one column */
    double *values;
};

struct random_model {
    struct random_shape shape;
    struct random_tensor *tensors;
    size_t count;
};

static inline size_t random_size(const struct random_shape *s, char letter)
{
    switch (letter) {
    case 'V':
        return s->vocab;
    case 'P':
        return s->positions;
    case 'T':
        return s->types;
    case 'H':
        return s->hidden;
    case 'I':
        return s->intermediate;
    case 'L':
        return s->labels;
    case '2':
        return 2;
    default:
        return 1;
    }
}

static inline bool random_has(const struct random_shape *s, enum random_part part)
{
    switch (part) {
    case PART_ALL:
        return true;
    case PART_MLM:
        return s->head == RB_HEAD_MLM;
    case PART_DECODER:
        return s->head == RB_HEAD_MLM && s->decoder != DECODER_TIED;
    case PART_POOLER:
        return s->head == RB_HEAD_CLASSIFIER || s->pretraining;
    case PART_NSP:
        return s->pretraining;
    case PART_CLASSIFIER:
        return s->head == RB_HEAD_CLASSIFIER;
    }
    return false;
}

static inline bool random_per_layer(const struct random_row *row)
{
    return strchr(row->name, '%') != NULL;
}

static inline bool random_ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

/* By the table's name; NULL if the model has no such tensor. */
static inline struct random_tensor *random_find(const struct random_model *m, const char *name,
                                                uint32_t layer)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->tensors[i].layer == layer && strcmp(m->tensors[i].row->name, name) == 0)
            return &m->tensors[i];
    return NULL;
}

/* What the dtype makes of a value. */
static inline double random_rounded(enum rb_dtype dtype, double x)
{
    float single = (float)x;
    uint64_t room;
    if (dtype == RB_F64)
        return x;
    rb_dtype_from_f32(dtype, &single, &room, 1);
    rb_dtype_to_f32(dtype, &room, &single, 1);
    return (double)single;
}

/* Sizes that keep every activation lively: unit sums in the matrices, norms near 1. */
static inline double random_value(const struct random_shape *s, const struct random_tensor *t,
                                  uint64_t *seed)
{
    double x = random_normal(seed) * (s->scale > 0 ? s->scale : 1);
    if (random_ends_with(t->row->name, "LayerNorm.weight"))
        return 1 + 0.25 * x;
    if (t->columns == 1)
        return 0.25 * x;
    if (strncmp(t->row->name, "embeddings.", 11) == 0)
        return 0.4 * x;
    return x / sqrt((double)t->columns);
}

static inline void random_fill(struct random_model *m, uint64_t seed)
{
    for (size_t i = 0; i < m->count; i++) {
        struct random_tensor *t = &m->tensors[i];
        for (size_t k = 0; k < t->rows * t->columns; k++)
            t->values[k] = random_rounded(m->shape.dtype, random_value(&m->shape, t, &seed));
    }
    if (m->shape.decoder == DECODER_COPIED && m->shape.head == RB_HEAD_MLM) {
        const struct random_tensor *t = random_find(m, "embeddings.word_embeddings.weight", 0);
        memcpy(random_find(m, "cls.predictions.decoder.weight", 0)->values, t->values,
               t->rows * t->columns * sizeof(double));
    }
}

static inline void random_model_init(struct random_model *m, const struct random_shape *s,
                                     uint64_t seed)
{
    *m = (struct random_model){.shape = *s};
    m->tensors = must_alloc(COUNT(random_rows) * s->layers, sizeof *m->tensors);
    for (size_t r = 0; r < COUNT(random_rows); r++) {
        const struct random_row *row = &random_rows[r];
        for (uint32_t l = 0; l < (random_per_layer(row) ? s->layers : 1); l++) {
            struct random_tensor t = {row, l, random_size(s, row->sizes[0]),
                                      random_size(s, row->sizes[1]), NULL};
            if (!random_has(s, row->part))
                continue;
            t.values = must_alloc(t.rows * t.columns, sizeof(double));
            m->tensors[m->count++] = t;
        }
    }
    random_fill(m, seed);
}

static inline void random_model_deinit(struct random_model *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->tensors[i].values);
    free(m->tensors);
    *m = (struct random_model){0};
}

/* ---- the same function in another basis ---- */

/* New unit i is old unit index[i]; NULL: stays. The layers' arrays hold one vector per layer. */
struct random_moves {
    uint32_t *ff, *mha, *qk; /* (layers, size) */
    uint32_t *residual, *transform, *pooler;
};

static inline const uint32_t *random_axis(const struct random_shape *s,
                                          const struct random_moves *v, char axis, uint32_t layer)
{
    switch (axis) {
    case 'e':
        return v->residual;
    case 'f':
        return v->ff != NULL ? v->ff + (size_t)layer * s->intermediate : NULL;
    case 'm':
        return v->mha != NULL ? v->mha + (size_t)layer * s->hidden : NULL;
    case 'q':
        return v->qk != NULL ? v->qk + (size_t)layer * s->hidden : NULL;
    case 't':
        return v->transform;
    case 'p':
        return v->pooler;
    default:
        return NULL;
    }
}

static inline void random_model_move(struct random_model *m, const struct random_moves *v)
{
    for (size_t k = 0; k < m->count; k++) {
        struct random_tensor *t = &m->tensors[k];
        const uint32_t *rows = random_axis(&m->shape, v, t->row->axes[0], t->layer);
        const uint32_t *columns = random_axis(&m->shape, v, t->row->axes[1], t->layer);
        double *moved = must_alloc(t->rows * t->columns, sizeof *moved);
        for (size_t i = 0; i < t->rows; i++)
            for (size_t j = 0; j < t->columns; j++)
                moved[i * t->columns + j] = t->values[(rows != NULL ? rows[i] : i) * t->columns +
                                                      (columns != NULL ? columns[j] : j)];
        free(t->values);
        t->values = moved;
    }
}

/* Heads in random order, units in random order inside each. qk (may be NULL): the same heads, other
 * units. */
static inline void random_head_moves(const struct random_shape *s, uint64_t *seed, uint32_t *mha,
                                     uint32_t *qk)
{
    size_t dh = s->hidden / s->heads;
    uint32_t *heads = must_alloc(s->heads, sizeof *heads), *inner = must_alloc(dh, sizeof *inner);
    random_permutation(seed, heads, s->heads);
    for (size_t h = 0; h < s->heads; h++)
        for (int pass = 0; pass < (qk != NULL ? 2 : 1); pass++) {
            random_permutation(seed, inner, dh);
            for (size_t u = 0; u < dh; u++)
                (pass == 0 ? mha : qk)[h * dh + u] = (uint32_t)(heads[h] * dh) + inner[u];
        }
    free(heads);
    free(inner);
}

static inline void random_moves_deinit(struct random_moves *v)
{
    free(v->ff);
    free(v->mha);
    free(v->qk);
    free(v->residual);
    free(v->transform);
    free(v->pooler);
}

/* Orthogonal (n, n), by Gram-Schmidt. */
static inline double *random_rotation(size_t n, uint64_t *seed)
{
    double *r = must_alloc(n * n, sizeof *r);
    for (size_t i = 0; i < n; i++) {
        double *row = r + i * n, length = 0;
        for (size_t j = 0; j < n; j++)
            row[j] = random_normal(seed);
        for (int pass = 0; pass < 2; pass++) /* twice is enough */
            for (size_t k = 0; k < i; k++) {
                double dot = 0;
                for (size_t j = 0; j < n; j++)
                    dot += row[j] * r[k * n + j];
                for (size_t j = 0; j < n; j++)
                    row[j] -= dot * r[k * n + j];
            }
        for (size_t j = 0; j < n; j++)
            length += row[j] * row[j];
        for (size_t j = 0; j < n; j++)
            row[j] /= sqrt(length);
    }
    return r;
}

/* Rows (or columns) [first, first + n) of a tensor in another basis: new_i = sum_s r[s][i] old_s.
 */
static inline void random_mix(const struct random_model *m, const char *name, uint32_t layer,
                              bool columns, size_t first, size_t n, const double *r)
{
    struct random_tensor *t = random_find(m, name, layer);
    size_t lines = columns ? t->rows : t->columns, step = columns ? 1 : t->columns;
    double *old = must_alloc(n, sizeof *old);
    for (size_t k = 0; k < lines; k++) {
        double *at = t->values + first * step + k * (columns ? t->columns : 1);
        for (size_t s = 0; s < n; s++)
            old[s] = at[s * step];
        for (size_t i = 0; i < n; i++) {
            double sum = 0;
            for (size_t s = 0; s < n; s++)
                sum += r[s * n + i] * old[s];
            at[i * step] = random_rounded(m->shape.dtype, sum);
        }
    }
    free(old);
}

/* Turns every head's queries and keys, and its values, by random rotations. */
static inline void random_model_rotate(struct random_model *m, uint64_t *seed)
{
    static const char *const names[] = {"query.weight", "query.bias",   "key.weight",
                                        "key.bias",     "value.weight", "value.bias"};
    size_t dh = m->shape.hidden / m->shape.heads;
    for (uint32_t l = 0; l < m->shape.layers; l++)
        for (size_t h = 0; h < m->shape.heads; h++) {
            double *keys = random_rotation(dh, seed), *values = random_rotation(dh, seed);
            for (size_t i = 0; i < COUNT(names); i++) {
                char name[96];
                (void)snprintf(name, sizeof name, "encoder.layer.%%u.attention.self.%s", names[i]);
                random_mix(m, name, l, false, h * dh, dh, i < 4 ? keys : values);
            }
            random_mix(m, "encoder.layer.%u.attention.output.dense.weight", l, true, h * dh, dh,
                       values);
            free(keys);
            free(values);
        }
}

/* ---- as a folder ---- */

/* The tensor's name in the file. */
static inline void random_name(const struct random_shape *s, const struct random_tensor *t,
                               char *buffer, size_t size)
{
    char name[100];
    bool outside = strncmp(t->row->name, "cl", 2) == 0; /* cls., classifier. */
    const char *number = strchr(t->row->name, '%');
    if (number == NULL)
        (void)snprintf(name, sizeof name, "%s", t->row->name);
    else
        (void)snprintf(name, sizeof name, "%.*s%u%s", (int)(number - t->row->name), t->row->name,
                       t->layer, number + 2);
    if (s->gamma_beta && random_ends_with(name, "LayerNorm.weight"))
        strcpy(strrchr(name, '.'), ".gamma");
    else if (s->gamma_beta && random_ends_with(name, "LayerNorm.bias"))
        strcpy(strrchr(name, '.'), ".beta");
    (void)snprintf(buffer, size, "%s%s", outside || s->bare ? "" : "bert.", name);
}

static inline json_t *random_config(const struct random_shape *s)
{
    static const char *const classes[] = {"BertModel", "BertForMaskedLM",
                                          "BertForSequenceClassification"};
    json_t *c = json_pack(
        "{s:s, s:[s], s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:f}", "model_type", "bert",
        "architectures", classes[s->head], "vocab_size", (int)s->vocab, "hidden_size",
        (int)s->hidden, "num_hidden_layers", (int)s->layers, "num_attention_heads", (int)s->heads,
        "intermediate_size", (int)s->intermediate, "max_position_embeddings", (int)s->positions,
        "type_vocab_size", (int)s->types, "num_labels", (int)(s->labels > 0 ? s->labels : 2),
        "hidden_act", "gelu", "layer_norm_eps", 1e-12);
    assert_non_null(c);
    if (s->decoder == DECODER_UNTIED)
        json_object_set_new(c, "tie_word_embeddings", json_false());
    return c;
}

static inline void random_write_tensor(const struct random_model *m, const struct random_tensor *t,
                                       struct rb_st_writer *w, size_t index)
{
    struct rb_error err;
    size_t n = t->rows * t->columns, bytes = n * rb_dtype_bytes(m->shape.dtype);
    void *encoded = must_alloc(n, sizeof(double));
    float *single = must_alloc(n, sizeof *single);
    for (size_t i = 0; i < n; i++)
        single[i] = (float)t->values[i];
    if (m->shape.dtype == RB_F64)
        memcpy(encoded, t->values, bytes);
    else
        rb_dtype_from_f32(m->shape.dtype, single, encoded, n);
    MUST(rb_st_writer_write(w, index, 0, encoded, bytes, &err), &err);
    free(encoded);
    free(single);
}

static inline void random_write_weights(const struct random_model *m, const char *path)
{
    struct rb_error err;
    struct rb_st_writer *w;
    size_t n = m->count, positions = m->shape.positions;
    struct rb_st_spec *specs = must_alloc(n + 1, sizeof *specs);
    char(*names)[128] = must_alloc(n + 1, 128);
    for (size_t i = 0; i < n; i++) {
        const struct random_tensor *t = &m->tensors[i];
        random_name(&m->shape, t, names[i], 128);
        specs[i] = (struct rb_st_spec){.name = names[i],
                                       .dtype = m->shape.dtype,
                                       .rank = t->row->sizes[1] != '\0' ? 2 : 1,
                                       .shape = {t->rows, t->columns}};
    }
    if (m->shape.buffers)
        specs[n++] = (struct rb_st_spec){.name = m->shape.bare ? "embeddings.position_ids"
                                                               : "bert.embeddings.position_ids",
                                         .dtype = RB_I64,
                                         .rank = 2,
                                         .shape = {1, positions}};
    MUST(rb_st_writer_open(path, specs, n, NULL, 0, &w, &err), &err);
    for (size_t i = 0; i < m->count; i++)
        random_write_tensor(m, &m->tensors[i], w, i);
    int64_t *ids = must_alloc(positions, sizeof *ids);
    for (size_t i = 0; i < positions; i++)
        ids[i] = (int64_t)i;
    if (m->shape.buffers)
        MUST(rb_st_writer_write(w, m->count, 0, ids, positions * sizeof *ids, &err), &err);
    MUST(rb_st_writer_commit(w, &err), &err);
    free(ids);
    free(specs);
    free(names);
}

/* Writes config.json, model.safetensors and vocab.txt to a folder of that name; returns its path.
 */
static inline const char *random_model_write(const struct random_model *m, struct tmpdir *dir,
                                             const char *name)
{
    static const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    const char *folder = tmpdir_path(dir, name);
    char path[512];
    json_t *config = random_config(&m->shape);
    assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(json_dump_file(config, path, JSON_INDENT(2)), 0);
    json_decref(config);
    (void)snprintf(path, sizeof path, "%s/vocab.txt", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (uint32_t i = 0; i < m->shape.vocab; i++)
        if (i < COUNT(special))
            (void)fprintf(f, "%s\n", special[i]);
        else
            (void)fprintf(f, "w%u\n", i);
    assert_int_equal(fclose(f), 0);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    random_write_weights(m, path);
    return folder;
}

/* Writes it and opens it. */
static inline void random_model_open(const struct random_model *m, struct tmpdir *dir,
                                     const char *name, struct rb_model *ret)
{
    struct rb_error err;
    MUST(rb_model_open(random_model_write(m, dir, name), ret, &err), &err);
}

/* ---- something to read ---- */

/* Sequences of shortest to longest tokens, any ids, types 0 then 1 where there are two; a fifth of
 * the tokens are targets, the first one always; labels suit the head. Free with
 * rb_sequences_deinit. */
static inline struct rb_sequences random_sequences(const struct random_shape *s, size_t count,
                                                   size_t shortest, size_t longest, uint64_t seed)
{
    struct rb_sequences q = random_lengths(count, shortest, longest, &seed);
    for (size_t i = 0; i < count; i++) {
        size_t first = q.starts[i], length = q.starts[i + 1] - first;
        size_t second = random_index(&seed, length + 1);
        for (size_t t = 0; t < length; t++) {
            bool target = t == 0 || random_index(&seed, 5) == 0;
            q.ids[first + t] = (int32_t)random_index(&seed, s->vocab);
            q.types[first + t] = s->types > 1 && t >= second;
            q.special[first + t] = t == 0 || t + 1 == length;
            q.targets[first + t] = target ? (int32_t)random_index(&seed, s->vocab) : -1;
            q.target_count += target;
        }
        q.labels[i] =
            s->labels > 1 ? (double)random_index(&seed, s->labels) : random_uniform(&seed, -1, 1);
        q.rows[i] = i + 1;
    }
    return q;
}

#endif
