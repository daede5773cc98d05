#include "core/align/ascent.h"
#include "core/align/assignment.h"
#include "core/align/heads.h"
#include "core/align/procrustes.h"
#include "core/align/rotate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 64 };

static const double LEAST_GAIN = 1e-9; /* of the sum that is raised: less is rounding */

/* ---- what a group is made of ---- */

size_t rb_ascent_taps(const struct rb_align_shape *shape)
{
    return (size_t)shape->residual_taps + 2;
}

static size_t residual_taps(const struct rb_ascent *a, const struct rb_group *g,
                            const struct rb_moments *m, const struct rb_tap **taps)
{
    const struct rb_align_options *o = a->options;
    uint32_t last = a->shape->residual_taps - 1, from = 0, to = last;
    if (!rb_align_turns_stream(o)) {
        if (o->residual == RB_RESIDUAL_SEPARATE)
            from = to = g->layer;
        else if (o->residual == RB_RESIDUAL_FIRST)
            to = 0;
        else if (o->residual == RB_RESIDUAL_LAST)
            from = last;
    }
    for (uint32_t k = from; k <= to; k++)
        taps[k - from] = rb_moments_find(m, RB_TAP_RESIDUAL, k);
    return to - from + 1;
}

struct rb_similarity_source rb_ascent_source(const struct rb_ascent *a, const struct rb_group *g,
                                             const struct rb_moments *m, const struct rb_tap **taps)
{
    struct rb_similarity_source s = {.taps = taps, .count = 1, .size = g->size};
    switch (g->axis) {
    case RB_AXIS_FF:
        taps[0] = rb_moments_find(m, RB_TAP_FF, g->layer);
        break;
    case RB_AXIS_V:
        taps[0] = rb_moments_find(m, RB_TAP_MHA, g->layer);
        break;
    case RB_AXIS_Q:
        taps[0] = rb_moments_find(m, RB_TAP_Q, g->layer);
        taps[1] = rb_moments_find(m, RB_TAP_K, g->layer);
        s.count = 2;
        s.pooled = true;
        break;
    case RB_AXIS_RES_FIRST:
        s.count = residual_taps(a, g, m, taps);
        break;
    case RB_AXIS_EMBEDDING:
        taps[0] = rb_moments_find(m, RB_TAP_EMBEDDING, 0);
        break;
    default:
        taps[0] = rb_moments_find(m, RB_TAP_HEAD, 0);
        break;
    }
    return s;
}

static bool by_heads(const struct rb_ascent *a, const struct rb_group *g)
{
    return g->axis == RB_AXIS_V && a->options->heads != RB_HEADS_IGNORE;
}

bool rb_ascent_matches(const struct rb_ascent *a, const struct rb_group *g)
{
    if (g->axis == RB_AXIS_Q)
        return a->options->heads == RB_HEADS_IGNORE;
    return g->matrix == NULL;
}

static struct rb_group *group_of(const struct rb_ascent *a, size_t model, size_t group)
{
    return &a->alignments[model - 1]->groups[group];
}

/* ---- the sum of one model's similarities with the others ---- */

/* What is at work: one kind of units of one group. */
struct units {
    const struct rb_ascent *a;
    size_t group;
    bool values; /* value projections of grouped queries */
    uint32_t size;
    float *sum;        /* (size, size) slots by units of the model that is looked at */
    float *magnitude;  /* likewise, where signs may change */
    float *rows;       /* (ROWS, size) */
    uint32_t *inverse; /* (size) */
    const struct rb_tap **taps;
};

static void units_deinit(struct units *u)
{
    free(u->sum);
    free(u->magnitude);
    free(u->rows);
    free(u->inverse);
    free((void *)u->taps);
    *u = (struct units){0};
}

