#include "core/learn/attention_back.h"
#include "core/memory.h"
#include "core/model/kernels.h"

#include <cblas.h>
#include <string.h>

enum { TILE_ROWS = 64, TILE_QUERIES_MIN = 8 };

struct tile {
    float *keys, *dkeys; /* (length, head_dim) of the present key-value head, turned */
    float *q, *go, *dq;  /* (rows, head_dim): queries, their output's gradient, their gradient */
    float *p, *dp;       /* (rows, keys it reaches) */
};

static size_t group_of(const struct rb_attention_back *a)
{
    return a->heads / a->kv_heads;
}

static size_t tile_queries(const struct rb_attention_back *a)
{
    size_t queries = TILE_ROWS / group_of(a);
    return queries > TILE_QUERIES_MIN ? queries : TILE_QUERIES_MIN;
}

static size_t lines(size_t floats)
{
    size_t per_line = RB_ALIGNMENT / sizeof(float);
    return (floats + per_line - 1) / per_line * per_line;
}

size_t rb_attention_back_floats(const struct rb_attention_back *a, size_t length)
{
    size_t rows = tile_queries(a) * group_of(a);
    return 2 * lines(length * a->head_dim) + 3 * lines(rows * a->head_dim) +
           2 * lines(rows * length);
}

static struct tile carve(const struct rb_attention_back *a, size_t length, float *scratch)
{
    size_t rows = tile_queries(a) * group_of(a), keys = lines(length * a->head_dim);
    size_t queries = lines(rows * a->head_dim), scores = lines(rows * length);
    struct tile t = {.keys = scratch, .dkeys = scratch + keys, .q = scratch + 2 * keys};
    t.go = t.q + queries;
    t.dq = t.go + queries;
    t.p = t.dq + queries;
    t.dp = t.p + scores;
    return t;
}

/* Queries [first, first + count) of one group, side by side in the tile; turned unless NULL. */
static void load_rows(const struct rb_attention_back *a, const struct rb_rotary *rotary,
                      const float *x, size_t kv, size_t first, size_t count, float *tile)
{
    size_t width = group_of(a) * a->head_dim;
    for (size_t i = 0; i < count; i++, tile += width) {
        const float *from = x + (first + i) * a->heads * a->head_dim + kv * width;
        if (rotary == NULL)
            memcpy(tile, from, width * sizeof(float));
        else
            for (size_t h = 0; h < width; h += a->head_dim)
                rb_rotary_turn(rotary, first + i, from + h, a->head_dim, tile + h);
    }
}

static void store_rows(const struct rb_attention_back *a, const float *tile, size_t kv,
                       size_t first, size_t count, float *x)
{
    size_t width = group_of(a) * a->head_dim;
    for (size_t i = 0; i < count; i++, tile += width) {
        float *to = x + (first + i) * a->heads * a->head_dim + kv * width;
        if (a->back == NULL)
            memcpy(to, tile, width * sizeof(float));
        else
            for (size_t h = 0; h < width; h += a->head_dim)
                rb_rotary_turn(a->back, first + i, tile + h, a->head_dim, to + h);
    }
}

static size_t seen_by(const struct rb_attention_back *a, size_t query, size_t length)
{
    return a->causal ? query + 1 : length;
}

static void product(enum CBLAS_TRANSPOSE ta, enum CBLAS_TRANSPOSE tb, size_t m, size_t n, size_t k,
                    const float *x, size_t ldx, const float *y, size_t ldy, float beta, float *z,
                    size_t ldz)
{
    cblas_sgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, 1.0f, x, (int)ldx, y, (int)ldy, beta,
                z, (int)ldz);
}

/* The tile's softmax weights, from its queries. */
static void weigh(const struct rb_attention_back *a, const struct tile *t, size_t first, size_t m,
                  size_t reach, size_t length)
{
    size_t dh = a->head_dim;
    product(CblasNoTrans, CblasTrans, m, reach, dh, t->q, dh, t->keys, dh, 0, t->p, reach);
    for (size_t r = 0; r < m; r++) {
        size_t seen = seen_by(a, first + r / group_of(a), length);
        rb_kernels()->softmax(t->p + r * reach, 1, seen, reach, a->scale);
        memset(t->p + r * reach + seen, 0, (reach - seen) * sizeof(float));
    }
}

