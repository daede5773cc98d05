/* core/program.h: how a computation is cut so that others can run, watch and stop it.
 *
 * DESIGN. Everything heavy in core (collecting moments, solving, evaluating one lambda, writing a
 * checkpoint) is a `struct rb_program`: a sequence of rounds, each a number of independent items.
 * core itself starts no thread. The owner calls next_round, runs all items of the round on as
 * many threads as it likes, in any order, waits for all of them, and calls next_round again,
 * until that says 0. An item reads what earlier rounds wrote and writes only what belongs to it,
 * so results do not depend on the number of threads, bit for bit.
 *
 * An item is meant to take 10-200 ms on one core. Cancellation is dropping the program after the
 * items under way have returned; a long item polls rb_worker_stopped.
 */
#ifndef RB_CORE_PROGRAM_H
#define RB_CORE_PROGRAM_H

#include "core/memory.h"
#include "core/status.h"

#include <stdatomic.h>

/* What an item borrows from the thread that runs it. */
struct rb_worker {
    struct rb_scratch scratch;
    const atomic_bool *stop; /* may be NULL; set when the job is canceled */
};

static inline bool rb_worker_stopped(const struct rb_worker *w)
{
    return w->stop != NULL && atomic_load_explicit(w->stop, memory_order_relaxed);
}

struct rb_program;

struct rb_program_ops {
    /* Begins the next round and says how many items it has; 0 when the program has finished.
     * Called by one thread, never while an item runs; takes no more than a few milliseconds. */
    enum rb_status (*next_round)(struct rb_program *p, size_t *ret_items, struct rb_error *err);
    /* Runs one item of the present round (call rb_program_run_item); concurrently with other items
     * of that round, w's scratch empty. A long one asks rb_worker_stopped: RB_ECANCELED. */
    enum rb_status (*run_item)(struct rb_program *p, size_t item, struct rb_worker *w,
                               struct rb_error *err);
    /* Cost of one item of the present round, in the same unit as total_cost. */
    double (*item_cost)(const struct rb_program *p, size_t item);
    void (*free)(struct rb_program *p);
};

/* Embedded as the first member of each concrete program. */
struct rb_program {
    const struct rb_program_ops *ops;
    double total_cost; /* of the whole program, about one unit per floating-point operation */
    struct rb_program_block *blocks_; /* of rb_program_alloc */
};

/* count elements of `size` bytes, zeroed, on a cache line, which rb_program_free frees after the
 * program's own free; NULL when out of memory or on overflow. Never while an item runs. */
void *rb_program_alloc(struct rb_program *p, size_t count, size_t size);

/* Runs one item of the present round with an empty scratch. RB_ECANCELED when the worker was
 * stopped. */
enum rb_status rb_program_run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                                   struct rb_error *err) RB_MUST_CHECK;

/* Runs the whole program on the calling thread. For tests, tools and small work. */
enum rb_status rb_program_run(struct rb_program *p, struct rb_worker *w,
                              struct rb_error *err) RB_MUST_CHECK;

/* p may be NULL. */
void rb_program_free(struct rb_program *p);

/* One program after the other, as one. Takes the `count` programs (the array is copied), even on
 * failure; each may be asked for its result until the chain is freed. RB_ENOMEM. */
enum rb_status rb_program_chain_new(struct rb_program *const *programs, size_t count,
                                    struct rb_program **ret, struct rb_error *err) RB_MUST_CHECK;

void rb_worker_init(struct rb_worker *w, const atomic_bool *stop);
void rb_worker_deinit(struct rb_worker *w);

#endif