static enum rb_status units_init(struct units *u, const struct rb_ascent *a, size_t group,
                                 bool values, struct rb_error *err)
{
    const struct rb_group *g = group_of(a, 1, group);
    size_t d = values ? (size_t)g->kv_count * a->shape->head_dim : g->size;
    *u = (struct units){.a = a, .group = group, .values = values, .size = (uint32_t)d};
    u->sum = rb_malloc_aligned(d * d, sizeof *u->sum);
    u->magnitude = rb_malloc_aligned(g->signs != NULL ? d * d : 0, sizeof *u->magnitude);
    u->rows = rb_malloc_aligned(ROWS * d, sizeof *u->rows);
    u->inverse = calloc(d, sizeof *u->inverse);
    u->taps = calloc(rb_ascent_taps(a->shape), sizeof(const struct rb_tap *));
    if (u->sum != NULL && u->magnitude != NULL && u->rows != NULL && u->inverse != NULL &&
        u->taps != NULL)
        return RB_OK;
    units_deinit(u);
    return rb_error_set(err, RB_ENOMEM, "no memory to match %zu units of several models", d);
}

static struct rb_similarity_source source_of(const struct units *u, const struct rb_moments *m)
{
    const struct rb_group *g = group_of(u->a, 1, u->group);
    if (!u->values)
        return rb_ascent_source(u->a, g, m, u->taps);
    u->taps[0] = rb_moments_find(m, RB_TAP_V, g->layer);
    return (struct rb_similarity_source){.taps = u->taps, .count = 1, .size = u->size};
}

/* Unit of a model in a slot, and its sign. */
static uint32_t unit_in(const struct units *u, size_t model, size_t slot)
{
    if (model == 0)
        return (uint32_t)slot;
    const struct rb_group *g = group_of(u->a, model, u->group);
    return (u->values ? g->values : g->index)[slot];
}

static float sign_in(const struct units *u, size_t model, size_t slot)
{
    const struct rb_group *g = model > 0 ? group_of(u->a, model, u->group) : NULL;
    return g != NULL && g->signs != NULL ? g->signs[slot] : 1.0f;
}

/* Rows [first, first + n) of a pair's similarities, whose rows are the other's units. */
static void add_rows(const struct units *u, size_t other, size_t first, size_t n)
{
    size_t d = u->size;
    for (size_t r = 0; r < n; r++) {
        size_t slot = u->inverse[first + r];
        float sign = sign_in(u, other, slot);
        for (size_t j = 0; j < d; j++)
            u->sum[slot * d + j] += sign * u->rows[r * d + j];
    }
}

/* The same where the rows are the model's own units. */
static void add_columns(const struct units *u, size_t other, size_t first, size_t n)
{
    size_t d = u->size;
    for (size_t slot = 0; slot < d; slot++) {
        size_t unit = unit_in(u, other, slot);
        float sign = sign_in(u, other, slot);
        for (size_t r = 0; r < n; r++)
            u->sum[slot * d + first + r] += sign * u->rows[r * d + unit];
    }
}

static enum rb_status add_pair(const struct units *u, size_t model, size_t other,
                               struct rb_worker *w, struct rb_error *err)
{
    size_t d = u->size, low = model < other ? model : other, high = model < other ? other : model;
    const struct rb_group *g = group_of(u->a, 1, u->group);
    const struct rb_similarity_source source =
        source_of(u, u->a->moments[rb_pair_place(u->a->count, low, high)]);
    enum rb_status s = RB_OK;
    for (size_t i = 0; i < d; i++)
        u->inverse[unit_in(u, other, i)] = (uint32_t)i;
    for (size_t first = 0; first < d && s == RB_OK; first += ROWS) {
        size_t n = d - first < ROWS ? d - first : ROWS;
        if (rb_worker_stopped(w))
            return rb_error_set(err, RB_ECANCELED, "canceled");
        rb_scratch_reset(&w->scratch);
        s = rb_similarity_rows(&source, u->a->options->similarity, first, n, u->rows, &w->scratch,
                               err);
        for (size_t i = 0; i < n * d && u->a->options->absolute && g->signs == NULL; i++)
            u->rows[i] = fabsf(u->rows[i]);
        if (s == RB_OK && other < model)
            add_rows(u, other, first, n);
        else if (s == RB_OK)
            add_columns(u, other, first, n);
    }
    return s;
}

