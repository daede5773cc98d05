/* server/work/rates.h: how fast this machine does what, for estimates and ETAs.
 *
 * Costs are core's (about one unit per floating-point operation). A matrix product is timed once
 * at start; every phase then has a rate that is a fixed share of it until the first program of
 * that phase was measured, and a moving average of what was measured from there on. Pure apart
 * from the timing; loop thread only.
 */
#ifndef RB_SERVER_WORK_RATES_H
#define RB_SERVER_WORK_RATES_H

#include "api/job.h"

struct rb_rates {
    double machine; /* cost per second of one core in a matrix product; 0: not timed */
    double phase[RB_PHASE_COUNT]; /* measured; 0: not yet */
};

/* Times a product on the calling thread: some 20 ms. */
double rb_rates_time_machine(void);
/* Cost per second of one busy core in that phase. > 0. */
double rb_rates_of(const struct rb_rates *r, enum rb_phase phase);
/* seconds: time on a core that `cost` took. Short measurements count less. */
void rb_rates_learn(struct rb_rates *r, enum rb_phase phase, double cost, double seconds);

#endif
