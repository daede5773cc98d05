#include "tests/bench/runner.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct runner {
    struct rb_program *program;
    unsigned threads;
    bool with_profile;
    pthread_barrier_t begin, end;
    size_t items; /* of the present round; 0: over */
    atomic_size_t next;
    atomic_int failed; /* enum rb_status */
};

struct lane {
    struct runner *runner;
    struct rb_worker worker;
    struct runner_result sum;
    struct rb_error error;
    pthread_t thread;
    double finished; /* when it found the round empty */
};

static double read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double runner_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double runner_cpu_now(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

double runner_process_cpu_now(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static void run_item(struct lane *l, size_t item)
{
    struct runner *r = l->runner;
    struct profile profile = {0};
    double wall = runner_now(), cpu = runner_cpu_now();
    if (r->with_profile)
        profile_on(&profile);
    enum rb_status s = rb_program_run_item(r->program, item, &l->worker, &l->error);
    if (r->with_profile)
        profile_on(NULL);
    cpu = runner_cpu_now() - cpu;
    wall = runner_now() - wall;
    /* Of the wall time that the kinds took, the share in which this thread really ran. */
    profile_add(&l->sum.profile, &profile, wall > 0 && cpu < wall ? cpu / wall : 1);
    l->sum.cpu_seconds += cpu;
    l->sum.busy_seconds += wall;
    if (wall > l->sum.longest_item_seconds)
        l->sum.longest_item_seconds = wall;
    if (s != RB_OK)
        atomic_store(&r->failed, (int)s);
}

static void run_round(struct lane *l)
{
    struct runner *r = l->runner;
    size_t item;
    while ((item = atomic_fetch_add(&r->next, 1)) < r->items)
        run_item(l, item);
    l->finished = runner_now();
}

static void *lane_main(void *argument)
{
    struct lane *l = argument;
    for (;;) {
        pthread_barrier_wait(&l->runner->begin);
        if (l->runner->items == 0)
            return NULL;
        run_round(l);
        pthread_barrier_wait(&l->runner->end);
    }
}

static void join_results(const struct lane *lanes, unsigned threads, struct runner_result *total)
{
    for (unsigned i = 0; i < threads; i++) {
        const struct runner_result *s = &lanes[i].sum;
        total->cpu_seconds += s->cpu_seconds;
        total->busy_seconds += s->busy_seconds;
        if (s->longest_item_seconds > total->longest_item_seconds)
            total->longest_item_seconds = s->longest_item_seconds;
        profile_add(&total->profile, &s->profile, 1);
    }
}

static enum rb_status run_rounds(struct runner *r, struct lane *lanes, struct runner_result *total,
                                 struct rb_error *err)
{
    for (;;) {
        double t = runner_now();
        enum rb_status s = r->program->ops->next_round(r->program, &r->items, err);
        total->serial_seconds += runner_now() - t;
        if (s != RB_OK || r->items == 0)
            return s;
        total->rounds++;
        total->items += r->items;
        for (size_t i = 0; i < r->items; i++)
            total->cost += r->program->ops->item_cost(r->program, i);
        atomic_store(&r->next, 0);
        pthread_barrier_wait(&r->begin);
        run_round(&lanes[0]);
        pthread_barrier_wait(&r->end);
        t = runner_now();
        for (unsigned i = 0; i < r->threads; i++)
            total->idle_seconds += t - lanes[i].finished;
        if (atomic_load(&r->failed) != RB_OK)
            return rb_error_set(err, (enum rb_status)atomic_load(&r->failed), "an item failed: %s",
                                lanes[0].error.detail);
    }
}

enum rb_status runner_run(struct rb_program *p, unsigned threads, bool with_profile,
                          struct runner_result *ret, struct rb_error *err)
{
    assert(threads >= 1 && threads <= RUNNER_THREADS);
    struct runner r = {.program = p, .threads = threads, .with_profile = with_profile};
    static struct lane lanes[RUNNER_THREADS];
    struct runner_result total = {0};
    memset(lanes, 0, sizeof lanes);
    pthread_barrier_init(&r.begin, NULL, threads);
    pthread_barrier_init(&r.end, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        lanes[i].runner = &r;
        rb_worker_init(&lanes[i].worker, NULL);
        if (i > 0 && pthread_create(&lanes[i].thread, NULL, lane_main, &lanes[i]) != 0)
            return rb_error_set(err, RB_ENOMEM, "no thread");
    }
    double start = runner_now();
    enum rb_status s = run_rounds(&r, lanes, &total, err);
    total.wall_seconds = runner_now() - start;
    r.items = 0;
    pthread_barrier_wait(&r.begin);
    for (unsigned i = 0; i < threads; i++) {
        if (i > 0)
            pthread_join(lanes[i].thread, NULL);
        rb_worker_deinit(&lanes[i].worker);
    }
    join_results(lanes, threads, &total);
    pthread_barrier_destroy(&r.begin);
    pthread_barrier_destroy(&r.end);
    if (s == RB_OK)
        *ret = total;
    return s;
}
