#include "core/learn/maps.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

/* ---- which matrix is where ---- */

static size_t head_index(const struct rb_learn_maps *m, enum rb_learn_kind kind, uint32_t layer,
                         uint32_t kv_head)
{
    size_t before = 0; /* matrices of the kinds before */
    for (int k = 0; k < (int)kind; k++)
        before += m->kinds[k] ? (size_t)m->layers * m->kv_heads : 0;
    return (m->residual ? 1 : 0) + before + (size_t)layer * m->kv_heads + kv_head;
}

struct rb_learn_matrix *rb_learn_maps_head(const struct rb_learn_maps *m, enum rb_learn_kind kind,
                                           uint32_t layer, uint32_t kv_head)
{
    const struct rb_learn_head_order *o = &m->heads_order;
    if (o->parameters > 0)
        kv_head = o->order[layer * o->n + kv_head];
    return &m->matrices[head_index(m, kind, layer, kv_head)];
}

/* The arrays that hold matrix i: each of them `copies` blocks side by side. */
struct targets {
    float *at[2], *inverse[2]; /* inverse NULL: not apart */
    size_t copies[2];
    bool dual; /* the second one moves by the inverse transposed, as keys do beside queries */
};

static struct targets targets_of(const struct rb_learn_maps *m, size_t i)
{
    if (m->residual && i == 0)
        return (struct targets){.at = {m->stream, NULL}, .copies = {1, 0}};
    i -= m->residual ? 1 : 0;
    size_t kv = i % m->kv_heads, layer = i / m->kv_heads % m->layers;
    if (m->heads_order.parameters > 0)
        kv = rb_learn_head_order_slot(&m->heads_order, (uint32_t)layer, (uint32_t)kv);
    size_t group = m->heads / m->kv_heads, block = (size_t)m->head_dim * m->head_dim;
    bool value = !m->kinds[RB_LEARN_QUERY_KEY] || i / m->kv_heads / m->layers > 0;
    float *wide = value ? m->output[layer] : m->query[layer];
    float *narrow = value ? m->value[layer] : m->key[layer];
    struct targets t = {.at = {wide + kv * group * block, narrow + kv * block},
                        .copies = {group, 1},
                        .dual = !value};
    if (m->stretches) {
        t.inverse[0] = (value ? m->output_inverse : m->query_inverse)[layer] + kv * group * block;
        t.inverse[1] = (value ? m->value_inverse : m->key_inverse)[layer] + kv * block;
    }
    return t;
}

/* ---- life ---- */

static bool add_array(const struct rb_learn_maps *m, float **at, uint32_t heads)
{
    *at = rb_calloc_aligned((size_t)heads * m->head_dim * m->head_dim, sizeof(float));
    return *at != NULL;
}

static bool allocate(struct rb_learn_maps *m, size_t hidden_size)
{
    m->count = m->residual ? 1 : 0;
    for (int k = 0; k < RB_LEARN_KINDS; k++)
        m->count += m->kinds[k] ? (size_t)m->layers * m->kv_heads : 0;
    m->matrices = calloc(m->count + 1, sizeof *m->matrices);
    bool ok = m->matrices != NULL;
    if (m->residual)
        ok =
            (m->stream = rb_calloc_aligned(hidden_size * hidden_size, sizeof(float))) != NULL && ok;
    float ***tables[] = {&m->query,         &m->key,         &m->value,         &m->output,
                         &m->query_inverse, &m->key_inverse, &m->value_inverse, &m->output_inverse};
    for (size_t i = 0; i < 8; i++) {
        if (!m->kinds[i % 4 < 2 ? RB_LEARN_QUERY_KEY : RB_LEARN_VALUE])
            continue;
        if (i >= 4 && !m->stretches) {
            *tables[i] = *tables[i - 4];
            continue;
        }
        *tables[i] = calloc(m->layers, sizeof **tables[i]);
        ok = ok && *tables[i] != NULL;
        for (uint32_t l = 0; ok && l < m->layers; l++)
            ok = add_array(m, &(*tables[i])[l], i % 4 == 0 || i % 4 == 3 ? m->heads : m->kv_heads);
    }
    return ok;
}

