/* tests/unit/naive_layer.h: one layer of any family, forward and backward, in F64 and in plain
 * loops: what core/learn's fast backward pass is compared with. Written from METHOD 9 and the chain
 * rule alone; its own gradients are checked by finite differences (test_backward.c). One sequence.
 */
#ifndef RB_TESTS_NAIVE_LAYER_H
#define RB_TESTS_NAIVE_LAYER_H

#include "core/model/family.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct naive_layer {
    const struct rb_config *c;
    uint32_t layer;              /* 0-based */
    size_t n;                    /* tokens */
    const double *cosine, *sine; /* (n, rope.dims / 2), or NULL */
    double *w[RB_SLOT_COUNT];    /* weights (out, in); NULL: none */
    double *g[RB_SLOT_COUNT];    /* gradients, added to; NULL where nobody asks */
};

static double *naive_new(size_t n)
{
    double *p = calloc(n > 0 ? n : 1, sizeof *p);
    assert(p != NULL);
    return p;
}

static double naive_act(enum rb_activation a, double x)
{
    switch (a) {
    case RB_ACTIVATION_NONE:
        return x;
    case RB_ACTIVATION_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case RB_ACTIVATION_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case RB_ACTIVATION_SILU:
        return x / (1 + exp(-x));
    case RB_ACTIVATION_RELU:
        return x > 0 ? x : 0;
    case RB_ACTIVATION_TANH:
        return tanh(x);
    }
    return NAN;
}

static double naive_slope(enum rb_activation a, double x)
{
    double u, s;
    switch (a) {
    case RB_ACTIVATION_NONE:
        return 1;
    case RB_ACTIVATION_GELU:
        return 0.5 * (1 + erf(x / sqrt(2))) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
    case RB_ACTIVATION_GELU_TANH:
        u = tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
        return 0.5 * (1 + u) + 0.5 * x * (1 - u * u) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
    case RB_ACTIVATION_SILU:
        s = 1 / (1 + exp(-x));
        return s * (1 + x * (1 - s));
    case RB_ACTIVATION_RELU:
        return x > 0;
    case RB_ACTIVATION_TANH:
        return 1 - tanh(x) * tanh(x);
    }
    return NAN;
}

/* y (n, out) = x (n, in) w^T + b */
static void naive_linear(const double *x, size_t n, size_t in, const double *w, const double *b,
                         size_t out, double *y)
{
    for (size_t t = 0; t < n; t++)
        for (size_t o = 0; o < out; o++) {
            y[t * out + o] = b != NULL ? b[o] : 0;
            for (size_t i = 0; i < in; i++)
                y[t * out + o] += x[t * in + i] * w[o * in + i];
        }
}

/* dx += dy w; gw += dy^T x; gb += sum dy */
static void naive_linear_back(const double *x, const double *dy, size_t n, size_t in,
                              const double *w, size_t out, double *dx, double *gw, double *gb)
{
    for (size_t t = 0; t < n; t++)
        for (size_t o = 0; o < out; o++) {
            double d = dy[t * out + o];
            if (gb != NULL)
                gb[o] += d;
            for (size_t i = 0; i < in; i++) {
                dx[t * in + i] += d * w[o * in + i];
                if (gw != NULL)
                    gw[o * in + i] += d * x[t * in + i];
            }
        }
}

static void naive_stats(enum rb_norm_kind kind, const double *x, size_t d, double eps, double *mean,
                        double *inverse)
{
    double m = 0, s = 0;
    for (size_t j = 0; j < d && kind == RB_NORM_LAYER; j++)
        m += x[j] / (double)d;
    for (size_t j = 0; j < d; j++)
        s += (x[j] - m) * (x[j] - m) / (double)d;
    *mean = m;
    *inverse = 1 / sqrt(s + eps);
}

static void naive_norm(enum rb_norm_kind kind, const double *x, size_t n, size_t d, const double *w,
                       const double *b, double eps, double *y)
{
    for (size_t t = 0; t < n; t++) {
        double mean, inverse;
        naive_stats(kind, x + t * d, d, eps, &mean, &inverse);
        for (size_t j = 0; j < d; j++)
            y[t * d + j] = (x[t * d + j] - mean) * inverse * w[j] + (b != NULL ? b[j] : 0);
    }
}

