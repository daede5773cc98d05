#include "core/learn/head_order.h"
#include "core/align/assignment.h"

#include <stdlib.h>
#include <string.h>

static const enum rb_axis axes[RB_LEARN_HEAD_AXES] = {RB_AXIS_Q, RB_AXIS_K, RB_AXIS_V, RB_AXIS_O};
/* As for FF's units: a matched pair's score at the start, of all others 0. */
static const double MARGIN = 0.1;

static bool is_wide(int axis) /* has all query heads */
{
    return axes[axis] == RB_AXIS_Q || axes[axis] == RB_AXIS_O;
}

/* Units of one key-value head. */
static size_t block_of(const struct rb_learn_head_order *o, int axis)
{
    return o->head_dim * (is_wide(axis) ? o->group : 1);
}

void rb_learn_head_order_deinit(struct rb_learn_head_order *o)
{
    for (int a = 0; a < RB_LEARN_HEAD_AXES; a++) {
        for (uint32_t l = 0; l < o->layers; l++) {
            if (o->index[a] != NULL)
                free(o->index[a][l]);
            if (o->start[a] != NULL)
                free(o->start[a][l]);
        }
        free(o->index[a]);
        free(o->start[a]);
    }
    free(o->order);
    *o = (struct rb_learn_head_order){0};
}

/* One axis of one layer: its present index, or none, twice; the motion reads the first. */
static bool take_axis(struct rb_learn_head_order *o, struct rb_motion *motion, int axis,
                      uint32_t layer)
{
    struct rb_map *map = rb_motion_map(motion, axes[axis], layer);
    size_t size = o->n * block_of(o, axis);
    uint32_t *index = malloc(size * sizeof *index), *start = malloc(size * sizeof *start);
    o->index[axis][layer] = index;
    o->start[axis][layer] = start;
    if (index == NULL || start == NULL)
        return false;
    for (size_t i = 0; i < size; i++)
        index[i] = start[i] = map->index != NULL ? map->index[i] : (uint32_t)i;
    map->size = (uint32_t)size;
    map->index = index;
    return true;
}

enum rb_status rb_learn_head_order_init(struct rb_learn_head_order *ret, const struct rb_config *c,
                                        struct rb_motion *motion, struct rb_error *err)
{
    struct rb_learn_head_order o = {.layers = c->num_hidden_layers,
                                    .n = c->attention.kv_heads,
                                    .group = c->attention.heads / c->attention.kv_heads,
                                    .head_dim = c->attention.head_dim};
    o.parameters = o.n * o.n + o.n;
    o.order = malloc(o.layers * o.n * sizeof *o.order);
    bool ok = o.order != NULL;
    for (size_t i = 0; ok && i < o.layers * o.n; i++)
        o.order[i] = (uint32_t)(i % o.n);
    for (int a = 0; a < RB_LEARN_HEAD_AXES; a++) {
        o.index[a] = calloc(o.layers, sizeof *o.index[a]);
        o.start[a] = calloc(o.layers, sizeof *o.start[a]);
        ok = ok && o.index[a] != NULL && o.start[a] != NULL;
        for (uint32_t l = 0; ok && l < o.layers; l++)
            ok = take_axis(&o, motion, a, l);
    }
    if (!ok) {
        rb_learn_head_order_deinit(&o);
        return rb_error_set(err, RB_ENOMEM, "no memory to learn the order of heads");
    }
    *ret = o;
    return RB_OK;
}

void rb_learn_head_order_start(const struct rb_learn_head_order *o, double *x)
{
    for (size_t i = 0; i < o->n; i++) {
        x[i * o->n + i] = MARGIN;
        x[o->n * o->n + i] = (double)i;
    }
}

/* Z's best assignment, into the numbers behind it. */
static enum rb_status solve_order(const struct rb_learn_head_order *o, double *x,
                                  struct rb_worker *w, struct rb_error *err)
{
    size_t n = o->n;
    float *c = rb_scratch_alloc(&w->scratch, n * n, sizeof *c);
    uint32_t *index = rb_scratch_alloc(&w->scratch, n, sizeof *index);
    double score;
    if (c == NULL || index == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to match %zu heads", n);
    for (size_t i = 0; i < n * n; i++)
        c[i] = (float)x[i];
    enum rb_status s = rb_assignment_solve(c, n, n, index, &score, w, err);
    for (size_t i = 0; s == RB_OK && i < n; i++)
        x[n * n + i] = index[i];
    return s;
}

enum rb_status rb_learn_head_order_value(struct rb_learn_head_order *o, uint32_t layer, double *x,
                                         bool solve, struct rb_worker *w, struct rb_error *err)
{
    size_t n = o->n;
    uint32_t *order = o->order + layer * n;
    enum rb_status s = solve ? solve_order(o, x, w, err) : RB_OK;
    for (size_t i = 0; s == RB_OK && i < n; i++) {
        double head = x[n * n + i];
        if (!(head >= 0 && head < (double)n)) /* from a saved state */
            return rb_error_set(err, RB_ENUMERIC, "head %g of %zu in what was learned", head, n);
        order[i] = (uint32_t)head;
    }
    for (int a = 0; s == RB_OK && a < RB_LEARN_HEAD_AXES; a++) {
        size_t block = block_of(o, a);
        for (size_t i = 0; i < n; i++)
            memcpy(o->index[a][layer] + i * block, o->start[a][layer] + order[i] * block,
                   block * sizeof(uint32_t));
    }
    return s;
}

uint32_t rb_learn_head_order_slot(const struct rb_learn_head_order *o, uint32_t layer,
                                  uint32_t head)
{
    const uint32_t *order = o->order + layer * o->n;
    uint32_t slot = 0;
    while (slot + 1 < o->n && order[slot] != head)
        slot++;
    return slot;
}

void rb_learn_head_order_fold(const struct rb_learn_head_order *o, uint32_t layer, size_t i,
                              const float *theta, const float *h, size_t rows, size_t columns,
                              bool in_columns, double *dx)
{
    size_t n = o->n, size = (in_columns ? columns : rows) / n; /* of one head */
    size_t lines = in_columns ? rows : 1, line = in_columns ? size : size * columns;
    for (size_t k = 0; k < n; k++) {
        double sum = 0;
        for (size_t r = 0; r < lines; r++) {
            const float *a = h + r * columns + i * line, *b = theta + r * columns + k * line;
            for (size_t j = 0; j < line; j++)
                sum += (double)a[j] * (double)b[j];
        }
        dx[i * n + o->order[layer * n + k]] += sum;
    }
}

void rb_learn_head_order_apply(const struct rb_learn_head_order *o, uint32_t layer, uint32_t *v,
                               size_t count, uint32_t *old)
{
    size_t part = count / o->n;
    memcpy(old, v, count * sizeof *old);
    for (size_t i = 0; i < o->n; i++)
        memcpy(v + i * part, old + o->order[layer * o->n + i] * part, part * sizeof *old);
}
