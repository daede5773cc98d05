/* core/learn/attention_back.h: the way back through the attention of one sequence, in tiles of
 * queries, as core/model/causal.h goes forward: scores are computed again tile by tile, what the
 * mask hides is never touched, and a key-value head's keys are read once for its whole group. */
#ifndef RB_CORE_LEARN_ATTENTION_BACK_H
#define RB_CORE_LEARN_ATTENTION_BACK_H

#include "core/model/rotary.h"

#include <stdbool.h>
#include <stddef.h>

struct rb_attention_back {
    size_t heads, kv_heads, head_dim;
    float scale; /* of the scores */
    bool causal;
    const struct rb_rotary *rotary; /* NULL: none */
    const struct rb_rotary *back;   /* the same with the sines negated */
};

/* Floats of scratch for one call of either over `length` tokens. */
size_t rb_attention_back_floats(const struct rb_attention_back *a, size_t length);

/* out (length, heads * head_dim) = attention of q, k, v, shaped as below. */
void rb_attention_again(const struct rb_attention_back *a, const float *q, const float *k,
                        const float *v, size_t length, float *out, float *scratch);

/* q and dout: (length, heads * head_dim); k, v: (length, kv_heads * head_dim), as they were before
 * rotary. Writes dq, dk, dv in the same shapes. Within 1e-4 of the largest gradient of the plain
 * formula. Any thread. */
void rb_attention_back(const struct rb_attention_back *a, const float *q, const float *k,
                       const float *v, const float *dout, size_t length, float *dq, float *dk,
                       float *dv, float *scratch);

#endif