/* dx += */
static void naive_norm_back(enum rb_norm_kind kind, const double *x, const double *dy, size_t n,
                            size_t d, const double *w, double eps, double *dx, double *gw,
                            double *gb)
{
    for (size_t t = 0; t < n; t++) {
        double mean, inverse, g = 0, gx = 0;
        naive_stats(kind, x + t * d, d, eps, &mean, &inverse);
        for (size_t j = 0; j < d; j++) {
            double hat = (x[t * d + j] - mean) * inverse, v = dy[t * d + j] * w[j];
            g += v / (double)d;
            gx += v * hat / (double)d;
            if (gw != NULL)
                gw[j] += dy[t * d + j] * hat;
            if (gb != NULL)
                gb[j] += dy[t * d + j];
        }
        if (kind == RB_NORM_RMS)
            g = 0;
        for (size_t j = 0; j < d; j++) {
            double hat = (x[t * d + j] - mean) * inverse;
            dx[t * d + j] += inverse * (dy[t * d + j] * w[j] - g - hat * gx);
        }
    }
}

/* Turns rows of heads by their positions; sign -1 turns back. */
static void naive_rotate(const struct naive_layer *l, double *x, size_t heads, double sign)
{
    size_t dh = l->c->attention.head_dim, half = l->c->attention.rope.dims / 2;
    for (size_t t = 0; t < l->n; t++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < half; i++) {
                double *p = x + (t * heads + h) * dh, a = p[i], b = p[i + half];
                double c = l->cosine[t * half + i], s = sign * l->sine[t * half + i];
                p[i] = a * c - b * s;
                p[i + half] = b * c + a * s;
            }
}

struct naive_attention {
    double *q0, *k0;             /* before the query and key norms */
    double *q, *k, *v, *p, *mha; /* p: (heads, n, n) */
};

static double naive_scale(const struct naive_layer *l)
{
    double scale = l->c->attention.unscaled ? 1 : 1 / sqrt(l->c->attention.head_dim);
    return l->c->attention.scale_by_layer ? scale / (l->layer + 1) : scale;
}

/* y (n, d) = attention of x (n, d); keeps what the way back needs. */
static void naive_attend(const struct naive_layer *l, const double *x, struct naive_attention *a,
                         double *y)
{
    const struct rb_attention *at = &l->c->attention;
    size_t n = l->n, d = l->c->hidden_size, dh = at->head_dim, dq = at->heads * dh;
    size_t dk = at->kv_heads * dh, group = at->heads / at->kv_heads;
    *a =
        (struct naive_attention){naive_new(n * dq), naive_new(n * dk), naive_new(n * dq),
                                 naive_new(n * dk), naive_new(n * dk), naive_new(at->heads * n * n),
                                 naive_new(n * dq)};
    naive_linear(x, n, d, l->w[RB_QUERY_WEIGHT], l->w[RB_QUERY_BIAS], dq, a->q0);
    naive_linear(x, n, d, l->w[RB_KEY_WEIGHT], l->w[RB_KEY_BIAS], dk, a->k0);
    naive_linear(x, n, d, l->w[RB_VALUE_WEIGHT], l->w[RB_VALUE_BIAS], dk, a->v);
    memcpy(a->q, a->q0, n * dq * sizeof(double));
    memcpy(a->k, a->k0, n * dk * sizeof(double));
    if (at->query_key_norm) {
        double eps = (double)l->c->norm_eps;
        naive_norm(RB_NORM_RMS, a->q0, n, dq, l->w[RB_QUERY_NORM], NULL, eps, a->q);
        naive_norm(RB_NORM_RMS, a->k0, n, dk, l->w[RB_KEY_NORM], NULL, eps, a->k);
    }
    if (at->rope.dims > 0) {
        naive_rotate(l, a->q, at->heads, 1);
        naive_rotate(l, a->k, at->kv_heads, 1);
    }
    for (size_t h = 0; h < at->heads; h++)
        for (size_t t = 0; t < n; t++) {
            double *p = a->p + (h * n + t) * n, sum = 0, top = -INFINITY;
            size_t end = at->causal ? t + 1 : n, kv = h / group * dh;
            for (size_t s = 0; s < end; s++) {
                for (size_t i = 0; i < dh; i++)
                    p[s] += a->q[t * dq + h * dh + i] * a->k[s * dk + kv + i];
                p[s] *= naive_scale(l);
                top = fmax(top, p[s]);
            }
            for (size_t s = 0; s < end; s++)
                sum += p[s] = exp(p[s] - top);
            for (size_t s = 0; s < end; s++) {
                p[s] /= sum;
                for (size_t i = 0; i < dh; i++)
                    a->mha[t * dq + h * dh + i] += p[s] * a->v[s * dk + kv + i];
            }
        }
    naive_linear(a->mha, n, dq, l->w[RB_ATTENTION_OUTPUT_WEIGHT], l->w[RB_ATTENTION_OUTPUT_BIAS], d,
                 y);
}

