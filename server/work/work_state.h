/* server/work/work_state.h: what everything that computes shares: the pool, the hub, the jobs under
 * way. Only types, so that the parts of work.h need not know it. Loop thread only. */
#ifndef RB_SERVER_WORK_WORK_STATE_H
#define RB_SERVER_WORK_WORK_STATE_H

#include "server/base/config.h"
#include "server/base/metrics.h"
#include "server/base/room.h"
#include "server/store/store.h"
#include "server/work/hub.h"
#include "server/work/imports.h"
#include "server/work/pool.h"
#include "server/work/rates.h"

struct rb_bundle;
struct rb_inspection;
struct rb_executor;
struct rb_run;
struct rb_share;
struct rb_slurm;
struct sweep;

struct rb_work_options {
    const char *data_dir; /* absolute; borrowed */
    int data_fd;          /* the same folder, open; borrowed */
    /* Below which folders may be imported; borrowed. NULL: anywhere (`rebasind run`). */
    const struct rb_strings *import_roots;
    unsigned workers;       /* >= 1 */
    uint64_t memory_limit;  /* that a job plans with (plan.h) */
    unsigned parallel_jobs; /* jobs under way at once, >= 1 */
    uint64_t queue_limit;
    uint64_t moments_cache_bytes; /* 0: moments are kept only while their job needs them */
    const char *build;            /* of merged folders, as rb_build_encode wrote it; borrowed */
    const char *environment;      /* of every job, as rb_environment_encode wrote it; borrowed */
    const struct rb_room *room;   /* borrowed; NULL: nobody looks at the disk */
    bool one_shot; /* `rebasind run`: nothing is written only for the sake of a restart */
    /* `rebasind work`: of the job, which is the only one, this unit's task alone is computed
     * (executor.h). NULL: whole jobs. Borrowed. */
    const struct rb_bundle *bundle;
    uint32_t task;
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
    struct sweep *sweep;      /* under way; sweep.c */
    int64_t merged_looked_ms; /* jobs that ended by then have lost what is merged; retention.c */

    /* Another executor than this process's pool (executor.h); NULL: there is none. */
    const struct rb_executor *elsewhere;
    bool elsewhere_is_default;
    struct rb_slurm *slurm; /* slurm.h */

    /* queue.c */
    struct rb_run *runs; /* under way */
    unsigned run_count;
    struct rb_share *share; /* under way; share.c */
    bool alone;             /* the one under way has been interrupted before: nothing joins it */
    uv_idle_t look;         /* claims outside the caller's call */
    uv_timer_t later;       /* after the store refused */
    bool started, looking, draining;
    void (*drained)(void *data);
    void *drained_data;
};

#endif
