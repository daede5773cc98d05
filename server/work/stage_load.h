/* server/work/stage_load.h: what a run finds of an earlier process, without opening any model. */
#ifndef RB_SERVER_WORK_STAGE_LOAD_H
#define RB_SERVER_WORK_STAGE_LOAD_H

#include "server/work/run_state.h"

/* Places of the inputs, stages that are over, points, artifacts: all into the run. */
enum rb_status rb_run_look_up(struct rb_run *run, struct rb_error *err) RB_MUST_CHECK;
/* The artifacts alone. */
enum rb_status rb_run_artifacts_read(struct rb_run *run, struct rb_error *err) RB_MUST_CHECK;

#endif
