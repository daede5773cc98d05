#include "core/model/map.h"

#include <assert.h>
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

const char *const rb_map_kind_names[] = {"identity", "index", "blocks", "dense", NULL};

enum { DEPTH = 1024 }; /* rows of a dense map's matrix that are read and multiplied at a time */

enum rb_map_kind rb_map_kind(const struct rb_map *m)
{
    if (m == NULL)
        return RB_MAP_IDENTITY;
    if (m->blocks > 0)
        return m->blocks == 1 ? RB_MAP_DENSE : RB_MAP_BLOCKS;
    return m->index != NULL || m->signs != NULL ? RB_MAP_INDEX : RB_MAP_IDENTITY;
}

void rb_map_deinit(struct rb_map *m)
{
    free(m->index);
    free(m->signs);
    free(m->forward);
    if (m->inverse != m->forward)
        free(m->inverse);
    *m = (struct rb_map){0};
}

static uint32_t old_unit(const struct rb_map *m, size_t i)
{
    return m->index != NULL ? m->index[i] : (uint32_t)i;
}

static float sign_of(const struct rb_map *m, size_t i)
{
    return m->signs != NULL ? m->signs[i] : 1.0f;
}

/* ---- rows ---- */

/* Rows of S P^T W, i.e. before F: dst row k is new unit units[k], or first + k without units. */
static enum rb_status ordered_rows(const struct rb_map *m, rb_map_reader read, const void *source,
                                   const uint32_t *units, size_t first, size_t count,
                                   size_t columns, float *dst, struct rb_scratch *scratch,
                                   struct rb_error *err)
{
    uint32_t *old = rb_scratch_alloc(scratch, count, sizeof *old);
    if (old == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a list of %zu rows", count);
    for (size_t k = 0; k < count; k++)
        old[k] = old_unit(m, units != NULL ? units[k] : first + k);
    enum rb_status s = read(source, old, count, dst, scratch, err);
    for (size_t k = 0; s == RB_OK && m->signs != NULL && k < count; k++)
        if (sign_of(m, units != NULL ? units[k] : first + k) < 0)
            for (size_t j = 0; j < columns; j++)
                dst[k * columns + j] = -dst[k * columns + j];
    return s;
}

/* How many of rows[at …] lie in one block; *ret_run: whether they follow one another. */
static size_t same_block(const uint32_t *rows, size_t count, size_t at, size_t block, bool *ret_run)
{
    size_t n = 1;
    *ret_run = true;
    while (at + n < count && rows[at + n] / block == rows[at] / block) {
        *ret_run = *ret_run && rows[at + n] == rows[at] + n;
        n++;
    }
    return n;
}

/* Columns list[0 … n) of the rows [first, first + depth) of F: ret (depth, n). */
static const float *gather_columns(const float *f, size_t block, size_t first, size_t depth,
                                   const uint32_t *list, size_t n, float *ret)
{
    for (size_t r = 0; r < depth; r++)
        for (size_t k = 0; k < n; k++)
            ret[r * n + k] = f[(first + r) * block + list[k] % block];
    return ret;
}

/* Rows list[0 … n) of one block: dst = F[:, list]^T times the block's ordered rows, some at a
 * time. */
static enum rb_status mixed_rows(const struct rb_map *m, rb_map_reader read, const void *source,
                                 const uint32_t *list, size_t n, bool run, size_t columns,
                                 float *dst, float *room, float *picked, struct rb_scratch *scratch,
                                 struct rb_error *err)
{
    size_t b = rb_map_block(m), block = list[0] / b, inside = list[0] % b;
    const float *f = m->forward + block * b * b;
    for (size_t first = 0; first < b; first += DEPTH) {
        size_t depth = b - first < DEPTH ? b - first : DEPTH;
        enum rb_status s = ordered_rows(m, read, source, NULL, block * b + first, depth, columns,
                                        room, scratch, err);
        if (s != RB_OK)
            return s;
        const float *left =
            run ? f + first * b + inside : gather_columns(f, b, first, depth, list, n, picked);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n, (int)columns, (int)depth, 1.0f,
                    left, run ? (int)b : (int)n, room, (int)columns, first == 0 ? 0.0f : 1.0f, dst,
                    (int)columns);
    }
    return RB_OK;
}

