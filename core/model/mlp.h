/* core/model/mlp.h: the MLP block. */
#ifndef RB_CORE_MODEL_MLP_H
#define RB_CORE_MODEL_MLP_H

#include "core/model/layer_call.h"

/* in: (rows, hidden_size). y: (rows, hidden_size) = the down projection, without its bias; left
 * alone with stop_after_ff. Leaves the tap ff. RB_ENOMEM only. */
enum rb_status rb_mlp_forward(const struct rb_layer_call *call, const float *in, size_t rows,
                              float *y, struct rb_scratch *scratch,
                              struct rb_error *err) RB_MUST_CHECK;

#endif