/* F of a map's block b, or the identity. */
static void start_of(const struct rb_map *map, size_t b, size_t n, double *ret)
{
    bool there = map->blocks > 0 && map->size / map->blocks == n;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            ret[i * n + j] = there ? (double)map->forward[b * n * n + i * n + j] : i == j ? 1 : 0;
}

static enum rb_status add_matrix(struct rb_learn_maps *m, size_t i, size_t n, size_t planes,
                                 const double *base, bool stream_of_layer_norms,
                                 struct rb_error *err)
{
    struct rb_learn_matrix *x = &m->matrices[i];
    x->g = rb_calloc_aligned(n * n, sizeof(float));
    if (x->g == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the gradient of a map");
    bool stretches = m->stretches && !(m->residual && i == 0);
    enum rb_status s =
        rb_learned_init(&x->f, n, planes, base, stream_of_layer_norms, stretches, err);
    if (s != RB_OK)
        return s;
    x->first = m->parameters;
    m->parameters += x->f.parameters;
    return RB_OK;
}

static enum rb_status add_matrices(struct rb_learn_maps *m, const struct rb_config *c, double *base,
                                   struct rb_error *err)
{
    enum rb_status s = RB_OK;
    if (m->residual) {
        start_of(rb_motion_map(m->motion, RB_AXIS_RES_FIRST, 0), 0, c->hidden_size, base);
        s = add_matrix(m, 0, c->hidden_size, 0, base, c->norm_kind == RB_NORM_LAYER, err);
    }
    for (int kind = 0; kind < RB_LEARN_KINDS; kind++)
        for (uint32_t l = 0; m->kinds[kind] && l < m->layers; l++)
            for (uint32_t g = 0; g < m->kv_heads && s == RB_OK; g++) {
                bool keys = kind == RB_LEARN_QUERY_KEY;
                start_of(rb_motion_map(m->motion, keys ? RB_AXIS_K : RB_AXIS_V, l), g, m->head_dim,
                         base);
                s = add_matrix(m, head_index(m, (enum rb_learn_kind)kind, l, g), m->head_dim,
                               keys ? c->attention.rope.dims / 2 : 0, base, false, err);
            }
    return s;
}

static void point(struct rb_map *map, uint32_t size, uint32_t blocks, float *f, float *inverse)
{
    map->size = size;
    map->blocks = blocks;
    map->forward = f;
    map->inverse = inverse;
}

static void point_all(struct rb_learn_maps *m, const struct rb_config *c)
{
    static const enum rb_axis stream[] = {RB_AXIS_RES_FIRST, RB_AXIS_RES_IN, RB_AXIS_RES_MID,
                                          RB_AXIS_RES_OUT, RB_AXIS_RES_LAST};
    uint32_t q = m->heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    for (uint32_t l = 0; l < m->layers; l++) {
        for (size_t i = 0; m->residual && i < sizeof stream / sizeof stream[0]; i++)
            point(rb_motion_map(m->motion, stream[i], l), c->hidden_size, 1, m->stream, m->stream);
        if (m->residual && c->embedding_size == c->hidden_size) /* one basis: as in alignment.c */
            point(rb_motion_map(m->motion, RB_AXIS_EMBEDDING, l), c->hidden_size, 1, m->stream,
                  m->stream);
        if (m->kinds[RB_LEARN_QUERY_KEY]) {
            point(rb_motion_map(m->motion, RB_AXIS_Q, l), q, m->heads, m->query[l],
                  m->query_inverse[l]);
            point(rb_motion_map(m->motion, RB_AXIS_K, l), kv, m->kv_heads, m->key[l],
                  m->key_inverse[l]);
        }
        if (m->kinds[RB_LEARN_VALUE]) {
            point(rb_motion_map(m->motion, RB_AXIS_V, l), kv, m->kv_heads, m->value[l],
                  m->value_inverse[l]);
            point(rb_motion_map(m->motion, RB_AXIS_O, l), q, m->heads, m->output[l],
                  m->output_inverse[l]);
        }
    }
}

enum rb_status rb_learn_maps_init(struct rb_learn_maps *ret, const struct rb_config *c,
                                  struct rb_motion *motion, const struct rb_learn_what *what,
                                  struct rb_error *err)
{
    struct rb_learn_maps m = {
        .motion = motion,
        .layers = c->num_hidden_layers,
        .heads = c->attention.heads,
        .kv_heads = c->attention.kv_heads,
        .head_dim = c->attention.head_dim,
        .residual = what->residual,
        .kinds = {what->kinds[0], what->kinds[1]},
        .stretches = what->stretches,
    };
    size_t most = c->hidden_size > m.head_dim ? c->hidden_size : m.head_dim;
    double *base = rb_malloc_aligned(most * most, sizeof(double));
    enum rb_status s = RB_OK;
    if (base == NULL || !allocate(&m, c->hidden_size))
        s = rb_error_set(err, RB_ENOMEM, "no memory for the maps that are learned");
    if (s == RB_OK)
        s = add_matrices(&m, c, base, err);
    free(base);
    if (s == RB_OK)
        s = rb_learn_units_init(&m.units, c, motion, what->scales, what->orders, err);
    if (s == RB_OK && what->head_orders)
        s = rb_learn_head_order_init(&m.heads_order, c, motion, err);
    m.parameters += (m.units.parameters + m.heads_order.parameters) * m.layers;
    if (s == RB_OK) {
        m.x = rb_calloc_aligned(4 * m.parameters, sizeof(double));
        if (m.x == NULL)
            s = rb_error_set(err, RB_ENOMEM, "no memory for the parameters of learned maps");
    }
    if (s != RB_OK) {
        rb_learn_maps_deinit(&m);
        return s;
    }
    m.dx = m.x + m.parameters;
    m.m = m.dx + m.parameters;
    m.v = m.m + m.parameters;
    point_all(&m, c);
    for (size_t i = m.count, n; i < rb_learn_maps_items(&m); i++) {
        double *x = m.x + rb_learn_maps_first(&m, i, &n);
        if (i < rb_learn_maps_order_item(&m))
            rb_learn_units_start(&m.units, (uint32_t)(i - m.count), x);
        else
            rb_learn_head_order_start(&m.heads_order, x);
    }
    *ret = m;
    return RB_OK;
}

void rb_learn_maps_deinit(struct rb_learn_maps *m)
{
    for (size_t i = 0; m->matrices != NULL && i < m->count; i++) {
        rb_learned_deinit(&m->matrices[i].f);
        free(m->matrices[i].g);
        free(m->matrices[i].gains);
    }
    free(m->matrices);
    free(m->stream);
    rb_learn_units_deinit(&m->units);
    rb_learn_head_order_deinit(&m->heads_order);
    float **tables[] = {m->query,         m->key,         m->value,         m->output,
                        m->query_inverse, m->key_inverse, m->value_inverse, m->output_inverse};
    for (size_t i = 0; i < (m->stretches ? 8 : 4); i++) {
        for (uint32_t l = 0; tables[i] != NULL && l < m->layers; l++)
            free(tables[i][l]);
        free(tables[i]);
    }
    free(m->x);
    *m = (struct rb_learn_maps){0};
}

/* ---- values and gradients ---- */

size_t rb_learn_maps_first(const struct rb_learn_maps *m, size_t item, size_t *ret_count)
{
    size_t n = m->units.parameters, order = m->heads_order.parameters;
    if (item < m->count) {
        *ret_count = m->matrices[item].f.parameters;
        return m->matrices[item].first;
    }
    size_t first = rb_learn_maps_order_item(m), orders = m->layers * order;
    *ret_count = item < first ? n : order;
    return item < first ? m->parameters - orders - (m->layers - (item - m->count)) * n
                        : m->parameters - orders + (item - first) * order;
}

enum rb_status rb_learn_maps_order(struct rb_learn_maps *m, bool solve, struct rb_error *err)
{
    struct rb_worker w;
    enum rb_status s = RB_OK;
    size_t n, first = rb_learn_maps_order_item(m);
    if (m->heads_order.parameters == 0)
        return RB_OK;
    rb_worker_init(&w, NULL);
    for (uint32_t l = 0; l < m->layers && s == RB_OK; l++) {
        double *x = m->x + rb_learn_maps_first(m, first + l, &n);
        s = rb_learn_head_order_value(&m->heads_order, l, x, solve, &w, err);
        rb_scratch_reset(&w.scratch);
    }
    rb_worker_deinit(&w);
    return s;
}

static void write_value(struct rb_learn_maps *m, size_t i)
{
    struct targets t = targets_of(m, i);
    const struct rb_learned *f = &m->matrices[i].f;
    size_t nn = f->n * f->n;
    for (int k = 0; k < 2; k++) {
        bool dual = t.dual && k == 1;
        const double *value = dual ? f->dual : f->value, *inverse = dual ? f->value : f->dual;
        for (size_t copy = 0; copy < t.copies[k]; copy++)
            for (size_t j = 0; j < nn; j++) {
                t.at[k][copy * nn + j] = (float)value[j];
                if (t.inverse[k] != NULL)
                    t.inverse[k][copy * nn + j] = (float)inverse[j];
            }
    }
}

enum rb_status rb_learn_maps_value(struct rb_learn_maps *m, size_t i, struct rb_error *err)
{
    struct rb_learn_matrix *x = &m->matrices[i];
    enum rb_status s = rb_learned_value(&x->f, m->x + x->first, err);
    if (s == RB_OK)
        write_value(m, i);
    return s;
}

enum rb_status rb_learn_maps_project(struct rb_learn_maps *m, size_t i, struct rb_error *err)
{
    struct rb_learn_matrix *x = &m->matrices[i];
    enum rb_status s = rb_learned_value(&x->f, m->x + x->first, err);
    if (s == RB_OK)
        s = rb_learned_project(&x->f, err);
    if (s == RB_OK)
        write_value(m, i);
    return s;
}

enum rb_status rb_learn_maps_take_gains(struct rb_learn_maps *m, struct rb_error *err)
{
    size_t n = m->matrices[0].f.n;
    m->matrices[0].gains = rb_calloc_aligned(n * n, sizeof(float));
    return m->matrices[0].gains != NULL
               ? RB_OK
               : rb_error_set(err, RB_ENOMEM, "no memory for the gradient of the stream's gains");
}

enum rb_status rb_learn_maps_gradient(struct rb_learn_maps *m, size_t i, double scale,
                                      struct rb_scratch *scratch, struct rb_error *err)
{
    struct rb_learn_matrix *x = &m->matrices[i];
    size_t n = x->f.n, nn = n * n;
    double *g = rb_scratch_alloc(scratch, nn, sizeof(double));
    double *df = rb_scratch_alloc(scratch, nn, sizeof(double));
    if (g == NULL || df == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the gradient of a map");
    for (size_t j = 0; j < nn; j++)
        g[j] = scale * (double)x->g[j];
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)n, (int)n, 1, x->f.dual,
                (int)n, g, (int)n, 0, df, (int)n);
    for (size_t j = 0; x->gains != NULL && j < nn; j++)
        df[j] += 2 * scale * (double)x->gains[j] * x->f.value[j];
    rb_learned_gradient(&x->f, m->x + x->first, df, m->dx + x->first, g);
    memset(x->g, 0, nn * sizeof *x->g);
    if (x->gains != NULL)
        memset(x->gains, 0, nn * sizeof *x->gains);
    return RB_OK;
}