static void tile_back(const struct rb_attention_back *a, const struct tile *t, const float *v,
                      size_t first, size_t count, size_t length, float *dv)
{
    const struct rb_kernels *k = rb_kernels();
    size_t dh = a->head_dim, group = group_of(a), m = count * group, stride = a->kv_heads * dh;
    size_t reach = seen_by(a, first + count - 1, length);
    weigh(a, t, first, m, reach, length);
    product(CblasTrans, CblasNoTrans, reach, dh, m, t->p, reach, t->go, dh, 1, dv, stride);
    product(CblasNoTrans, CblasTrans, m, reach, dh, t->go, dh, v, stride, 0, t->dp, reach);
    for (size_t r = 0; r < m; r++) {
        size_t seen = seen_by(a, first + r / group, length);
        k->softmax_back(t->dp + r * reach, t->p + r * reach, seen, a->scale);
        memset(t->dp + r * reach + seen, 0, (reach - seen) * sizeof(float));
    }
    product(CblasNoTrans, CblasNoTrans, m, dh, reach, t->dp, reach, t->keys, dh, 0, t->dq, dh);
    product(CblasTrans, CblasNoTrans, reach, dh, m, t->dp, reach, t->q, dh, 1, t->dkeys, dh);
}

/* One key-value head's keys, (length, stride) from k, as they enter the scores. */
static void load_keys(const struct rb_attention_back *a, const float *k, size_t length, float *keys)
{
    size_t dh = a->head_dim, stride = a->kv_heads * dh;
    for (size_t i = 0; i < length; i++)
        if (a->rotary != NULL)
            rb_rotary_turn(a->rotary, i, k + i * stride, dh, keys + i * dh);
        else
            memcpy(keys + i * dh, k + i * stride, dh * sizeof(float));
}

void rb_attention_again(const struct rb_attention_back *a, const float *q, const float *k,
                        const float *v, size_t length, float *out, float *scratch)
{
    struct tile t = carve(a, length, scratch);
    size_t dh = a->head_dim, stride = a->kv_heads * dh, step = tile_queries(a);
    size_t width = group_of(a) * dh;
    for (size_t kv = 0; kv < a->kv_heads; kv++) {
        load_keys(a, k + kv * dh, length, t.keys);
        for (size_t first = 0; first < length; first += step) {
            size_t count = length - first < step ? length - first : step;
            size_t reach = seen_by(a, first + count - 1, length), m = count * group_of(a);
            load_rows(a, a->rotary, q, kv, first, count, t.q);
            weigh(a, &t, first, m, reach, length);
            product(CblasNoTrans, CblasNoTrans, m, dh, reach, t.p, reach, v + kv * dh, stride, 0,
                    t.dq, dh);
            for (size_t i = 0; i < count; i++)
                memcpy(out + (first + i) * a->heads * dh + kv * width, t.dq + i * width,
                       width * sizeof(float));
        }
    }
}

void rb_attention_back(const struct rb_attention_back *a, const float *q, const float *k,
                       const float *v, const float *dout, size_t length, float *dq, float *dk,
                       float *dv, float *scratch)
{
    struct tile t = carve(a, length, scratch);
    size_t dh = a->head_dim, stride = a->kv_heads * dh, step = tile_queries(a);
    memset(dv, 0, length * stride * sizeof *dv);
    for (size_t kv = 0; kv < a->kv_heads; kv++) {
        load_keys(a, k + kv * dh, length, t.keys);
        memset(t.dkeys, 0, length * dh * sizeof(float));
        for (size_t first = 0; first < length; first += step) {
            size_t count = length - first < step ? length - first : step;
            load_rows(a, a->rotary, q, kv, first, count, t.q);
            load_rows(a, NULL, dout, kv, first, count, t.go);
            tile_back(a, &t, v + kv * dh, first, count, length, dv + kv * dh);
            store_rows(a, t.dq, kv, first, count, dq);
        }
        for (size_t i = 0; i < length; i++)
            if (a->back != NULL)
                rb_rotary_turn(a->back, i, t.dkeys + i * dh, dh, dk + i * stride + kv * dh);
            else
                memcpy(dk + i * stride + kv * dh, t.dkeys + i * dh, dh * sizeof(float));
    }
}