/* Blocks of one unit: each row has a factor. */
static enum rb_status scaled_rows(const struct rb_map *m, rb_map_reader read, const void *source,
                                  const uint32_t *rows, size_t count, size_t columns, float *dst,
                                  struct rb_scratch *scratch, struct rb_error *err)
{
    enum rb_status s = ordered_rows(m, read, source, rows, 0, count, columns, dst, scratch, err);
    for (size_t k = 0; k < count && s == RB_OK; k++)
        for (size_t j = 0; j < columns; j++)
            dst[k * columns + j] *= m->forward[rows[k]];
    return s;
}

enum rb_status rb_map_rows(const struct rb_map *m, rb_map_reader read, const void *source,
                           const uint32_t *rows, size_t count, size_t columns, float *dst,
                           struct rb_scratch *scratch, struct rb_error *err)
{
    if (rb_map_is_identity(m))
        return read(source, rows, count, dst, scratch, err);
    if (m->blocks == 0)
        return ordered_rows(m, read, source, rows, 0, count, columns, dst, scratch, err);
    size_t b = rb_map_block(m), depth = b < DEPTH ? b : DEPTH;
    if (b == 1)
        return scaled_rows(m, read, source, rows, count, columns, dst, scratch, err);
    float *room = rb_scratch_alloc(scratch, depth * columns, sizeof(float));
    float *picked = rb_scratch_alloc(scratch, depth * count, sizeof(float));
    if (room == NULL || picked == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to mix %zu rows", b);
    for (size_t done = 0; done < count;) {
        bool run;
        size_t n = same_block(rows, count, done, b, &run);
        enum rb_status s = mixed_rows(m, read, source, rows + done, n, run, columns,
                                      dst + done * columns, room, picked, scratch, err);
        if (s != RB_OK)
            return s;
        done += n;
    }
    return RB_OK;
}

/* ---- columns ---- */

void rb_map_order_columns(const struct rb_map *m, const float *restrict src, float *restrict dst)
{
    size_t n = m->size;
    if (m->index == NULL)
        memcpy(dst, src, n * sizeof *dst);
    else
        for (size_t j = 0; j < n; j++)
            dst[j] = src[m->index[j]];
    for (size_t j = 0; m->signs != NULL && j < n; j++)
        dst[j] *= m->signs[j];
}

enum rb_status rb_map_mix_columns(const struct rb_map *m, float *x, size_t rows,
                                  struct rb_scratch *scratch, struct rb_error *err)
{
    if (m == NULL || m->blocks == 0)
        return RB_OK;
    size_t n = m->size, b = rb_map_block(m);
    for (size_t i = 0; i < rows * n && b == 1; i++)
        x[i] *= m->inverse[i % n];
    if (b == 1)
        return RB_OK;
    float *old = rb_scratch_alloc(scratch, rows * n, sizeof(float));
    if (old == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to mix %zu columns", b);
    memcpy(old, x, rows * n * sizeof(float));
    for (size_t c = 0; c < n; c += b)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)b, (int)b, 1.0f,
                    old + c, (int)n, m->inverse + c * b, (int)b, 0.0f, x + c, (int)n);
    return RB_OK;
}