/* S[i, j] = sum over the others of the similarity of what they have in slot i with unit j; before:
 * over those before this one only. */
static enum rb_status sum_units(const struct units *u, size_t model, bool before,
                                struct rb_worker *w, struct rb_error *err)
{
    enum rb_status s = RB_OK;
    memset(u->sum, 0, (size_t)u->size * u->size * sizeof *u->sum);
    for (size_t other = 0; other < (before ? model : u->a->count) && s == RB_OK; other++)
        if (other != model)
            s = add_pair(u, model, other, w, err);
    return s;
}

static double value_of(const struct units *u, const uint32_t *index, const float *signs)
{
    double sum = 0;
    for (size_t i = 0; i < u->size; i++)
        sum += (double)u->sum[i * u->size + index[i]] * (signs != NULL ? (double)signs[i] : 1);
    return sum;
}

/* ---- a new map ---- */

static uint32_t *copy_of(const uint32_t *order, size_t count)
{
    uint32_t *copy = calloc(count, sizeof *copy);
    if (copy != NULL)
        memcpy(copy, order, count * sizeof *copy);
    return copy;
}

/* What a group would become: at first what it is. */
static enum rb_status candidate_init(struct rb_group *c, const struct rb_group *g,
                                     const struct rb_align_shape *shape, struct rb_error *err)
{
    size_t values = (size_t)g->kv_count * shape->head_dim;
    *c = (struct rb_group){.size = g->size, .head_count = g->head_count, .kv_count = g->kv_count};
    c->index = copy_of(g->index, g->size);
    c->signs = g->signs != NULL ? calloc(g->size, sizeof *c->signs) : NULL;
    c->heads = g->heads != NULL ? copy_of(g->heads, g->head_count) : NULL;
    c->kv_heads = g->kv_heads != NULL ? copy_of(g->kv_heads, g->kv_count) : NULL;
    c->values = g->values != NULL ? copy_of(g->values, values) : NULL;
    bool ok = c->index != NULL && (g->signs == NULL || c->signs != NULL) &&
              (g->heads == NULL || c->heads != NULL) &&
              (g->kv_heads == NULL || c->kv_heads != NULL) &&
              (g->values == NULL || c->values != NULL);
    if (ok)
        return RB_OK;
    rb_group_deinit(c);
    return rb_error_set(err, RB_ENOMEM, "no memory to match several models");
}

static void take(struct rb_group *g, const struct rb_group *c, const struct rb_align_shape *shape)
{
    memcpy(g->index, c->index, g->size * sizeof *g->index);
    if (g->signs != NULL)
        memcpy(g->signs, c->signs, g->size * sizeof *g->signs);
    if (g->heads != NULL)
        memcpy(g->heads, c->heads, g->head_count * sizeof *g->heads);
    if (g->kv_heads != NULL)
        memcpy(g->kv_heads, c->kv_heads, g->kv_count * sizeof *g->kv_heads);
    if (g->values != NULL)
        memcpy(g->values, c->values, (size_t)g->kv_count * shape->head_dim * sizeof *g->values);
}

static enum rb_status match_whole(const struct units *u, struct rb_group *c, struct rb_worker *w,
                                  struct rb_error *err)
{
    size_t d = u->size;
    double score;
    for (size_t i = 0; i < d * d && c->signs != NULL; i++)
        u->magnitude[i] = fabsf(u->sum[i]);
    enum rb_status s = rb_assignment_solve(c->signs != NULL ? u->magnitude : u->sum, d, d, c->index,
                                           &score, w, err);
    for (size_t i = 0; i < d && s == RB_OK && c->signs != NULL; i++)
        c->signs[i] = u->sum[i * d + c->index[i]] < 0 ? -1.0f : 1.0f;
    return s;
}

