#include "core/align/rematch.h"
#include "core/align/assignment.h"
#include "core/align/products.h"
#include "core/align/rotate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static enum rb_status no_memory(const struct rb_group *g, struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "no memory for the similarity of group '%s'", g->name);
}

static double square_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; x != NULL && i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static void scale(float *x, size_t n, double by)
{
    for (size_t i = 0; x != NULL && i < n; i++)
        x[i] = (float)((double)x[i] * by);
}

/* `both`: weights' x, and its even part where it has one, divided by their norm, plus what
 * activations say divided by its own. Nothing with `weights`. */
static enum rb_status add_activations(const struct rb_rematch *r,
                                      const struct rb_similarity_source *source, float *x,
                                      float *even, struct rb_worker *w, struct rb_error *err)
{
    size_t n = source->size, nn = n * n;
    if (r->options->match != RB_MATCH_BOTH)
        return RB_OK;
    float *c = rb_scratch_alloc(&w->scratch, nn, sizeof *c);
    if (c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the similarity of %zu units", n);
    enum rb_status s =
        rb_similarity_rows(source, r->options->similarity, 0, n, c, &w->scratch, err);
    double mine = sqrt(square_of(x, nn) + square_of(even, nn)), other = sqrt(square_of(c, nn));
    if (s != RB_OK)
        return s;
    scale(x, nn, mine > 0 ? 1 / mine : 0);
    scale(even, nn, mine > 0 ? 1 / mine : 0);
    for (size_t i = 0; i < nn && other > 0; i++)
        x[i] += (float)((double)c[i] / other);
    return RB_OK;
}

static float *zeroes(struct rb_worker *w, size_t n)
{
    float *x = rb_scratch_alloc(&w->scratch, n * n, sizeof *x);
    if (x != NULL)
        memset(x, 0, n * n * sizeof *x);
    return x;
}

/* What was reported of an order that is no more. */
static void forget(struct rb_group *g)
{
    free(g->correlations.heatmap_before);
    free(g->correlations.heatmap_after);
    g->correlations = (struct rb_correlations){0};
}

static size_t differing(const uint32_t *a, const uint32_t *b, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += a[i] != b[i];
    return count;
}

/* ---- FF ---- */

enum rb_status rb_rematch_ff(const struct rb_rematch *r, struct rb_group *g,
                             const struct rb_similarity_source *source, size_t *ret_moved,
                             struct rb_worker *w, struct rb_error *err)
{
    size_t n = g->size, nn = n * n;
    float *odd = zeroes(w, n), *even = g->signs != NULL ? zeroes(w, n) : NULL;
    uint32_t *before = rb_scratch_alloc(&w->scratch, n, sizeof *before);
    if (odd == NULL || before == NULL || (g->signs != NULL && even == NULL))
        return no_memory(g, err);
    memcpy(before, g->index, n * sizeof *before);
    enum rb_status s = rb_products_add(&r->a, &r->b, RB_AXIS_FF, g->layer, odd, w, err);
    if (s == RB_OK)
        s = rb_products_add(&r->a, &r->b, RB_AXIS_FF_GATE, g->layer, even != NULL ? even : odd, w,
                            err);
    if (s == RB_OK)
        s = add_activations(r, source, odd, even, w, err);
    for (size_t i = 0; i < nn && s == RB_OK && even != NULL; i++)
        even[i] += fabsf(odd[i]);
    for (size_t i = 0; i < nn && s == RB_OK && even == NULL && r->options->absolute; i++)
        odd[i] = fabsf(odd[i]);
    if (s == RB_OK)
        s = rb_assignment_solve(even != NULL ? even : odd, n, n, g->index, &g->score, w, err);
    for (size_t i = 0; i < n && s == RB_OK && even != NULL; i++)
        g->signs[i] = odd[i * n + g->index[i]] < 0 ? -1.0f : 1.0f;
    if (s != RB_OK)
        return s;
    forget(g);
    *ret_moved = differing(before, g->index, n);
    return RB_OK;
}

/* ---- heads ---- */

/* Products of one layer's units: of heads * d_h (wide) and of key-value heads * d_h (narrow);
 * queries and keys NULL: nobody asks for them. */
struct products {
    float *query, *key, *value, *output;
};

static bool by_heads(const struct rb_rematch *r)
{
    return r->options->heads != RB_HEADS_IGNORE;
}

/* Do queries and keys move in the order of values? */
static bool follows(const struct rb_rematch *r)
{
    return r->shape->rotary_dims == 0 && !r->options->separate_qk;
}

static enum rb_status make_products(const struct rb_rematch *r, const struct rb_rematch_layer *l,
                                    struct products *ret, struct rb_worker *w, struct rb_error *err)
{
    const struct rb_heads_shape *h = r->heads;
    size_t narrow = h->groups * h->units, wide = narrow * h->queries;
    bool turns = l->mha->rotation != NULL || (l->qk != NULL && l->qk->rotation != NULL);
    bool queries = follows(r) || l->qk != NULL || turns;
    const struct {
        float **at;
        size_t n;
        enum rb_axis axis;
        bool asked;
    } parts[] = {{&ret->value, narrow, RB_AXIS_V, true},
                 {&ret->output, wide, RB_AXIS_O, true},
                 {&ret->query, wide, RB_AXIS_Q, queries},
                 {&ret->key, narrow, RB_AXIS_K, queries}};
    *ret = (struct products){0};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!parts[i].asked)
            continue;
        *parts[i].at = zeroes(w, parts[i].n);
        if (*parts[i].at == NULL)
            return no_memory(l->mha, err);
        enum rb_status s =
            rb_products_add(&r->a, &r->b, parts[i].axis, l->mha->layer, *parts[i].at, w, err);
        if (s != RB_OK)
            return s;
    }
    return RB_OK;
}

