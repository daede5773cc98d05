/* core/learn/slopes.h: the way back through activations and norms, whatever their kind; beside
 * core/model/activation.h and norm.h. */
#ifndef RB_CORE_LEARN_SLOPES_H
#define RB_CORE_LEARN_SLOPES_H

#include "core/model/family.h"
#include "core/model/kernels.h"

/* d *= act'(x), x being what went into the activation. */
rb_slope_fn rb_slope(enum rb_activation act);

/* dx (rows, n) from dy, the gradient of norm(x) * weight + shift of the description's kind; dx may
 * be dy. dweight and dshift (n), unless NULL, are added to; an RMS norm has no shift. */
void rb_norm_back(const struct rb_config *c, const float *weight, const float *x, const float *dy,
                  size_t rows, size_t n, double *dweight, double *dshift, float *dx);

#endif
