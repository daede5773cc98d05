/* core/model/layer_call.h: what one layer is asked for; the blocks read it too. */
#ifndef RB_CORE_MODEL_LAYER_CALL_H
#define RB_CORE_MODEL_LAYER_CALL_H

#include "core/model/rotary.h"
#include "core/model/spans.h"
#include "core/model/weights.h"

/* Where a layer leaves its features, (tokens, size) each; NULL where nobody asks. METHOD 2 and 9.
 */
struct rb_layer_taps {
    float *q, *k, *v; /* projections with bias, before rotary positions */
    float *mha;       /* concatenated head outputs */
    float *middle;    /* after the attention's addition (and norm, where that follows) */
    float *ff;        /* what goes into the down projection */
};

/* One layer over one span.
 * rows: if not NULL, row_count ascending token indices inside the span (0-based): only these are
 * computed after keys and values, and x then holds row_count rows. With rows, taps must be NULL.
 * stop_after_ff: the caller wants only taps; x is then left undefined. */
struct rb_layer_call {
    const struct rb_config *config;
    const struct rb_weights *weights;
    const struct rb_rotary *rotary; /* of the longest sequence at least; not read without rotary */
    uint32_t layer;
    struct rb_span span;
    const uint32_t *rows;
    size_t row_count;
    struct rb_layer_taps taps;
    bool stop_after_ff;
};

/* Rows that come out: row_count, or the span's tokens. */
static inline size_t rb_layer_rows(const struct rb_layer_call *call)
{
    return call->rows != NULL ? call->row_count : rb_span_tokens(&call->span);
}

/* Features that nothing overwrites later are computed where the tap wants them; else in scratch. */
static inline float *rb_layer_place(float *tap, size_t floats, struct rb_scratch *scratch)
{
    return tap != NULL ? tap : rb_scratch_alloc(scratch, floats, sizeof(float));
}

#endif
