/* server/work/slurm_environment.h: on what a job was computed, from the seals of its products. */
#ifndef RB_SERVER_WORK_SLURM_ENVIRONMENT_H
#define RB_SERVER_WORK_SLURM_ENVIRONMENT_H

#include "server/work/slurm_state.h"

/* Adds who made it. Out of memory loses it. */
void rb_slurm_environment_add(struct rb_run *run, const struct rb_seal *seal);
/* Writes the job's `environment`, and says in its events when kernels differ. */
enum rb_status rb_slurm_environment_store(struct rb_run *run, struct rb_error *err) RB_MUST_CHECK;

#endif
