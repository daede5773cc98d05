#include "core/learn/least_squares.h"
#include "core/learn/arithmetic.h"
#include "core/learn/checksum.h"
#include "core/learn/tape.h"
#include "core/model/embed.h"
#include "core/model/head.h"
#include "core/model/layer.h"
#include "core/model/rotary.h"
#include "core/model/spans.h"
#include "core/model/walker.h"
#include "core/model/weights.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* LAPACK (Fortran: column-major, everything by reference). A lower triangle by rows is an upper one
 * by columns. */
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void dpotrs_(const char *uplo, const int *n, const int *nrhs, const double *a,
                    const int *lda, double *b, const int *ldb, int *info);

enum {
    SLAB_TOKENS = 2048,
    SPAN_TOKENS = 256,
    GRAM_ROWS = 128,
    SOLVE_ROWS = 64,
    INPUTS_MOST = 4, /* that the maps of one layer read */
    MAPS_MOST = 7,
};
static const double SHRINK = 0.9, RIDGE = 1e-6; /* METHOD 12 */

enum round {
    ROUND_START,
    ROUND_EMBED,
    ROUND_WEIGHTS,
    ROUND_FORWARD,
    ROUND_GRAM,
    ROUND_FACTOR,
    ROUND_SOLVE,
    ROUND_DONE
};

struct input {
    size_t n;            /* beside the one that is always 1 */
    enum rb_slot reader; /* one of the maps that read it */
    double ridge;
    double *factor; /* (n + 1, n + 1) lower triangle by rows */
};

struct map {
    enum rb_slot weight;
    int input;
    bool bias;
    size_t out;
};

struct parent {
    struct rb_blend blend;
    double weight;
    struct rb_weights weights; /* of the present layer */
    struct rb_tape tape;
    float *x;    /* (all tokens, hidden_size): the present layer's input */
    float *next; /* (slab tokens, hidden_size): its output */
    float *z;    /* (slab tokens, width) what the output weight reads */
    double *grams[INPUTS_MOST];
};

struct totals {
    double own, mean, solved;
};

struct least_squares {
    struct rb_program program;
    struct rb_blend blend;
    const struct rb_model *model; /* says sizes */
    const struct rb_config *config;
    const struct rb_sequences *s;
    struct rb_overlay *overlay;
    struct rb_rotary rotary;
    struct parent parents[RB_BLEND_MOST];
    size_t parent_count;
    size_t *firsts; /* (span_count + 1) first sequence of each span … */
    size_t *slabs;  /* (slab_count + 1) … and first span of each slab */
    size_t span_count, slab_count, slab_tokens;
    struct input inputs[INPUTS_MOST];
    size_t input_count;
    struct map maps[MAPS_MOST];
    size_t map_count;
    struct totals *parts; /* of the present round's items */
    size_t part_count, part_capacity;
    struct totals totals;
    enum round round;
    uint32_t layer, solved; /* the head is the layer behind the last */
    size_t slab;
};

/* ---- what a layer has ---- */

static bool is_head(const struct least_squares *c)
{
    return c->layer == c->config->num_hidden_layers;
}

/* The layer that a tensor of the present one belongs to. */
static uint32_t owner_of(const struct least_squares *c)
{
    return is_head(c) ? 0 : c->layer;
}

static bool unties(const struct rb_blend *blend)
{
    bool own = rb_blend_model(blend)->unembedding_stored;
    for (size_t i = 0; i < blend->count; i++)
        own |= blend->terms[i].motion != NULL && blend->terms[i].motion->decoder_untied;
    return own;
}

static bool predicts_tokens(const struct rb_model *m)
{
    return m->head == RB_HEAD_MLM || m->head == RB_HEAD_CAUSAL;
}

static void add_map(struct least_squares *c, enum rb_slot weight, size_t input)
{
    size_t out, in;
    if (weight == RB_SLOT_NONE || rb_model_tensor(c->model, weight, owner_of(c)) == NULL)
        return;
    rb_model_size(c->model, weight, &out, &in);
    if (input >= c->input_count) {
        c->inputs[c->input_count].n = in;
        c->inputs[c->input_count++].reader = weight;
    }
    bool bias = rb_model_tensor(c->model, weight + 1, owner_of(c)) != NULL;
    c->maps[c->map_count++] = (struct map){weight, (int)c->input_count - 1, bias, out};
}

