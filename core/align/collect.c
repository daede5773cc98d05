/* Collecting moments: all models over the same sequences, slab by slab, layer by layer.
 *
 * DESIGN. A slab is some thousand tokens. Its rounds are
 *   embed    every model's embeddings; weights of layer 0 to F32
 *   forward  per layer: each item one model over one span of sequences; features of the layer's
 *            taps go to the slab's feature buffers
 *   centre   first slab only: the means of its features become the pivots, and are subtracted
 *            (later slabs subtract in the forward items)
 *   moments  per layer: each item some rows of one tap's A x B block of one pair: an F32 product
 *            over the slab, folded into the F64 sums; the next layer's weights come along
 * A model's features are computed once per slab, however many pairs it is in. Every model is in
 * one pair at least; its pivots are found in the first of them (its home) and copied to the others.
 * An element of a sum is touched by one item per slab, in slab order: the result does not depend
 * on how many threads ran. Where one slab is all, its F32 products are the sums: half the memory,
 * and the kernel clearing that memory is what costs then. Memory: the sums of all taps, and one
 * layer's features of one slab.
 * Where all sums are too much (collect_plan.h) these rounds run over the layers of a group, slab
 * after slab, and a last one
 *   store    puts the group's sums into the file and frees them; with one slab, whose groups are
 *            layers, while the next layer's features are made. */
#include "core/align/collect.h"
#include "core/align/pooling.h"
#include "core/align/tiles.h"
#include "core/model/kernels.h"
#include "core/model/walker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYER_TAPS = 10 };

/* What one layer's forward item can leave behind. */
enum source {
    SRC_Q,
    SRC_K,
    SRC_V,
    SRC_MHA,
    SRC_MIDDLE,
    SRC_FF,
    SRC_OUT,
    SRC_EMBEDDING,
    SRC_BASIS,
    SRC_HEAD
};

struct stream {               /* one tap at work in the present layer */
    const struct rb_tap *tap; /* the first pair's: what all have in common is read from it */
    enum source source;
    float **features; /* per model (rows of the slab, size) */
    size_t capacity;  /* floats in each */
};

/* A pair that a model is in, and on which side. */
struct home {
    uint32_t pair, side;
};

enum round { ROUND_EMBED, ROUND_FORWARD, ROUND_CENTRE, ROUND_MOMENTS, ROUND_STORE };

struct collect {
    struct rb_program program;
    struct rb_blend *blends; /* (count) each model alone */
    size_t count, pair_count;
    struct rb_pair *pairs; /* (pair_count) */
    struct home *homes;    /* (count) */
    struct rb_walker walker;
    const struct rb_sequences *sequences;
    const struct rb_model *model; /* the first; what all have in common is read from it */
    const struct rb_config *config;
    unsigned taps;
    struct rb_pool_rows rows;
    struct rb_moments **moments; /* (pair_count) all of the same taps in the same order */
    bool narrow;                 /* their cross products are F32 */

    struct rb_collect_split split;
    uint32_t first_layer, end_layer; /* of the present group */
    uint32_t store_first, store_end; /* layers whose taps the present or next round stores */
    size_t store_items;              /* of a layer's forward round, before the walker's */
    struct rb_moments_writer *writer;
    char *path;

    size_t slab_tokens;
    size_t from, to; /* sequences of the present slab */
    struct stream streams[MAX_LAYER_TAPS];
    size_t stream_count;
    struct rb_tile *tiles;
    size_t tile_count;
    enum round round;
    size_t walker_items; /* of the present round, of those that are the walker's */
    bool begun;
};

/* ---- which rows count (METHOD 2) ---- */

/* A tap of the pooler has a row per sequence whatever the pooling. */
static bool per_sequence(const struct collect *c, const struct stream *st)
{
    return st->source == SRC_HEAD && rb_head_per_sequence(c->model);
}

static size_t rows_between(const struct collect *c, const struct stream *st, size_t from, size_t to)
{
    return per_sequence(c, st) ? to - from : rb_pool_rows_between(&c->rows, from, to);
}

/* ---- taps ---- */

static struct rb_tap *tap_of(const struct collect *c, const struct stream *st, size_t pair)
{
    return &c->moments[pair]->taps[st->tap - c->moments[0]->taps];
}

/* Where a model's pivot of a tap is kept. */
static double *pivot_of(const struct collect *c, const struct stream *st, size_t model)
{
    const struct home *h = &c->homes[model];
    const struct rb_tap *t = tap_of(c, st, h->pair);
    return h->side == 0 ? t->pivot_a : t->pivot_b;
}

