/* tests/unit/threads.h: a program's rounds on a few threads, its items in any order. Small enough
 * to see through: threads are made and joined for every round, and take items from a counter. */
#ifndef RB_TESTS_THREADS_H
#define RB_TESTS_THREADS_H

#include "unit/numbers.h"

#include "core/program.h"

#include <pthread.h>

enum { MOST_THREADS = 16 };

/* One of n pieces of work; what fails is reported by the caller of run_pieces, since cmocka's
 * asserts must not be used off the main thread. */
typedef enum rb_status (*piece_fn)(void *context, size_t piece, struct rb_worker *w,
                                   struct rb_error *err);

struct pieces {
    piece_fn run;
    void *context;
    const size_t *order; /* (count) */
    size_t count;
    atomic_size_t next;
    struct rb_worker workers[MOST_THREADS];
    pthread_mutex_t mutex;
    struct rb_error err; /* the first that failed */
};

struct pieces_thread {
    struct pieces *pieces;
    struct rb_worker *worker;
    pthread_t thread;
};

static inline void *pieces_main(void *argument)
{
    struct pieces_thread *t = argument;
    struct pieces *p = t->pieces;
    for (size_t i; (i = atomic_fetch_add(&p->next, 1)) < p->count;) {
        struct rb_error err = {0};
        rb_scratch_reset(&t->worker->scratch);
        if (p->run(p->context, p->order[i], t->worker, &err) == RB_OK)
            continue;
        pthread_mutex_lock(&p->mutex);
        if (p->err.status == RB_OK)
            p->err = err;
        pthread_mutex_unlock(&p->mutex);
    }
    return NULL;
}

static inline void pieces_run(struct pieces *p, size_t threads)
{
    struct pieces_thread t[MOST_THREADS];
    atomic_store(&p->next, 0);
    for (size_t i = 0; i < threads; i++) {
        t[i] = (struct pieces_thread){.pieces = p, .worker = &p->workers[i]};
        assert_int_equal(pthread_create(&t[i].thread, NULL, pieces_main, &t[i]), 0);
    }
    for (size_t i = 0; i < threads; i++)
        assert_int_equal(pthread_join(t[i].thread, NULL), 0);
    if (p->err.status != RB_OK)
        fail_msg("%s", p->err.detail);
}

static inline void pieces_init(struct pieces *p, piece_fn run, void *context)
{
    *p = (struct pieces){.run = run, .context = context};
    assert_int_equal(pthread_mutex_init(&p->mutex, NULL), 0);
    for (size_t i = 0; i < MOST_THREADS; i++)
        rb_worker_init(&p->workers[i], NULL);
}

static inline void pieces_deinit(struct pieces *p)
{
    for (size_t i = 0; i < MOST_THREADS; i++)
        rb_worker_deinit(&p->workers[i]);
    assert_int_equal(pthread_mutex_destroy(&p->mutex), 0);
}

enum order { IN_ORDER, REVERSED, SHUFFLED };

static inline size_t *ordered(size_t n, enum order order, uint64_t *seed)
{
    uint32_t *p = must_alloc(n, sizeof *p);
    size_t *ret = must_alloc(n, sizeof *ret);
    random_permutation(seed, p, n);
    for (size_t i = 0; i < n; i++)
        ret[i] = order == SHUFFLED ? p[i] : order == REVERSED ? n - 1 - i : i;
    free(p);
    return ret;
}

/* Calls run for 0 … n - 1. */
static inline void run_pieces(piece_fn run, void *context, size_t n, size_t threads)
{
    struct pieces p;
    uint64_t seed = 1;
    size_t *order = ordered(n, IN_ORDER, &seed);
    pieces_init(&p, run, context);
    p.order = order;
    p.count = n;
    pieces_run(&p, threads);
    pieces_deinit(&p);
    free(order);
}

static inline enum rb_status program_piece(void *context, size_t piece, struct rb_worker *w,
                                           struct rb_error *err)
{
    struct rb_program *program = context;
    return rb_program_run_item(program, piece, w, err);
}

/* Runs the whole program; its items' costs, added. */
static inline double run_program(struct rb_program *program, size_t threads, enum order order,
                                 uint64_t seed)
{
    struct pieces p;
    struct rb_error err;
    double cost = 0;
    pieces_init(&p, program_piece, program);
    for (;;) {
        MUST(program->ops->next_round(program, &p.count, &err), &err);
        if (p.count == 0)
            break;
        for (size_t i = 0; i < p.count; i++)
            cost += program->ops->item_cost(program, i);
        size_t *list = ordered(p.count, order, &seed);
        p.order = list;
        pieces_run(&p, threads);
        free(list);
    }
    pieces_deinit(&p);
    return cost;
}

#endif
