/* core/learn/tape.h: one layer forward and backward over a batch.
 *
 * DESIGN. Learning keeps one row per token and layer boundary; a layer's inside is computed again
 * when the way back reaches it. The tape holds that inside for all tokens of a batch, so that the
 * gradient of a weight is one product over the batch, cut into rows that a pool can share:
 *
 *   rb_tape_forward    per span of sequences: the layer again, what the way back needs kept
 *   rb_tape_back       per span: from the gradient of the layer's output to that of its input;
 *                      leaves the gradient of every linear map's output on the tape
 *   rb_tape_gradient   per rows of a weight: dL/dW = dY^T X over the whole batch
 *
 * Spans write only their own rows and a gradient's element belongs to one item: results do not
 * depend on how many threads ran. Linear weights are (out, in); where norms stand, what is gated
 * and who sees whom is read from the description (METHOD 9), forward and backward side by side. */
#ifndef RB_CORE_LEARN_TAPE_H
#define RB_CORE_LEARN_TAPE_H

#include "core/learn/attention_back.h"
#include "core/model/family.h"

#include <stdint.h>

struct rb_scratch;

struct rb_tape {
    const struct rb_config *config; /* borrowed */
    size_t tokens;                  /* of the batch */
    const float *x;                 /* (tokens, hidden_size): the present layer's input; borrowed */
    /* (tokens, size) each, in one owned block */
    float *attention_in, *q_plain, *k_plain, *q, *k, *v, *mha, *attention_sum, *middle;
    float *mlp_in, *up, *gate, *inner, *mlp_sum;
    float *dq, *dk, *dv, *dattention, *dup, *dgate, *dmlp; /* gradients of linear maps' outputs */
    float *block;
};

/* RB_ENOMEM. The caller owns *ret: rb_tape_deinit. */
enum rb_status rb_tape_init(struct rb_tape *ret, const struct rb_config *c, size_t tokens,
                            struct rb_error *err) RB_MUST_CHECK;
void rb_tape_deinit(struct rb_tape *t);
/* Bytes that rb_tape_init takes, for the plan. */
uint64_t rb_tape_bytes(const struct rb_config *c, size_t tokens);

/* One span of whole sequences of one layer. */
struct rb_tape_call {
    const struct rb_tape *tape;
    const float *const *weights;           /* by slot; NULL where the description has none */
    uint32_t layer;                        /* 0-based */
    const struct rb_rotary *rotary, *back; /* NULL without rotary positions; sines negated */
    const size_t *starts;                  /* (count + 1) of sequences, starts[0] may be > 0 */
    size_t count;
    size_t row;     /* the span's first row on the tape */
    float *out;     /* (span tokens, hidden_size) the layer's output, which may be its input's
                       place; NULL: nobody asks */
    double *dnorms; /* (4, hidden_size) += gradients of the attention norm's weight and bias and
                       the MLP norm's; NULL: nobody asks */
};

/* RB_ENOMEM only. Any thread. */
enum rb_status rb_tape_forward(const struct rb_tape_call *call, struct rb_scratch *scratch,
                               struct rb_error *err) RB_MUST_CHECK;
/* dy (span tokens, hidden_size): of the layer's output, replaced by that of its input. */
enum rb_status rb_tape_back(const struct rb_tape_call *call, float *dy, struct rb_scratch *scratch,
                            struct rb_error *err) RB_MUST_CHECK;

/* What the linear map of that weight reads, (tokens, in), once the layer went forward. */
const float *rb_tape_input(const struct rb_tape *t, enum rb_slot weight);
/* Rows [first, first + rows) of dL/dW of a linear map's weight of this layer; dst (rows, in). */
void rb_tape_gradient(const struct rb_tape *t, enum rb_slot weight, size_t first, size_t rows,
                      float *dst);
/* The gradient of what that map wrote, (tokens, out), once the layer went back. */
const float *rb_tape_output_gradient(const struct rb_tape *t, enum rb_slot weight);
/* The call's span through another weight w (out, in) in the place of that one, once it went back:
 * dY w, (span tokens, in), or with `writes` X w^T, (span tokens, out). dst, the first of them, is
 * added to with `more`. */
void rb_tape_rows(const struct rb_tape_call *call, enum rb_slot weight, const float *w, bool writes,
                  bool more, float *dst);
/* The whole gradient of that weight's bias; dst (out). */
void rb_tape_bias_gradient(const struct rb_tape *t, enum rb_slot weight, float *dst);
/* Is that slot the weight of a linear map of a layer of this description? Then its sizes. */
bool rb_tape_linear(const struct rb_tape *t, enum rb_slot weight, size_t *ret_out, size_t *ret_in);

/* The rotary tables of a call of blocks of up to `tokens` tokens, there and back; left as they are
 * for positions that do not rotate. RB_ENOMEM; the caller owns both, also after a failure. */
enum rb_status rb_tape_rotary(const struct rb_config *c, size_t tokens, struct rb_rotary *ret,
                              struct rb_rotary *ret_back, struct rb_error *err) RB_MUST_CHECK;

/* What the calls of a batch left in dnorms (spans, 4, hidden_size), summed in the spans' order:
 * ret (hidden_size), the gradient of vector `which` of the four. */
void rb_tape_norm_gradient(const struct rb_config *c, const double *dnorms, size_t spans, int which,
                           float *ret);

#endif
