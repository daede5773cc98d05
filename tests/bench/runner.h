/* tests/bench/runner.h: runs core's programs on threads, and accounts for every second of them.
 * What server/work/pool.c does for the daemon, reduced to what core needs: items of a round are
 * taken by an atomic counter, a round ends when all are done. */
#ifndef TESTS_BENCH_RUNNER_H
#define TESTS_BENCH_RUNNER_H

#include "core/program.h"
#include "tests/bench/profile.h"

enum { RUNNER_THREADS = 64 };

struct runner_result {
    double wall_seconds;
    double cpu_seconds;  /* of all threads, inside items */
    double busy_seconds; /* wall time of all threads inside items: more than cpu when others run */
    double idle_seconds; /* threads that had no item left in their round */
    double serial_seconds; /* in next_round, all other threads waiting */
    double cost;           /* the program's own count: useful flops */
    double longest_item_seconds;
    uint64_t items, rounds;
    struct profile profile; /* CPU seconds, if asked for */
};

/* Runs p to its end on `threads` threads (the caller's is one of them). */
enum rb_status runner_run(struct rb_program *p, unsigned threads, bool with_profile,
                          struct runner_result *ret, struct rb_error *err) RB_MUST_CHECK;

double runner_now(void);     /* seconds of wall time */
double runner_cpu_now(void); /* seconds of this thread's CPU time */
double runner_process_cpu_now(void);

#endif
