#include "server/work/rates.h"
#include "core/memory.h"
#include "server/base/clock.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PRODUCT = 768, REPEATS = 4, NARROW = 128, WIDE = 768 };

/* Share of a matrix product's speed that a phase reaches before anything was measured, for models
 * NARROW and WIDE: as measured on the demo pair (where workers wait for the store as long as they
 * compute) and on BERT-base's shape. Solving walks cost
 * matrices and never multiplies; writing waits for the disk. */
static const struct {
    double narrow, wide;
} shares[RB_PHASE_COUNT] = {
    [RB_PHASE_NONE] = {1, 1},
    [RB_PHASE_LOADING] = {1, 1},
    [RB_PHASE_ALIGNING] = {0.45, 0.80},
    [RB_PHASE_SOLVING] = {0.08, 0.08},
    [RB_PHASE_LEARNING] = {0.25, 0.70},
    [RB_PHASE_CERTIFYING] = {0.65, 0.80},
    [RB_PHASE_EVALUATING] = {0.40, 0.80},
    [RB_PHASE_MERGING] = {0.40, 0.70},
    [RB_PHASE_WRITING] = {0.02, 0.02},
};

/* What is thought before anything was measured counts as a measurement of that long. */
static const double SECONDS_OF_PRIOR = 1;
static const double LEAST_WEIGHT = 0.125; /* of a measurement beside those before it */
static const double MACHINE_UNKNOWN = 2e10;

double rb_rates_time_machine(void)
{
    size_t n = (size_t)PRODUCT * PRODUCT;
    float *m = rb_calloc_aligned(3 * n, sizeof *m);
    if (m == NULL)
        return MACHINE_UNKNOWN;
    double best = 0;
    for (int i = 0; i < REPEATS; i++) {
        uint64_t begin = rb_clock_thread_ns();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, PRODUCT, PRODUCT, PRODUCT, 1, m,
                    PRODUCT, m + n, PRODUCT, 0, m + 2 * n, PRODUCT);
        double seconds = (double)(rb_clock_thread_ns() - begin) * 1e-9;
        double rate = 2.0 * (double)n * PRODUCT / (seconds > 1e-9 ? seconds : 1e-9);
        best = rate > best ? rate : best;
    }
    free(m);
    return best;
}

void rb_rates_settle(struct rb_rates *r, double timed)
{
    bool learnt = false;
    for (int p = 0; p < RB_PHASE_COUNT; p++)
        learnt = learnt || r->factor[p] > 0;
    if (!learnt)
        r->machine = timed;
}

/* Between the two widths by their logarithm. */
static double expected(const struct rb_rates *r, enum rb_phase phase, uint32_t width)
{
    double place = log2((double)width / NARROW) / log2((double)WIDE / NARROW);
    place = place < 0 ? 0 : place > 1 ? 1 : place;
    double share = shares[phase].narrow + place * (shares[phase].wide - shares[phase].narrow);
    return (r->machine > 0 ? r->machine : MACHINE_UNKNOWN) * share;
}

double rb_rates_of(const struct rb_rates *r, enum rb_phase phase, uint32_t width)
{
    return expected(r, phase, width) * (r->factor[phase] > 0 ? r->factor[phase] : 1);
}

void rb_rates_learn(struct rb_rates *r, enum rb_phase phase, uint32_t width, double cost,
                    double seconds)
{
    if (cost <= 0 || seconds <= 0)
        return;
    double share = seconds / (seconds + r->seconds[phase] + SECONDS_OF_PRIOR);
    double weight = fmax(share, LEAST_WEIGHT * seconds / (seconds + SECONDS_OF_PRIOR));
    double known = r->factor[phase] > 0 ? r->factor[phase] : 1;
    double taken = (1 - weight) / known + weight * expected(r, phase, width) * seconds / cost;
    r->factor[phase] = 1 / taken;
    r->seconds[phase] += seconds;
}
