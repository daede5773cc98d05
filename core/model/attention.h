/* core/model/attention.h: the attention block. */
#ifndef RB_CORE_MODEL_ATTENTION_H
#define RB_CORE_MODEL_ATTENTION_H

#include "core/model/layer_call.h"

/* in: (tokens, hidden_size), what queries, keys and values read. y: (rows, hidden_size) = the
 * output projection of the heads, without its bias. Where the call names rows, those of `in` are
 * moved to its front once keys and values have been made. Leaves taps q, k, v, mha. RB_ENOMEM only.
 */
enum rb_status rb_attention_forward(const struct rb_layer_call *call, float *in, float *y,
                                    struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* The rows that the call names to the front of x (tokens, n). */
void rb_attention_keep_rows(const struct rb_layer_call *call, float *x, size_t n);

#endif
