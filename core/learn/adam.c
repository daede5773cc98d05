#include "core/learn/adam.h"

#include <math.h>

const struct rb_adam rb_adam_default = {.beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-8};

void rb_adam_step(const struct rb_adam *a, double rate, uint32_t step, size_t n, const double *g,
                  double *x, double *m, double *v)
{
    double bias1 = 1 - pow(a->beta1, (double)step + 1), bias2 = 1 - pow(a->beta2, (double)step + 1);
    for (size_t i = 0; i < n; i++) {
        m[i] = a->beta1 * m[i] + (1 - a->beta1) * g[i];
        v[i] = a->beta2 * v[i] + (1 - a->beta2) * g[i] * g[i];
        x[i] -= rate * (m[i] / bias1) / (sqrt(v[i] / bias2) + a->epsilon);
    }
}

double rb_adam_rate(double peak, uint32_t step, uint32_t steps, uint32_t warmup)
{
    enum { LAST_PERCENT = 5 };
    if (step < warmup)
        return peak * (step + 1.0) / warmup;
    double rest = steps > warmup + 1 ? (double)(step - warmup) / (steps - 1.0 - warmup) : 0;
    return peak * (1 - (1 - LAST_PERCENT / 100.0) * rest);
}
