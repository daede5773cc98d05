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

#include "core/status.h"
#include "server/work/hub.h"
#include "server/work/pool.h"

struct rb_store;
struct rb_queue;

struct rb_work_options {
    const char *data_dir;            /* absolute */
    const char *const *import_roots; /* absolute; NULL-terminated; NULL: any path may be imported */
    unsigned workers;                /* >= 1 */
    unsigned parallel_jobs;          /* >= 1: jobs under way at once */
    uint64_t moments_cache_bytes;    /* 0: no cache */
};

struct rb_work {
    uv_loop_t *loop;
    struct rb_store *store; /* borrowed */
    struct rb_work_options options;
    struct rb_pool *pool;
    struct rb_hub hub;
    struct rb_queue *queue;
};

/* options' strings stay borrowed. Nothing is claimed before rb_work_start. */
enum rb_status rb_work_init(struct rb_work *w, uv_loop_t *loop, struct rb_store *store,
                            const struct rb_work_options *options,
                            struct rb_error *err) RB_MUST_CHECK;
/* Jobs that were running when the last process ended go on (or, at their third crash, fail with
 * crash_loop); then the queue is served. */
void rb_work_start(struct rb_work *w);

/* A job was queued, its priority changed, or a queued one was canceled: after the commit. */
void rb_work_wake(struct rb_work *w);

/* Stops a running job, whose row already says "canceling": the row becomes "canceled" once nothing
 * of it runs. Does nothing if the job is not under way. */
void rb_work_cancel(struct rb_work *w, const char *job_id);

/* Jobs under way now. */
unsigned rb_work_running(const struct rb_work *w);

/* SIGTERM: claims nothing more, lets items under way finish, puts running jobs back so that the
 * next process resumes them with no attempt charged; then calls done. */
void rb_work_drain(struct rb_work *w, void (*done)(void *data), void *data);
/* After drain has called done. */
void rb_work_deinit(struct rb_work *w);

#endif
