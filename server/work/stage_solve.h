/* server/work/stage_solve.h: what the stages that change an alignment share. */
#ifndef RB_SERVER_WORK_STAGE_SOLVE_H
#define RB_SERVER_WORK_STAGE_SOLVE_H

#include "server/work/run_state.h"

/* The alignment of the model (1 …) to the job's folder, made where it is not there, synced. The
 * file is called by rb_artifact_of_model. Pool threads; blocks. As rb_alignment_save. */
enum rb_status rb_run_save_alignment(const struct rb_run *run, size_t model,
                                     struct rb_error *err) RB_MUST_CHECK;

#endif
