/* server/work/slurm_environment.h: on what a job was computed, from the seals of its products. */
#ifndef RB_SERVER_WORK_SLURM_ENVIRONMENT_H
#define RB_SERVER_WORK_SLURM_ENVIRONMENT_H

#include "server/work/slurm_state.h"

/* Adds who made it, and says in the job's events when kernels differ. Out of memory loses it. */
void rb_slurm_environment_add(struct rb_run *run, const struct rb_seal *seal);
/* The change that writes the job's `environment`; borrows from run. */
struct rb_job_change rb_slurm_environment_change(const struct rb_run *run);

#endif
