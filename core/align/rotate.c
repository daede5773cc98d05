#include "core/align/rotate.h"
#include "core/align/procrustes.h"
#include "core/align/similarity.h"

#include <math.h>
#include <string.h>

static size_t unit_at(const uint32_t *order, size_t slot)
{
    return order != NULL ? order[slot] : slot;
}

void rb_rotate_add(const struct rb_rotate_sides *s, bool dot, size_t first, size_t count, size_t n,
                   double *m, double *block)
{
    double square = 0;
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < n; c++) {
            double v = 0;
            for (size_t h = first; h < first + count; h++) {
                size_t i = unit_at(s->a, h * n + c), j = unit_at(s->b, h * n + r);
                v += dot ? rb_tap_dot(s->tap, i, j) : rb_tap_covariance(s->tap, i, j);
            }
            block[r * n + c] = v;
            square += v * v;
        }
    double scale = square > 0 ? 1 / sqrt(square) : 0;
    for (size_t i = 0; i < n * n; i++)
        m[i] += block[i] * scale;
}

/* The same of products, (count * n) square and more: `columns` units of B a row. */
static void add_products(const float *products, size_t columns, const uint32_t *b, size_t first,
                         size_t count, size_t n, double *m, double *block)
{
    double square = 0;
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < n; c++) {
            double v = 0;
            for (size_t h = first; h < first + count; h++)
                v += (double)products[(h * n + c) * columns + b[h * n + r]];
            block[r * n + c] = v;
            square += v * v;
        }
    double scale = square > 0 ? 1 / sqrt(square) : 0;
    for (size_t i = 0; i < n * n; i++)
        m[i] += block[i] * scale;
}

static void scale_to_one(double *m, size_t count)
{
    double square = 0;
    for (size_t i = 0; i < count; i++)
        square += m[i] * m[i];
    for (size_t i = 0; i < count && square > 0; i++)
        m[i] /= sqrt(square);
}

/* M of group g from what `match` says; block: room (n, n), other: likewise. */
static void gather(const struct rb_rotate_input *in, bool of_keys, size_t g, double *m,
                   double *block, double *other)
{
    const struct rb_rotate_sides tap = {in->tap, NULL, in->index};
    const struct rb_rotate_sides keys = {in->keys, NULL, in->keys_index};
    size_t n = in->shape.units, queries = in->shape.queries, nn = n * n;
    memset(m, 0, nn * sizeof *m);
    if (in->match != RB_MATCH_WEIGHTS)
        rb_rotate_add(&tap, of_keys, g * queries, queries, n, m, block);
    if (in->match != RB_MATCH_WEIGHTS && of_keys)
        rb_rotate_add(&keys, in->rotary_dims > 0, g, 1, n, m, block);
    if (in->match == RB_MATCH_ACTIVATIONS)
        return;
    scale_to_one(m, nn);
    memset(other, 0, nn * sizeof *other);
    add_products(in->wide, in->shape.groups * queries * n, in->index, g * queries, queries, n,
                 other, block);
    add_products(in->narrow, in->shape.groups * n, in->keys_index, g, 1, n, other, block);
    scale_to_one(other, nn);
    for (size_t i = 0; i < nn; i++)
        m[i] += other[i];
}

static enum rb_status rotate(const struct rb_rotate_input *in, bool of_keys, float *ret,
                             struct rb_scratch *scratch, struct rb_error *err)
{
    size_t n = in->shape.units;
    double *m = rb_scratch_alloc(scratch, n * n, sizeof(double));
    double *block = rb_scratch_alloc(scratch, n * n, sizeof(double));
    double *other = rb_scratch_alloc(scratch, n * n, sizeof(double));
    if (m == NULL || block == NULL || other == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to rotate a head of %zu units", n);
    for (size_t g = 0; g < in->shape.groups; g++) {
        gather(in, of_keys, g, m, block, other);
        enum rb_status s = of_keys && in->rotary_dims > 0
                               ? rb_procrustes_rotary(m, n, in->rotary_dims, block, scratch, err)
                               : rb_procrustes(m, n, block, scratch, err);
        if (s != RB_OK)
            return s;
        for (size_t i = 0; i < n * n; i++)
            ret[g * n * n + i] = (float)block[i];
    }
    return RB_OK;
}

enum rb_status rb_rotate_keys(const struct rb_rotate_input *in, float *ret,
                              struct rb_scratch *scratch, struct rb_error *err)
{
    return rotate(in, true, ret, scratch, err);
}

enum rb_status rb_rotate_values(const struct rb_rotate_input *in, float *ret,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    return rotate(in, false, ret, scratch, err);
}