static void add(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* to (wide, wide) += from (narrow, narrow), a key-value head's part for each of its query heads:
 * together they weigh as much as it does. */
static void spread(const struct rb_heads_shape *h, const float *from, float *to)
{
    size_t n = h->units, narrow = h->groups * n, wide = narrow * h->queries;
    for (size_t i = 0; i < wide; i++)
        for (size_t j = 0; j < wide; j++) {
            size_t a = i / (n * h->queries) * n + i % n, b = j / (n * h->queries) * n + j % n;
            to[i * wide + j] += from[a * narrow + b] / (float)h->queries;
        }
}

/* The similarities that heads are matched by: c (wide, wide), v (narrow, narrow) of grouped
 * queries, else NULL. */
static enum rb_status similarities(const struct rb_rematch *r, const struct rb_rematch_layer *l,
                                   const struct products *p, float **ret_c, float **ret_v,
                                   struct rb_worker *w, struct rb_error *err)
{
    const struct rb_heads_shape *h = r->heads;
    size_t narrow = h->groups * h->units, wide = narrow * h->queries;
    float *c = zeroes(w, wide), *v = zeroes(w, narrow);
    if (c == NULL || v == NULL)
        return no_memory(l->mha, err);
    add(c, p->output, wide * wide);
    add(v, p->value, narrow * narrow);
    if (follows(r)) {
        add(c, p->query, wide * wide);
        add(v, p->key, narrow * narrow);
    }
    spread(h, v, c);
    enum rb_status s = add_activations(r, l->mha_source, c, NULL, w, err);
    if (s == RB_OK && h->queries > 1)
        s = add_activations(r, l->values, v, NULL, w, err);
    for (size_t i = 0; i < wide * wide && r->options->absolute; i++)
        c[i] = fabsf(c[i]);
    for (size_t i = 0; i < narrow * narrow && r->options->absolute; i++)
        v[i] = fabsf(v[i]);
    *ret_c = c;
    *ret_v = h->queries > 1 ? v : NULL;
    return s;
}

static enum rb_status match_heads(const struct rb_rematch *r, const struct rb_rematch_layer *l,
                                  const float *c, const float *v, struct rb_worker *w,
                                  struct rb_error *err)
{
    const struct rb_heads_shape *h = r->heads;
    size_t narrow = h->groups * h->units, rows = h->queries * h->units, wide = h->groups * rows;
    struct rb_group *g = l->mha;
    uint32_t *assigned = g->kv_heads != NULL ? g->kv_heads : g->heads;
    enum rb_status s = RB_OK;
    for (size_t k = 0; k < h->groups; k++)
        for (size_t other = 0; other < h->groups && s == RB_OK; other++)
            if (!h->in_order || other == k)
                s = rb_heads_match(h, c + k * rows * wide,
                                   v != NULL ? v + k * h->units * narrow : NULL, k, other, l->work,
                                   w, err);
    double score;
    if (s == RB_OK && !h->in_order)
        s = rb_assignment_solve(l->work->value, h->groups, h->groups, assigned, &score, w, err);
    if (s != RB_OK)
        return s;
    rb_heads_assemble(h, l->work, assigned, g->kv_heads != NULL ? g->heads : NULL, g->index,
                      g->values);
    g->score = 0;
    for (size_t i = 0; i < g->size; i++)
        g->score += (double)c[i * wide + g->index[i]];
    return RB_OK;
}

/* Queries and keys that have an order of their own, inside mha's heads; not of grouped queries. */
static enum rb_status match_queries(const struct rb_rematch *r, const struct rb_rematch_layer *l,
                                    const struct products *p, struct rb_worker *w,
                                    struct rb_error *err)
{
    struct rb_group *g = l->qk;
    size_t n = g->size, dh = r->heads->units, heads = by_heads(r) ? g->head_count : 1;
    float *c = zeroes(w, n);
    if (c == NULL)
        return no_memory(g, err);
    add(c, p->query, n * n);
    add(c, p->key, n * n);
    enum rb_status s = add_activations(r, l->qk_source, c, NULL, w, err);
    for (size_t i = 0; i < n * n && r->options->absolute; i++)
        c[i] = fabsf(c[i]);
    memcpy(g->heads, l->mha->heads, g->head_count * sizeof *g->heads);
    if (!by_heads(r))
        dh = n;
    g->score = 0;
    for (size_t h = 0; h < heads && s == RB_OK; h++) {
        size_t to = by_heads(r) ? g->heads[h] * dh : 0;
        double score = 0;
        s = rb_assignment_solve(c + h * dh * n + to, dh, n, g->index + h * dh, &score, w, err);
        for (size_t u = 0; u < dh && s == RB_OK; u++)
            g->index[h * dh + u] += (uint32_t)to;
        g->score += score;
    }
    if (s == RB_OK)
        forget(g);
    return s;
}

/* The order that queries and keys move in: with rotary positions that of heads as wholes. */
static enum rb_status whole_heads(const uint32_t *heads, size_t count, size_t units,
                                  const uint32_t **ret, struct rb_worker *w, struct rb_error *err)
{
    uint32_t *index = rb_scratch_alloc(&w->scratch, count * units, sizeof *index);
    if (index == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to rotate heads");
    for (size_t i = 0; i < count * units; i++)
        index[i] = heads[i / units] * (uint32_t)units + (uint32_t)(i % units);
    *ret = index;
    return RB_OK;
}

static enum rb_status rotate(const struct rb_rematch *r, const struct rb_rematch_layer *l,
                             const struct products *p, struct rb_worker *w, struct rb_error *err)
{
    struct rb_group *mha = l->mha, *g = l->qk != NULL ? l->qk : mha;
    const struct rb_heads_shape *h = r->heads;
    const uint32_t *kv = mha->kv_heads != NULL ? mha->kv_heads : mha->heads;
    struct rb_rotate_input in = {
        .shape = *h,
        .tap = rb_moments_find(r->moments, RB_TAP_Q, mha->layer),
        .index = g->index,
        .keys = rb_moments_find(r->moments, RB_TAP_K, mha->layer),
        .keys_index = g->values != NULL ? g->values : g->index,
        .rotary_dims = r->shape->rotary_dims,
        .match = r->options->match,
        .wide = p->query,
        .narrow = p->key,
    };
    enum rb_status s = RB_OK;
    if (in.rotary_dims > 0)
        s = whole_heads(mha->heads, h->groups * h->queries, h->units, &in.index, w, err);
    if (s == RB_OK && in.rotary_dims > 0)
        s = whole_heads(kv, h->groups, h->units, &in.keys_index, w, err);
    if (s == RB_OK && g->rotation != NULL)
        s = rb_rotate_keys(&in, g->rotation, &w->scratch, err);
    const struct rb_rotate_input values = {
        .shape = *h,
        .tap = rb_moments_find(r->moments, RB_TAP_MHA, mha->layer),
        .index = mha->index,
        .keys_index = mha->values != NULL ? mha->values : mha->index,
        .match = r->options->match,
        .wide = p->output,
        .narrow = p->value,
    };
    return s == RB_OK ? rb_rotate_values(&values, mha->value_rotation, &w->scratch, err) : s;
}

enum rb_status rb_rematch_heads(const struct rb_rematch *r, const struct rb_rematch_layer *l,
                                size_t *ret_moved, struct rb_worker *w, struct rb_error *err)
{
    struct rb_group *g = l->mha;
    struct products p;
    float *c, *v;
    uint32_t *before = rb_scratch_alloc(&w->scratch, g->size, sizeof *before);
    if (before == NULL)
        return no_memory(g, err);
    memcpy(before, g->index, g->size * sizeof *before);
    enum rb_status s = make_products(r, l, &p, w, err);
    if (s == RB_OK)
        s = similarities(r, l, &p, &c, &v, w, err);
    if (s == RB_OK)
        s = by_heads(r) ? match_heads(r, l, c, v, w, err)
                        : rb_assignment_solve(c, g->size, g->size, g->index, &g->score, w, err);
    if (s == RB_OK && l->qk != NULL)
        s = match_queries(r, l, &p, w, err);
    if (s == RB_OK && g->value_rotation != NULL)
        s = rotate(r, l, &p, w, err);
    if (s != RB_OK)
        return s;
    forget(g);
    *ret_moved = differing(before, g->index, g->size);
    return RB_OK;
}

/* ---- what it takes ---- */

double rb_rematch_cost(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    double d = s->hidden_size, ff = s->inner_size, cost = 0;
    double wide = (double)s->heads * s->head_dim, narrow = (double)s->kv_heads * s->head_dim;
    if (o->components & RB_COMPONENT_FF)
        cost += rb_products_cost(ff, d, s->gated ? 3 : 2) + rb_assignment_cost(ff);
    if (o->components & RB_COMPONENT_MHA)
        cost += rb_products_cost(wide, d, 2) + rb_products_cost(narrow, d, 2) + 50 * wide * wide;
    return cost * s->layers;
}

uint64_t rb_rematch_bytes(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    uint64_t ff = s->inner_size, wide = (uint64_t)s->heads * s->head_dim;
    uint64_t of_ff = o->components & RB_COMPONENT_FF ? 3 * ff * ff : 0;
    uint64_t of_heads = o->components & RB_COMPONENT_MHA ? 7 * wide * wide : 0;
    return (of_ff > of_heads ? of_ff : of_heads) * sizeof(float);
}
