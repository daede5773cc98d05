/* core/model/activation.h: the activations of a description. */
#ifndef RB_CORE_MODEL_ACTIVATION_H
#define RB_CORE_MODEL_ACTIVATION_H

#include "core/model/family.h"

#include <stddef.h>

/* x = act(x + bias) per row of (rows, n). */
void rb_activate(enum rb_activation act, float *x, const float *bias, size_t rows, size_t n);

#endif
