/* server/work/slurm_unit.h: one unit of a run, from its bundle to its products. */
#ifndef RB_SERVER_WORK_SLURM_UNIT_H
#define RB_SERVER_WORK_SLURM_UNIT_H

#include "server/work/slurm_state.h"

/* The stage's entering: what an earlier process left is found, or the unit submitted. Ends in
 * rb_run_stage_done. */
void rb_slurm_unit_enter(struct rb_run *run, enum rb_unit kind);
/* run->why is set: ends the stage, at once or when what is read or written just now has been. */
void rb_slurm_unit_stop(struct rb_slurm_unit *u);
/* The stage's leaving. */
void rb_slurm_unit_free(struct rb_slurm_unit *u);

/* It has looked into its folder (slurm_look.h): what it found is taken. u may be gone then. */
void rb_slurm_unit_looked(struct rb_slurm_unit *u);
/* A good answer of squeue: how it stands there. */
void rb_slurm_unit_heard(struct rb_slurm_unit *u, const struct rb_slurm_standing *standing);

/* Points of the run that nobody has evaluated; to (RB_CURVE_COUNT * RB_POINTS_MAX) by curve and
 * index. How many.
 */
size_t rb_slurm_points_left(const struct rb_run *run, bool *to);

#endif