enum rb_status rb_map_columns(const struct rb_map *m, float *w, size_t rows,
                              struct rb_scratch *scratch, struct rb_error *err)
{
    if (rb_map_is_identity(m))
        return RB_OK;
    float *row = rb_scratch_alloc(scratch, m->size, sizeof(float));
    if (row == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to order %u columns", m->size);
    for (size_t i = 0; i < rows && (m->index != NULL || m->signs != NULL); i++) {
        memcpy(row, w + i * m->size, m->size * sizeof(float));
        rb_map_order_columns(m, row, w + i * m->size);
    }
    return rb_map_mix_columns(m, w, rows, scratch, err);
}

void rb_map_gains(const struct rb_map *m, const float *g, float *dst)
{
    size_t n = m->size, b = rb_map_block(m);
    for (size_t i = 0; i < n; i++) {
        const float *f = m->blocks > 0 ? m->forward + i / b * b * b + i % b : NULL;
        double sum = 0;
        for (size_t r = 0; r < b && f != NULL; r++) {
            double v = (double)f[r * b];
            sum += v * v * (double)g[old_unit(m, i / b * b + r)];
        }
        dst[i] = f != NULL ? (float)sum : g[old_unit(m, i)];
    }
}

/* ---- as matrices ---- */

static void fill(const struct rb_map *m, const float *f, double *ret)
{
    size_t n = m->size, b = rb_map_block(m);
    memset(ret, 0, n * n * sizeof *ret);
    for (size_t i = 0; i < n; i++) /* ordered unit i is old unit index[i] times its sign */
        for (size_t c = 0; c < b; c++) {
            double v = f != NULL ? (double)f[i / b * b * b + i % b * b + c] : 1;
            ret[old_unit(m, i) * n + i / b * b + c] = (double)sign_of(m, i) * v;
        }
}

void rb_map_matrix(const struct rb_map *m, double *ret)
{
    fill(m, m->forward, ret);
}

void rb_map_inverse_transposed(const struct rb_map *m, double *ret)
{
    fill(m, m->inverse, ret); /* (P S F)^-T = P S F^-T */
}

/* ---- composition and inverse ---- */

static bool orthogonal(const struct rb_map *m)
{
    return m->forward == m->inverse;
}

static enum rb_status no_memory(struct rb_map *m, struct rb_error *err)
{
    rb_map_deinit(m);
    return rb_error_set(err, RB_ENOMEM, "no memory for a map");
}

/* A map of n units with the arrays asked for; the index is the identity, signs are 1. */
static bool alloc_map(struct rb_map *m, uint32_t n, bool index, bool signs, uint32_t blocks,
                      bool own_inverse)
{
    *m = (struct rb_map){.size = n, .blocks = blocks};
    size_t floats = blocks > 0 ? (size_t)n * (n / blocks) : 0;
    m->index = index ? calloc((size_t)n + 1, sizeof *m->index) : NULL;
    m->signs = signs ? malloc(n * sizeof *m->signs) : NULL;
    m->forward = blocks > 0 ? rb_calloc_aligned(floats, sizeof(float)) : NULL;
    m->inverse = own_inverse && blocks > 0 ? rb_calloc_aligned(floats, sizeof(float)) : m->forward;
    for (uint32_t i = 0; i < n; i++) {
        if (m->index != NULL)
            m->index[i] = i;
        if (m->signs != NULL)
            m->signs[i] = 1;
    }
    return (!index || m->index != NULL) && (!signs || m->signs != NULL) &&
           (blocks == 0 || (m->forward != NULL && m->inverse != NULL));
}

/* Do the index vector's blocks of b units stay together? */
static bool keeps_blocks(const struct rb_map *m, size_t b)
{
    for (size_t i = 0; m->index != NULL && i < m->size; i++)
        if (m->index[i] / b != m->index[i / b * b] / b)
            return false;
    return true;
}

/* ret (b, b) = F1's block, its columns ordered and signed by the second map, times F2's block;
 * either may be missing. All in F64. */
static void block_product(const struct rb_map *first, const float *f1, const struct rb_map *second,
                          const float *f2, size_t block, size_t b, float *ret)
{
    for (size_t r = 0; r < b; r++)
        for (size_t c = 0; c < b; c++) {
            double sum = 0;
            for (size_t k = 0; k < b; k++) {
                size_t unit = block * b + k, old = old_unit(second, unit);
                double left = first->blocks > 0 ? (double)f1[old / b * b * b + r * b + old % b]
                                                : (double)(old % b == r);
                double right =
                    second->blocks > 0 ? (double)f2[block * b * b + k * b + c] : (double)(k == c);
                sum += left * (double)sign_of(second, unit) * right;
            }
            ret[block * b * b + r * b + c] = (float)sum;
        }
}

/* x P1 S1 F1 P2 S2 F2 with F1 P2 S2 = P2* F1*: the second map's blocks move whole ones of the
 * first. */
static enum rb_status compose_blocks(const struct rb_map *first, const struct rb_map *second,
                                     uint32_t blocks, struct rb_map *ret, struct rb_error *err)
{
    size_t b = first->size / blocks;
    struct rb_map out;
    if (!alloc_map(&out, first->size, true, first->signs != NULL, blocks,
                   !orthogonal(first) || !orthogonal(second)))
        return no_memory(&out, err);
    for (size_t i = 0; i < out.size; i++) { /* whole blocks move; inside, F1 says what goes where */
        size_t from = old_unit(second, i / b * b) / b * b + i % b;
        out.index[i] = old_unit(first, from);
        if (out.signs != NULL)
            out.signs[i] = sign_of(first, from);
    }
    for (size_t k = 0; k < blocks; k++) {
        block_product(first, first->forward, second, second->forward, k, b, out.forward);
        if (out.inverse != out.forward)
            block_product(first, first->inverse, second, second->inverse, k, b, out.inverse);
    }
    *ret = out;
    return RB_OK;
}

static void multiply(const double *a, const double *b, size_t n, float *ret, double *room)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)n, (int)n, 1.0, a, (int)n,
                b, (int)n, 0.0, room, (int)n);
    for (size_t i = 0; i < n * n; i++)
        ret[i] = (float)room[i];
}

