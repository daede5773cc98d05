#include "server/work/pool.h"
#include "server/base/clock.h"

#include <assert.h>
#include <cblas.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RB_POOL_NICE = 10 };

/* One item under way: what its thread borrows, and where it leaves word of how it went. */
struct rb_slot {
    uv_work_t request;
    struct rb_pool *pool;
    struct rb_pool_task *task;
    size_t item;
    struct rb_worker worker;
    enum rb_status status;
    struct rb_error error;
    uint64_t busy_ns;
    bool busy;
};

struct lane {
    struct rb_async *waiting, **tail;
    unsigned running, waits, limit;
};

struct rb_pool {
    uv_loop_t *loop;
    uv_idle_t kick; /* starts items and rounds outside the caller's call */
    bool kicked;
    struct rb_pool_task *tasks; /* by rank: who is served first stands first */
    uint64_t started;
    struct lane lanes[RB_LANE_COUNT];
    unsigned workers, running;
    double busy_seconds;
    uint64_t items;
    struct rb_slot slots[];
};

/* ---- threads ---- */

/* setpriority on a thread id is Linux's; the thread is libuv's, so this comes with its first
 * work. A refusal (seccomp) only costs poll latency. */
static void thread_prepare(void)
{
    static _Thread_local bool prepared;
    if (!prepared) {
        prepared = true;
        (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), RB_POOL_NICE);
    }
}

static void slot_work(uv_work_t *request)
{
    struct rb_slot *s = request->data;
    thread_prepare();
    uint64_t begin = rb_clock_thread_ns();
    s->status = rb_program_run_item(s->task->program, s->item, &s->worker, &s->error);
    s->busy_ns = rb_clock_thread_ns() - begin;
}

/* ---- the list of tasks ---- */

/* Does a go before b? */
static bool task_before(const struct rb_pool_task *a, const struct rb_pool_task *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->order != b->order)
        return a->order < b->order;
    return a->private_.started < b->private_.started;
}

static void task_insert(struct rb_pool *pool, struct rb_pool_task *task)
{
    struct rb_pool_task *previous = NULL, *next = pool->tasks;
    while (next != NULL && !task_before(task, next)) {
        previous = next;
        next = next->private_.next;
    }
    task->private_.previous = previous;
    task->private_.next = next;
    if (next != NULL)
        next->private_.previous = task;
    if (previous != NULL)
        previous->private_.next = task;
    else
        pool->tasks = task;
}

static void task_remove(struct rb_pool *pool, struct rb_pool_task *task)
{
    struct rb_pool_task *previous = task->private_.previous, *next = task->private_.next;
    if (next != NULL)
        next->private_.previous = previous;
    if (previous != NULL)
        previous->private_.next = next;
    else
        pool->tasks = next;
}

/* ---- rounds ---- */

static bool task_stopped(const struct rb_pool_task *task)
{
    return task->stop != NULL && atomic_load_explicit(task->stop, memory_order_relaxed);
}

/* The outcome must not depend on which thread was quicker, so of several failures in one round the
 * lowest item's counts. */
static void task_fail(struct rb_pool_task *task, size_t item, const struct rb_error *error)
{
    if (task->private_.error.status == RB_OK || item < task->private_.failed_item) {
        task->private_.error = *error;
        task->private_.failed_item = item;
    }
}

static void task_begin_round(struct rb_pool_task *task)
{
    struct rb_error error = {.status = RB_OK};
    size_t items = 0;
    enum rb_status status = task->program->ops->next_round(task->program, &items, &error);
    if (status != RB_OK) {
        error.status = status;
        task_fail(task, 0, &error);
    }
    if (status == RB_OK && items > 0 && task->between != NULL)
        task->between(task);
    task->private_.items = status == RB_OK ? items : 0;
    task->private_.next_item = 0;
    task->private_.in_round = task->private_.items > 0;
    task->private_.ended = !task->private_.in_round;
}

