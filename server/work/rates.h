/* server/work/rates.h: how fast this machine does what, for estimates and ETAs.
 *
 * Costs are core's (about one unit per floating-point operation). A matrix product is timed once
 * at start; every phase is expected to reach a share of it that depends on the model's width, times
 * a factor learnt from what was measured so far: 1 until then. A measurement counts as its time
 * says beside those before it, at least an eighth: jobs average, and a machine that changes is
 * followed. rates_kept.h keeps it in the store, by processor and kernel. Pure apart from the
 * timing; loop thread only.
 */
#ifndef RB_SERVER_WORK_RATES_H
#define RB_SERVER_WORK_RATES_H

#include "api/job.h"

struct rb_rates {
    double machine; /* cost per second of one core in a matrix product; 0: not timed */
    double factor[RB_PHASE_COUNT];  /* measured against expected; 0: not yet */
    double seconds[RB_PHASE_COUNT]; /* of workers that it was learnt from */
};

/* Times a product on the calling thread: some 50 ms. */
double rb_rates_time_machine(void);
/* What was timed at start: taken unless something was learnt against the rate known before. Others
 * on the machine disturb it, and a factor that is learnt makes up for either. */
void rb_rates_settle(struct rb_rates *r, double timed);
/* Cost per second and worker in that phase, for a model of that hidden_size: what a worker waits
 * for within a phase (for the others at the end of a round, for the store) is part of it. > 0. */
double rb_rates_of(const struct rb_rates *r, enum rb_phase phase, uint32_t width);
/* seconds: of all workers that `cost` took, waits included. Once per phase of a job. */
void rb_rates_learn(struct rb_rates *r, enum rb_phase phase, uint32_t width, double cost,
                    double seconds);

#endif