static enum rb_status match_groups(const struct rb_ascent *a, const struct units *u,
                                   const struct units *values, struct rb_heads_work *work,
                                   const struct rb_heads_shape *h, struct rb_worker *w,
                                   struct rb_error *err)
{
    size_t rows = h->queries * h->units, columns = h->groups * h->units;
    enum rb_status s = RB_OK;
    for (size_t g = 0; g < h->groups; g++)
        for (size_t other = 0; other < h->groups && s == RB_OK; other++) {
            if (a->options->heads == RB_HEADS_MONOTONIC && other != g)
                continue;
            rb_scratch_reset(&w->scratch);
            s = rb_heads_match(h, u->sum + g * rows * u->size,
                               values != NULL ? values->sum + g * h->units * columns : NULL, g,
                               other, work, w, err);
        }
    return s;
}

/* METHOD 4 and 9 on the sum. */
static enum rb_status match_heads(const struct units *u, const struct units *values,
                                  struct rb_group *c, struct rb_worker *w, struct rb_error *err)
{
    const struct rb_align_shape *shape = u->a->shape;
    const struct rb_heads_shape h = {.groups = shape->kv_heads,
                                     .queries = shape->heads / shape->kv_heads,
                                     .units = shape->head_dim,
                                     .in_order = u->a->options->heads == RB_HEADS_MONOTONIC};
    uint32_t *assigned = c->kv_heads != NULL ? c->kv_heads : c->heads;
    struct rb_heads_work work;
    double score;
    enum rb_status s = rb_heads_work_init(&work, &h, err);
    if (s != RB_OK)
        return s;
    assert(assigned != NULL);
    s = match_groups(u->a, u, values, &work, &h, w, err);
    for (uint32_t g = 0; g < h.groups; g++)
        assigned[g] = g;
    if (s == RB_OK && u->a->options->heads == RB_HEADS_PERMUTE)
        s = rb_assignment_solve(work.value, h.groups, h.groups, assigned, &score, w, err);
    if (s == RB_OK)
        rb_heads_assemble(&h, &work, assigned, c->kv_heads != NULL ? c->heads : NULL, c->index,
                          c->values);
    rb_heads_work_deinit(&work);
    return s;
}

/* Queries and keys under an assignment of heads. */
static enum rb_status match_inside(const struct units *u, const uint32_t *heads, struct rb_group *c,
                                   struct rb_worker *w, struct rb_error *err)
{
    size_t d = u->size, n = u->a->shape->head_dim;
    enum rb_status s = RB_OK;
    assert(c->heads != NULL);
    memcpy(c->heads, heads, c->head_count * sizeof *heads);
    for (size_t h = 0; h < c->head_count && s == RB_OK; h++) {
        size_t first = heads[h] * n;
        double score;
        rb_scratch_reset(&w->scratch);
        s = rb_assignment_solve(u->sum + h * n * d + first, n, d, c->index + h * n, &score, w, err);
        for (size_t i = 0; i < n && s == RB_OK; i++)
            c->index[h * n + i] += (uint32_t)first;
    }
    return s;
}

/* ---- climbing ---- */

struct climb {
    struct units units, values, keys;
    bool has_values, has_keys;
};

static bool better(double after, double before)
{
    return after > before + LEAST_GAIN * fabs(before);
}

static enum rb_status sum_all(const struct climb *c, size_t model, bool before, struct rb_worker *w,
                              struct rb_error *err)
{
    enum rb_status s = sum_units(&c->units, model, before, w, err);
    if (s == RB_OK && c->has_values && !before)
        s = sum_units(&c->values, model, before, w, err);
    if (s == RB_OK && c->has_keys)
        s = sum_units(&c->keys, model, before, w, err);
    return s;
}

