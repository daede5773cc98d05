#include "core/model/blend.h"
#include "core/model/kernels.h"

#include <assert.h>
#include <stdlib.h>

enum rb_status rb_motion_init(struct rb_motion *m, uint32_t layers, struct rb_error *err)
{
    struct rb_motion out = {.layers = layers};
    out.maps = calloc((size_t)RB_AXIS_COUNT * layers, sizeof out.maps[0]);
    if (out.maps == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a table of maps");
    *m = out;
    return RB_OK;
}

void rb_motion_deinit(struct rb_motion *m)
{
    free(m->maps);
    *m = (struct rb_motion){0};
}

struct rb_map *rb_motion_map(const struct rb_motion *m, enum rb_axis axis, uint32_t layer)
{
    return &m->maps[(size_t)axis * m->layers + layer];
}

struct rb_blend rb_blend_pair(const struct rb_model *a, const struct rb_model *b,
                              const struct rb_motion *motion, double lambda)
{
    double w = lambda < 0 ? 0 : lambda > 1 ? 1 : lambda;
    struct rb_blend blend = rb_blend_single(b, motion);
    if (a != NULL) {
        blend.terms[0] = (struct rb_blend_term){a, NULL, 1 - w};
        blend.terms[1] = (struct rb_blend_term){b, motion, w};
        blend.count = 2;
    }
    blend.lambda = lambda;
    return blend;
}

struct rb_blend rb_blend_single(const struct rb_model *model, const struct rb_motion *motion)
{
    struct rb_blend blend = {.count = 1};
    blend.terms[0] = (struct rb_blend_term){model, motion, 1};
    return blend;
}

const struct rb_model *rb_blend_model(const struct rb_blend *blend)
{
    return blend->terms[0].model;
}

/* ---- one term ---- */

/* One tensor of one term: where its rows come from, and how both of its axes move. */
struct source {
    const struct rb_tensor *tensor;
    size_t rows, columns;
    const struct rb_map *row_map, *column_map; /* NULL: the identity */
    bool gains;                                /* a norm's: moves by squares (map.h) */
    float *room;                               /* (columns), where columns get an order */
};

static const struct rb_map *map_of(const struct rb_blend_term *term, enum rb_axis axis,
                                   uint32_t layer)
{
    if (term->motion == NULL)
        return NULL;
    const struct rb_map *m = rb_motion_map(term->motion, axis, layer);
    return rb_map_is_identity(m) ? NULL : m;
}

static bool is_gain(enum rb_role role)
{
    return role == RB_EMBEDDINGS_LN_WEIGHT || role == RB_ATTENTION_LN_WEIGHT ||
           role == RB_OUTPUT_LN_WEIGHT || role == RB_TRANSFORM_LN_WEIGHT;
}

static struct source source_of(const struct rb_blend_term *term, enum rb_role role, uint32_t layer)
{
    const struct rb_model *m = term->model;
    const struct rb_tensor_row *row = &m->arch->rows[role];
    return (struct source){
        .tensor = rb_model_tensor(m, role, layer),
        .rows = (size_t)rb_config_dim(&m->config, row->rows),
        .columns = (size_t)rb_config_dim(&m->config, row->columns),
        .row_map = map_of(term, row->row_axis, layer),
        .column_map = map_of(term, row->column_axis, layer),
        .gains = is_gain(role),
    };
}

static bool moves(const struct source *s)
{
    return s->row_map != NULL || s->column_map != NULL;
}

static void convert_row(const struct source *s, size_t row, float *dst)
{
    size_t bytes = rb_dtype_bytes(s->tensor->dtype) * s->columns;
    rb_dtype_to_f32(s->tensor->dtype, (const unsigned char *)s->tensor->data + row * bytes, dst,
                    s->columns);
}

/* An rb_map_reader: old rows, their columns in the new order. */
static enum rb_status read_rows(const void *source, const uint32_t *rows, size_t count, float *dst,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    const struct source *s = source;
    (void)scratch;
    (void)err;
    for (size_t i = 0; i < count; i++)
        if (s->room == NULL) {
            convert_row(s, rows[i], dst + i * s->columns);
        } else {
            convert_row(s, rows[i], s->room);
            rb_map_order_columns(s->column_map, s->room, dst + i * s->columns);
        }
    return RB_OK;
}

/* Gains whose map does more than order them: all of them are read. */
static enum rb_status gain_rows(const struct source *s, const uint32_t *rows, size_t count,
                                float *dst, struct rb_scratch *scratch, struct rb_error *err)
{
    float *old = rb_scratch_alloc(scratch, s->rows, sizeof(float));
    float *new = rb_scratch_alloc(scratch, s->rows, sizeof(float));
    if (old == NULL || new == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to move a norm's weights");
    for (size_t i = 0; i < s->rows; i++)
        convert_row(s, i, old + i);
    rb_map_gains(s->row_map, old, new);
    for (size_t i = 0; i < count; i++)
        dst[i] = new[rows[i]];
    return RB_OK;
}

static enum rb_status moved_rows(const struct source *source, const uint32_t *rows, size_t count,
                                 float *dst, struct rb_scratch *scratch, struct rb_error *err)
{
    struct source s = *source;
    if (s.gains && s.row_map != NULL)
        return gain_rows(&s, rows, count, dst, scratch, err);
    if (s.column_map != NULL && (s.column_map->index != NULL || s.column_map->signs != NULL)) {
        s.room = rb_scratch_alloc(scratch, s.columns, sizeof(float));
        if (s.room == NULL)
            return rb_error_set(err, RB_ENOMEM, "no memory to order a row");
    }
    enum rb_status st =
        rb_map_rows(s.row_map, read_rows, &s, rows, count, s.columns, dst, scratch, err);
    return st == RB_OK ? rb_map_mix_columns(s.column_map, dst, count, scratch, err) : st;
}

/* ---- the sum ---- */

/* Terms that count, in order; the one that is read as a whole comes into dst first. */
struct sum {
    struct source sources[RB_BLEND_MOST];
    float weights[RB_BLEND_MOST];
    size_t count, base;
};

static void make_sum(const struct rb_blend *blend, enum rb_role role, uint32_t layer,
                     struct sum *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < blend->count; i++)
        if (blend->terms[i].weight > 0 || blend->terms[i].weight < 0) {
            ret->weights[ret->count] = (float)blend->terms[i].weight;
            ret->sources[ret->count++] = source_of(&blend->terms[i], role, layer);
        }
    assert(ret->count > 0);
    ret->base = ret->count;
    for (size_t i = 0; i < ret->count && ret->base == ret->count; i++)
        if (moves(&ret->sources[i]) || i + 1 == ret->count)
            ret->base = i;
}

/* dst = weight * dst + w * x with the lower term first, as a sum is written: the same bits
 * whichever of the two is in dst. */
static void add_row(const struct sum *sum, size_t term, float *dst, float weight, const float *x,
                    size_t n)
{
    if (term < sum->base)
        rb_kernels()->blend(dst, x, sum->weights[term], dst, weight, n);
    else
        rb_kernels()->blend(dst, dst, weight, x, sum->weights[term], n);
}

static enum rb_status add_term(const struct sum *sum, size_t term, float weight,
                               const uint32_t *rows, size_t count, float *dst,
                               struct rb_scratch *scratch, struct rb_error *err)
{
    const struct source *s = &sum->sources[term];
    bool whole = moves(s);
    float *x = rb_scratch_alloc(scratch, (whole ? count : 1) * s->columns, sizeof(float));
    if (x == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to sum rows of %zu numbers", s->columns);
    enum rb_status st = whole ? moved_rows(s, rows, count, x, scratch, err) : RB_OK;
    if (st != RB_OK)
        return st;
    if (whole) {
        add_row(sum, term, dst, weight, x, count * s->columns);
        return RB_OK;
    }
    for (size_t i = 0; i < count; i++) {
        convert_row(s, rows[i], x);
        add_row(sum, term, dst + i * s->columns, weight, x, s->columns);
    }
    return RB_OK;
}

static enum rb_status sum_rows(const struct rb_blend *blend, enum rb_role role, uint32_t layer,
                               const uint32_t *rows, size_t count, float *dst,
                               struct rb_scratch *scratch, struct rb_error *err)
{
    struct sum sum;
    make_sum(blend, role, layer, &sum);
    enum rb_status s = moved_rows(&sum.sources[sum.base], rows, count, dst, scratch, err);
    float weight = sum.weights[sum.base];
    for (size_t i = 0; i < sum.count && s == RB_OK; i++) {
        if (i == sum.base)
            continue;
        s = add_term(&sum, i, weight, rows, count, dst, scratch, err);
        weight = 1;
    }
    return s;
}

enum rb_status rb_blend_rows(const struct rb_blend *blend, enum rb_role role, uint32_t layer,
                             size_t first, size_t rows, float *dst, struct rb_scratch *scratch,
                             struct rb_error *err)
{
    uint32_t *list = rb_scratch_alloc(scratch, rows, sizeof *list);
    if (list == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a list of %zu rows", rows);
    for (size_t i = 0; i < rows; i++)
        list[i] = (uint32_t)(first + i);
    return sum_rows(blend, role, layer, list, rows, dst, scratch, err);
}

enum rb_status rb_blend_gather(const struct rb_blend *blend, enum rb_role role, const int32_t *ids,
                               size_t count, float *dst, struct rb_scratch *scratch,
                               struct rb_error *err)
{
    uint32_t *list = rb_scratch_alloc(scratch, count, sizeof *list);
    if (list == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a list of %zu rows", count);
    for (size_t i = 0; i < count; i++)
        list[i] = (uint32_t)ids[i];
    return sum_rows(blend, role, 0, list, count, dst, scratch, err);
}

const float *rb_blend_direct(const struct rb_blend *blend, enum rb_role role, uint32_t layer)
{
    struct sum sum;
    make_sum(blend, role, layer, &sum);
    const struct rb_tensor *t = sum.sources[0].tensor;
    bool alone = sum.count == 1 && !moves(&sum.sources[0]);
    return alone && t->dtype == RB_F32 && (uintptr_t)t->data % sizeof(float) == 0 ? t->data : NULL;
}

size_t rb_blend_step(const struct rb_blend *blend, enum rb_role role, uint32_t layer)
{
    struct sum sum;
    size_t step = 1;
    make_sum(blend, role, layer, &sum);
    for (size_t i = 0; i < sum.count; i++) {
        size_t block = rb_map_block(sum.sources[i].row_map);
        step = block > step ? block : step;
    }
    return step;
}
