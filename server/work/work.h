/* server/work/work.h: everything that computes, in one place: the pool, the hub, the queue of jobs
 * and the runs under way. main makes one; HTTP handlers and `rebasind run` talk to it.
 *
 * DESIGN. The store is the truth: a job is queued by committing its row, and rb_queue_wake only
 * says "look again". The queue claims the next job (priority, then age), counts the attempt in the
 * same transaction, and hands it to a run (run.h), which takes it through its stages and writes
 * each product before it starts the next stage. A daemon that is killed at any moment finds the
 * job "running" at its next start and re-enters it at its last finished stage.
 *
 * Loop thread only.
 */
#ifndef RB_SERVER_WORK_WORK_H
#define RB_SERVER_WORK_WORK_H

#include "api/job.h"
#include "server/work/work_state.h"

/* Makes the pool, so nothing may have used libuv's threads before. Nothing is claimed before
 * rb_work_start. */
enum rb_status rb_work_init(struct rb_work *w, uv_loop_t *loop, struct rb_store *store,
                            struct rb_metrics *metrics, const struct rb_work_options *options,
                            struct rb_error *err) RB_MUST_CHECK;

/* What a dead process left is put in order (rb_queue_recover), leftovers in tmp/ and of unknown
 * jobs are swept; then the queue is served. */
enum rb_status rb_work_start(struct rb_work *w, struct rb_error *err) RB_MUST_CHECK;

/* POST …/cancel: a queued job becomes "canceled", a running one "canceling" and, once nothing of
 * it runs, "canceled". *ret is the status it has on return. RB_ECONFLICT when it has succeeded or
 * failed, RB_ENOTFOUND, or the store's failures. */
enum rb_status rb_work_cancel(struct rb_work *w, const char *job_id, enum rb_job_status *ret,
                              struct rb_error *err) RB_MUST_CHECK;

/* What the job's row does not say: of a job under way progress, the timings so far and the peak; of
 * any job its warning. */
void rb_work_overlay(const struct rb_work *w, struct rb_job *job);

/* SIGTERM: claims nothing more, stops what is under way, puts running jobs back into the queue so
 * that the next process resumes them with no attempt charged; then calls done. */
void rb_work_drain(struct rb_work *w, void (*done)(void *data), void *data);
/* After drain has called done; closes the handles, so run the loop once more. */
void rb_work_deinit(struct rb_work *w);

#endif
