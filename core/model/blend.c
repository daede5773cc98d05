#include "core/model/blend.h"
#include "core/model/kernels.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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
    for (size_t i = 0; i < m->kept_count; i++)
        free(m->kept[i]);
    free(m->kept);
    free(m->maps);
    rb_motion_uncorrect(m);
    *m = (struct rb_motion){0};
}

void rb_motion_uncorrect(struct rb_motion *m)
{
    if (m->correction != NULL)
        rb_correction_deinit(m->correction);
    free(m->correction);
    m->correction = NULL;
}

enum rb_status rb_motion_keep(struct rb_motion *m, void *array, struct rb_error *err)
{
    void **kept = array != NULL ? realloc(m->kept, (m->kept_count + 1) * sizeof *kept) : NULL;
    if (kept == NULL) {
        free(array);
        return rb_error_set(err, RB_ENOMEM, "no memory for a map");
    }
    m->kept = kept;
    m->kept[m->kept_count++] = array;
    return RB_OK;
}

void rb_motion_fold(struct rb_motion *m, const struct rb_fold *f)
{
    m->fold = f;
    if (f->model->head == RB_HEAD_CAUSAL && !f->model->unembedding_stored)
        m->decoder_untied = true;
}

struct rb_map *rb_motion_map(const struct rb_motion *m, enum rb_axis axis, uint32_t layer)
{
    return &m->maps[(size_t)axis * m->layers + layer];
}

struct rb_blend rb_blend_pair(const struct rb_model *a, const struct rb_model *b,
                              const struct rb_motion *motion, double lambda)
{
    const struct rb_blend_term ends[2] = {{a, NULL, 0}, {b, motion, 0}};
    if (a != NULL)
        return rb_blend_path(&ends[0], &ends[1], lambda);
    struct rb_blend blend = rb_blend_single(b, motion);
    blend.lambda = lambda;
    return blend;
}

struct rb_blend rb_blend_path(const struct rb_blend_term *a, const struct rb_blend_term *b,
                              double lambda)
{
    double w = lambda < 0 ? 0 : lambda > 1 ? 1 : lambda;
    struct rb_blend blend = {.terms = {*a, *b}, .count = 2, .lambda = lambda};
    blend.terms[0].weight = 1 - w;
    blend.terms[1].weight = w;
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
    const struct rb_model *model;
    const struct rb_fold *fold;             /* NULL where folding leaves the tensor as it is … */
    const struct rb_correction *correction; /* … and where it reads no turned stream */
    enum rb_slot slot;
    uint32_t layer;
    size_t rows, columns;
    const struct rb_map *row_map, *column_map; /* NULL: the identity */
    bool gains;                                /* a norm's: moves by squares (map.h) */
    float *room;                               /* (strip, columns), where columns get an order */
};

/* Rows that are worked on in several steps are taken a few at a time, to be still in the cache. */
enum { STRIP_FLOATS = 1 << 14 };

static size_t strip_of(const struct source *s, size_t done, size_t count)
{
    size_t strip = s->columns >= STRIP_FLOATS ? 1 : STRIP_FLOATS / s->columns;
    return count - done < strip ? count - done : strip;
}

static const struct rb_map *map_of(const struct rb_blend_term *term, enum rb_axis axis,
                                   uint32_t layer)
{
    if (term->motion == NULL)
        return NULL;
    const struct rb_map *m = rb_motion_map(term->motion, axis, layer);
    return rb_map_is_identity(m) ? NULL : m;
}

static bool is_gain(enum rb_slot slot)
{
    return slot == RB_EMBEDDINGS_NORM_WEIGHT || slot == RB_ATTENTION_NORM_WEIGHT ||
           slot == RB_MLP_NORM_WEIGHT || slot == RB_FINAL_NORM_WEIGHT ||
           slot == RB_TRANSFORM_NORM_WEIGHT;
}

static struct source source_of(const struct rb_blend_term *term, enum rb_slot slot, uint32_t layer)
{
    const struct rb_model *m = term->model;
    const struct rb_tensor_row *row = rb_family_row(m->family, slot);
    struct source s = {
        .model = m,
        .slot = slot,
        .layer = layer,
        .row_map = map_of(term, row->row_axis, layer),
        .column_map = map_of(term, row->column_axis, layer),
        .gains = is_gain(slot),
    };
    rb_model_size(m, slot, &s.rows, &s.columns);
    if (term->motion != NULL && term->motion->fold != NULL &&
        rb_fold_changes(term->motion->fold, slot))
        s.fold = term->motion->fold;
    if (s.fold != NULL && s.gains) /* all 1, whatever moves them */
        s.row_map = NULL;
    if (term->motion != NULL && term->motion->correction != NULL &&
        rb_correction_changes(term->motion->correction, slot))
        s.correction = term->motion->correction;
    return s;
}

static bool moves(const struct source *s)
{
    return s->row_map != NULL || s->column_map != NULL || s->fold != NULL || s->correction != NULL;
}

static enum rb_status read_plain(const struct source *s, const uint32_t *rows, size_t count,
                                 float *dst, struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_rows list = {.count = count, .list = rows};
    if (s->fold != NULL)
        return rb_fold_read(s->fold, s->slot, s->layer, &list, dst, scratch, err);
    enum rb_status st = rb_tensor_read(s->model, s->slot, s->layer, &list, dst, scratch, err);
    return st == RB_OK && s->correction != NULL
               ? rb_correction_before(s->correction, s->slot, s->layer, &list, dst, scratch, err)
               : st;
}

