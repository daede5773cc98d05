/* core/model/layer.h: one layer over one run of sequences, as the description says it.
 *
 * DESIGN. Sequences lie end to end without padding, so the dense parts are plain matrix products
 * over all tokens of a span, and attention runs per sequence and head. A layer is an attention
 * block and an MLP block (attention.c, mlp.c) with norms and additions around them; where these
 * stand is the description's norm_place and parallel_residual, and layer.c is the only place that
 * looks at those. A layer's weights are brought to F32 once (rb_weights) and used by every span;
 * the activations of a whole slab stay in memory between layers. So no more than two layers of
 * weights are ever in F32 at a time. */
#ifndef RB_CORE_MODEL_LAYER_H
#define RB_CORE_MODEL_LAYER_H

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
    struct rb_span span;
    const uint32_t *rows;
    size_t row_count;
    struct rb_layer_taps taps;
    bool stop_after_ff;
};

/* x: (tokens, hidden_size), replaced by the layer's output. RB_ENOMEM only. */
enum rb_status rb_layer_forward(const struct rb_layer_call *call, float *x,
                                struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* Rows that come out: row_count, or the span's tokens. */
size_t rb_layer_rows(const struct rb_layer_call *call);
/* Features that nothing overwrites later are computed where the tap wants them; else in scratch. */
float *rb_layer_place(float *tap, size_t floats, struct rb_scratch *scratch);

/* ---- what it costs ---- */

/* Useful floating-point operations of a layer: products only, multiply and add counted as two,
 * nothing for padding. tokens pass keys and values, rows pass the rest, and attention sees `pairs`
 * of (row, token). */
double rb_layer_cost(const struct rb_config *c, double tokens, double rows, double pairs);
/* All rows of sequences of the given lengths. */
double rb_layer_flops(const struct rb_config *c, const size_t *starts, size_t count);

#endif
