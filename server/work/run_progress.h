/* server/work/run_progress.h: how far a run is, and what it took. */
#ifndef RB_SERVER_WORK_RUN_PROGRESS_H
#define RB_SERVER_WORK_RUN_PROGRESS_H

#include "server/work/run_state.h"

void rb_run_progress(const struct rb_run *run, struct rb_progress *ret);

/* Publishes it, if somebody listens. */
void rb_run_progress_ring(struct rb_run *run);

/* The largest resident memory since the run began. */
uint64_t rb_run_peak_bytes(void);
void rb_run_peak_reset(void);

#endif