/* Brings a task without running items to where it can go on: ended, or with items to start. */
static void task_settle(struct rb_pool_task *task)
{
    struct rb_pool_task_private *t = &task->private_;
    if (t->running > 0 || t->ended)
        return;
    if (t->error.status == RB_OK && task_stopped(task))
        (void)rb_error_set(&t->error, RB_ECANCELED, "stopped");
    if (t->error.status != RB_OK)
        t->ended = true;
    else if (!t->in_round || t->next_item == t->items)
        task_begin_round(task);
}

static bool task_ready(const struct rb_pool_task *task)
{
    const struct rb_pool_task_private *t = &task->private_;
    return !t->ended && t->in_round && t->next_item < t->items && t->error.status == RB_OK &&
           !task_stopped(task);
}

/* ---- dispatch ---- */

static void pump(struct rb_pool *pool);

static void kick(uv_idle_t *handle)
{
    struct rb_pool *pool = handle->data;
    pool->kicked = false;
    uv_idle_stop(handle);
    pump(pool);
}

static void pump_soon(struct rb_pool *pool)
{
    if (!pool->kicked) {
        pool->kicked = true;
        uv_idle_start(&pool->kick, kick);
    }
}

static void slot_done(uv_work_t *request, int status)
{
    struct rb_slot *s = request->data;
    struct rb_pool *pool = s->pool;
    struct rb_pool_task *task = s->task;
    assert(status == 0); /* items are never canceled in libuv's queue */
    (void)status;
    double seconds = (double)s->busy_ns * 1e-9;
    pool->busy_seconds += seconds;
    pool->items++;
    pool->running--;
    s->busy = false;
    task->private_.running--;
    task->busy_seconds += seconds;
    if (s->status == RB_OK) {
        const struct rb_program *p = task->program;
        task->cost_done += p->ops->item_cost(p, s->item);
        task->items_done++;
    } else {
        s->error.status = s->status;
        task_fail(task, s->item, &s->error);
    }
    pump(pool);
}

static void slot_start(struct rb_pool *pool, struct rb_slot *s, struct rb_pool_task *task)
{
    s->task = task;
    s->item = task->private_.next_item++;
    s->worker.stop = task->stop;
    s->error = (struct rb_error){.status = RB_OK};
    s->busy = true;
    task->private_.running++;
    pool->running++;
    int result = uv_queue_work(pool->loop, &s->request, slot_work, slot_done);
    assert(result == 0);
    (void)result;
}

static struct rb_slot *slot_free(struct rb_pool *pool)
{
    for (unsigned i = 0; i < pool->workers; i++)
        if (!pool->slots[i].busy)
            return &pool->slots[i];
    return NULL;
}

static void task_end(struct rb_pool *pool, struct rb_pool_task *task)
{
    task_remove(pool, task);
    task->private_.pool = NULL;
    struct rb_error error = task->private_.error;
    task->done(task, error.status, error.status == RB_OK ? NULL : &error);
}

/* Ends what has ended and gives every free slot the next item of the first task that has one. A
 * done callback may start or free tasks, so after each the walk begins again. */
static void pump(struct rb_pool *pool)
{
    struct rb_pool_task *task = pool->tasks;
    while (task != NULL) {
        task_settle(task);
        if (task->private_.ended) {
            task_end(pool, task);
            task = pool->tasks;
            continue;
        }
        struct rb_slot *s;
        while (task_ready(task) && (s = slot_free(pool)) != NULL)
            slot_start(pool, s, task);
        task = task->private_.next;
    }
}

void rb_pool_start(struct rb_pool *pool, struct rb_pool_task *task)
{
    assert(task->program != NULL && task->done != NULL);
    memset(&task->private_, 0, sizeof task->private_);
    task->cost_done = task->busy_seconds = 0;
    task->items_done = 0;
    task->private_.pool = pool;
    task->private_.started = pool->started++;
    task_insert(pool, task);
    pump_soon(pool);
}

void rb_pool_stopping(struct rb_pool *pool)
{
    pump_soon(pool);
}

/* ---- plain jobs ---- */

const char *const rb_lane_names[RB_LANE_COUNT] = {"quick", "read"};

static void async_work(uv_work_t *request)
{
    struct rb_async *a = request->data;
    thread_prepare();
    a->work(a);
}

static void lane_next(struct rb_pool *pool, struct lane *lane);

