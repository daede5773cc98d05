/* server/work/executor.h: where the units of a job are computed.
 *
 * DESIGN. What a job computes falls into units that can be computed elsewhere: what a unit needs is
 * its job's spec, the inputs by path and digest, and an alignment if there is one; what it gives
 * back is on disk. A run (run.h) walks a table of stages; an executor is that table, and how what
 * the stages have started is stopped, asked how far it is, and found again by a later process.
 *
 *   unit      local: stages on this process's pool           elsewhere
 *   align     loading, aligning, solving, certifying         one task
 *   learn     learning (and then certifying)                 one task
 *   points    evaluating                                     a task for some points each
 *   write     writing merged checkpoints                     one task
 *
 * A process that computes one unit for another (`rebasind work`) walks a part of the local table
 * (rb_executor_of_unit), so that both do the same with the same code. The table itself, struct
 * rb_executor, stands in run_state.h. Loop thread only.
 */
#ifndef RB_SERVER_WORK_EXECUTOR_H
#define RB_SERVER_WORK_EXECUTOR_H

#include "server/work/run_state.h"

extern const struct rb_executor rb_executor_local;

/* The part of the local table that makes up a unit. learns: the job learns maps, so that the unit
 * `align` ends before and `learn` certifies. */
const struct rb_executor *rb_executor_of_unit(enum rb_unit unit, bool learns);

/* Who runs that job here: what the process was started for, or as the spec says. */
const struct rb_executor *rb_executor_for(const struct rb_work *w, const struct rb_job_spec *spec);

#endif