/* ---- items ---- */

static float *rows_of_span(const struct collect *c, const struct stream *st, size_t side,
                           size_t span)
{
    return st->features[side] + rows_between(c, st, c->from, c->walker.spans[span]) * st->tap->size;
}

/* Subtracts the pivots from a span's features; pivot: room for a row. */
static void shift_rows(const struct collect *c, const struct stream *st, size_t side, size_t span,
                       float *pivot)
{
    if (c->from == 0)
        return; /* the centre round does it, once the pivots are known */
    const double *from = pivot_of(c, st, side);
    for (size_t j = 0; j < st->tap->size; j++)
        pivot[j] = (float)from[j];
    rb_kernels()->subtract(rows_of_span(c, st, side, span), pivot,
                           rows_between(c, st, c->walker.spans[span], c->walker.spans[span + 1]),
                           st->tap->size);
}

static void deliver(const struct collect *c, const struct stream *st, size_t side, size_t span,
                    const float *x)
{
    float *dst = rows_of_span(c, st, side, span);
    const size_t *spans = c->walker.spans;
    size_t d = st->tap->size, first = c->sequences->starts[spans[span]];
    if (x == dst)
        return;
    for (size_t s = spans[span]; s < spans[span + 1]; s++) {
        size_t t = c->sequences->starts[s];
        if (per_sequence(c, st))
            memcpy(dst, x + (s - spans[span]) * d, d * sizeof(float));
        else
            rb_pool_sequence(&c->rows, s, x + (t - first) * d, d, dst);
        dst += rows_between(c, st, s, s + 1) * d;
    }
}

