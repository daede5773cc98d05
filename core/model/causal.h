/* core/model/causal.h: causal attention of one sequence, in tiles of queries.
 *
 * DESIGN. A tile is some queries, each with all the query heads that share a key-value head, so
 * that keys and values are read (turned by the rotary positions, laid out for the products) once
 * per key-value head. A few rows of the tile at a time reach only as far as their last query looks:
 * what lies behind is hardly ever computed, and the memory is a tile's scores, not length x length.
 * The softmax is over whole rows, its division left to the output. Scores and the mean of values
 * are products of small matrices (kernels.h, multiply): a matrix product of BLAS packs both
 * factors first, which for a head's width costs as much as the product itself.
 */
#ifndef RB_CORE_MODEL_CAUSAL_H
#define RB_CORE_MODEL_CAUSAL_H

#include "core/model/rotary.h"

struct rb_causal {
    size_t heads, kv_heads; /* heads a multiple of kv_heads: query head h reads h / (heads / kv) */
    size_t head_dim;
    float scale;                    /* of the scores, > 0: 1 / sqrt(head_dim) as a rule */
    const struct rb_rotary *rotary; /* NULL or dims 0: none */
};

/* Floats that one call over `length` tokens needs as scratch. */
size_t rb_causal_floats(const struct rb_causal *c, size_t length);

/* k, v: (length, kv_heads * head_dim), the projections, before rotary. q and out:
 * (row_count, heads * head_dim), the queries of tokens rows[0] < rows[1] < … < length, or with
 * rows NULL of tokens 0 … row_count - 1. Query i reads keys 0 … rows[i]. out may be q. Within
 * 1e-5 of the formula for scores up to 30 and values up to 1 in size. Any thread. */
void rb_causal_attend(const struct rb_causal *c, const float *q, const float *k, const float *v,
                      size_t length, const uint32_t *rows, size_t row_count, float *out,
                      float *scratch);

#endif
