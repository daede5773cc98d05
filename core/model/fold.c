#include "core/model/fold.h"
#include "core/model/family.h"

#include <stdlib.h>
#include <string.h>

enum part {
    PART_READER,      /* a map behind a norm: columns times its gain */
    PART_READER_BIAS, /* … and what it adds: plus the map times the norm's bias */
    PART_TABLE,       /* rows written to the stream: each centred */
    PART_WRITER,      /* a map whose outputs are written: columns centred */
    PART_WRITER_BIAS, /* a vector that is written: centred */
    PART_GAIN,        /* becomes 1 */
    PART_BIAS,        /* becomes 0 */
    PART_FINAL_BIAS,  /* becomes b / g */
};

/* What folding does to each tensor. norm: the gain in front of it, its bias after it. */
static const struct rule {
    enum rb_slot slot;
    enum part part;
    enum rb_slot norm, weight; /* weight: the map that a reader's bias belongs to */
} rules[] = {
    {RB_QUERY_WEIGHT, PART_READER, RB_ATTENTION_NORM_WEIGHT, RB_SLOT_NONE},
    {RB_KEY_WEIGHT, PART_READER, RB_ATTENTION_NORM_WEIGHT, RB_SLOT_NONE},
    {RB_VALUE_WEIGHT, PART_READER, RB_ATTENTION_NORM_WEIGHT, RB_SLOT_NONE},
    {RB_UP_WEIGHT, PART_READER, RB_MLP_NORM_WEIGHT, RB_SLOT_NONE},
    {RB_GATE_WEIGHT, PART_READER, RB_MLP_NORM_WEIGHT, RB_SLOT_NONE},
    {RB_UNEMBEDDING_WEIGHT, PART_READER, RB_FINAL_NORM_WEIGHT, RB_SLOT_NONE},
    {RB_CLASSIFIER_WEIGHT, PART_READER, RB_FINAL_NORM_WEIGHT, RB_SLOT_NONE},
    {RB_QUERY_BIAS, PART_READER_BIAS, RB_ATTENTION_NORM_WEIGHT, RB_QUERY_WEIGHT},
    {RB_KEY_BIAS, PART_READER_BIAS, RB_ATTENTION_NORM_WEIGHT, RB_KEY_WEIGHT},
    {RB_VALUE_BIAS, PART_READER_BIAS, RB_ATTENTION_NORM_WEIGHT, RB_VALUE_WEIGHT},
    {RB_UP_BIAS, PART_READER_BIAS, RB_MLP_NORM_WEIGHT, RB_UP_WEIGHT},
    {RB_GATE_BIAS, PART_READER_BIAS, RB_MLP_NORM_WEIGHT, RB_GATE_WEIGHT},
    {RB_WORD_EMBEDDINGS, PART_TABLE, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_POSITION_EMBEDDINGS, PART_TABLE, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_ATTENTION_OUTPUT_WEIGHT, PART_WRITER, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_DOWN_WEIGHT, PART_WRITER, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_ATTENTION_OUTPUT_BIAS, PART_WRITER_BIAS, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_DOWN_BIAS, PART_WRITER_BIAS, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_ATTENTION_NORM_WEIGHT, PART_GAIN, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_MLP_NORM_WEIGHT, PART_GAIN, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_FINAL_NORM_WEIGHT, PART_GAIN, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_ATTENTION_NORM_BIAS, PART_BIAS, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_MLP_NORM_BIAS, PART_BIAS, RB_SLOT_NONE, RB_SLOT_NONE},
    {RB_FINAL_NORM_BIAS, PART_FINAL_BIAS, RB_FINAL_NORM_WEIGHT, RB_SLOT_NONE},
};

enum { RULES = sizeof rules / sizeof rules[0], STRIP = 64 };

static const struct rule *rule_of(enum rb_slot slot)
{
    for (size_t i = 0; i < RULES; i++)
        if (rules[i].slot == slot)
            return &rules[i];
    return NULL;
}

