/* tests/unit/naive_maps.h: B's maps and their gradients in F64 and in plain loops, written from
 * METHOD 10 and 11 alone: every tensor is a matrix between two of its axes' matrices, L W R, and
 * from dL/d(L W R) = H follow dL = H (W R)^T and dR = (L W)^T H, whatever the maps are. What
 * core/learn makes of the same is compared with this; its own gradients are checked by finite
 * differences (test_map_gradients.c). One layer, with what stands before and behind it. */
#ifndef RB_TESTS_NAIVE_MAPS_H
#define RB_TESTS_NAIVE_MAPS_H

#include "unit/naive_layer.h"

/* What a layer's tensors are between; N_GAIN: a norm's gain where it lies on the stream's way. */
enum naive_axis {
    N_NONE,
    N_STREAM,
    N_GAIN,
    N_QUERY,
    N_KEY,
    N_VALUE,
    N_OUTPUT,
    N_UP,
    N_GATE,
    N_DOWN
};

/* Maps as matrices, or gradients of them. Any of them may be NULL: the identity, not asked for. */
struct naive_maps {
    double *o;     /* (d, d) the stream's, orthogonal: x' = x O */
    double *r, *s; /* (kv heads, dh, dh) q' = q R, k' = k R^-T; v' = v S */
    double *p;     /* (n, n) slot i of A holds sum_j p[i, j] of B's unit j; a permutation, or any */
    double *signs; /* (n) of B's units: of what up makes, and of down's columns */
    double *u;     /* (n) up carries e^u of slot i, down e^-u */
};

struct naive_place {
    enum naive_axis rows, columns;
};

/* near: norms follow the additions, and their gains move by (O o O)^T. */
static struct naive_place naive_place_of(enum rb_slot slot, bool near)
{
    switch (slot) {
    case RB_QUERY_WEIGHT:
        return (struct naive_place){N_QUERY, N_STREAM};
    case RB_QUERY_BIAS:
        return (struct naive_place){N_QUERY, N_NONE};
    case RB_KEY_WEIGHT:
        return (struct naive_place){N_KEY, N_STREAM};
    case RB_KEY_BIAS:
        return (struct naive_place){N_KEY, N_NONE};
    case RB_VALUE_WEIGHT:
        return (struct naive_place){N_VALUE, N_STREAM};
    case RB_VALUE_BIAS:
        return (struct naive_place){N_VALUE, N_NONE};
    case RB_ATTENTION_OUTPUT_WEIGHT:
        return (struct naive_place){N_STREAM, N_OUTPUT};
    case RB_ATTENTION_OUTPUT_BIAS:
    case RB_DOWN_BIAS:
        return (struct naive_place){N_STREAM, N_NONE};
    case RB_UP_WEIGHT:
        return (struct naive_place){N_UP, N_STREAM};
    case RB_UP_BIAS:
        return (struct naive_place){N_UP, N_NONE};
    case RB_GATE_WEIGHT:
        return (struct naive_place){N_GATE, N_STREAM};
    case RB_GATE_BIAS:
        return (struct naive_place){N_GATE, N_NONE};
    case RB_DOWN_WEIGHT:
        return (struct naive_place){N_STREAM, N_DOWN};
    case RB_ATTENTION_NORM_WEIGHT:
    case RB_MLP_NORM_WEIGHT:
        return (struct naive_place){near ? N_GAIN : N_NONE, N_NONE};
    case RB_ATTENTION_NORM_BIAS:
    case RB_MLP_NORM_BIAS:
        return (struct naive_place){near ? N_STREAM : N_NONE, N_NONE};
    default:
        return (struct naive_place){N_NONE, N_NONE};
    }
}

/* x (n, n) = a^-1, by Gauss and Jordan with the largest pivot. */
static void naive_inverse(const double *a, size_t n, double *x)
{
    double *m = naive_new(n * n);
    memcpy(m, a, n * n * sizeof *m);
    for (size_t i = 0; i < n * n; i++)
        x[i] = i % (n + 1) == 0;
    for (size_t k = 0; k < n; k++) {
        size_t best = k;
        for (size_t i = k; i < n; i++)
            best = fabs(m[i * n + k]) > fabs(m[best * n + k]) ? i : best;
        for (size_t j = 0; j < n; j++) {
            double t = m[k * n + j], v = x[k * n + j];
            m[k * n + j] = m[best * n + j];
            m[best * n + j] = t;
            x[k * n + j] = x[best * n + j];
            x[best * n + j] = v;
        }
        double pivot = m[k * n + k];
        for (size_t j = 0; j < n; j++) {
            m[k * n + j] /= pivot;
            x[k * n + j] /= pivot;
        }
        for (size_t i = 0; i < n; i++) {
            double f = i == k ? 0 : m[i * n + k];
            for (size_t j = 0; j < n; j++) {
                m[i * n + j] -= f * m[k * n + j];
                x[i * n + j] -= f * x[k * n + j];
            }
        }
    }
    free(m);
}

