/* core/model/forward.h: the forward pass, one layer and one chunk of sequences at a time.
 *
 * DESIGN. Sequences lie end to end without padding, so the dense parts are plain matrix products
 * over all tokens of a chunk, and attention runs per sequence and head. A layer's weights are
 * brought to F32 once (rb_layer) and used by every chunk; the activations of a whole slab stay
 * in memory between layers. So no more than two layers of weights are ever in F32 at a time.
 */
#ifndef RB_CORE_MODEL_FORWARD_H
#define RB_CORE_MODEL_FORWARD_H

#include "core/model/blend.h"
#include "core/sequences.h"

/* Some tensors of a blend in F32, by role: one layer's, or a head's. Prepared by independent items,
 * so that a pool can share the work; a tensor that needs no work is used where it lies. */
struct rb_weights {
    const float *w[RB_ROLE_COUNT];
    float *buffer; /* what the pointers that are not direct point into */
    size_t buffer_floats;
    struct rb_weights_item *items;
    size_t item_count, item_capacity;
};

/* Sets up for roles [first, last] of a layer; the buffer is reused from call to call. */
enum rb_status rb_weights_begin(struct rb_weights *w, const struct rb_blend *blend,
                                enum rb_role first, enum rb_role last, uint32_t layer,
                                struct rb_error *err) RB_MUST_CHECK;
/* Fills part `item` of item_count; any thread. */
enum rb_status rb_weights_fill(const struct rb_weights *w, const struct rb_blend *blend,
                               size_t item, struct rb_scratch *scratch,
                               struct rb_error *err) RB_MUST_CHECK;
void rb_weights_deinit(struct rb_weights *w);
/* Floats of the largest buffer that one layer needs; for the plan of a job. */
uint64_t rb_weights_layer_floats(const struct rb_config *c);

/* A run of whole sequences inside packed tokens. */
struct rb_span {
    const size_t *starts; /* (count + 1); starts[0] may be > 0 */
    size_t count;
};

static inline size_t rb_span_tokens(const struct rb_span *s)
{
    return s->starts[s->count] - s->starts[0];
}

/* Cuts sequences [from, to) into as many spans as hold `tokens` tokens each, all of about the same
 * size and none longer than `tokens` and a sequence; a function of the data only. Fills firsts with
 * the first sequence of each span, and its end. */
size_t rb_spans_count(const struct rb_sequences *s, size_t from, size_t to, size_t tokens);
void rb_spans_fill(const struct rb_sequences *s, size_t from, size_t to, size_t tokens,
                   size_t *firsts);

/* Do all ids, positions, token types and targets lie inside the model's tables? RB_EDATASET naming
 * the line and what does not fit (a second sentence for a model of one token type, say). Done once
 * for all sequences, by rb_collect_new and rb_evaluate_check; nothing below looks again. */
enum rb_status rb_forward_check(const struct rb_config *c, const struct rb_sequences *s,
                                struct rb_error *err) RB_MUST_CHECK;

/* Embeddings and their layer norm: x (tokens of the span, hidden_size). */
enum rb_status rb_forward_embed(const struct rb_blend *blend, const struct rb_sequences *s,
                                const struct rb_span *span, float *x, struct rb_scratch *scratch,
                                struct rb_error *err) RB_MUST_CHECK;

/* Where a layer leaves its features, (tokens, size) each; NULL where nobody asks. METHOD 2. */
struct rb_layer_taps {
    float *q, *k;  /* projections with bias */
    float *mha;    /* concatenated head outputs */
    float *middle; /* after the attention layer norm */
    float *ff;     /* after GELU */
};

/* One layer over one span. x: (tokens, hidden_size), replaced by the layer's output.
 * rows: if not NULL, row_count ascending token indices inside the span (0-based): only these are
 * computed after keys and values, and x then holds row_count rows. With rows, taps must be NULL.
 * stop_after_ff: the caller wants only taps; x is then left undefined.
 * RB_ENOMEM only. */
struct rb_layer_call {
    const struct rb_config *config;
    const struct rb_weights *weights;
    struct rb_span span;
    const uint32_t *rows;
    size_t row_count;
    struct rb_layer_taps taps;
    bool stop_after_ff;
};
enum rb_status rb_forward_layer(const struct rb_layer_call *call, float *x,
                                struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* MLM transform: x (rows, hidden_size) -> layer_norm(gelu(x W^T + b)), in place. */
enum rb_status rb_forward_transform(const struct rb_config *c, const struct rb_weights *w, float *x,
                                    size_t rows, struct rb_scratch *scratch,
                                    struct rb_error *err) RB_MUST_CHECK;
/* Pooler: x (rows, hidden_size), the first token of each sequence -> tanh(x W^T + b), in place. */
enum rb_status rb_forward_pooler(const struct rb_config *c, const struct rb_weights *w, float *x,
                                 size_t rows, struct rb_scratch *scratch,
                                 struct rb_error *err) RB_MUST_CHECK;
/* y (rows, out) = x (rows, in) w^T, w (out, in); all row-major. */
void rb_linear(const float *x, size_t rows, size_t in, const float *w, size_t out, float *y);

/* Floating-point operations that are useful work: products only, multiply and add counted as two,
 * nothing for padding. One layer over sequences of the given lengths. */
double rb_layer_flops(const struct rb_config *c, const size_t *starts, size_t count);

enum {
    RB_CHUNK_TOKENS = 512
}; /* 50-100 ms of a BERT-base layer; products are then at 0.94 of peak */

#endif
