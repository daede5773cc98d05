#include "core/model/causal.h"
#include "core/memory.h"
#include "core/model/kernels.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TILE_ROWS = 48, /* queries x heads of a group: their scores and a panel of keys stay in cache */
    BLOCK_ROWS = 6, /* rows that a product takes at a time, and that share what they reach */
    PANEL = 64,     /* keys side by side: four registers of the widest set */
};

static size_t group_of(const struct rb_causal *c)
{
    return c->heads / c->kv_heads;
}

static size_t tile_queries(const struct rb_causal *c)
{
    size_t queries = TILE_ROWS / group_of(c);
    return queries > 8 ? queries : 8;
}

static bool turns(const struct rb_causal *c)
{
    return c->rotary != NULL && c->rotary->dims > 0;
}

/* Buffers on cache lines, so that the products always take the same path. */
static size_t lines(size_t floats)
{
    size_t per_line = RB_ALIGNMENT / sizeof(float);
    return (floats + per_line - 1) / per_line * per_line;
}

static size_t panels(size_t length)
{
    return (length + PANEL - 1) / PANEL;
}

struct tile {
    float *keys;   /* (panels, head_dim, PANEL) of the present key-value head: turned, transposed */
    float *row;    /* (head_dim) */
    float *q;      /* (rows, head_dim), then the unscaled output */
    float *sums;   /* (rows) of the exponentials */
    float *scores; /* (rows, whole panels) */
};

size_t rb_causal_floats(const struct rb_causal *c, size_t length)
{
    size_t rows = tile_queries(c) * group_of(c);
    return lines(panels(length) * PANEL * c->head_dim) + lines(c->head_dim) +
           lines(rows * c->head_dim) + lines(rows) + rows * panels(length) * PANEL;
}

static struct tile carve(const struct rb_causal *c, size_t length, float *scratch)
{
    size_t rows = tile_queries(c) * group_of(c);
    float *row = scratch + lines(panels(length) * PANEL * c->head_dim);
    float *q = row + lines(c->head_dim), *sums = q + lines(rows * c->head_dim);
    return (struct tile){scratch, row, q, sums, sums + lines(rows)};
}

static size_t token_of(const uint32_t *rows, size_t i)
{
    return rows != NULL ? rows[i] : i;
}

/* Queries [first, first + count) of the heads that read key-value head `kv`, side by side. */
static void load_queries(const struct rb_causal *c, const float *q, const uint32_t *rows, size_t kv,
                         size_t first, size_t count, float *tile)
{
    size_t width = group_of(c) * c->head_dim;
    for (size_t i = 0; i < count; i++, tile += width) {
        const float *from = q + (first + i) * c->heads * c->head_dim + kv * width;
        if (!turns(c))
            memcpy(tile, from, width * sizeof(float));
        else
            for (size_t h = 0; h < width; h += c->head_dim)
                rb_rotary_turn(c->rotary, token_of(rows, first + i), from + h, c->head_dim,
                               tile + h);
    }
}

/* Keys of one head, as the products read them; behind the last one zeros. */
static void load_keys(const struct rb_causal *c, const float *k, size_t length,
                      const struct tile *t)
{
    size_t dh = c->head_dim, stride = c->kv_heads * dh;
    for (size_t j = 0; j < panels(length) * PANEL; j++) {
        float *to = t->keys + j / PANEL * PANEL * dh + j % PANEL;
        const float *key = j < length ? k + j * stride : NULL;
        if (key != NULL && turns(c)) {
            rb_rotary_turn(c->rotary, j, key, dh, t->row);
            key = t->row;
        }
        for (size_t i = 0; i < dh; i++)
            to[i * PANEL] = key != NULL ? key[i] : 0;
    }
}

/* Some queries of a key-value head, each with all heads of its group: rows of the tile. */
struct queries {
    const uint32_t *rows;
    size_t first, count;
};