/* The maps of the present layer and what they read; none of a head that is not covered. */
static void list_maps(struct least_squares *c)
{
    static const struct {
        enum rb_slot weight;
        size_t input;
    } of_layer[] = {
        {RB_QUERY_WEIGHT, 0}, {RB_KEY_WEIGHT, 0},
        {RB_VALUE_WEIGHT, 0}, {RB_ATTENTION_OUTPUT_WEIGHT, 1},
        {RB_UP_WEIGHT, 2},    {RB_GATE_WEIGHT, 2},
        {RB_DOWN_WEIGHT, 3},
    };
    c->map_count = c->input_count = 0;
    if (!is_head(c)) {
        for (size_t i = 0; i < sizeof of_layer / sizeof of_layer[0]; i++)
            add_map(c, of_layer[i].weight, of_layer[i].input);
        return;
    }
    if (!predicts_tokens(c->model))
        return;
    add_map(c, c->model->head_shape->dense, 0);
    if (unties(&c->blend))
        add_map(c, c->model->head_shape->output, c->input_count);
}

/* (slab tokens, n) of a parent. */
static const float *rows_of(const struct least_squares *c, const struct parent *p,
                            const struct input *in)
{
    if (!is_head(c))
        return rb_tape_input(&p->tape, in->reader);
    size_t first = c->s->starts[c->firsts[c->slabs[c->slab]]];
    return in->reader == c->model->head_shape->output ? p->z
                                                      : p->x + first * c->config->hidden_size;
}

static size_t slab_first(const struct least_squares *c)
{
    return c->s->starts[c->firsts[c->slabs[c->slab]]];
}

static size_t slab_tokens(const struct least_squares *c)
{
    return c->s->starts[c->firsts[c->slabs[c->slab + 1]]] - slab_first(c);
}

static size_t slab_spans(const struct least_squares *c)
{
    return c->slabs[c->slab + 1] - c->slabs[c->slab];
}

/* ---- items ---- */

static enum rb_status embed_item(const struct least_squares *c, size_t item,
                                 struct rb_scratch *scratch, struct rb_error *err)
{
    const struct parent *p = &c->parents[item / c->span_count];
    size_t span = item % c->span_count, first = c->firsts[span];
    const struct rb_span s = {c->s->starts + first, c->firsts[span + 1] - first};
    return rb_embed(&p->blend, c->s, &s, p->x + c->s->starts[first] * c->config->hidden_size, NULL,
                    scratch, err);
}

static enum rb_status weights_item(const struct least_squares *c, size_t item,
                                   struct rb_scratch *scratch, struct rb_error *err)
{
    const struct parent *p = c->parents;
    for (; item >= p->weights.item_count; p++)
        item -= p->weights.item_count;
    return rb_weights_fill(&p->weights, &p->blend, item, scratch, err);
}

static enum rb_status forward_item(const struct least_squares *c, size_t item,
                                   struct rb_scratch *scratch, struct rb_error *err)
{
    const struct parent *p = &c->parents[item / slab_spans(c)];
    size_t span = c->slabs[c->slab] + item % slab_spans(c), first = c->firsts[span];
    size_t count = c->firsts[span + 1] - first, row = c->s->starts[first] - slab_first(c);
    if (is_head(c))
        return rb_head_apply(c->model, &p->weights,
                             p->x + c->s->starts[first] * c->config->hidden_size,
                             c->s->starts[first + count] - c->s->starts[first],
                             p->z + row * rb_head_width(c->model), scratch, err);
    const struct rb_tape_call call = {
        .tape = &p->tape,
        .weights = p->weights.w,
        .layer = c->layer,
        .rotary = &c->rotary,
        .back = &c->rotary,
        .starts = c->s->starts + first,
        .count = count,
        .row = row,
        .out = p->next + row * c->config->hidden_size,
    };
    return rb_tape_forward(&call, scratch, err);
}

static size_t gram_tiles(const struct input *in)
{
    return (in->n + GRAM_ROWS - 1) / GRAM_ROWS + 1; /* the last: the row of what is always 1 */
}

static size_t gram_items_of(const struct least_squares *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->input_count; i++)
        n += gram_tiles(&c->inputs[i]);
    return n;
}

struct gram_tile {
    const struct parent *parent;
    const struct input *input;
    double *gram;
    size_t first, rows; /* rows 0: the last row */
};

static struct gram_tile gram_tile_of(const struct least_squares *c, size_t item)
{
    size_t each = gram_items_of(c), i = 0;
    assert(each > 0);
    const struct parent *p = &c->parents[item / each];
    for (item %= each; item >= gram_tiles(&c->inputs[i]); i++)
        item -= gram_tiles(&c->inputs[i]);
    struct gram_tile t = {p, &c->inputs[i], p->grams[i], item * GRAM_ROWS, 0};
    if (t.first < t.input->n)
        t.rows = t.input->n - t.first < GRAM_ROWS ? t.input->n - t.first : GRAM_ROWS;
    return t;
}

/* The row of what is always 1: sums, and how many there are. */
static void gram_ones(const struct least_squares *c, const struct gram_tile *t, const float *z)
{
    size_t n = t->input->n, tokens = slab_tokens(c);
    double *row = t->gram + n * (n + 1);
    if (c->slab == 0)
        memset(row, 0, (n + 1) * sizeof *row);
    for (size_t i = 0; i < tokens; i++)
        for (size_t j = 0; j < n; j++)
            row[j] += (double)z[i * n + j];
    row[n] += (double)tokens;
}