static double value_now(const struct units *u, size_t model)
{
    const struct rb_group *g = group_of(u->a, model, u->group);
    return value_of(u, g->index, g->signs);
}

/* A layer's heads with their queries and keys: both, or else the latter alone. */
static enum rb_status improve_keys(const struct climb *c, size_t model, const struct rb_group *mha,
                                   double *gain, struct rb_worker *w, struct rb_error *err)
{
    const struct rb_align_shape *shape = c->units.a->shape;
    struct rb_group *g = group_of(c->units.a, model, c->units.group), *qk = g + 1, found;
    double before = value_now(&c->units, model), keys_before = value_now(&c->keys, model);
    enum rb_status s = candidate_init(&found, qk, shape, err);
    if (s != RB_OK)
        return s;
    s = match_inside(&c->keys, mha->heads, &found, w, err);
    double all = s == RB_OK
                     ? value_of(&c->units, mha->index, NULL) + value_of(&c->keys, found.index, NULL)
                     : 0;
    bool both = s == RB_OK && better(all, before + keys_before);
    if (both) {
        take(g, mha, shape);
        take(qk, &found, shape);
        *gain += all - before - keys_before;
    } else if (s == RB_OK) {
        s = match_inside(&c->keys, g->heads, &found, w, err);
        double keys = s == RB_OK ? value_of(&c->keys, found.index, NULL) : keys_before;
        if (better(keys, keys_before)) {
            take(qk, &found, shape);
            *gain += keys - keys_before;
        }
    }
    rb_group_deinit(&found);
    return s;
}

static enum rb_status improve(const struct climb *c, size_t model, double *gain,
                              struct rb_worker *w, struct rb_error *err)
{
    const struct rb_ascent *a = c->units.a;
    struct rb_group *g = group_of(a, model, c->units.group), found;
    enum rb_status s = sum_all(c, model, false, w, err);
    if (s == RB_OK)
        s = candidate_init(&found, g, a->shape, err);
    if (s != RB_OK)
        return s;
    rb_scratch_reset(&w->scratch);
    s = by_heads(a, g) ? match_heads(&c->units, c->has_values ? &c->values : NULL, &found, w, err)
                       : match_whole(&c->units, &found, w, err);
    if (s == RB_OK && c->has_keys) {
        s = improve_keys(c, model, &found, gain, w, err);
    } else if (s == RB_OK) {
        double before = value_now(&c->units, model);
        double after = value_of(&c->units, found.index, found.signs);
        if (better(after, before)) {
            take(g, &found, a->shape);
            *gain += after - before;
        }
    }
    rb_group_deinit(&found);
    return s;
}

static enum rb_status climb_init(struct climb *c, const struct rb_ascent *a, size_t group,
                                 struct rb_error *err)
{
    const struct rb_group *g = group_of(a, 1, group);
    *c = (struct climb){.has_values = by_heads(a, g) && g->values != NULL,
                        .has_keys = by_heads(a, g) && a->options->separate_qk};
    enum rb_status s = units_init(&c->units, a, group, false, err);
    if (s == RB_OK && c->has_values)
        s = units_init(&c->values, a, group, true, err);
    if (s == RB_OK && c->has_keys)
        s = units_init(&c->keys, a, group + 1, false, err);
    return s;
}

static enum rb_status climb_rounds(const struct climb *c, struct rb_objective *o,
                                   struct rb_worker *w, struct rb_error *err)
{
    size_t count = c->units.a->count;
    enum rb_status s = RB_OK;
    for (size_t m = 1; m < count && s == RB_OK; m++) {
        s = sum_all(c, m, true, w, err);
        if (s == RB_OK)
            o->values[0] += value_now(&c->units, m) + (c->has_keys ? value_now(&c->keys, m) : 0);
    }
    for (double gain = 1; s == RB_OK && gain > 0 && o->rounds < RB_ASCENT_ROUNDS;) {
        gain = 0;
        for (size_t m = 1; m < count && s == RB_OK; m++)
            s = improve(c, m, &gain, w, err);
        o->rounds++;
        o->values[o->rounds] = o->values[o->rounds - 1] + gain;
    }
    return s;
}