/* An rb_map_reader: old rows, their columns in the new order. */
static enum rb_status read_rows(const void *source, const uint32_t *rows, size_t count, float *dst,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    const struct source *s = source;
    if (s->room == NULL)
        return read_plain(s, rows, count, dst, scratch, err);
    for (size_t done = 0, n; done < count; done += n) {
        n = strip_of(s, done, count);
        enum rb_status st = read_plain(s, rows + done, n, s->room, scratch, err);
        if (st != RB_OK)
            return st;
        for (size_t i = 0; i < n; i++)
            rb_map_order_columns(s->column_map, s->room + i * s->columns,
                                 dst + (done + i) * s->columns);
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
    const struct rb_rows all = {.count = s->rows};
    enum rb_status st = rb_tensor_read(s->model, s->slot, s->layer, &all, old, scratch, err);
    if (st != RB_OK)
        return st;
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
        s.room = rb_scratch_alloc(scratch, strip_of(&s, 0, count) * s.columns, sizeof(float));
        if (s.room == NULL)
            return rb_error_set(err, RB_ENOMEM, "no memory to order a row");
    }
    enum rb_status st =
        rb_map_rows(s.row_map, read_rows, &s, rows, count, s.columns, dst, scratch, err);
    if (st == RB_OK)
        st = rb_map_mix_columns(s.column_map, dst, count, scratch, err);
    if (st == RB_OK && s.correction != NULL)
        rb_correction_after(s.correction, s.slot, s.layer, count, dst);
    return st;
}

/* ---- the sum ---- */

/* Terms that count, in order; the one that is read as a whole comes into dst first. */
struct sum {
    struct source sources[RB_BLEND_MOST];
    float weights[RB_BLEND_MOST];
    size_t count, base;
};

static void make_sum(const struct rb_blend *blend, enum rb_slot slot, uint32_t layer,
                     struct sum *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < blend->count; i++)
        if (blend->terms[i].weight > 0 || blend->terms[i].weight < 0) {
            ret->weights[ret->count] = (float)blend->terms[i].weight;
            ret->sources[ret->count++] = source_of(&blend->terms[i], slot, layer);
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
    size_t room = whole ? count : strip_of(s, 0, count);
    float *x = rb_scratch_alloc(scratch, room * s->columns, sizeof(float));
    if (x == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to sum rows of %zu numbers", s->columns);
    enum rb_status st = whole ? moved_rows(s, rows, count, x, scratch, err) : RB_OK;
    if (st != RB_OK)
        return st;
    if (whole) {
        add_row(sum, term, dst, weight, x, count * s->columns);
        return RB_OK;
    }
    for (size_t done = 0, n; done < count && st == RB_OK; done += n) {
        n = strip_of(s, done, count);
        st = read_plain(s, rows + done, n, x, scratch, err);
        if (st == RB_OK)
            add_row(sum, term, dst + done * s->columns, weight, x, n * s->columns);
    }
    return st;
}

/* The slot's weights that are no sum; NULL where they are one. */
static const float *overlaid(const struct rb_blend *blend, enum rb_slot slot, uint32_t layer)
{
    return blend->overlay != NULL ? rb_overlay_at(blend->overlay, slot, layer) : NULL;
}

static enum rb_status sum_rows(const struct rb_blend *blend, enum rb_slot slot, uint32_t layer,
                               const uint32_t *rows, size_t count, float *dst,
                               struct rb_scratch *scratch, struct rb_error *err)
{
    struct sum sum;
    const float *own = overlaid(blend, slot, layer);
    if (own != NULL) {
        size_t all, columns;
        rb_model_size(rb_blend_model(blend), slot, &all, &columns);
        for (size_t i = 0; i < count; i++)
            memcpy(dst + i * columns, own + rows[i] * columns, columns * sizeof *dst);
        return RB_OK;
    }
    make_sum(blend, slot, layer, &sum);
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

enum rb_status rb_blend_rows(const struct rb_blend *blend, enum rb_slot slot, uint32_t layer,
                             size_t first, size_t rows, float *dst, struct rb_scratch *scratch,
                             struct rb_error *err)
{
    uint32_t *list = rb_scratch_alloc(scratch, rows, sizeof *list);
    if (list == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a list of %zu rows", rows);
    for (size_t i = 0; i < rows; i++)
        list[i] = (uint32_t)(first + i);
    return sum_rows(blend, slot, layer, list, rows, dst, scratch, err);
}

enum rb_status rb_blend_gather(const struct rb_blend *blend, enum rb_slot slot, const int32_t *ids,
                               size_t count, float *dst, struct rb_scratch *scratch,
                               struct rb_error *err)
{
    uint32_t *list = rb_scratch_alloc(scratch, count, sizeof *list);
    if (list == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a list of %zu rows", count);
    for (size_t i = 0; i < count; i++)
        list[i] = (uint32_t)ids[i];
    return sum_rows(blend, slot, 0, list, count, dst, scratch, err);
}

const float *rb_blend_direct(const struct rb_blend *blend, enum rb_slot slot, uint32_t layer)
{
    struct sum sum;
    if (overlaid(blend, slot, layer) != NULL)
        return overlaid(blend, slot, layer);
    make_sum(blend, slot, layer, &sum);
    bool alone = sum.count == 1 && !moves(&sum.sources[0]);
    return alone ? rb_tensor_direct(sum.sources[0].model, slot, layer) : NULL;
}

size_t rb_blend_step(const struct rb_blend *blend, enum rb_slot slot, uint32_t layer)
{
    struct sum sum;
    size_t step = 1;
    if (overlaid(blend, slot, layer) != NULL)
        return step;
    make_sum(blend, slot, layer, &sum);
    for (size_t i = 0; i < sum.count; i++) {
        size_t block = rb_map_block(sum.sources[i].row_map);
        step = block > step ? block : step;
    }
    return step;
}