static bool centred(const struct rb_model *m)
{
    return m->config.norm_kind == RB_NORM_LAYER;
}

static bool bound(const struct rb_model *m, enum rb_slot slot, uint32_t layer)
{
    return rb_model_tensor(m, slot, layer) != NULL;
}

/* Norms' biases stand right after their gains (family.h). */
static enum rb_slot bias_after(enum rb_slot norm)
{
    return (enum rb_slot)(norm + 1);
}

static uint32_t norm_layer(enum rb_slot norm, uint32_t layer)
{
    return norm == RB_FINAL_NORM_WEIGHT ? 0 : layer;
}

static enum rb_status read_vector(const struct rb_model *m, enum rb_slot slot, uint32_t layer,
                                  float **ret, struct rb_scratch *scratch, struct rb_error *err)
{
    size_t rows, columns;
    rb_model_size(m, slot, &rows, &columns);
    const struct rb_rows all = {.count = rows};
    *ret = rb_scratch_alloc(scratch, rows, sizeof(float));
    if (*ret == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to fold a norm");
    return rb_tensor_read(m, slot, layer, &all, *ret, scratch, err);
}

/* ---- means of what is written ---- */

static size_t columns_of(const struct rb_model *m, enum rb_slot slot)
{
    size_t rows, columns;
    rb_model_size(m, slot, &rows, &columns);
    return columns;
}

/* Where a writer's means begin. */
static double *means_of(const struct rb_fold *f, enum rb_slot slot, uint32_t layer)
{
    size_t first = slot == RB_DOWN_WEIGHT ? columns_of(f->model, RB_ATTENTION_OUTPUT_WEIGHT) : 0;
    return f->means + layer * f->per_layer + first;
}

static enum rb_status add_means(struct rb_fold *f, enum rb_slot slot, uint32_t layer,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    size_t rows, columns;
    rb_model_size(f->model, slot, &rows, &columns);
    double *means = means_of(f, slot, layer);
    rb_scratch_reset(scratch);
    float *w = rb_scratch_alloc(scratch, STRIP * columns, sizeof *w);
    if (w == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to fold a norm");
    for (size_t first = 0; first < rows; first += STRIP) {
        const struct rb_rows part = {first, rows - first < STRIP ? rows - first : STRIP, NULL};
        enum rb_status s = rb_tensor_read(f->model, slot, layer, &part, w, scratch, err);
        if (s != RB_OK)
            return s;
        for (size_t i = 0; i < part.count; i++)
            for (size_t j = 0; j < columns; j++)
                means[j] += (double)w[i * columns + j] / (double)rows;
    }
    return RB_OK;
}

static enum rb_status find_means(struct rb_fold *f, struct rb_error *err)
{
    struct rb_scratch scratch;
    enum rb_status s = RB_OK;
    const struct rb_model *m = f->model;
    f->per_layer = columns_of(m, RB_ATTENTION_OUTPUT_WEIGHT) + columns_of(m, RB_DOWN_WEIGHT);
    f->means = rb_calloc_aligned(f->per_layer * m->config.num_hidden_layers, sizeof *f->means);
    if (f->means == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to fold norms");
    rb_scratch_init(&scratch);
    for (uint32_t l = 0; l < m->config.num_hidden_layers && s == RB_OK; l++) {
        s = add_means(f, RB_ATTENTION_OUTPUT_WEIGHT, l, &scratch, err);
        if (s == RB_OK)
            s = add_means(f, RB_DOWN_WEIGHT, l, &scratch, err);
    }
    rb_scratch_deinit(&scratch);
    return s;
}

/* ---- what cannot be folded ---- */

/* A reader without a bias of its own cannot take its norm's. */
static enum rb_status check_biases(const struct rb_model *m, struct rb_error *err)
{
    for (size_t i = 0; i < RULES; i++) {
        const struct rule *r = &rules[i];
        if (r->part != PART_READER_BIAS)
            continue;
        for (uint32_t l = 0; l < m->config.num_hidden_layers; l++)
            if (bound(m, bias_after(r->norm), l) && bound(m, r->weight, l) && !bound(m, r->slot, l))
                return rb_error_at(err, RB_EMODELS, "fold",
                                   "models of type '%s' as this one cannot be folded: a norm has a "
                                   "bias, and '%s' behind it has none to take it",
                                   m->family->model_type, rb_model_row(m, r->weight)->name);
    }
    return RB_OK;
}

static enum rb_status check_final(const struct rb_model *m, struct rb_error *err)
{
    struct rb_scratch scratch;
    float *gain = NULL;
    if (!bound(m, RB_FINAL_NORM_BIAS, 0))
        return RB_OK;
    rb_scratch_init(&scratch);
    enum rb_status s = read_vector(m, RB_FINAL_NORM_WEIGHT, 0, &gain, &scratch, err);
    for (size_t j = 0; s == RB_OK && j < m->config.hidden_size; j++)
        if (!(gain[j] > 0) && !(gain[j] < 0))
            s = rb_error_at(err, RB_EMODELS, "fold",
                            "the final norm cannot be folded: its gain %zu is 0", j);
    rb_scratch_deinit(&scratch);
    return s;
}

enum rb_status rb_fold_init(struct rb_fold *f, const struct rb_model *m, struct rb_error *err)
{
    struct rb_fold out = {.model = m};
    if (m->head == RB_HEAD_NONE && m->config.final_norm)
        return rb_error_at(err, RB_EMODELS, "fold",
                           "a model without a head cannot be folded: nothing takes the gain of its "
                           "final norm");
    enum rb_status s = check_biases(m, err);
    if (s == RB_OK)
        s = check_final(m, err);
    if (s == RB_OK && centred(m))
        s = find_means(&out, err);
    if (s != RB_OK) {
        rb_fold_deinit(&out);
        return s;
    }
    *f = out;
    return RB_OK;
}

void rb_fold_deinit(struct rb_fold *f)
{
    free(f->means);
    *f = (struct rb_fold){0};
}

bool rb_fold_changes(const struct rb_fold *f, enum rb_slot slot)
{
    const struct rule *r = rule_of(slot);
    if (r == NULL)
        return false;
    bool writes = r->part == PART_TABLE || r->part == PART_WRITER || r->part == PART_WRITER_BIAS;
    return !writes || centred(f->model);
}

/* ---- reading ---- */

/* W diag(g) of rows already read. */
static enum rb_status scale_columns(const struct rb_fold *f, const struct rule *r, uint32_t layer,
                                    size_t count, size_t columns, float *w,
                                    struct rb_scratch *scratch, struct rb_error *err)
{
    float *gain;
    enum rb_status s =
        read_vector(f->model, r->norm, norm_layer(r->norm, layer), &gain, scratch, err);
    for (size_t i = 0; s == RB_OK && i < count; i++)
        for (size_t j = 0; j < columns; j++)
            w[i * columns + j] = (float)((double)w[i * columns + j] * (double)gain[j]);
    return s;
}

/* c + W b of the rows asked for. */
static enum rb_status add_bias(const struct rb_fold *f, const struct rule *r, uint32_t layer,
                               const struct rb_rows *rows, float *c, struct rb_scratch *scratch,
                               struct rb_error *err)
{
    size_t columns = columns_of(f->model, r->weight);
    float *bias, *w = rb_scratch_alloc(scratch, STRIP * columns, sizeof *w);
    uint32_t list[STRIP];
    if (!bound(f->model, bias_after(r->norm), layer))
        return RB_OK;
    if (w == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to fold a norm");
    enum rb_status s = read_vector(f->model, bias_after(r->norm), layer, &bias, scratch, err);
    for (size_t done = 0; done < rows->count && s == RB_OK; done += STRIP) {
        size_t n = rows->count - done < STRIP ? rows->count - done : STRIP;
        for (size_t i = 0; i < n; i++)
            list[i] = (uint32_t)rb_row_at(rows, done + i);
        const struct rb_rows part = {.count = n, .list = list};
        s = rb_tensor_read(f->model, r->weight, layer, &part, w, scratch, err);
        for (size_t i = 0; i < n && s == RB_OK; i++) {
            double sum = (double)c[done + i];
            for (size_t j = 0; j < columns; j++)
                sum += (double)w[i * columns + j] * (double)bias[j];
            c[done + i] = (float)sum;
        }
    }
    return s;
}

static void centre_rows(float *w, size_t count, size_t columns)
{
    for (size_t i = 0; i < count; i++) {
        double mean = 0;
        for (size_t j = 0; j < columns; j++)
            mean += (double)w[i * columns + j] / (double)columns;
        for (size_t j = 0; j < columns; j++)
            w[i * columns + j] = (float)((double)w[i * columns + j] - mean);
    }
}

static void centre_columns(const double *means, float *w, size_t count, size_t columns)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < columns; j++)
            w[i * columns + j] = (float)((double)w[i * columns + j] - means[j]);
}

static enum rb_status centre_vector(const struct rb_fold *f, enum rb_slot slot, uint32_t layer,
                                    float *c, size_t count, struct rb_scratch *scratch,
                                    struct rb_error *err)
{
    float *all;
    size_t d = f->model->config.hidden_size;
    double mean = 0;
    enum rb_status s = read_vector(f->model, slot, layer, &all, scratch, err);
    for (size_t j = 0; s == RB_OK && j < d; j++)
        mean += (double)all[j] / (double)d;
    for (size_t i = 0; s == RB_OK && i < count; i++)
        c[i] = (float)((double)c[i] - mean);
    return s;
}

static enum rb_status divide_by_gain(const struct rb_fold *f, const struct rb_rows *rows, float *c,
                                     struct rb_scratch *scratch, struct rb_error *err)
{
    float *gain;
    enum rb_status s = read_vector(f->model, RB_FINAL_NORM_WEIGHT, 0, &gain, scratch, err);
    for (size_t i = 0; s == RB_OK && i < rows->count; i++)
        c[i] = (float)((double)c[i] / (double)gain[rb_row_at(rows, i)]);
    return s;
}

enum rb_status rb_fold_read(const struct rb_fold *f, enum rb_slot slot, uint32_t layer,
                            const struct rb_rows *rows, float *dst, struct rb_scratch *scratch,
                            struct rb_error *err)
{
    const struct rule *r = rule_of(slot);
    size_t columns = columns_of(f->model, slot);
    enum rb_status s = rb_tensor_read(f->model, slot, layer, rows, dst, scratch, err);
    if (s != RB_OK || !rb_fold_changes(f, slot))
        return s;
    switch (r->part) {
    case PART_READER:
        return scale_columns(f, r, layer, rows->count, columns, dst, scratch, err);
    case PART_READER_BIAS:
        return add_bias(f, r, layer, rows, dst, scratch, err);
    case PART_TABLE:
        centre_rows(dst, rows->count, columns);
        return RB_OK;
    case PART_WRITER:
        centre_columns(means_of(f, slot, layer), dst, rows->count, columns);
        return RB_OK;
    case PART_WRITER_BIAS:
        return centre_vector(f, slot, layer, dst, rows->count, scratch, err);
    case PART_GAIN:
    case PART_BIAS:
        for (size_t i = 0; i < rows->count; i++)
            dst[i] = r->part == PART_GAIN;
        return RB_OK;
    case PART_FINAL_BIAS:
        return divide_by_gain(f, rows, dst, scratch, err);
    }
    return RB_OK;
}