/* Keys that row r of the tile looks at. */
static size_t seen_by(const struct rb_causal *c, const struct queries *q, size_t r)
{
    return token_of(q->rows, q->first + r / group_of(c)) + 1;
}

/* Keys that a block beginning at row r looks at: those of its last row. */
static size_t reach_of(const struct rb_causal *c, const struct queries *q, size_t r, size_t *ret_n)
{
    size_t m = q->count * group_of(c);
    *ret_n = m - r < BLOCK_ROWS ? m - r : BLOCK_ROWS;
    return seen_by(c, q, r + *ret_n - 1);
}

/* Panel after panel, each while it is in the nearest cache for all blocks that reach it. */
static void score(const struct rb_causal *c, const struct queries *q, const struct tile *t,
                  size_t stride)
{
    size_t m = q->count * group_of(c), dh = c->head_dim, n;
    size_t most = seen_by(c, q, m - 1);
    for (size_t key = 0; key < most; key += PANEL)
        for (size_t r = 0; r < m; r += BLOCK_ROWS)
            if (reach_of(c, q, r, &n) > key)
                rb_kernels()->multiply(t->q + r * dh, dh, t->keys + key * dh, PANEL, n, PANEL, dh,
                                       t->scores + r * stride + key, stride);
}

/* exp of what each query may see, zero for the rest of its block; sums to rows. */
static void mask_softmax(const struct rb_causal *c, const struct queries *q, const struct tile *t,
                         size_t stride)
{
    size_t m = q->count * group_of(c), n;
    for (size_t first = 0; first < m; first += BLOCK_ROWS) {
        size_t reach = reach_of(c, q, first, &n);
        for (size_t r = first; r < first + n; r++) {
            size_t seen = seen_by(c, q, r);
            t->sums[r] = rb_kernels()->exp_sum(t->scores + r * stride, seen, c->scale);
            memset(t->scores + r * stride + seen, 0, (reach - seen) * sizeof(float));
        }
    }
}

static void sum_values(const struct rb_causal *c, const struct queries *q, const float *v,
                       const struct tile *t, size_t stride)
{
    size_t m = q->count * group_of(c), dh = c->head_dim, n;
    for (size_t r = 0; r < m; r += BLOCK_ROWS) {
        size_t reach = reach_of(c, q, r, &n);
        rb_kernels()->multiply(t->scores + r * stride, stride, v, c->kv_heads * dh, n, dh, reach,
                               t->q + r * dh, dh);
    }
}

static void store_output(const struct rb_causal *c, size_t kv, size_t first, size_t count,
                         const float *tile, const float *sums, float *out)
{
    const struct rb_kernels *k = rb_kernels();
    size_t dh = c->head_dim, group = group_of(c);
    for (size_t i = 0; i < count; i++)
        for (size_t h = 0; h < group; h++, tile += dh)
            k->blend(out + ((first + i) * c->heads + kv * group + h) * dh, tile, 1 / *sums++, tile,
                     0, dh);
}

void rb_causal_attend(const struct rb_causal *c, const float *q, const float *k, const float *v,
                      size_t length, const uint32_t *rows, size_t row_count, float *out,
                      float *scratch)
{
    assert(c->heads % c->kv_heads == 0);
    struct tile t = carve(c, length, scratch);
    assert(t.keys != NULL);
    size_t dh = c->head_dim, step = tile_queries(c), stride = panels(length) * PANEL;
    for (size_t kv = 0; kv < c->kv_heads; kv++) {
        load_keys(c, k + kv * dh, length, &t);
        for (size_t first = 0; first < row_count; first += step) {
            const struct queries tile = {rows, first,
                                         row_count - first < step ? row_count - first : step};
            load_queries(c, q, rows, kv, first, tile.count, t.q);
            score(c, &tile, &t, stride);
            mask_softmax(c, &tile, &t, stride);
            sum_values(c, &tile, v + kv * dh, &t, stride);
            store_output(c, kv, first, tile.count, t.q, t.sums, out);
        }
    }
}
