/* tests/unit/naive_decoder.h: METHOD 9's decoders as loops in F64, for one sequence, straight from
 * the formulas and from a random_decoder's linear maps. */
#ifndef RB_TESTS_NAIVE_DECODER_H
#define RB_TESTS_NAIVE_DECODER_H

#include "unit/random_decoder.h"

/* (n, size) each, layer after layer; residual has every tap of METHOD 9. */
struct naive_taps {
    double *q, *k, *v, *mha, *ff, *residual;
};

static inline double *naive_new(size_t n)
{
    return must_alloc(n, sizeof(double));
}

/* y (n, rows) = x (n, columns) w^T + bias. */
static inline double *naive_linear(const struct random_decoder *m, size_t layer,
                                   enum decoder_part p, const double *x, size_t n, bool biased)
{
    const struct decoder_tensor *w = decoder_at(m, layer, p);
    const double *bias = biased ? decoder_at(m, layer, p + 1)->values : NULL;
    double *y = naive_new(n * w->rows);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < w->rows; i++) {
            double sum = bias != NULL ? bias[i] : 0;
            for (size_t j = 0; j < w->columns; j++)
                sum += w->values[i * w->columns + j] * x[t * w->columns + j];
            y[t * w->rows + i] = sum;
        }
    return y;
}

static inline double *naive_norm(const struct random_decoder *m, size_t layer, enum decoder_part p,
                                 const double *x, size_t n)
{
    const struct decoder_tensor *w = decoder_at(m, layer, p);
    bool rms = m->shape.family >= LLAMA;
    size_t d = w->rows;
    double *y = naive_new(n * d);
    for (size_t t = 0; t < n; t++, x += d) {
        double mean = 0, square = 0;
        for (size_t i = 0; i < d && !rms; i++)
            mean += x[i] / (double)d;
        for (size_t i = 0; i < d; i++)
            square += (x[i] - mean) * (x[i] - mean) / (double)d;
        for (size_t i = 0; i < d; i++)
            y[t * d + i] =
                (x[i] - mean) / sqrt(square + (double)(float)DECODER_EPS) * w->values[i] +
                (rms ? 0 : decoder_at(m, layer, p + 1)->values[i]);
    }
    return y;
}

/* Radians per position of plane i. */
static inline double naive_frequency(const struct decoder_shape *s, size_t i)
{
    double f = pow(DECODER_THETA, -2.0 * (double)i / (double)s->rotary), wave = 2 * M_PI / f;
    if (!s->llama3 || wave < 64.0 / 4)
        return f;
    if (wave > 64.0 / 1)
        return f / 4;
    double smooth = (64 / wave - 1) / (4 - 1);
    return (1 - smooth) * f / 4 + smooth * f;
}

/* One head, turned to its position. */
static inline void naive_turn(const struct decoder_shape *s, size_t position, const double *x,
                              double *y)
{
    size_t half = s->rotary / 2;
    memcpy(y, x, s->head_dim * sizeof *y);
    for (size_t i = 0; i < half; i++) {
        double a = (double)position * naive_frequency(s, i);
        y[i] = x[i] * cos(a) - x[i + half] * sin(a);
        y[i + half] = x[i + half] * cos(a) + x[i] * sin(a);
    }
}

static inline double naive_score(const struct decoder_shape *s, size_t layer, const double *q,
                                 size_t at, const double *k, size_t key)
{
    double turned_q[256], turned_k[256], sum = 0;
    assert_true(s->head_dim <= 256);
    naive_turn(s, at, q, turned_q);
    naive_turn(s, key, k, turned_k);
    for (size_t i = 0; i < s->head_dim; i++)
        sum += turned_q[i] * turned_k[i];
    sum /= s->unscaled ? 1 : sqrt((double)s->head_dim);
    return s->by_layer ? sum / (double)(layer + 1) : sum;
}

/* The heads' outputs side by side, (n, heads * head_dim). */
static inline double *naive_heads(const struct decoder_shape *s, size_t layer, const double *q,
                                  const double *k, const double *v, size_t n)
{
    size_t dh = s->head_dim, wide = s->heads * dh, narrow = s->kv_heads * dh;
    double *out = naive_new(n * wide), *scores = naive_new(n);
    for (size_t t = 0; t < n; t++)
        for (size_t h = 0; h < s->heads; h++) {
            size_t kv = h * s->kv_heads / s->heads * dh;
            double top = -INFINITY, sum = 0;
            for (size_t u = 0; u <= t; u++) {
                scores[u] = naive_score(s, layer, q + t * wide + h * dh, t, k + u * narrow + kv, u);
                top = fmax(top, scores[u]);
            }
            for (size_t u = 0; u <= t; u++)
                sum += scores[u] = exp(scores[u] - top);
            for (size_t u = 0; u <= t; u++)
                for (size_t i = 0; i < dh; i++)
                    out[t * wide + h * dh + i] += scores[u] / sum * v[u * narrow + kv + i];
        }
    free(scores);
    return out;
}

static inline double naive_act(const struct decoder_shape *s, double x)
{
    if (s->family == GPT2)
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * pow(x, 3))));
    if (s->family == NEOX)
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    return x / (1 + exp(-x));
}