static enum rb_status compose_dense(const struct rb_map *first, const struct rb_map *second,
                                    struct rb_map *ret, struct rb_error *err)
{
    size_t n = first->size;
    struct rb_map out;
    double *a = rb_calloc_aligned(n * n, sizeof *a), *b = rb_calloc_aligned(n * n, sizeof *b);
    double *c = rb_calloc_aligned(n * n, sizeof *c);
    bool ok =
        alloc_map(&out, first->size, false, false, 1, !orthogonal(first) || !orthogonal(second)) &&
        a != NULL && b != NULL && c != NULL;
    if (ok) {
        rb_map_matrix(first, a);
        rb_map_matrix(second, b);
        multiply(a, b, n, out.forward, c);
    }
    if (ok && out.inverse != out.forward) {
        rb_map_inverse_transposed(first, a);
        rb_map_inverse_transposed(second, b);
        multiply(a, b, n, out.inverse, c);
    }
    free(a);
    free(b);
    free(c);
    if (!ok)
        return no_memory(&out, err);
    *ret = out;
    return RB_OK;
}

enum rb_status rb_map_compose(const struct rb_map *first, const struct rb_map *second,
                              struct rb_map *ret, struct rb_error *err)
{
    assert(first->size == second->size);
    if (first->blocks == 0 && second->blocks == 0) {
        struct rb_map out;
        if (!alloc_map(&out, first->size, true, first->signs != NULL || second->signs != NULL, 0,
                       false))
            return no_memory(&out, err);
        for (size_t i = 0; i < out.size; i++) {
            out.index[i] = old_unit(first, old_unit(second, i));
            if (out.signs != NULL)
                out.signs[i] = sign_of(first, old_unit(second, i)) * sign_of(second, i);
        }
        *ret = out;
        return RB_OK;
    }
    uint32_t blocks = first->blocks > 0 ? first->blocks : second->blocks;
    bool same = second->blocks == 0 || second->blocks == blocks;
    if (same && keeps_blocks(second, first->size / blocks))
        return compose_blocks(first, second, blocks, ret, err);
    return compose_dense(first, second, ret, err);
}

/* M^-1 = F^-1 S P^T. */
static void invert_order(const struct rb_map *m, struct rb_map *out)
{
    for (size_t i = 0; i < m->size; i++) {
        size_t old = old_unit(m, i);
        if (out->index != NULL)
            out->index[old] = (uint32_t)i;
        if (out->signs != NULL)
            out->signs[old] = sign_of(m, i);
    }
}

static void transpose_blocks(const float *f, size_t blocks, size_t b, float *ret)
{
    for (size_t k = 0; k < blocks; k++)
        for (size_t r = 0; r < b; r++)
            for (size_t c = 0; c < b; c++)
                ret[k * b * b + r * b + c] = f[k * b * b + c * b + r];
}

enum rb_status rb_map_invert(const struct rb_map *m, struct rb_map *ret, struct rb_error *err)
{
    struct rb_map order, mix, out;
    if (!alloc_map(&order, m->size, true, m->signs != NULL, 0, false))
        return no_memory(&order, err);
    invert_order(m, &order);
    if (m->blocks == 0) {
        *ret = order;
        return RB_OK;
    }
    if (!alloc_map(&mix, m->size, false, false, m->blocks, !orthogonal(m))) {
        rb_map_deinit(&order);
        return no_memory(&mix, err);
    }
    size_t b = rb_map_block(m);
    transpose_blocks(m->inverse, m->blocks, b, mix.forward); /* F^-1 = (F^-T)^T */
    if (mix.inverse != mix.forward)
        transpose_blocks(m->forward, m->blocks, b, mix.inverse);
    enum rb_status s = rb_map_compose(&mix, &order, &out, err);
    rb_map_deinit(&order);
    rb_map_deinit(&mix);
    if (s == RB_OK)
        *ret = out;
    return s;
}
