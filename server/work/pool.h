/* server/work/pool.h: the threads that compute.
 *
 * DESIGN. core cuts everything heavy into programs: rounds of independent items (core/program.h).
 * The pool runs items of all programs under way on libuv's threads, never more than `workers` at
 * once, so that libuv's other users (file reads, name look-ups, the asyncs below) always find a
 * free thread. All bookkeeping happens on the loop thread: picking the next item, noticing that a
 * round has ended, calling next_round, reporting. A pool thread sees one item, one rb_worker, and
 * nothing else. When a round of one program runs out of items, idle slots take items of the next
 * program, so cores stay busy across round ends.
 *
 * Which item runs on which slot never changes a result: items write only what is theirs, and
 * rounds are barriers (tests/unit/test_pool.c holds it against 1, 2 and 4 workers).
 *
 * Threads are at nice +10, so that the loop thread answers polls while all cores compute, and BLAS
 * is set to one thread per call.
 *
 * All functions: loop thread only. All callbacks come on the loop thread, never from inside the
 * call that caused them.
 */
#ifndef RB_SERVER_WORK_POOL_H
#define RB_SERVER_WORK_POOL_H

#include "core/program.h"

#include <uv.h>

struct rb_pool;

/* Sizes libuv's thread pool (workers + RB_POOL_SPARE + RB_POOL_READERS), so it must come before
 * anything else in the process has used that. workers >= 1. The caller owns *ret. RB_ENOMEM,
 * RB_EINTERNAL. */
enum rb_status rb_pool_new(uv_loop_t *loop, unsigned workers, struct rb_pool **ret,
                           struct rb_error *err) RB_MUST_CHECK;
/* Nothing may be under way. Closes its handles; frees itself once the loop has run again. pool may
 * be NULL. */
void rb_pool_close(struct rb_pool *pool);

enum { RB_POOL_SPARE = 2, RB_POOL_READERS = 2 };

/* ---- programs ---- */

/* One program under way; the caller's storage, zeroed before the first five are set. */
struct rb_pool_task {
    struct rb_program *program; /* borrowed until done has been called */
    int32_t priority;           /* higher goes first … */
    uint64_t order;             /* … then lower (say, the job's age), then first started */
    const atomic_bool *stop;    /* given to items; when set no further item starts. May be NULL */
    /* Once nothing of it runs: RB_OK, the first error in item order of the earliest failing round,
     * or RB_ECANCELED. The task and its program may be freed or started anew inside. */
    void (*done)(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err);
    void *data; /* the caller's */
    /* Between two rounds, after next_round has said what comes; nothing of the program runs. NULL:
     * nobody asks. Loop thread. */
    void (*between)(struct rb_pool_task *task);

    /* Read-only while under way. */
    double cost_done;    /* of program->total_cost */
    double busy_seconds; /* time on a core of finished items */
    size_t items_done;

    struct rb_pool_task_private {
        struct rb_pool *pool;
        struct rb_pool_task *next, *previous;
        size_t items, next_item, running;
        size_t failed_item;
        uint64_t started;
        struct rb_error error;
        bool in_round, ended;
    } private_;
};

/* Queues the task behind those of higher rank. */
void rb_pool_start(struct rb_pool *pool, struct rb_pool_task *task);

/* After a stop flag was set: tasks that only waited for a free slot end now, not with the next
 * item. */
void rb_pool_stopping(struct rb_pool *pool);

/* Items running now (of `workers`), for metrics and readyz. */
unsigned rb_pool_running(const struct rb_pool *pool);
unsigned rb_pool_workers(const struct rb_pool *pool);
/* Core seconds spent in items since the pool was made, and items finished. */
double rb_pool_busy_seconds(const struct rb_pool *pool);
uint64_t rb_pool_items(const struct rb_pool *pool);

/* ---- plain jobs ---- */

/* Plain jobs run outside the workers' gate, each in a lane with a limit of its own, so that what is
 * short never waits for what is long. */
enum rb_lane {
    RB_LANE_QUICK, /* open a model, write a buffer, remove a folder: RB_POOL_SPARE at once */
    RB_LANE_READ,  /* whatever reads files whole, in pieces: RB_POOL_READERS at once */
    RB_LANE_COUNT
};
extern const char *const rb_lane_names[RB_LANE_COUNT];

/* First come first served in its lane. The caller's storage, untouched by the loop thread until
 * done. */
struct rb_async {
    void (*work)(struct rb_async *a); /* on a pool thread */
    void (*done)(struct rb_async *a); /* on the loop thread; a may be freed inside */
    void *data;
    enum rb_lane lane;
    bool again; /* set by work: this was a piece. Those that wait come first, then the next one */

    struct rb_async_private {
        struct rb_pool *pool;
        struct rb_async *next;
        uv_work_t request;
    } private_;
};

void rb_async_start(struct rb_pool *pool, struct rb_async *a);
/* Those that run or wait. */
bool rb_pool_has_asyncs(const struct rb_pool *pool);

struct rb_lane_load {
    unsigned running, waiting, limit;
};
struct rb_lane_load rb_pool_lane(const struct rb_pool *pool, enum rb_lane lane);

#endif
