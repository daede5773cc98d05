/* server/work/sweep.h: folders below jobs/ that no row names: of a job that was deleted, or never
 * committed, when the process ended. */
#ifndef RB_SERVER_WORK_SWEEP_H
#define RB_SERVER_WORK_SWEEP_H

#include "server/work/work_state.h"

/* Begins to remove them, some at a time between the loop's other work; never looked at again
 * before the next start. Loop thread. RB_ENOMEM. */
enum rb_status rb_sweep_start(struct rb_work *w, struct rb_error *err) RB_MUST_CHECK;

#endif