enum rb_status rb_ascent_match(const struct rb_ascent *a, size_t group, struct rb_objective *ret,
                               struct rb_worker *w, struct rb_error *err)
{
    struct rb_objective o = {0};
    struct climb c;
    enum rb_status s = climb_init(&c, a, group, err);
    if (s == RB_OK)
        s = climb_rounds(&c, &o, w, err);
    units_deinit(&c.units);
    units_deinit(&c.values);
    units_deinit(&c.keys);
    if (s == RB_OK)
        *ret = o;
    return s;
}

double rb_ascent_cost(size_t count, const struct rb_group *g)
{
    double d = g->size, models = (double)count - 1;
    return 4 * models * (rb_assignment_cost(d) + 20 * models * d * d);
}

/* ---- inside heads ---- */

/* What turns: the values of a layer, or its queries and keys. */
struct basis {
    const struct rb_ascent *a;
    size_t mha, owner; /* groups: the layer's heads, and who has the matrices */
    bool keys;
    uint32_t **orders[2]; /* per model: of the head outputs or queries; of the keys */
};

static void basis_deinit(struct basis *b)
{
    for (int k = 0; k < 2; k++) {
        for (size_t m = 0; m < b->a->count && b->orders[k] != NULL; m++)
            free(b->orders[k][m]);
        free(b->orders[k]);
    }
}

/* A whole head after another: how queries and keys with rotary positions move. */
static uint32_t *whole_heads(const uint32_t *heads, size_t count, size_t n)
{
    uint32_t *order = calloc(count * n, sizeof *order);
    for (size_t i = 0; order != NULL && i < count * n; i++)
        order[i] = heads[i / n] * (uint32_t)n + (uint32_t)(i % n);
    return order;
}

static enum rb_status basis_init(struct basis *b, struct rb_error *err)
{
    const struct rb_align_shape *s = b->a->shape;
    size_t n = s->head_dim;
    bool ok = true;
    for (int k = 0; k < 2; k++) {
        b->orders[k] = calloc(b->a->count, sizeof *b->orders[k]);
        ok = ok && b->orders[k] != NULL;
    }
    for (size_t m = 1; m < b->a->count && ok; m++) { /* the anchor's stay NULL: as they are */
        const struct rb_group *mha = group_of(b->a, m, b->mha), *g = group_of(b->a, m, b->owner);
        const uint32_t *kv = mha->kv_heads != NULL ? mha->kv_heads : mha->heads;
        bool whole = b->keys && s->rotary_dims > 0;
        b->orders[0][m] = whole ? whole_heads(mha->heads, s->heads, n)
                                : copy_of(b->keys ? g->index : mha->index, s->heads * n);
        b->orders[1][m] = whole
                              ? whole_heads(kv, s->kv_heads, n)
                              : copy_of(g->values != NULL ? g->values : g->index, s->kv_heads * n);
        ok = b->orders[0][m] != NULL && b->orders[1][m] != NULL;
    }
    return ok ? RB_OK : rb_error_set(err, RB_ENOMEM, "no memory to rotate heads");
}

/* M of one pair for one key-value head, as METHOD 4 has it. */
static void pair_matrix(const struct basis *b, size_t x, size_t y, size_t head, double *m,
                        double *block)
{
    const struct rb_align_shape *s = b->a->shape;
    const struct rb_moments *moments = b->a->moments[rb_pair_place(b->a->count, x, y)];
    uint32_t layer = group_of(b->a, 1, b->mha)->layer;
    size_t n = s->head_dim, queries = s->heads / s->kv_heads;
    const struct rb_rotate_sides outputs = {
        rb_moments_find(moments, b->keys ? RB_TAP_Q : RB_TAP_MHA, layer), b->orders[0][x],
        b->orders[0][y]};
    memset(m, 0, n * n * sizeof *m);
    rb_rotate_add(&outputs, b->keys, head * queries, queries, n, m, block);
    if (!b->keys)
        return;
    const struct rb_rotate_sides keys = {rb_moments_find(moments, RB_TAP_K, layer), b->orders[1][x],
                                         b->orders[1][y]};
    rb_rotate_add(&keys, s->rotary_dims > 0, head, 1, n, m, block);
}

