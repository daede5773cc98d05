#include "core/model/causal.h"
#include "core/memory.h"
#include "core/model/kernels.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE_ROWS = 64 }; /* queries x heads of a group; more would compute more behind the mask */

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

struct tile {
    float *keys;   /* (length, head_dim) of the present key-value head */
    float *q;      /* (rows, head_dim), then the unscaled output */
    float *sums;   /* (rows) of the exponentials */
    float *scores; /* (rows, keys it reaches) */
};

size_t rb_causal_floats(const struct rb_causal *c, size_t length)
{
    size_t rows = tile_queries(c) * group_of(c);
    return lines(length * c->head_dim) + lines(rows * c->head_dim) + lines(rows) +
           lines(rows * length);
}

static struct tile carve(const struct rb_causal *c, size_t length, float *scratch)
{
    size_t rows = tile_queries(c) * group_of(c);
    float *q = scratch + lines(length * c->head_dim);
    float *sums = q + lines(rows * c->head_dim);
    return (struct tile){scratch, q, sums, sums + lines(rows)};
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

/* exp of what each query may see, zero for the rest of the tile; sums to rows. */
static void mask_softmax(const struct rb_causal *c, const uint32_t *rows, size_t first,
                         size_t count, size_t reach, float *scores, float *sums)
{
    const struct rb_kernels *k = rb_kernels();
    for (size_t i = 0; i < count; i++)
        for (size_t h = 0; h < group_of(c); h++, scores += reach) {
            size_t seen = token_of(rows, first + i) + 1;
            *sums++ = k->exp_sum(scores, seen, c->scale);
            memset(scores + seen, 0, (reach - seen) * sizeof(float));
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
    size_t dh = c->head_dim, stride = c->kv_heads * dh, step = tile_queries(c);
    for (size_t kv = 0; kv < c->kv_heads; kv++) {
        const float *keys = k + kv * dh;
        size_t key_stride = stride;
        if (turns(c)) {
            for (size_t i = 0; i < length; i++)
                rb_rotary_turn(c->rotary, i, keys + i * stride, dh, t.keys + i * dh);
            keys = t.keys;
            key_stride = dh;
        }
        for (size_t first = 0; first < row_count; first += step) {
            size_t count = row_count - first < step ? row_count - first : step;
            size_t reach = token_of(rows, first + count - 1) + 1, m = count * group_of(c);
            load_queries(c, q, rows, kv, first, count, t.q);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)reach, (int)dh, 1.0f,
                        t.q, (int)dh, keys, (int)key_stride, 0.0f, t.scores, (int)reach);
            mask_softmax(c, rows, first, count, reach, t.scores, t.sums);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)dh, (int)reach,
                        1.0f, t.scores, (int)reach, v + kv * dh, (int)stride, 0.0f, t.q, (int)dh);
            store_output(c, kv, first, count, t.q, t.sums, out);
        }
    }
}
