/* core/learn/adam.h: Adam (Kingma & Ba 2015) over one flat vector of parameters in F64, and the
 * learning rate over the steps (METHOD 11). */
#ifndef RB_CORE_LEARN_ADAM_H
#define RB_CORE_LEARN_ADAM_H

#include <stddef.h>
#include <stdint.h>

struct rb_adam {
    double beta1, beta2, epsilon;
};

/* METHOD 11's betas, epsilon 1e-8. */
extern const struct rb_adam rb_adam_default;

/* One step, `step` counted from 0: x (n) moves against gradient g (n); m and v (n) are the running
 * moments, 0 before the first step. An element of n belongs to one call a step; calls for parts
 * of a vector may run at the same time. */
void rb_adam_step(const struct rb_adam *a, double rate, uint32_t step, size_t n, const double *g,
                  double *x, double *m, double *v);

/* The rate of step `step` (from 0) of `steps`: `warmup` steps of linear rise to `peak`, then linear
 * fall to 5 % of it at the last step. */
double rb_adam_rate(double peak, uint32_t step, uint32_t steps, uint32_t warmup);

#endif
