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

#include "core/model/layer_call.h"

/* x: (tokens, hidden_size), replaced by the layer's output. RB_ENOMEM only. */
enum rb_status rb_layer_forward(const struct rb_layer_call *call, float *x,
                                struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* ---- what it costs ---- */

/* Useful floating-point operations of a layer: products only, multiply and add counted as two,
 * nothing for padding or what a mask hides. tokens pass keys and values, rows pass the rest, and
 * attention sees `pairs` of (row, token). */
double rb_layer_cost(const struct rb_config *c, double tokens, double rows, double pairs);
/* Scratch of one call over a span of `tokens` tokens, the longest sequence of them `longest`, at
 * most. */
uint64_t rb_layer_scratch_bytes(const struct rb_config *c, uint64_t tokens, uint64_t longest);
/* Tokens that a row of a sequence of `length` tokens sees, on average: half of them where later
 * ones are masked. */
double rb_layer_keys(const struct rb_config *c, double length);
/* Pairs that attention sees: of all rows of sequences of the given lengths. */
double rb_layer_pairs(const struct rb_config *c, const size_t *starts, size_t count);
/* All rows of sequences of the given lengths. */
double rb_layer_flops(const struct rb_config *c, const size_t *starts, size_t count);

#endif