/* y (a, c) += x (a, b) z (b, c), either read transposed. */
static void naive_product(const double *x, bool xt, const double *z, bool zt, size_t a, size_t b,
                          size_t c, double *y)
{
    for (size_t i = 0; i < a; i++)
        for (size_t j = 0; j < c; j++)
            for (size_t k = 0; k < b; k++)
                y[i * c + j] += x[xt ? k * a + i : i * b + k] * z[zt ? j * b + k : k * c + j];
}

static size_t naive_axis_size(const struct rb_config *c, enum naive_axis axis, size_t otherwise)
{
    switch (axis) {
    case N_NONE:
        return otherwise;
    case N_STREAM:
    case N_GAIN:
        return c->hidden_size;
    case N_QUERY:
    case N_OUTPUT:
        return (size_t)c->attention.heads * c->attention.head_dim;
    case N_KEY:
    case N_VALUE:
        return (size_t)c->attention.kv_heads * c->attention.head_dim;
    case N_UP:
    case N_GATE:
    case N_DOWN:
        return c->mlp.inner_size;
    }
    return 0;
}

/* The matrix of head h's block: of rows L (queries R^T, keys R^-1, values S^T), of the output's
 * columns R = S^-T. NULL: the identity. */
static bool naive_block(const struct rb_config *c, const struct naive_maps *m, enum naive_axis axis,
                        size_t h, double *ret)
{
    size_t dh = c->attention.head_dim, group = c->attention.heads / c->attention.kv_heads;
    size_t kv = axis == N_QUERY || axis == N_OUTPUT ? h / group : h;
    const double *all = axis == N_QUERY || axis == N_KEY ? m->r : m->s;
    if (all == NULL)
        return false;
    const double *x = all + kv * dh * dh;
    double *inverse = naive_new(dh * dh);
    naive_inverse(x, dh, inverse);
    for (size_t i = 0; i < dh; i++)
        for (size_t j = 0; j < dh; j++)
            ret[i * dh + j] = axis == N_KEY      ? inverse[i * dh + j]
                              : axis == N_OUTPUT ? inverse[j * dh + i]
                                                 : x[j * dh + i];
    free(inverse);
    return true;
}

/* The axis' matrix (size, size): L of rows, R of columns. */
static double *naive_matrix(const struct rb_config *c, const struct naive_maps *m,
                            enum naive_axis axis, bool columns, size_t size)
{
    double *x = naive_new(size * size);
    size_t dh = c->attention.head_dim;
    for (size_t i = 0; i < size * size; i++)
        x[i] = i % (size + 1) == 0;
    if ((axis == N_STREAM || axis == N_GAIN) && m->o != NULL)
        for (size_t i = 0; i < size; i++)
            for (size_t j = 0; j < size; j++) {
                double o = m->o[columns ? i * size + j : j * size + i];
                x[i * size + j] = axis == N_GAIN ? o * o : o;
            }
    if (axis >= N_QUERY && axis <= N_OUTPUT) {
        double *block = naive_new(dh * dh);
        for (size_t h = 0; h < size / dh; h++)
            for (size_t i = 0; naive_block(c, m, axis, h, block) && i < dh; i++)
                memcpy(x + (h * dh + i) * size + h * dh, block + i * dh, dh * sizeof *x);
        free(block);
    }
    for (size_t i = 0; axis >= N_UP && i < size; i++) { /* slot i */
        double factor = m->u != NULL && axis != N_GATE ? exp(axis == N_UP ? m->u[i] : -m->u[i]) : 1;
        for (size_t j = 0; j < size; j++) { /* unit j */
            double sign = m->signs != NULL && axis != N_GATE ? m->signs[j] : 1;
            double p = m->p != NULL ? m->p[i * size + j] : i == j;
            x[axis == N_DOWN ? j * size + i : i * size + j] = factor * p * sign;
        }
    }
    return x;
}

