/* server/work/work.h: everything that computes, in one place: the pool, the hub, the queue of jobs
 * and the runs under way. main makes one; HTTP handlers and `rebasind run` talk to it.
 *
 * DESIGN. The store is the truth: a job is queued by committing its row, and rb_work_wake only
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
#include "api/status.h"
#include "server/base/config.h"
#include "server/base/metrics.h"
#include "server/store/store.h"
#include "server/work/hub.h"
#include "server/work/imports.h"
#include "server/work/pool.h"
#include "server/work/rates.h"

struct rb_event_row;
struct rb_inspection;
struct rb_run;
struct sweep;

struct rb_work_options {
    const char *data_dir; /* absolute; borrowed */
    int data_fd;          /* the same folder, open; borrowed */
    /* Below which folders may be imported; borrowed. NULL: anywhere (`rebasind run`). */
    const struct rb_strings *import_roots;
    unsigned workers;       /* >= 1 */
    unsigned parallel_jobs; /* jobs under way at once, >= 1 */
    uint64_t queue_limit;
    uint64_t moments_cache_bytes; /* 0: moments are kept only while their job needs them */
    bool one_shot; /* `rebasind run`: nothing is written only for the sake of a restart */
};

struct rb_work {
    uv_loop_t *loop;
    struct rb_store *store;     /* borrowed */
    struct rb_metrics *metrics; /* borrowed; may be NULL */
    struct rb_work_options options;
    struct rb_import_rules inputs; /* by which core opens what it reads */
    struct rb_pool *pool;
    struct rb_hub hub;
    struct rb_inspection *inspections; /* under way; inspect.c */
    uint64_t inspection_order;
    struct rb_rates rates;  /* how fast this machine is, learnt from what it did */
    struct rb_async timing; /* of the machine, at start */
    double timed;
    struct sweep *sweep; /* under way; sweep.c */

    /* queue.c */
    struct rb_run *runs; /* under way */
    unsigned run_count;
    bool alone;       /* the one under way has been interrupted before: nothing joins it */
    uv_idle_t look;   /* claims outside the caller's call */
    uv_timer_t later; /* after the store refused */
    bool started, looking, draining;
    void (*drained)(void *data);
    void *drained_data;
};

/* Makes the pool, so nothing may have used libuv's threads before. Nothing is claimed before
 * rb_work_start. */
enum rb_status rb_work_init(struct rb_work *w, uv_loop_t *loop, struct rb_store *store,
                            struct rb_metrics *metrics, const struct rb_work_options *options,
                            struct rb_error *err) RB_MUST_CHECK;

/* Jobs that were running when the last process ended are queued again in their old place (at their
 * third crash without anything new on disk they fail with crash_loop), those that were being
 * canceled become canceled, leftovers in tmp/ and of unknown jobs are swept; then the queue is
 * served. */
enum rb_status rb_work_start(struct rb_work *w, struct rb_error *err) RB_MUST_CHECK;

/* A job was queued or its priority changed: after the commit. */
void rb_work_wake(struct rb_work *w);

/* POST …/cancel: a queued job becomes "canceled", a running one "canceling" and, once nothing of
 * it runs, "canceled". *ret is the status it has on return. RB_ECONFLICT when it has succeeded or
 * failed, RB_ENOTFOUND, or the store's failures. */
enum rb_status rb_work_cancel(struct rb_work *w, const char *job_id, enum rb_job_status *ret,
                              struct rb_error *err) RB_MUST_CHECK;

/* What only memory knows of a running job: puts progress, the timings so far and the peak into
 * job. Leaves a job that is not under way as it is. */
void rb_work_overlay(const struct rb_work *w, struct rb_job *job);

/* Rings for the event of a change that was committed, and frees the row. */
void rb_work_publish(struct rb_work *w, struct rb_event_row *event);

/* SIGTERM: claims nothing more, stops what is under way, puts running jobs back into the queue so
 * that the next process resumes them with no attempt charged; then calls done. */
void rb_work_drain(struct rb_work *w, void (*done)(void *data), void *data);
/* After drain has called done; closes the handles, so run the loop once more. */
void rb_work_deinit(struct rb_work *w);

#endif