static void lane_add(struct lane *lane, struct rb_async *a)
{
    a->private_.next = NULL;
    *lane->tail = a;
    lane->tail = &a->private_.next;
    lane->waits++;
}

static void async_done(uv_work_t *request, int status)
{
    struct rb_async *a = request->data;
    struct rb_pool *pool = a->private_.pool;
    struct lane *lane = &pool->lanes[a->lane];
    assert(status == 0);
    (void)status;
    bool again = a->again;
    a->again = false;
    lane->running--;
    if (again)
        lane_add(lane, a);
    lane_next(pool, lane);
    if (!again)
        a->done(a);
}

static void lane_next(struct rb_pool *pool, struct lane *lane)
{
    while (lane->running < lane->limit && lane->waiting != NULL) {
        struct rb_async *a = lane->waiting;
        lane->waiting = a->private_.next;
        if (lane->waiting == NULL)
            lane->tail = &lane->waiting;
        lane->waits--;
        lane->running++;
        a->private_.request.data = a;
        int result = uv_queue_work(pool->loop, &a->private_.request, async_work, async_done);
        assert(result == 0);
        (void)result;
    }
}

void rb_async_start(struct rb_pool *pool, struct rb_async *a)
{
    struct lane *lane = &pool->lanes[a->lane];
    a->private_.pool = pool;
    lane_add(lane, a);
    lane_next(pool, lane);
}

bool rb_pool_has_asyncs(const struct rb_pool *pool)
{
    for (int i = 0; i < RB_LANE_COUNT; i++)
        if (pool->lanes[i].running > 0 || pool->lanes[i].waiting != NULL)
            return true;
    return false;
}

struct rb_lane_load rb_pool_lane(const struct rb_pool *pool, enum rb_lane lane)
{
    const struct lane *l = &pool->lanes[lane];
    return (struct rb_lane_load){l->running, l->waits, l->limit};
}

/* ---- life ---- */

enum rb_status rb_pool_new(uv_loop_t *loop, unsigned workers, struct rb_pool **ret,
                           struct rb_error *err)
{
    assert(workers >= 1);
    char threads[16];
    (void)snprintf(threads, sizeof threads, "%u", workers + RB_POOL_SPARE + RB_POOL_READERS);
    if (setenv("UV_THREADPOOL_SIZE", threads, 1) != 0)
        return rb_error_errno(err, errno, "UV_THREADPOOL_SIZE");
    struct rb_pool *pool = calloc(1, sizeof *pool + workers * sizeof pool->slots[0]);
    if (pool == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a pool of %u workers", workers);
    openblas_set_num_threads(1);
    pool->loop = loop;
    pool->workers = workers;
    static const unsigned limits[RB_LANE_COUNT] = {RB_POOL_SPARE, RB_POOL_READERS};
    for (int i = 0; i < RB_LANE_COUNT; i++) {
        pool->lanes[i].tail = &pool->lanes[i].waiting;
        pool->lanes[i].limit = limits[i];
    }
    uv_idle_init(loop, &pool->kick);
    pool->kick.data = pool;
    for (unsigned i = 0; i < workers; i++) {
        pool->slots[i].pool = pool;
        pool->slots[i].request.data = &pool->slots[i];
        rb_worker_init(&pool->slots[i].worker, NULL);
    }
    *ret = pool;
    return RB_OK;
}

static void pool_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void rb_pool_close(struct rb_pool *pool)
{
    if (pool == NULL)
        return;
    assert(pool->tasks == NULL && pool->running == 0 && !rb_pool_has_asyncs(pool));
    for (unsigned i = 0; i < pool->workers; i++)
        rb_worker_deinit(&pool->slots[i].worker);
    uv_close((uv_handle_t *)&pool->kick, pool_closed);
}

unsigned rb_pool_running(const struct rb_pool *pool)
{
    return pool->running;
}

unsigned rb_pool_workers(const struct rb_pool *pool)
{
    return pool->workers;
}

double rb_pool_busy_seconds(const struct rb_pool *pool)
{
    return pool->busy_seconds;
}

uint64_t rb_pool_items(const struct rb_pool *pool)
{
    return pool->items;
}