static inline void naive_keep(double *tap, size_t at, const double *x, size_t floats)
{
    if (tap != NULL)
        memcpy(tap + at * floats, x, floats * sizeof *x);
}

static inline double *naive_attention(const struct random_decoder *m, size_t layer, const double *x,
                                      size_t n, const struct naive_taps *taps)
{
    const struct decoder_shape *s = &m->shape;
    size_t wide = decoder_size(s, 'Q'), narrow = decoder_size(s, 'K');
    double *q = naive_linear(m, layer, D_QUERY, x, n, true);
    double *k = naive_linear(m, layer, D_KEY, x, n, true);
    double *v = naive_linear(m, layer, D_VALUE, x, n, true);
    if (s->family == OLMO2) {
        double *normed[] = {naive_norm(m, layer, D_QUERY_NORM, q, n),
                            naive_norm(m, layer, D_KEY_NORM, k, n)};
        free(q);
        free(k);
        q = normed[0];
        k = normed[1];
    }
    double *mha = naive_heads(s, layer, q, k, v, n);
    double *y = naive_linear(m, layer, D_OUTPUT, mha, n, true);
    naive_keep(taps->q, layer, q, n * wide);
    naive_keep(taps->k, layer, k, n * narrow);
    naive_keep(taps->v, layer, v, n * narrow);
    naive_keep(taps->mha, layer, mha, n * wide);
    free(q);
    free(k);
    free(v);
    free(mha);
    return y;
}

static inline double *naive_mlp(const struct random_decoder *m, size_t layer, const double *x,
                                size_t n, const struct naive_taps *taps)
{
    const struct decoder_shape *s = &m->shape;
    double *up = naive_linear(m, layer, D_UP, x, n, true);
    if (decoder_gated(s)) {
        double *gate = naive_linear(m, layer, D_GATE, x, n, true);
        for (size_t i = 0; i < n * s->inner; i++)
            up[i] *= naive_act(s, gate[i]);
        free(gate);
    } else {
        for (size_t i = 0; i < n * s->inner; i++)
            up[i] = naive_act(s, up[i]);
    }
    naive_keep(taps->ff, layer, up, n * s->inner);
    double *y = naive_linear(m, layer, D_DOWN, up, n, true);
    free(up);
    return y;
}

/* x += y, or += norm(y); frees y. */
static inline void naive_add(const struct random_decoder *m, size_t layer, enum decoder_part norm,
                             double *x, double *y, size_t n)
{
    bool after = m->shape.family == OLMO2;
    double *normed = after ? naive_norm(m, layer, norm, y, n) : y;
    for (size_t i = 0; i < n * m->shape.hidden; i++)
        x[i] += normed[i];
    if (after)
        free(normed);
    free(y);
}

/* What a sublayer reads. */
static inline double *naive_input(const struct random_decoder *m, size_t layer,
                                  enum decoder_part norm, const double *x, size_t n)
{
    if (m->shape.family != OLMO2)
        return naive_norm(m, layer, norm, x, n);
    double *copy = naive_new(n * m->shape.hidden);
    memcpy(copy, x, n * m->shape.hidden * sizeof *x);
    return copy;
}

/* Logits of every position, (n, vocab) or (n, labels), of one sequence. */
static inline double *naive_decode(const struct random_decoder *m, const int32_t *ids, size_t n,
                                   const struct naive_taps *taps)
{
    const struct decoder_shape *s = &m->shape;
    size_t d = s->hidden, tap = 0;
    double *x = naive_new(n * d);
    for (size_t i = 0; i < n * d; i++) {
        x[i] = decoder_at(m, 0, D_WORDS)->values[(size_t)ids[i / d] * d + i % d];
        if (s->family == GPT2)
            x[i] += decoder_at(m, 0, D_POSITIONS)->values[i];
    }
    naive_keep(taps->residual, tap++, x, n * d);
    for (size_t l = 0; l < s->layers; l++) {
        double *in = naive_input(m, l, D_NORM1, x, n);
        double *attention = naive_attention(m, l, in, n, taps), *mlp;
        free(in);
        if (s->parallel) {
            in = naive_input(m, l, D_NORM2, x, n);
            mlp = naive_mlp(m, l, in, n, taps);
            naive_add(m, l, D_NORM1, x, attention, n);
        } else {
            naive_add(m, l, D_NORM1, x, attention, n);
            naive_keep(taps->residual, tap++, x, n * d);
            in = naive_input(m, l, D_NORM2, x, n);
            mlp = naive_mlp(m, l, in, n, taps);
        }
        free(in);
        naive_add(m, l, D_NORM2, x, mlp, n);
        naive_keep(taps->residual, tap++, x, n * d);
    }
    double *normed = naive_norm(m, 0, D_FINAL, x, n);
    double *logits = naive_linear(m, 0,
                                  s->labels > 0 ? D_SCORE
                                  : s->tied     ? D_WORDS
                                                : D_UNEMBEDDING,
                                  normed, n, false);
    free(x);
    free(normed);
    return logits;
}

#endif