static enum rb_status polar_of_head(const void *data, const double *m, size_t n, double *ret,
                                    struct rb_scratch *scratch, struct rb_error *err)
{
    const struct basis *b = data;
    uint32_t rotary = b->a->shape->rotary_dims;
    return b->keys && rotary > 0 ? rb_procrustes_rotary(m, n, rotary, ret, scratch, err)
                                 : rb_procrustes(m, n, ret, scratch, err);
}

static float *matrices_of(const struct basis *b, size_t model)
{
    struct rb_group *g = group_of(b->a, model, b->owner);
    return b->keys ? g->rotation : g->value_rotation;
}

/* room: (pairs + count + 1) matrices. */
static enum rb_status turn_head(const struct basis *b, size_t head, double *room,
                                const double **pairs, struct rb_worker *w, struct rb_error *err)
{
    size_t count = b->a->count, n = b->a->shape->head_dim, nn = n * n;
    double *turns = room + rb_pair_count(count) * nn;
    for (size_t x = 0; x < count; x++)
        for (size_t y = x + 1; y < count; y++) {
            size_t place = rb_pair_place(count, x, y);
            pairs[place] = room + place * nn;
            pair_matrix(b, x, y, head, room + place * nn, turns + count * nn);
        }
    for (size_t m = 0; m < count; m++)
        for (size_t i = 0; i < nn; i++)
            turns[m * nn + i] =
                m == 0 ? i % (n + 1) == 0 : (double)matrices_of(b, m)[head * nn + i];
    const struct rb_turns t = {count, n, pairs, turns, polar_of_head, b};
    struct rb_objective ignored;
    enum rb_status s = rb_turns_ascend(&t, &ignored, w, err);
    for (size_t m = 1; m < count && s == RB_OK; m++)
        for (size_t i = 0; i < nn; i++)
            matrices_of(b, m)[head * nn + i] = (float)turns[m * nn + i];
    return s;
}

static enum rb_status turn_basis(const struct rb_ascent *a, size_t mha, size_t owner, bool keys,
                                 struct rb_worker *w, struct rb_error *err)
{
    struct basis b = {.a = a, .mha = mha, .owner = owner, .keys = keys};
    size_t nn = (size_t)a->shape->head_dim * a->shape->head_dim, pairs = rb_pair_count(a->count);
    const double **list = calloc(pairs, sizeof(const double *));
    double *room = rb_malloc_aligned((pairs + a->count + 1) * nn, sizeof *room);
    enum rb_status s = basis_init(&b, err);
    if (s == RB_OK && (room == NULL || list == NULL))
        s = rb_error_set(err, RB_ENOMEM, "no memory to rotate heads");
    for (size_t h = 0; h < a->shape->kv_heads && s == RB_OK; h++)
        s = turn_head(&b, h, room, list, w, err);
    basis_deinit(&b);
    free(room);
    free((void *)list);
    return s;
}

enum rb_status rb_ascent_rotate(const struct rb_ascent *a, size_t group, struct rb_worker *w,
                                struct rb_error *err)
{
    const struct rb_group *mha = group_of(a, 1, group);
    size_t owner = a->options->separate_qk ? group + 1 : group;
    enum rb_status s = RB_OK;
    if (mha->value_rotation != NULL)
        s = turn_basis(a, group, group, false, w, err);
    if (s == RB_OK && group_of(a, 1, owner)->rotation != NULL)
        s = turn_basis(a, group, owner, true, w, err);
    return s;
}
