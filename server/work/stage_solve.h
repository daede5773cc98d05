/* server/work/stage_solve.h: what the stages that change an alignment share. */
#ifndef RB_SERVER_WORK_STAGE_SOLVE_H
#define RB_SERVER_WORK_STAGE_SOLVE_H

#include "server/work/run_state.h"

/* run->alignment to the job's folder, synced. Pool threads; blocks. As rb_alignment_save. */
enum rb_status rb_run_save_alignment(const struct rb_run *run, struct rb_error *err) RB_MUST_CHECK;

#endif