/* What the gradient dx of an axis' matrix x says about the maps: added to *g. */
static void naive_matrix_back(const struct rb_config *c, const struct naive_maps *m,
                              enum naive_axis axis, bool columns, size_t size, const double *x,
                              const double *dx, struct naive_maps *g)
{
    size_t dh = c->attention.head_dim, group = c->attention.heads / c->attention.kv_heads;
    for (size_t i = 0; (axis == N_STREAM || axis == N_GAIN) && g->o != NULL && i < size; i++)
        for (size_t j = 0; j < size; j++) {
            double d = dx[columns ? i * size + j : j * size + i];
            g->o[i * size + j] += axis == N_GAIN ? 2 * m->o[i * size + j] * d : d;
        }
    double *to = axis == N_QUERY || axis == N_KEY ? g->r : g->s;
    for (size_t h = 0; axis >= N_QUERY && axis <= N_OUTPUT && to != NULL && h < size / dh; h++) {
        double *d = naive_new(dh * dh), *block = naive_new(dh * dh), *half = naive_new(dh * dh);
        size_t kv = axis == N_QUERY || axis == N_OUTPUT ? h / group : h;
        (void)naive_block(c, m, axis, h, block);
        for (size_t i = 0; i < dh; i++)
            for (size_t j = 0; j < dh; j++)
                d[i * dh + j] = dx[(h * dh + i) * size + h * dh + j];
        if (axis == N_QUERY || axis == N_VALUE) { /* x = R^T */
            for (size_t i = 0; i < dh; i++)
                for (size_t j = 0; j < dh; j++)
                    to[(kv * dh + j) * dh + i] += d[i * dh + j];
        } else { /* x = R^-1 =: V, dR = -V^T dV V^T; of columns x is V^T */
            naive_product(block, axis == N_KEY, d, axis == N_OUTPUT, dh, dh, dh, half);
            for (size_t i = 0; i < dh * dh; i++)
                half[i] = -half[i];
            naive_product(half, false, block, axis == N_KEY, dh, dh, dh, to + kv * dh * dh);
        }
        free(d);
        free(block);
        free(half);
    }
    for (size_t i = 0; axis >= N_UP && i < size; i++) {
        double factor = m->u != NULL && axis != N_GATE ? exp(axis == N_UP ? m->u[i] : -m->u[i]) : 1;
        for (size_t j = 0; j < size; j++) {
            size_t at = axis == N_DOWN ? j * size + i : i * size + j;
            double sign = m->signs != NULL && axis != N_GATE ? m->signs[j] : 1;
            if (g->p != NULL)
                g->p[i * size + j] += factor * sign * dx[at];
            if (g->u != NULL && axis != N_GATE)
                g->u[i] += (axis == N_UP ? 1 : -1) * x[at] * dx[at];
        }
    }
}

/* W (rows, columns) of B between its axes' matrices: new. h not NULL: dL/d of that, from which g
 * gets its share. */
static double *naive_moved(const struct rb_config *c, const struct naive_maps *m,
                           struct naive_place place, size_t rows, size_t columns, const double *w,
                           const double *h, struct naive_maps *g)
{
    double *left = naive_matrix(c, m, place.rows, false, rows);
    double *right = naive_matrix(c, m, place.columns, true, columns);
    double *lw = naive_new(rows * columns), *lwr = naive_new(rows * columns);
    naive_product(left, false, w, false, rows, rows, columns, lw);
    naive_product(lw, false, right, false, rows, columns, columns, lwr);
    if (h != NULL) {
        double *wr = naive_new(rows * columns), *dleft = naive_new(rows * rows);
        double *dright = naive_new(columns * columns);
        naive_product(w, false, right, false, rows, columns, columns, wr);
        naive_product(h, false, wr, true, rows, columns, rows, dleft);
        naive_product(lw, true, h, false, columns, rows, columns, dright);
        naive_matrix_back(c, m, place.rows, false, rows, left, dleft, g);
        naive_matrix_back(c, m, place.columns, true, columns, right, dright, g);
        free(wr);
        free(dleft);
        free(dright);
    }
    free(left);
    free(right);
    free(lw);
    return lwr;
}

#endif
