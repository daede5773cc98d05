/* core/model/activation.h: the activations of a description. */
#ifndef RB_CORE_MODEL_ACTIVATION_H
#define RB_CORE_MODEL_ACTIVATION_H

#include "core/model/family.h"

#include <stddef.h>

/* x = act(x + bias) per row of (rows, n); bias may be NULL. */
void rb_activate(enum rb_activation act, float *x, const float *bias, size_t rows, size_t n);

/* y = act(gate + gate_bias) * (y + up_bias), all (rows, n); biases may be NULL. Any but
 * RB_ACTIVATION_NONE. */
void rb_activate_gated(enum rb_activation act, float *y, const float *gate, const float *gate_bias,
                       const float *up_bias, size_t rows, size_t n);

#endif