/* The output head's features of a span, from the last layer's output. */
static enum rb_status head_features(const struct collect *c, size_t side, size_t span,
                                    const float *x, float *y, struct rb_scratch *scratch,
                                    struct rb_error *err)
{
    const struct rb_span sp = rb_walker_span(&c->walker, span);
    const struct rb_weights *w = &c->walker.sides[side].head;
    size_t d = c->config->hidden_size;
    if (!rb_head_per_sequence(c->model))
        return rb_head_apply(c->model, w, x, rb_span_tokens(&sp), y, scratch, err);
    bool last = rb_head_reads(c->model) == RB_READ_LAST;
    float *rows = rb_scratch_alloc(scratch, sp.count * d, sizeof(float));
    if (rows == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the head's features");
    for (size_t s = 0; s < sp.count; s++) {
        size_t token =
            last ? rb_walker_last_token(c->config, c->sequences, c->walker.spans[span] + s)
                 : sp.starts[s];
        memcpy(rows + s * d, x + (token - sp.starts[0]) * d, d * sizeof(float));
    }
    return rb_head_apply(c->model, w, rows, sp.count, y, scratch, err);
}

/* Is it there before the first layer: the stream itself, or the narrow basis it was made from? */
static bool precedes_layer(const struct stream *st)
{
    return st->source == SRC_EMBEDDING || st->source == SRC_BASIS;
}

static bool leaves_layer(const struct stream *st)
{
    return !precedes_layer(st) && st->source != SRC_OUT && st->source != SRC_HEAD;
}

static const float *basis_of(const struct collect *c, const struct rb_visit *at)
{
    size_t offset = rb_walker_offset(&c->walker, at->span, c->config->embedding_size);
    return c->walker.sides[at->side].basis + offset;
}

/* Says where the layer is to leave the features of the streams at work. */
static enum rb_status before_layer(void *owner, const struct rb_visit *at, const float *x,
                                   struct rb_layer_call *call, struct rb_scratch *scratch,
                                   struct rb_error *err)
{
    const struct collect *c = owner;
    struct rb_layer_taps *taps = &call->taps;
    float **const places[] = {
        [SRC_Q] = &taps->q,     [SRC_K] = &taps->k,           [SRC_V] = &taps->v,
        [SRC_MHA] = &taps->mha, [SRC_MIDDLE] = &taps->middle, [SRC_FF] = &taps->ff};
    size_t n = rb_span_tokens(&call->span);
    bool deeper = at->layer + 1 < c->config->num_hidden_layers;
    for (size_t i = 0; i < c->stream_count; i++) {
        const struct stream *st = &c->streams[i];
        deeper = deeper || st->source == SRC_OUT || st->source == SRC_HEAD;
        if (precedes_layer(st))
            deliver(c, st, at->side, at->span, st->source == SRC_BASIS ? basis_of(c, at) : x);
        if (!leaves_layer(st))
            continue;
        float *place = rb_pool_rows_are_tokens(&c->rows)
                           ? rows_of_span(c, st, at->side, at->span)
                           : rb_scratch_alloc(scratch, n * st->tap->size, sizeof(float));
        if (place == NULL)
            return rb_error_set(err, RB_ENOMEM, "no memory for features");
        *places[st->source] = place;
    }
    call->stop_after_ff = !deeper;
    return RB_OK;
}

static enum rb_status take_head(const struct collect *c, const struct stream *st,
                                const struct rb_visit *at, const float *x,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    size_t side = at->side;
    const struct rb_span sp = rb_walker_span(&c->walker, at->span);
    float *y = rb_pool_rows_are_tokens(&c->rows) && !per_sequence(c, st)
                   ? rows_of_span(c, st, side, at->span)
                   : rb_scratch_alloc(scratch, rb_span_tokens(&sp) * st->tap->size, sizeof(float));
    if (y == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the head's features");
    enum rb_status s = head_features(c, side, at->span, x, y, scratch, err);
    if (s == RB_OK)
        deliver(c, st, side, at->span, y);
    return s;
}

/* Takes what the layer left, pooled and shifted, to the slab's buffers. */
static enum rb_status after_layer(void *owner, const struct rb_visit *at, const float *x,
                                  const struct rb_layer_taps *taps, struct rb_scratch *scratch,
                                  struct rb_error *err)
{
    const struct collect *c = owner;
    const float *const from[] = {
        [SRC_Q] = taps->q,           [SRC_K] = taps->k,   [SRC_V] = taps->v, [SRC_MHA] = taps->mha,
        [SRC_MIDDLE] = taps->middle, [SRC_FF] = taps->ff, [SRC_OUT] = x};
    size_t widest = 0;
    for (size_t i = 0; i < c->stream_count; i++)
        widest = c->streams[i].tap->size > widest ? c->streams[i].tap->size : widest;
    float *pivot = rb_scratch_alloc(scratch, widest, sizeof(float));
    if (pivot == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for features");
    for (size_t i = 0; i < c->stream_count; i++) {
        const struct stream *st = &c->streams[i];
        if (st->source == SRC_HEAD) {
            enum rb_status s = take_head(c, st, at, x, scratch, err);
            if (s != RB_OK)
                return s;
        } else if (!precedes_layer(st)) {
            deliver(c, st, at->side, at->span, from[st->source]);
        }
        shift_rows(c, st, at->side, at->span, pivot);
    }
    return RB_OK;
}

/* First slab: the means of one model's features of a stream become its pivot. */
static enum rb_status centre_item(const struct collect *c, size_t item, struct rb_scratch *scratch,
                                  struct rb_error *err)
{
    const struct stream *st = &c->streams[item / c->count];
    size_t d = st->tap->size, rows = rows_between(c, st, c->from, c->to);
    float *x = st->features[item % c->count];
    double *pivot = pivot_of(c, st, item % c->count);
    float *rounded = rb_scratch_alloc(scratch, d, sizeof(float));
    if (rounded == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for means");
    for (size_t t = 0; t < rows; t++)
        rb_kernels()->fold(pivot, x + t * d, d);
    for (size_t j = 0; j < d; j++) {
        rounded[j] = rows > 0 ? (float)(pivot[j] / (double)rows) : 0;
        pivot[j] = (double)rounded[j];
    }
    rb_kernels()->subtract(x, rounded, rows, d);
    return RB_OK;
}

static enum rb_status moments_item(const struct collect *c, size_t item, struct rb_scratch *scratch,
                                   struct rb_error *err)
{
    const struct rb_tile *tile = &c->tiles[item % c->tile_count];
    const struct rb_pair *pair = &c->pairs[item / c->tile_count];
    const struct stream *st = &c->streams[tile->stream];
    const struct rb_tile_input in = {.tap = tap_of(c, st, item / c->tile_count),
                                     .features = {st->features[pair->a], st->features[pair->b]},
                                     .rows = rows_between(c, st, c->from, c->to),
                                     .first_slab = c->from == 0};
    return rb_tile_add(&in, tile, scratch, err);
}

static bool in_group(const struct collect *c, const struct rb_tap *t)
{
    uint32_t layer = rb_collect_layer(c->config, t->kind, t->layer);
    return layer >= c->first_layer && layer < c->end_layer;
}

/* After the last group the moments are those of the file. */
static enum rb_status finish_file(struct collect *c, struct rb_error *err)
{
    struct rb_moments_writer *w = c->writer;
    struct rb_moments *mapped;
    c->writer = NULL;
    enum rb_status s = rb_moments_writer_end(w, RB_OK, err);
    if (s == RB_OK)
        s = rb_moments_load(c->path, &mapped, err);
    if (s != RB_OK)
        return s;
    rb_moments_free(c->moments[0]);
    c->moments[0] = mapped;
    return RB_OK;
}

/* A tap of what is to be stored; others are nobody's work. */
static enum rb_status store_tap(const struct collect *c, size_t tap, struct rb_error *err)
{
    struct rb_tap *t = &c->moments[0]->taps[tap];
    uint32_t layer = rb_collect_layer(c->config, t->kind, t->layer);
    if (layer < c->store_first || layer >= c->store_end)
        return RB_OK;
    enum rb_status s = rb_moments_writer_put(c->writer, tap, err);
    rb_tap_clear(t);
    return s;
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                               struct rb_error *err)
{
    struct collect *c = (struct collect *)p;
    switch (c->round) {
    case ROUND_EMBED:
        return rb_walker_item(&c->walker, item, &w->scratch, err);
    case ROUND_FORWARD:
        if (item < c->store_items)
            return store_tap(c, item, err);
        return rb_walker_item(&c->walker, item - c->store_items, &w->scratch, err);
    case ROUND_CENTRE:
        return centre_item(c, item, &w->scratch, err);
    case ROUND_MOMENTS:
        if (item < c->walker_items)
            return rb_walker_prepare_item(&c->walker, item, &w->scratch, err);
        return moments_item(c, item - c->walker_items, &w->scratch, err);
    case ROUND_STORE:
        return store_tap(c, item, err);
    }
    return RB_OK;
}

/* ---- rounds ---- */

static enum rb_status reserve(struct stream *st, size_t count, size_t floats, struct rb_error *err)
{
    if (floats <= st->capacity)
        return RB_OK;
    for (size_t side = 0; side < count; side++) {
        free(st->features[side]);
        st->features[side] = rb_malloc_aligned(floats, sizeof(float));
        if (st->features[side] == NULL) {
            st->capacity = 0;
            return rb_error_set(err, RB_ENOMEM, "no memory for the features of a slab (%zu MB)",
                                floats * sizeof(float) / 1000000);
        }
    }
    st->capacity = floats;
    return RB_OK;
}

static enum rb_status add_stream(struct collect *c, enum rb_tap_kind kind, uint32_t layer,
                                 enum source source, struct rb_error *err)
{
    if (!(c->taps & 1U << kind) || c->walker.layer < c->first_layer)
        return RB_OK;
    struct stream *st = &c->streams[c->stream_count++];
    st->tap = rb_moments_find(c->moments[0], kind, layer);
    st->source = source;
    return reserve(st, c->count, rows_between(c, st, c->from, c->to) * st->tap->size, err);
}

/* The taps of a layer. Buffers stay with their place in the list, whose order is the same in each
 * layer but the first (the embedding comes last) and the last. */
static enum rb_status begin_streams(struct collect *c, struct rb_error *err)
{
    uint32_t l = c->walker.layer;
    c->stream_count = 0;
    enum rb_status s = add_stream(c, RB_TAP_FF, l, SRC_FF, err);
    if (s == RB_OK)
        s = add_stream(c, RB_TAP_MHA, l, SRC_MHA, err);
    if (s == RB_OK)
        s = add_stream(c, RB_TAP_Q, l, SRC_Q, err);
    if (s == RB_OK)
        s = add_stream(c, RB_TAP_K, l, SRC_K, err);
    if (s == RB_OK)
        s = add_stream(c, RB_TAP_V, l, SRC_V, err);
    if (s == RB_OK && !c->config->parallel_residual)
        s = add_stream(c, RB_TAP_RESIDUAL, 2 * l + 1, SRC_MIDDLE, err);
    if (s == RB_OK)
        s = add_stream(c, RB_TAP_RESIDUAL, rb_collect_additions(c->config) * (l + 1), SRC_OUT, err);
    if (s == RB_OK && l == 0)
        s = add_stream(c, RB_TAP_RESIDUAL, 0, SRC_EMBEDDING, err);
    if (s == RB_OK && l == 0)
        s = add_stream(c, RB_TAP_EMBEDDING, 0, SRC_BASIS, err);
    if (s == RB_OK && l + 1 == c->config->num_hidden_layers)
        s = add_stream(c, RB_TAP_HEAD, 0, SRC_HEAD, err);
    return s;
}

static enum rb_status begin_tiles(struct collect *c, struct rb_error *err)
{
    for (int pass = 0; pass < 2; pass++) {
        size_t n = 0;
        for (uint32_t i = 0; i < c->stream_count; i++) {
            size_t d = c->streams[i].tap->size;
            size_t step = rb_tile_units(d, rows_between(c, &c->streams[i], c->from, c->to));
            for (size_t first = 0; first < d; first += step, n++)
                if (pass == 1)
                    c->tiles[n] = (struct rb_tile){i, (uint32_t)first,
                                                   (uint32_t)(d - first < step ? d - first : step)};
        }
        c->tile_count = n;
        if (pass == 0) {
            struct rb_tile *tiles = realloc(c->tiles, (n + 1) * sizeof *tiles);
            if (tiles == NULL)
                return rb_error_set(err, RB_ENOMEM, "no memory for a list of tiles");
            c->tiles = tiles;
        }
    }
    return RB_OK;
}

/* From each model's home to the other pairs that it is in. */
static void copy_pivots(struct collect *c)
{
    for (size_t i = 0; i < c->stream_count; i++)
        for (size_t p = 0; p < c->pair_count; p++) {
            struct rb_tap *t = tap_of(c, &c->streams[i], p);
            const double *a = pivot_of(c, &c->streams[i], c->pairs[p].a);
            const double *b = pivot_of(c, &c->streams[i], c->pairs[p].b);
            memmove(t->pivot_a, a, t->size * sizeof *a);
            memmove(t->pivot_b, b, t->size * sizeof *b);
        }
}

/* The next slab: whole sequences of about slab_tokens tokens; from the embeddings, or from where
 * the group before left its stream. */
static enum rb_status begin_slab(struct collect *c, struct rb_error *err)
{
    const struct rb_sequences *s = c->sequences;
    c->from = c->to;
    while (c->to < s->count && s->starts[c->to] - s->starts[c->from] < c->slab_tokens)
        c->to++;
    c->round = ROUND_EMBED;
    if (c->first_layer == 0 || c->split.again)
        return rb_walker_begin(&c->walker, c->from, c->to, &c->walker_items, err);
    return rb_walker_resume(&c->walker, c->from, c->to, c->first_layer, &c->walker_items, err);
}

static bool alloc_tap(struct rb_tap *t, bool narrow)
{
    double **vectors[] = {&t->pivot_a, &t->pivot_b,  &t->sum_a,
                          &t->sum_b,   &t->square_a, &t->square_b};
    bool ok = true;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        *vectors[i] = rb_calloc_aligned(t->size, sizeof(double));
        ok = ok && *vectors[i] != NULL;
    }
    size_t n = (size_t)t->size * t->size; /* moments_item writes them first */
    if (narrow)
        t->cross_f32 = rb_malloc_aligned(n, sizeof(float));
    else
        t->cross = rb_malloc_aligned(n, sizeof(double));
    return ok && (t->cross != NULL || t->cross_f32 != NULL);
}

/* The group that begins at that layer, with its first slab. */
static enum rb_status begin_group(struct collect *c, uint32_t layer, struct rb_error *err)
{
    c->first_layer = layer;
    c->end_layer = rb_collect_group_end(c->model, c->taps, rb_sequences_tokens(c->sequences),
                                        c->split.budget, layer);
    for (size_t p = 0; p < c->pair_count; p++)
        for (size_t i = 0; i < c->moments[p]->tap_count; i++) {
            struct rb_tap *t = &c->moments[p]->taps[i];
            if (in_group(c, t) && !alloc_tap(t, c->narrow))
                return rb_error_set(err, RB_ENOMEM, "no memory for the moments of tap '%s'",
                                    t->name);
        }
    c->to = 0;
    return begin_slab(c, err);
}

/* The models' tensors of one layer, or of none, are not needed for a while. */
static void forget(const struct collect *c, bool per_layer, uint32_t layer)
{
    for (size_t side = 0; side < c->count; side++)
        rb_model_forget(rb_blend_model(&c->blends[side]), per_layer, layer);
}

static enum rb_status begin_layer(struct collect *c, size_t *ret_items, struct rb_error *err)
{
    if (c->round == ROUND_EMBED)
        forget(c, false, 0);
    c->round = ROUND_FORWARD;
    enum rb_status s = rb_walker_next(&c->walker, &c->walker_items, err);
    if (s == RB_OK)
        s = begin_streams(c, err);
    *ret_items = c->store_items + c->walker_items;
    return s;
}

/* The present group's taps are the next round's to store. */
static enum rb_status begin_store(struct collect *c, struct rb_error *err)
{
    c->store_first = c->first_layer;
    c->store_end = c->end_layer;
    return c->writer != NULL
               ? RB_OK
               : rb_moments_writer_open(c->moments[0], c->narrow, c->path, &c->writer, err);
}

static enum rb_status begin_moments(struct collect *c, size_t *ret_items, struct rb_error *err)
{
    forget(c, true, c->walker.layer);
    c->round = ROUND_MOMENTS;
    c->walker_items = c->store_items = 0;
    if (c->from == 0)
        copy_pivots(c);
    enum rb_status s = begin_tiles(c, err);
    if (s == RB_OK && c->walker.layer + 1 < c->end_layer)
        s = rb_walker_prepare(&c->walker, &c->walker_items, err);
    *ret_items = c->pair_count * c->tile_count + c->walker_items;
    return s;
}

/* All that comes after a slab's last layer. */
static enum rb_status go_on(struct collect *c, size_t *ret_items, struct rb_error *err)
{
    bool last = c->end_layer == c->config->num_hidden_layers;
    enum rb_status s = RB_OK;
    *ret_items = 0;
    if (c->to < c->sequences->count) {
        s = begin_slab(c, err);
        *ret_items = c->walker_items;
        return s;
    }
    bool store = c->split.groups > 1 && c->round != ROUND_STORE;
    if (store)
        s = begin_store(c, err);
    if (store && (last || !c->narrow)) {
        c->round = ROUND_STORE;
        *ret_items = c->moments[0]->tap_count;
    } else if (!last && s == RB_OK) {
        c->store_items = store ? c->moments[0]->tap_count : 0;
        s = begin_group(c, c->end_layer, err);
        *ret_items = c->walker_items;
    }
    return s;
}

static bool is_over(const struct collect *c)
{
    bool last = c->end_layer == c->config->num_hidden_layers;
    return c->to == c->sequences->count && last &&
           (c->round == ROUND_STORE || (c->round == ROUND_MOMENTS && c->split.groups == 1)) &&
           c->walker.layer + 1 == c->end_layer;
}

static enum rb_status next_round(struct rb_program *p, size_t *ret_items, struct rb_error *err)
{
    struct collect *c = (struct collect *)p;
    enum rb_status s = RB_OK;
    if (!c->begun) {
        c->begun = true;
        s = begin_group(c, 0, err);
        *ret_items = c->walker_items;
    } else if (is_over(c)) {
        *ret_items = 0;
        return c->writer != NULL ? finish_file(c, err) : RB_OK;
    } else if (c->round == ROUND_EMBED ||
               (c->round == ROUND_MOMENTS && c->walker.layer + 1 < c->end_layer)) {
        s = begin_layer(c, ret_items, err);
    } else if (c->round == ROUND_FORWARD && c->from == 0 && c->stream_count > 0) {
        c->round = ROUND_CENTRE;
        *ret_items = c->count * c->stream_count;
    } else if (c->round == ROUND_FORWARD || c->round == ROUND_CENTRE) {
        s = begin_moments(c, ret_items, err);
    } else {
        s = go_on(c, ret_items, err);
    }
    /* no tap in this layer, or weights used in place: there is nothing to wait for */
    return s == RB_OK && *ret_items == 0 ? next_round(p, ret_items, err) : s;
}

static double item_cost(const struct rb_program *p, size_t item)
{
    const struct collect *c = (const struct collect *)p;
    if (c->round == ROUND_FORWARD && item < c->store_items)
        return 0;
    if (c->round == ROUND_FORWARD)
        return rb_walker_item_cost(&c->walker, item - c->store_items);
    if (c->round == ROUND_EMBED)
        return rb_walker_item_cost(&c->walker, item);
    if (c->round != ROUND_MOMENTS || item < c->walker_items)
        return 0;
    const struct rb_tile *tile = &c->tiles[(item - c->walker_items) % c->tile_count];
    const struct stream *st = &c->streams[tile->stream];
    return rb_tile_cost(tile, st->tap->size, rows_between(c, st, c->from, c->to));
}

static void collect_free(struct rb_program *p)
{
    struct collect *c = (struct collect *)p;
    rb_walker_deinit(&c->walker);
    for (size_t i = 0; i < MAX_LAYER_TAPS; i++) {
        for (size_t side = 0; side < c->count && c->streams[i].features != NULL; side++)
            free(c->streams[i].features[side]);
        free(c->streams[i].features);
    }
    rb_moments_writer_abort(c->writer);
    for (size_t i = 0; i < c->pair_count && c->moments != NULL; i++)
        rb_moments_free(c->moments[i]);
    free(c->path);
    rb_pool_rows_deinit(&c->rows);
    free(c->moments);
    free(c->blends);
    free(c->pairs);
    free(c->homes);
    free(c->tiles);
    free(c);
}

static const struct rb_program_ops ops = {next_round, run_item, item_cost, collect_free};

/* ---- setting up ---- */

/* Taps that say what they are; their arrays come with their group. */
static enum rb_status list_taps(const struct collect *c, struct rb_moments **ret,
                                struct rb_error *err)
{
    struct rb_collect_kind kinds[RB_TAP_COUNT];
    size_t kind_count = rb_collect_kinds(c->model, c->taps, kinds), total = 0;
    uint64_t rows = rb_pool_rows_between(&c->rows, 0, c->sequences->count);
    for (size_t k = 0; k < kind_count; k++)
        total += kinds[k].count;
    struct rb_moments *m = calloc(1, sizeof *m);
    if (m != NULL)
        m->taps = calloc(total + 1, sizeof *m->taps);
    bool ok = m != NULL && m->taps != NULL;
    for (size_t k = 0; k < kind_count && ok; k++)
        for (uint32_t i = 0; i < kinds[k].count; i++) {
            struct rb_tap *t = &m->taps[m->tap_count++];
            bool apart = kinds[k].kind == RB_TAP_HEAD && rb_head_per_sequence(c->model);
            *t = (struct rb_tap){.kind = kinds[k].kind,
                                 .layer = i,
                                 .size = kinds[k].size,
                                 .rows = (double)(apart ? c->sequences->count : rows)};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* formats are the table's own */
            (void)snprintf(t->name, sizeof t->name, kinds[k].format, i);
#pragma GCC diagnostic pop
        }
    if (!ok) {
        rb_moments_free(m);
        return rb_error_set(err, RB_ENOMEM, "no memory for the moments of %zu taps", total);
    }
    m->tokens = rows;
    *ret = m;
    return RB_OK;
}

/* A pair that each model is in, on which side; false if one is in none. */
static bool find_homes(struct collect *c)
{
    bool all = true;
    for (uint32_t m = 0; m < c->count; m++) {
        bool found = false;
        for (uint32_t p = 0; p < c->pair_count && !found; p++) {
            found = c->pairs[p].a == m || c->pairs[p].b == m;
            c->homes[m] = (struct home){p, c->pairs[p].a != m};
        }
        all = all && found;
    }
    return all;
}

static bool allocate(struct collect *c, const struct rb_model *const *models,
                     const struct rb_pair *pairs)
{
    c->blends = calloc(c->count, sizeof *c->blends);
    c->homes = calloc(c->count, sizeof *c->homes);
    c->pairs = calloc(c->pair_count, sizeof *c->pairs);
    c->moments = calloc(c->pair_count, sizeof(struct rb_moments *));
    bool ok = c->blends != NULL && c->homes != NULL && c->pairs != NULL && c->moments != NULL;
    for (size_t i = 0; i < MAX_LAYER_TAPS && ok; i++) {
        c->streams[i].features = calloc(c->count, sizeof *c->streams[i].features);
        ok = c->streams[i].features != NULL;
    }
    for (size_t i = 0; i < c->count && ok; i++)
        c->blends[i] = rb_blend_single(models[i], NULL);
    if (ok)
        memcpy(c->pairs, pairs, c->pair_count * sizeof *pairs);
    return ok;
}

/* slabbed_for: how many models a slab's features shall fit. */
static enum rb_status collect_new(const struct rb_model *const *models, size_t count,
                                  size_t slabbed_for, const struct rb_pair *pairs,
                                  size_t pair_count, const struct rb_sequences *sequences,
                                  unsigned taps, const struct rb_align_options *o,
                                  struct rb_program **ret, struct rb_error *err)
{
    const struct rb_model *first = models[0];
    enum rb_status s = rb_sequences_check(&first->config, sequences, err);
    if (s != RB_OK)
        return s;
    struct collect *c = calloc(1, sizeof *c);
    if (c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to collect moments");
    c->program.ops = &ops;
    c->count = count;
    c->pair_count = pair_count;
    c->sequences = sequences;
    c->model = first;
    c->config = &first->config;
    c->taps = rb_collect_taps(c->config, taps);
    size_t tokens = rb_sequences_tokens(sequences);
    c->narrow = rb_collect_one_slab(first, slabbed_for, taps, tokens);
    c->split = (struct rb_collect_split){.groups = 1, .budget = UINT64_MAX, .passes = 1};
    c->slab_tokens = rb_collect_slab(first, slabbed_for, taps, tokens);
    const struct rb_walker_options walk = {.reads = RB_READ_ALL,
                                           .with_head = (c->taps & 1U << RB_TAP_HEAD) != 0,
                                           .keep_basis = (c->taps & 1U << RB_TAP_EMBEDDING) != 0,
                                           .taps = {c, before_layer, after_layer}};
    if (!allocate(c, models, pairs))
        s = rb_error_set(err, RB_ENOMEM, "no memory to collect moments of %zu models", count);
    bool housed = s == RB_OK && find_homes(c);
    assert(s != RB_OK || housed);
    (void)housed;
    if (s == RB_OK)
        s = rb_pool_rows_init(&c->rows, sequences, o->pooling, o->special_tokens, err);
    if (s == RB_OK)
        s = rb_walker_init(&c->walker, c->blends, count, sequences, &walk, err);
    for (size_t p = 0; p < pair_count && s == RB_OK; p++)
        s = list_taps(c, &c->moments[p], err);
    if (s != RB_OK) {
        collect_free(&c->program);
        return s;
    }
    uint64_t rows = rb_pool_rows_between(&c->rows, 0, sequences->count);
    c->program.total_cost =
        rb_collect_flops(first, count, pair_count, taps, (double)rows,
                         (double)(rb_head_per_sequence(first) ? sequences->count : rows),
                         rb_layer_flops(c->config, sequences->starts, sequences->count) *
                             c->config->num_hidden_layers);
    *ret = &c->program;
    return RB_OK;
}

enum rb_status rb_collect_many_new(const struct rb_model *const *models, size_t count,
                                   const struct rb_pair *pairs, size_t pair_count,
                                   const struct rb_sequences *sequences, unsigned taps,
                                   const struct rb_align_options *o, struct rb_program **ret,
                                   struct rb_error *err)
{
    return collect_new(models, count, count, pairs, pair_count, sequences, taps, o, ret, err);
}

enum rb_status rb_collect_pairs_new(const struct rb_model *const *models, size_t count,
                                    const struct rb_pair *pairs, size_t pair_count,
                                    const struct rb_sequences *sequences, unsigned taps,
                                    const struct rb_align_options *o, struct rb_program **ret,
                                    struct rb_error *err)
{
    return collect_new(models, count, 2, pairs, pair_count, sequences, taps, o, ret, err);
}

enum rb_status rb_collect_new(const struct rb_model *a, const struct rb_model *b,
                              const struct rb_sequences *sequences, unsigned taps,
                              const struct rb_align_options *o, struct rb_program **ret,
                              struct rb_error *err)
{
    const struct rb_model *const models[2] = {a, b};
    static const struct rb_pair pair = {0, 1};
    return rb_collect_many_new(models, 2, &pair, 1, sequences, taps, o, ret, err);
}

void rb_collect_move(struct rb_program *p, size_t model, const struct rb_motion *motion)
{
    struct collect *c = (struct collect *)p;
    c->blends[model].terms[0].motion = motion;
}

enum rb_status rb_collect_in_groups(struct rb_program *p, const struct rb_collect_split *split,
                                    const char *path, struct rb_error *err)
{
    struct collect *c = (struct collect *)p;
    const struct rb_sequences *s = c->sequences;
    assert(c->pair_count == 1 && !c->begun);
    if (split->groups <= 1)
        return RB_OK;
    c->path = strdup(path);
    if (c->path == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to collect moments in groups");
    c->split = *split;
    c->walker.options.whole = !split->again;
    p->total_cost += (split->passes - 1) * (double)c->count *
                     rb_layer_flops(c->config, s->starts, s->count) * c->config->num_hidden_layers;
    return RB_OK;
}

struct rb_moments *rb_collect_take_pair(struct rb_program *p, size_t pair)
{
    struct collect *c = (struct collect *)p;
    struct rb_moments *m = c->moments[pair];
    c->moments[pair] = NULL;
    return m;
}

struct rb_moments *rb_collect_take(struct rb_program *p)
{
    return rb_collect_take_pair(p, 0);
}
