/* server/work/run.h: one job under way: a table of stages, walked one after the other.
 *
 * DESIGN. Each stage (stage_*.c) has `enter`, which starts programs and plain jobs on the pool,
 * and `leave`, which frees what enter made. A stage that has finished says so with
 * rb_run_stage_done, once nothing of it runs any more; its product is by then in the run (for the
 * stages after it) and on disk (for a process that comes after this one). So a stage can be
 * entered again at any time: after a restart, and when the store or the disk refused.
 *
 *   phase       product in memory        product on disk
 *   loading     models, texts, plan      (none; done again after a restart)
 *   aligning    moments                  cache/moments/<key>.safetensors
 *   solving     alignment                jobs/<id>/alignment.safetensors, stage row "solving"
 *   learning    alignment, motion        the same file again, learning.json; learning.state
 * meanwhile certifying  certificate, motion      the same file again, permutations.json, artifact
 * rows evaluating  points                   point rows, one by one writing     (none) merged
 * checkpoints, barrier.json and .csv
 *
 * What is on disk is found by the loading stage, and decides which stages are skipped.
 *
 * A failure of the input or the numbers ends the job. A failure of the disk, the store or memory
 * that may pass makes the run wait and enter the stage again, up to RB_RUN_PATIENCE_S seconds.
 *
 * Loop thread only.
 */
#ifndef RB_SERVER_WORK_RUN_H
#define RB_SERVER_WORK_RUN_H

#include "server/store/jobs.h"
#include "server/work/run_stop.h"
#include "server/work/work_state.h"

/* Takes the row of a job that was just claimed. `ended` is called once the job's final status is
 * committed and nothing of the run is left; never from inside this call. RB_ENOMEM: the row is
 * still the caller's. */
enum rb_status rb_run_start(struct rb_work *w, struct rb_job_row *row,
                            void (*ended)(struct rb_work *w), struct rb_error *err) RB_MUST_CHECK;
/* RB_RUN_DRAIN puts the job back into the queue, no attempt charged; RB_RUN_CANCEL (the row says
 * "canceling" already) makes it "canceled". A cancel outweighs a drain. */
void rb_run_stop(struct rb_run *run, enum rb_run_stop why);

/* Among w->runs; NULL if the job is not under way. */
struct rb_run *rb_run_find(const struct rb_work *w, const char *job_id);
/* The one after it in w->runs, or NULL. */
struct rb_run *rb_run_next(const struct rb_run *run);
/* Puts phase, progress, timings and peak into job. */
void rb_run_overlay(const struct rb_run *run, struct rb_job *job);

#endif