static void naive_attention_free(struct naive_attention *a)
{
    double *all[] = {a->q0, a->k0, a->q, a->k, a->v, a->p, a->mha};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* dq, dk, dv from dmha, for rows as they enter the scores. */
static void naive_scores_back(const struct naive_layer *l, const struct naive_attention *a,
                              const double *dmha, double *dq, double *dk, double *dv)
{
    const struct rb_attention *at = &l->c->attention;
    size_t n = l->n, dh = at->head_dim, wq = at->heads * dh, wk = at->kv_heads * dh;
    double *dp = naive_new(n);
    for (size_t h = 0; h < at->heads; h++)
        for (size_t t = 0; t < n; t++) {
            const double *p = a->p + (h * n + t) * n, *go = dmha + t * wq + h * dh;
            size_t end = at->causal ? t + 1 : n, kv = h / (at->heads / at->kv_heads) * dh;
            double dot = 0;
            for (size_t s = 0; s < end; s++) {
                dp[s] = 0;
                for (size_t i = 0; i < dh; i++) {
                    dp[s] += go[i] * a->v[s * wk + kv + i];
                    dv[s * wk + kv + i] += p[s] * go[i];
                }
                dot += dp[s] * p[s];
            }
            for (size_t s = 0; s < end; s++) {
                double ds = p[s] * (dp[s] - dot) * naive_scale(l);
                for (size_t i = 0; i < dh; i++) {
                    dq[t * wq + h * dh + i] += ds * a->k[s * wk + kv + i];
                    dk[s * wk + kv + i] += ds * a->q[t * wq + h * dh + i];
                }
            }
        }
    free(dp);
}

/* dx += */
static void naive_attend_back(const struct naive_layer *l, const double *x,
                              const struct naive_attention *a, const double *dy, double *dx)
{
    const struct rb_attention *at = &l->c->attention;
    size_t n = l->n, d = l->c->hidden_size, wq = at->heads * at->head_dim;
    size_t wk = at->kv_heads * at->head_dim;
    double *dmha = naive_new(n * wq), *dq = naive_new(n * wq), *dk = naive_new(n * wk);
    double *dv = naive_new(n * wk), *dq0 = naive_new(n * wq), *dk0 = naive_new(n * wk);
    naive_linear_back(a->mha, dy, n, wq, l->w[RB_ATTENTION_OUTPUT_WEIGHT], d, dmha,
                      l->g[RB_ATTENTION_OUTPUT_WEIGHT], l->g[RB_ATTENTION_OUTPUT_BIAS]);
    naive_scores_back(l, a, dmha, dq, dk, dv);
    if (at->rope.dims > 0) {
        naive_rotate(l, dq, at->heads, -1);
        naive_rotate(l, dk, at->kv_heads, -1);
    }
    const double *gq = dq, *gk = dk;
    if (at->query_key_norm) {
        double eps = (double)l->c->norm_eps;
        naive_norm_back(RB_NORM_RMS, a->q0, dq, n, wq, l->w[RB_QUERY_NORM], eps, dq0,
                        l->g[RB_QUERY_NORM], NULL);
        naive_norm_back(RB_NORM_RMS, a->k0, dk, n, wk, l->w[RB_KEY_NORM], eps, dk0,
                        l->g[RB_KEY_NORM], NULL);
        gq = dq0;
        gk = dk0;
    }
    naive_linear_back(x, gq, n, d, l->w[RB_QUERY_WEIGHT], wq, dx, l->g[RB_QUERY_WEIGHT],
                      l->g[RB_QUERY_BIAS]);
    naive_linear_back(x, gk, n, d, l->w[RB_KEY_WEIGHT], wk, dx, l->g[RB_KEY_WEIGHT],
                      l->g[RB_KEY_BIAS]);
    naive_linear_back(x, dv, n, d, l->w[RB_VALUE_WEIGHT], wk, dx, l->g[RB_VALUE_WEIGHT],
                      l->g[RB_VALUE_BIAS]);
    double *all[] = {dmha, dq, dk, dv, dq0, dk0};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

struct naive_mlp {
    double *up, *gate, *inner;
};

static void naive_mlp(const struct naive_layer *l, const double *x, struct naive_mlp *m, double *y)
{
    const struct rb_mlp *mlp = &l->c->mlp;
    size_t n = l->n, d = l->c->hidden_size, k = mlp->inner_size;
    *m = (struct naive_mlp){naive_new(n * k), naive_new(n * k), naive_new(n * k)};
    naive_linear(x, n, d, l->w[RB_UP_WEIGHT], l->w[RB_UP_BIAS], k, m->up);
    if (mlp->gated)
        naive_linear(x, n, d, l->w[RB_GATE_WEIGHT], l->w[RB_GATE_BIAS], k, m->gate);
    for (size_t i = 0; i < n * k; i++)
        m->inner[i] = mlp->gated ? naive_act(mlp->activation, m->gate[i]) * m->up[i]
                                 : naive_act(mlp->activation, m->up[i]);
    naive_linear(m->inner, n, k, l->w[RB_DOWN_WEIGHT], l->w[RB_DOWN_BIAS], d, y);
}

static void naive_mlp_back(const struct naive_layer *l, const double *x, struct naive_mlp *m,
                           const double *dy, double *dx)
{
    const struct rb_mlp *mlp = &l->c->mlp;
    size_t n = l->n, d = l->c->hidden_size, k = mlp->inner_size;
    double *di = naive_new(n * k), *dg = naive_new(n * k);
    naive_linear_back(m->inner, dy, n, k, l->w[RB_DOWN_WEIGHT], d, di, l->g[RB_DOWN_WEIGHT],
                      l->g[RB_DOWN_BIAS]);
    for (size_t i = 0; i < n * k; i++) {
        double g = di[i];
        dg[i] = g * m->up[i] * naive_slope(mlp->activation, m->gate[i]);
        di[i] = mlp->gated ? g * naive_act(mlp->activation, m->gate[i])
                           : g * naive_slope(mlp->activation, m->up[i]);
    }
    naive_linear_back(x, di, n, d, l->w[RB_UP_WEIGHT], k, dx, l->g[RB_UP_WEIGHT], l->g[RB_UP_BIAS]);
    if (mlp->gated)
        naive_linear_back(x, dg, n, d, l->w[RB_GATE_WEIGHT], k, dx, l->g[RB_GATE_WEIGHT],
                          l->g[RB_GATE_BIAS]);
    free(di);
    free(dg);
}

/* The norm of one sublayer, by its first slot. */
static void naive_norm_of(const struct naive_layer *l, enum rb_slot slot, const double *x,
                          double *y)
{
    naive_norm(l->c->norm_kind, x, l->n, l->c->hidden_size, l->w[slot], l->w[slot + 1],
               (double)l->c->norm_eps, y);
}

static void naive_norm_of_back(const struct naive_layer *l, enum rb_slot slot, const double *x,
                               const double *dy, double *dx)
{
    naive_norm_back(l->c->norm_kind, x, dy, l->n, l->c->hidden_size, l->w[slot],
                    (double)l->c->norm_eps, dx, l->g[slot], l->g[slot + 1]);
}

/* One sublayer f with its norm around it: out = what comes after. second: the MLP. dx NULL: only
 * forward. With dx: out's gradient `dout` goes into dx (added), the skip's too unless `branch`. */
static void naive_sublayer(const struct naive_layer *l, bool second, const double *x,
                           const double *skip, double *out, const double *dout, double *dx,
                           double *dskip)
{
    size_t nd = l->n * l->c->hidden_size;
    enum rb_slot norm = second ? RB_MLP_NORM_WEIGHT : RB_ATTENTION_NORM_WEIGHT;
    enum rb_norm_place place = l->c->norm_place;
    double *in = naive_new(nd), *f = naive_new(nd), *sum = naive_new(nd), *df = naive_new(nd);
    double *din = naive_new(nd), *dsum = naive_new(nd);
    struct naive_attention a = {0};
    struct naive_mlp m = {0};
    memcpy(in, x, nd * sizeof(double));
    if (place == RB_NORM_BEFORE)
        naive_norm_of(l, norm, x, in);
    if (second)
        naive_mlp(l, in, &m, f);
    else
        naive_attend(l, in, &a, f);
    memcpy(sum, f, nd * sizeof(double));
    if (place == RB_NORM_AFTER_SUBLAYER)
        naive_norm_of(l, norm, f, sum);
    for (size_t i = 0; i < nd; i++)
        sum[i] += skip[i];
    if (out != NULL && place == RB_NORM_AFTER_ADDITION)
        naive_norm_of(l, norm, sum, out);
    else if (out != NULL)
        memcpy(out, sum, nd * sizeof(double));
    if (dx != NULL) {
        if (place == RB_NORM_AFTER_ADDITION)
            naive_norm_of_back(l, norm, sum, dout, dsum);
        else
            memcpy(dsum, dout, nd * sizeof(double));
        for (size_t i = 0; i < nd; i++)
            dskip[i] += dsum[i];
        if (place == RB_NORM_AFTER_SUBLAYER)
            naive_norm_of_back(l, norm, f, dsum, df);
        else
            memcpy(df, dsum, nd * sizeof(double));
        if (second)
            naive_mlp_back(l, in, &m, df, din);
        else
            naive_attend_back(l, in, &a, df, din);
        if (place == RB_NORM_BEFORE)
            naive_norm_of_back(l, norm, x, din, dx);
        else
            for (size_t i = 0; i < nd; i++)
                dx[i] += din[i];
    }
    naive_attention_free(&a);
    double *all[] = {in, f, sum, df, din, dsum, m.up, m.gate, m.inner};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* y (n, d) = layer of x (n, d). */
static void naive_layer(const struct naive_layer *l, const double *x, double *y)
{
    double *h = naive_new(l->n * l->c->hidden_size);
    naive_sublayer(l, false, x, x, h, NULL, NULL, NULL);
    naive_sublayer(l, true, l->c->parallel_residual ? x : h, h, y, NULL, NULL, NULL);
    free(h);
}

/* dx (n, d) = from dy; gradients into l->g. */
static void naive_layer_back(const struct naive_layer *l, const double *x, const double *dy,
                             double *dx)
{
    size_t nd = l->n * l->c->hidden_size;
    double *h = naive_new(nd), *dh = naive_new(nd);
    memset(dx, 0, nd * sizeof *dx);
    naive_sublayer(l, false, x, x, h, NULL, NULL, NULL);
    if (l->c->parallel_residual)
        naive_sublayer(l, true, x, h, NULL, dy, dx, dh);
    else
        naive_sublayer(l, true, h, h, NULL, dy, dh, dh);
    naive_sublayer(l, false, x, x, NULL, dh, dx, dx);
    free(h);
    free(dh);
}

#endif
