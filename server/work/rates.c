#include "server/work/rates.h"
#include "core/memory.h"
#include "server/base/clock.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

enum { PRODUCT = 384, REPEATS = 6 };

/* Share of a matrix product's speed that a phase reaches before anything was measured: as measured
 * on the demo pair. Solving walks cost matrices and never multiplies; writing waits for the disk.
 */
static const double shares[RB_PHASE_COUNT] = {
    [RB_PHASE_NONE] = 1,       [RB_PHASE_LOADING] = 1,       [RB_PHASE_ALIGNING] = 0.68,
    [RB_PHASE_SOLVING] = 0.08, [RB_PHASE_CERTIFYING] = 0.66, [RB_PHASE_EVALUATING] = 0.76,
    [RB_PHASE_WRITING] = 0.02,
};

static const double SECONDS_OF_WEIGHT = 2; /* thread time after which a measurement counts half */
static const double MACHINE_UNKNOWN = 2e10;

double rb_rates_time_machine(void)
{
    size_t n = (size_t)PRODUCT * PRODUCT;
    float *m = rb_calloc_aligned(3 * n, sizeof *m);
    if (m == NULL)
        return MACHINE_UNKNOWN;
    double best = 0;
    for (int i = 0; i < REPEATS; i++) {
        uint64_t begin = rb_clock_monotonic_ns();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, PRODUCT, PRODUCT, PRODUCT, 1, m,
                    PRODUCT, m + n, PRODUCT, 0, m + 2 * n, PRODUCT);
        double seconds = (double)(rb_clock_monotonic_ns() - begin) * 1e-9;
        double rate = 2.0 * (double)n * PRODUCT / (seconds > 1e-9 ? seconds : 1e-9);
        best = rate > best ? rate : best;
    }
    free(m);
    return best;
}

double rb_rates_of(const struct rb_rates *r, enum rb_phase phase)
{
    if (r->phase[phase] > 0)
        return r->phase[phase];
    return (r->machine > 0 ? r->machine : MACHINE_UNKNOWN) * shares[phase];
}

void rb_rates_learn(struct rb_rates *r, enum rb_phase phase, double cost, double seconds)
{
    if (cost <= 0 || seconds <= 0)
        return;
    double weight = seconds / (seconds + SECONDS_OF_WEIGHT);
    r->phase[phase] = (1 - weight) * rb_rates_of(r, phase) + weight * cost / seconds;
}