/* Some rows of a slab's lower triangle: F32 over the slab, folded into F64. */
static enum rb_status gram_item(const struct least_squares *c, size_t item,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    struct gram_tile t = gram_tile_of(c, item);
    const float *z = rows_of(c, t.parent, t.input);
    size_t n = t.input->n, reach = t.first + t.rows;
    if (t.rows == 0) {
        gram_ones(c, &t, z);
        return RB_OK;
    }
    float *block = rb_scratch_alloc(scratch, t.rows * reach, sizeof(float));
    if (block == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a Gram matrix of %zu inputs", n);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)t.rows, (int)reach,
                (int)slab_tokens(c), 1.0f, z + t.first, (int)n, z, (int)n, 0.0f, block, (int)reach);
    for (size_t r = 0; r < t.rows; r++) {
        double *row = t.gram + (t.first + r) * (n + 1);
        for (size_t j = 0; j <= t.first + r; j++)
            row[j] = (c->slab > 0 ? row[j] : 0) + (double)block[r * reach + j];
    }
    return RB_OK;
}

/* Shrinks the parents' matrices and factors their weighted sum. */
static enum rb_status factor_item(struct least_squares *c, size_t item, struct rb_error *err)
{
    struct input *in = &c->inputs[item];
    size_t n = in->n + 1;
    double trace = 0;
    int size = (int)n, info;
    memset(in->factor, 0, n * n * sizeof *in->factor);
    for (size_t p = 0; p < c->parent_count; p++)
        for (size_t r = 0; r < n; r++) {
            double *row = c->parents[p].grams[item] + r * n;
            for (size_t j = 0; j < r; j++)
                row[j] *= SHRINK;
            for (size_t j = 0; j <= r; j++)
                in->factor[r * n + j] += c->parents[p].weight * row[j];
        }
    for (size_t r = 0; r < n; r++)
        trace += in->factor[r * n + r];
    in->ridge = RIDGE * trace / (double)n;
    for (size_t r = 0; r < n; r++)
        in->factor[r * n + r] += in->ridge;
    dpotrf_("U", &size, in->factor, &size, &info);
    if (info != 0)
        return rb_error_set(err, RB_ENUMERIC,
                            "the inputs of a map of layer %u give no positive matrix: are all "
                            "activations numbers?",
                            c->layer);
    return RB_OK;
}

static size_t solve_tiles(const struct map *m)
{
    return (m->out + SOLVE_ROWS - 1) / SOLVE_ROWS;
}

static size_t solve_items(const struct least_squares *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->map_count; i++)
        n += solve_tiles(&c->maps[i]);
    return n;
}

struct solve_tile {
    const struct map *map;
    const struct input *input;
    size_t n;                 /* columns, the bias's with them */
    size_t first, rows;       /* of the map */
    double *w[RB_BLEND_MOST]; /* (rows, n) of the parents … */
    double *mean, *right;     /* … their weighted mean, and the equations' right side */
    double *product;
};

static struct solve_tile solve_tile_of(const struct least_squares *c, size_t item)
{
    size_t i = 0;
    for (; item >= solve_tiles(&c->maps[i]); i++)
        item -= solve_tiles(&c->maps[i]);
    const struct map *m = &c->maps[i];
    struct solve_tile t = {.map = m, .input = &c->inputs[m->input], .first = item * SOLVE_ROWS};
    t.rows = m->out - t.first < SOLVE_ROWS ? m->out - t.first : SOLVE_ROWS;
    t.n = t.input->n + m->bias;
    return t;
}

