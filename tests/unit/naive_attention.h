/* tests/unit/naive_attention.h: causal attention as the formula has it, in F64, one query head and
 * one key after the other. */
#ifndef RB_TESTS_NAIVE_ATTENTION_H
#define RB_TESTS_NAIVE_ATTENTION_H

#include "unit/numbers.h"

#include "core/model/causal.h"

/* One head of a projection, turned where rope is not NULL. */
static inline void naive_turned(const struct rb_rope *rope, const float *from, size_t position,
                                size_t head_dim, double *ret)
{
    double *plain = must_alloc(head_dim, sizeof *plain);
    for (size_t i = 0; i < head_dim; i++)
        ret[i] = plain[i] = (double)from[i];
    if (rope != NULL)
        rb_ref_rotary(rope, position, plain, head_dim, ret);
    free(plain);
}

/* The mean of values 0 … seen - 1 of key-value head `kv`, weighted by softmax(scores). */
static inline void naive_mean(const struct rb_causal *c, const float *v, size_t kv,
                              const double *scores, size_t seen, double *ret)
{
    double top = -INFINITY, sum = 0;
    for (size_t t = 0; t < seen; t++)
        top = fmax(top, scores[t]);
    for (size_t t = 0; t < seen; t++)
        sum += exp(scores[t] - top);
    for (size_t j = 0; j < c->head_dim; j++)
        ret[j] = 0;
    for (size_t t = 0; t < seen; t++)
        for (size_t j = 0; j < c->head_dim; j++)
            ret[j] +=
                exp(scores[t] - top) / sum * (double)v[(t * c->kv_heads + kv) * c->head_dim + j];
}

/* As rb_causal_attend. rope may be NULL. */
static inline void naive_causal_attend(const struct rb_causal *c, const struct rb_rope *rope,
                                       const float *q, const float *k, const float *v,
                                       const uint32_t *rows, size_t row_count, double *out)
{
    size_t dh = c->head_dim, last = rows != NULL ? rows[row_count - 1] : row_count - 1;
    double *query = must_alloc(dh, sizeof *query), *key = must_alloc(dh, sizeof *key);
    double *scores = must_alloc(last + 1, sizeof *scores);
    for (size_t i = 0; i < row_count; i++)
        for (size_t h = 0; h < c->heads; h++, out += dh) {
            size_t at = rows != NULL ? rows[i] : i, kv = h / (c->heads / c->kv_heads);
            naive_turned(rope, q + (i * c->heads + h) * dh, at, dh, query);
            for (size_t t = 0; t <= at; t++) {
                naive_turned(rope, k + (t * c->kv_heads + kv) * dh, t, dh, key);
                scores[t] = 0;
                for (size_t j = 0; j < dh; j++)
                    scores[t] += (double)c->scale * query[j] * key[j];
            }
            naive_mean(c, v, kv, scores, at + 1, out);
        }
    free(query);
    free(key);
    free(scores);
}

#endif