/* A parent's rows with their biases, in F64. */
static enum rb_status read_rows(const struct least_squares *c, const struct parent *p,
                                const struct solve_tile *t, double *ret, struct rb_scratch *scratch,
                                struct rb_error *err)
{
    size_t in = t->input->n;
    float *rows = rb_scratch_alloc(scratch, t->rows * (in + 1), sizeof(float));
    if (rows == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to solve for %zu rows", t->rows);
    float *bias = rows + t->rows * in;
    enum rb_status s = rb_blend_rows(&p->blend, t->map->weight, owner_of(c), t->first, t->rows,
                                     rows, scratch, err);
    if (s == RB_OK && t->map->bias)
        s = rb_blend_rows(&p->blend, t->map->weight + 1, owner_of(c), t->first, t->rows, bias,
                          scratch, err);
    for (size_t r = 0; s == RB_OK && r < t->rows; r++) {
        for (size_t j = 0; j < in; j++)
            ret[r * t->n + j] = (double)rows[r * in + j];
        if (t->map->bias)
            ret[r * t->n + in] = (double)bias[r];
    }
    return s;
}

static enum rb_status read_parents(const struct least_squares *c, struct solve_tile *t,
                                   struct rb_scratch *scratch, struct rb_error *err)
{
    size_t numbers = t->rows * t->n;
    double *room = rb_scratch_alloc(scratch, (c->parent_count + 3) * numbers, sizeof *room);
    if (room == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to solve for %zu rows", t->rows);
    t->mean = room;
    t->right = room + numbers;
    t->product = room + 2 * numbers;
    memset(room, 0, 2 * numbers * sizeof *room);
    for (size_t p = 0; p < c->parent_count; p++) {
        t->w[p] = room + (3 + p) * numbers;
        enum rb_status s = read_rows(c, &c->parents[p], t, t->w[p], scratch, err);
        if (s != RB_OK)
            return s;
        cblas_daxpy((int)numbers, c->parents[p].weight, t->w[p], 1, t->mean, 1);
    }
    return RB_OK;
}

/* product = w G of one parent; returns <w, w G>. */
static double through(const struct solve_tile *t, const double *w, const double *gram)
{
    int ld = (int)t->input->n + 1;
    cblas_dsymm(CblasRowMajor, CblasRight, CblasLower, (int)t->rows, (int)t->n, 1.0, gram, ld, w,
                (int)t->n, 0.0, t->product, (int)t->n);
    return cblas_ddot((int)(t->rows * t->n), w, 1, t->product, 1);
}

static void store_rows(const struct least_squares *c, const struct solve_tile *t, const double *w)
{
    size_t in = t->input->n;
    float *rows = rb_overlay_at(c->overlay, t->map->weight, owner_of(c)) + t->first * in;
    float *bias = t->map->bias ? rb_overlay_at(c->overlay, t->map->weight + 1, owner_of(c)) : NULL;
    for (size_t r = 0; r < t->rows; r++) {
        for (size_t j = 0; j < in; j++)
            rows[r * in + j] = (float)w[r * t->n + j];
        if (bias != NULL)
            bias[t->first + r] = (float)w[r * t->n + in];
    }
}

/* Rows of one map: the equations' right side, the solution, and what both are worth. */
static enum rb_status solve_item(const struct least_squares *c, size_t item,
                                 struct rb_scratch *scratch, struct rb_error *err)
{
    struct solve_tile t = solve_tile_of(c, item);
    enum rb_status s = read_parents(c, &t, scratch, err);
    if (s != RB_OK)
        return s;
    int numbers = (int)(t.rows * t.n), n = (int)t.n, rows = (int)t.rows;
    int ld = (int)t.input->n + 1, info;
    struct totals sum = {0};
    for (size_t p = 0; p < c->parent_count; p++) {
        const double *gram = c->parents[p].grams[t.map->input];
        sum.own += c->parents[p].weight * through(&t, t.w[p], gram);
        cblas_daxpy(numbers, c->parents[p].weight, t.product, 1, t.right, 1);
        cblas_daxpy(numbers, -1, t.mean, 1, t.w[p], 1); /* how far it is from the mean */
        sum.mean += c->parents[p].weight * through(&t, t.w[p], gram);
    }
    double *w = t.product;
    memcpy(w, t.right, (size_t)numbers * sizeof *w);
    cblas_daxpy(numbers, t.input->ridge, t.mean, 1, w, 1);
    dpotrs_("U", &n, &rows, t.input->factor, &ld, w, &n, &info);
    /* W (A + ridge) = R + ridge mean, so <W, W A> = <W, R> + ridge <W, mean - W> */
    sum.solved =
        sum.own - cblas_ddot(numbers, w, 1, t.right, 1) +
        t.input->ridge * (cblas_ddot(numbers, w, 1, t.mean, 1) - cblas_ddot(numbers, w, 1, w, 1));
    c->parts[item] = sum;
    store_rows(c, &t, w);
    return RB_OK;
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *worker,
                               struct rb_error *err)
{
    struct least_squares *c = (struct least_squares *)p;
    struct rb_scratch *scratch = &worker->scratch;
    switch (c->round) {
    case ROUND_EMBED:
        return embed_item(c, item, scratch, err);
    case ROUND_WEIGHTS:
        return weights_item(c, item, scratch, err);
    case ROUND_FORWARD:
        return forward_item(c, item, scratch, err);
    case ROUND_GRAM:
        return gram_item(c, item, scratch, err);
    case ROUND_FACTOR:
        return factor_item(c, item, err);
    case ROUND_SOLVE:
        return solve_item(c, item, scratch, err);
    case ROUND_START:
    case ROUND_DONE:
        break;
    }
    return RB_OK;
}

/* ---- rounds ---- */

static size_t items_of(const struct least_squares *c)
{
    size_t n = 0;
    switch (c->round) {
    case ROUND_EMBED:
        return c->parent_count * c->span_count;
    case ROUND_WEIGHTS:
        for (size_t p = 0; p < c->parent_count; p++)
            n += c->parents[p].weights.item_count;
        return n;
    case ROUND_FORWARD:
        return c->parent_count * slab_spans(c);
    case ROUND_GRAM:
        return c->parent_count * gram_items_of(c);
    case ROUND_FACTOR:
        return c->input_count;
    case ROUND_SOLVE:
        return solve_items(c);
    case ROUND_START:
    case ROUND_DONE:
        break;
    }
    return 0;
}

static enum rb_status grow(double **at, size_t n, struct rb_error *err)
{
    free(*at);
    *at = rb_malloc_aligned(n * n, sizeof **at);
    return *at != NULL
               ? RB_OK
               : rb_error_set(err, RB_ENOMEM, "no memory for Gram matrices of %zu inputs", n - 1);
}

/* The matrices of the layer, and where its solution goes. */
static enum rb_status make_room(struct least_squares *c, struct rb_error *err)
{
    enum rb_status s = RB_OK;
    for (size_t i = 0; i < c->input_count && s == RB_OK; i++) {
        s = grow(&c->inputs[i].factor, c->inputs[i].n + 1, err);
        for (size_t p = 0; p < c->parent_count && s == RB_OK; p++)
            s = grow(&c->parents[p].grams[i], c->inputs[i].n + 1, err);
    }
    for (size_t i = 0; i < c->map_count && s == RB_OK; i++) {
        s = rb_overlay_add(c->overlay, c->model, c->maps[i].weight, owner_of(c), err);
        if (s == RB_OK && c->maps[i].bias)
            s = rb_overlay_add(c->overlay, c->model, c->maps[i].weight + 1, owner_of(c), err);
    }
    if (s != RB_OK || solve_items(c) <= c->part_capacity)
        return s;
    free(c->parts);
    c->part_capacity = solve_items(c);
    c->parts = calloc(c->part_capacity, sizeof *c->parts);
    if (c->parts == NULL)
        c->part_capacity = 0;
    return c->parts != NULL ? RB_OK
                            : rb_error_set(err, RB_ENOMEM, "no memory to solve for a layer");
}

static enum rb_status begin_layer(struct least_squares *c, struct rb_error *err)
{
    c->map_count = 0;
    if (c->layer <= c->config->num_hidden_layers)
        list_maps(c);
    if (c->map_count == 0) { /* all layers, and a head that is covered */
        c->round = ROUND_DONE;
        return RB_OK;
    }
    enum rb_status s = c->layer >= c->solved ? make_room(c, err) : RB_OK;
    for (size_t p = 0; p < c->parent_count && s == RB_OK; p++)
        s = is_head(c) ? rb_head_begin(&c->parents[p].weights, &c->parents[p].blend, err)
                       : rb_weights_begin_layer(&c->parents[p].weights, &c->parents[p].blend,
                                                c->layer, err);
    c->round = ROUND_WEIGHTS;
    return s;
}

static void begin_slab(struct least_squares *c)
{
    c->round = ROUND_FORWARD;
    for (size_t p = 0; p < c->parent_count; p++) {
        c->parents[p].tape.tokens = slab_tokens(c);
        c->parents[p].tape.x = c->parents[p].x + slab_first(c) * c->config->hidden_size;
    }
}

static enum rb_status end_of_layer(struct least_squares *c, struct rb_error *err)
{
    c->layer++;
    c->solved = c->layer > c->solved ? c->layer : c->solved;
    return begin_layer(c, err);
}

static enum rb_status end_of_slab(struct least_squares *c, struct rb_error *err)
{
    size_t d = c->config->hidden_size;
    for (size_t p = 0; p < c->parent_count && !is_head(c); p++)
        memcpy(c->parents[p].x + slab_first(c) * d, c->parents[p].next,
               slab_tokens(c) * d * sizeof(float));
    if (++c->slab < c->slab_count) {
        begin_slab(c);
        return RB_OK;
    }
    c->slab = 0;
    if (c->layer < c->solved) /* by the run that this one continues */
        return end_of_layer(c, err);
    c->round = ROUND_FACTOR;
    return RB_OK;
}

static void count_parts(struct least_squares *c)
{
    for (size_t i = 0; i < solve_items(c); i++) {
        c->totals.own += c->parts[i].own;
        c->totals.mean += c->parts[i].mean;
        c->totals.solved += c->parts[i].solved;
    }
}

static enum rb_status advance(struct least_squares *c, struct rb_error *err)
{
    switch (c->round) {
    case ROUND_START:
        c->round = ROUND_EMBED;
        return RB_OK;
    case ROUND_EMBED:
        c->layer = 0;
        return begin_layer(c, err);
    case ROUND_WEIGHTS:
        c->slab = 0;
        begin_slab(c);
        return RB_OK;
    case ROUND_FORWARD:
        if (c->layer < c->solved)
            return end_of_slab(c, err);
        c->round = ROUND_GRAM;
        return RB_OK;
    case ROUND_GRAM:
        return end_of_slab(c, err);
    case ROUND_FACTOR:
        c->round = ROUND_SOLVE;
        return RB_OK;
    case ROUND_SOLVE:
        count_parts(c);
        return end_of_layer(c, err);
    case ROUND_DONE:
        break;
    }
    return RB_OK;
}

static enum rb_status next_round(struct rb_program *p, size_t *ret_items, struct rb_error *err)
{
    struct least_squares *c = (struct least_squares *)p;
    size_t items = 0;
    while (items == 0 && c->round != ROUND_DONE) {
        enum rb_status s = advance(c, err);
        if (s != RB_OK)
            return s;
        items = items_of(c);
    }
    *ret_items = items;
    return RB_OK;
}

/* ---- costs: a double's product counts twice ---- */

static double gram_cost(double n, double tokens)
{
    return tokens * n * n;
}

static double factor_cost(double n)
{
    return 2 * n * n * n / 3;
}

static double solve_cost(double n, double rows, double parents)
{
    return 2 * rows * n * n * (2 + 4 * parents);
}

static double item_cost(const struct rb_program *p, size_t item)
{
    const struct least_squares *c = (const struct least_squares *)p;
    if (c->round == ROUND_FORWARD && !is_head(c)) {
        size_t span = c->slabs[c->slab] + item % slab_spans(c), first = c->firsts[span];
        return rb_layer_flops(c->config, c->s->starts + first, c->firsts[span + 1] - first);
    }
    if (c->round == ROUND_GRAM) {
        struct gram_tile t = gram_tile_of(c, item);
        return 2 * (double)(slab_tokens(c) * t.rows * (t.first + t.rows));
    }
    if (c->round == ROUND_FACTOR)
        return factor_cost((double)c->inputs[item].n);
    if (c->round == ROUND_SOLVE) {
        struct solve_tile t = solve_tile_of(c, item);
        return solve_cost((double)t.n, (double)t.rows, (double)c->parent_count);
    }
    return 0;
}

double rb_least_squares_cost(const struct rb_model *m, size_t parents, uint64_t tokens)
{
    const struct rb_config *c = &m->config;
    double d = c->hidden_size, q = (double)rb_config_dim(c, RB_DIM_QUERY),
           kv = (double)rb_config_dim(c, RB_DIM_KEY);
    double inner = c->mlp.inner_size, t = (double)tokens, k = (double)parents;
    double up = c->mlp.gated ? 2 * inner : inner;
    double pairs = t * 64; /* sequences of some 128 tokens */
    double layer = k * (rb_layer_cost(c, t, t, pairs) + 2 * gram_cost(d, t) + gram_cost(q, t) +
                        gram_cost(inner, t)) +
                   2 * factor_cost(d) + factor_cost(q) + factor_cost(inner) +
                   solve_cost(d, q + 2 * kv + up, k) + solve_cost(q, d, k) +
                   solve_cost(inner, d, k);
    return layer * c->num_hidden_layers;
}

static uint64_t matrix_bytes(const struct rb_config *c, size_t parents)
{
    uint64_t d = c->hidden_size + 1, q = rb_config_dim(c, RB_DIM_QUERY) + 1;
    uint64_t inner = c->mlp.inner_size + 1;
    return (parents + 1) * sizeof(double) * (2 * d * d + q * q + inner * inner);
}

uint64_t rb_least_squares_bytes(const struct rb_model *m, size_t parents, uint64_t tokens)
{
    const struct rb_config *c = &m->config;
    uint64_t d = c->hidden_size, slab = SLAB_TOKENS + c->max_length;
    uint64_t layer = rb_weights_layer_floats(c), head = rb_head_width(m);
    slab = tokens < slab ? tokens : slab;
    uint64_t each =
        (tokens * d + slab * (d + head) + layer) * sizeof(float) + rb_tape_bytes(c, (size_t)slab);
    uint64_t solution = layer * c->num_hidden_layers +
                        head * (d + (m->unembedding_stored ? rb_head_outputs(m) : 0));
    return parents * each + solution * sizeof(float) + matrix_bytes(c, parents);
}

/* ---- life ---- */

static void least_squares_free(struct rb_program *p)
{
    struct least_squares *c = (struct least_squares *)p;
    for (size_t i = 0; i < c->parent_count; i++) {
        struct parent *m = &c->parents[i];
        rb_weights_deinit(&m->weights);
        rb_tape_deinit(&m->tape);
        free(m->x);
        free(m->next);
        free(m->z);
        for (int k = 0; k < INPUTS_MOST; k++)
            free(m->grams[k]);
    }
    for (int k = 0; k < INPUTS_MOST; k++)
        free(c->inputs[k].factor);
    rb_rotary_deinit(&c->rotary);
    free(c->firsts);
    free(c->slabs);
    free(c->parts);
    free(c);
}

static const struct rb_program_ops ops = {next_round, run_item, item_cost, least_squares_free};

/* Spans end where slabs do. */
static enum rb_status cut(struct least_squares *c, struct rb_error *err)
{
    c->firsts = calloc(c->s->count + 2, sizeof *c->firsts);
    c->slabs = calloc(c->s->count + 2, sizeof *c->slabs);
    if (c->firsts == NULL || c->slabs == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a list of %zu lines", c->s->count);
    for (size_t from = 0; from < c->s->count;) {
        size_t to = rb_slab_end(c->s, from, SLAB_TOKENS);
        size_t tokens = c->s->starts[to] - c->s->starts[from];
        rb_spans_fill(c->s, from, to, SPAN_TOKENS, c->firsts + c->span_count);
        c->span_count += rb_spans_count(c->s, from, to, SPAN_TOKENS);
        c->slabs[++c->slab_count] = c->span_count;
        c->slab_tokens = tokens > c->slab_tokens ? tokens : c->slab_tokens;
        from = to;
    }
    return RB_OK;
}

static enum rb_status make_parent(struct least_squares *c, const struct rb_blend_term *term,
                                  struct rb_error *err)
{
    struct parent *p = &c->parents[c->parent_count++];
    size_t d = c->config->hidden_size;
    p->blend = rb_blend_single(term->model, term->motion);
    p->weight = term->weight;
    p->x = rb_malloc_aligned(rb_sequences_tokens(c->s) * d, sizeof(float));
    p->next = rb_malloc_aligned(c->slab_tokens * d, sizeof(float));
    p->z = rb_malloc_aligned(c->slab_tokens * rb_head_width(c->model), sizeof(float));
    if (p->x == NULL || p->next == NULL || p->z == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the activations of %zu tokens",
                            rb_sequences_tokens(c->s));
    return rb_tape_init(&p->tape, c->config, c->slab_tokens, err);
}

enum rb_status rb_least_squares_new(const struct rb_blend *blend, const struct rb_sequences *s,
                                    struct rb_overlay *overlay, struct rb_program **ret,
                                    struct rb_error *err)
{
    if (rb_sequences_tokens(s) == 0)
        return rb_error_set(err, RB_EDATASET, "a least-squares merge needs text, found no token");
    struct least_squares *c = calloc(1, sizeof *c);
    if (c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a least-squares merge");
    c->program.ops = &ops;
    c->blend = *blend;
    c->model = rb_blend_model(blend);
    c->config = &c->model->config;
    c->s = s;
    c->overlay = overlay;
    enum rb_status status = cut(c, err);
    const struct rb_span all = {s->starts, s->count};
    if (status == RB_OK && c->config->attention.rope.dims > 0)
        status = rb_rotary_init(&c->config->attention.rope, rb_span_longest(&all), &c->rotary, err);
    for (size_t i = 0; i < blend->count && status == RB_OK; i++)
        if (blend->terms[i].weight > 0 || blend->terms[i].weight < 0)
            status = make_parent(c, &blend->terms[i], err);
    if (status != RB_OK) {
        least_squares_free(&c->program);
        return status;
    }
    c->program.total_cost =
        rb_least_squares_cost(c->model, c->parent_count, rb_sequences_tokens(s));
    *ret = &c->program;
    return RB_OK;
}

struct rb_least_squares_fit rb_least_squares_result(const struct rb_program *p)
{
    const struct least_squares *c = (const struct least_squares *)p;
    double own = c->totals.own;
    return (struct rb_least_squares_fit){
        .tokens = rb_sequences_tokens(c->s),
        .mean = own > 0 ? c->totals.mean / own : NAN,
        .solved = own > 0 ? c->totals.solved / own : NAN,
    };
}

uint32_t rb_least_squares_layers(const struct rb_program *p)
{
    return ((const struct least_squares *)p)->solved;
}

/* ---- the state: a header, the tensors of the layers that are solved, a checksum ---- */

struct state_head {
    char magic[8];
    char arithmetic[RB_LEARN_ARITHMETIC_SIZE];
    uint64_t text, floats;
    double weights[RB_BLEND_MOST];
    struct totals totals;
    uint32_t solved, unused;
};
static const char MAGIC[8] = "rbleast2";

static void fill_head(const struct least_squares *c, struct state_head *h)
{
    memset(h, 0, sizeof *h);
    memcpy(h->magic, MAGIC, sizeof MAGIC);
    rb_learn_arithmetic(h->arithmetic);
    h->text = rb_learn_checksum(c->s->ids, rb_sequences_tokens(c->s) * sizeof *c->s->ids, 0);
    h->text = rb_learn_checksum(c->s->starts, (c->s->count + 1) * sizeof *c->s->starts, h->text);
    for (size_t i = 0; i < c->blend.count; i++)
        h->weights[i] = c->blend.terms[i].weight;
}

/* The tensors of the layers before `solved`, one after the other; floats of them all. */
static size_t for_tensors(const struct least_squares *c, uint32_t solved, float *to,
                          const float *from)
{
    struct least_squares at = *c;
    size_t n = 0;
    for (at.layer = 0; at.layer < solved; at.layer++) {
        list_maps(&at);
        for (size_t i = 0; i < at.map_count; i++)
            for (int bias = 0; bias <= at.maps[i].bias; bias++) {
                const struct map *m = &at.maps[i];
                size_t count = m->out * (bias ? 1 : at.inputs[m->input].n);
                float *held =
                    rb_overlay_at(c->overlay, m->weight + (enum rb_slot)bias, owner_of(&at));
                if (to != NULL)
                    memcpy(to + n, held, count * sizeof *held);
                if (from != NULL)
                    memcpy(held, from + n, count * sizeof *held);
                n += count;
            }
    }
    return n;
}

enum rb_status rb_least_squares_save(const struct rb_program *p, unsigned char **ret,
                                     size_t *ret_bytes, struct rb_error *err)
{
    const struct least_squares *c = (const struct least_squares *)p;
    struct state_head head;
    fill_head(c, &head);
    head.solved = c->solved;
    head.totals = c->totals;
    head.floats = for_tensors(c, c->solved, NULL, NULL);
    size_t body = (size_t)head.floats * sizeof(float);
    unsigned char *out = calloc(1, sizeof head + body + sizeof(uint64_t));
    if (out == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to save a merge (%zu MB)", body / 1000000);
    memcpy(out, &head, sizeof head);
    float *floats = rb_malloc_aligned((size_t)head.floats + 1, sizeof *floats);
    if (floats == NULL) {
        free(out);
        return rb_error_set(err, RB_ENOMEM, "no memory to save a merge (%zu MB)", body / 1000000);
    }
    (void)for_tensors(c, c->solved, floats, NULL);
    memcpy(out + sizeof head, floats, body);
    free(floats);
    uint64_t sum = rb_learn_checksum(out, sizeof head + body, 0);
    memcpy(out + sizeof head + body, &sum, sizeof sum);
    *ret = out;
    *ret_bytes = sizeof head + body + sizeof sum;
    return RB_OK;
}

static enum rb_status refuse(struct rb_error *err, const char *why)
{
    return rb_error_set(err, RB_EINPUT, "the saved state of a merge cannot be used: %s", why);
}

/* Holds the tensors of the layers before `solved`. */
static enum rb_status hold(struct least_squares *c, uint32_t solved, struct rb_error *err)
{
    enum rb_status s = RB_OK;
    for (c->layer = 0; c->layer < solved && s == RB_OK; c->layer++) {
        list_maps(c);
        for (size_t i = 0; i < c->map_count && s == RB_OK; i++) {
            s = rb_overlay_add(c->overlay, c->model, c->maps[i].weight, owner_of(c), err);
            if (s == RB_OK && c->maps[i].bias)
                s = rb_overlay_add(c->overlay, c->model, c->maps[i].weight + 1, owner_of(c), err);
        }
    }
    c->layer = 0;
    return s;
}

enum rb_status rb_least_squares_restore(struct rb_program *p, const unsigned char *bytes,
                                        size_t count, struct rb_error *err)
{
    struct least_squares *c = (struct least_squares *)p;
    struct state_head head, mine;
    uint64_t sum;
    fill_head(c, &mine);
    if (count < sizeof head + sizeof sum)
        return refuse(err, "it is cut short");
    memcpy(&head, bytes, sizeof head);
    if (memcmp(head.magic, MAGIC, sizeof MAGIC) != 0)
        return refuse(err, "another build of rebasind wrote it");
    if (head.text != mine.text ||
        memcmp((const void *)head.weights, (const void *)mine.weights, sizeof mine.weights) != 0 ||
        head.solved > c->config->num_hidden_layers + 1)
        return refuse(err, "it belongs to another merge or another text");
    memcpy(&sum, bytes + count - sizeof sum, sizeof sum);
    size_t body = count - sizeof head - sizeof sum;
    if (sum != rb_learn_checksum(bytes, count - sizeof sum, 0))
        return refuse(err, "it is damaged");
    enum rb_status s = rb_learn_arithmetic_check(head.arithmetic, "state of a merge", err);
    if (s == RB_OK)
        s = hold(c, head.solved, err);
    if (s != RB_OK)
        return s;
    if (for_tensors(c, head.solved, NULL, NULL) * sizeof(float) != body)
        return refuse(err, "it is of another size");
    float *floats = rb_malloc_aligned(body / sizeof(float) + 1, sizeof *floats);
    if (floats == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the saved state of a merge");
    memcpy(floats, bytes + sizeof head, body);
    (void)for_tensors(c, head.solved, NULL, floats);
    free(floats);
    c->solved = head.solved;
    c->totals = head.totals;
    return RB_OK;
}
