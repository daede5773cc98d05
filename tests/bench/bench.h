/* tests/bench/bench.h: what bench_core's rows share. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include "core/align/alignment.h"
#include "tests/bench/runner.h"
#include "tests/bench/synth.h"

struct bench {
    struct synth_shape shape; /* of the models, once they are open */
    char folder[2048];        /* a/ and b/ are in it */
    bool temporary;
    unsigned threads[8];
    size_t thread_count;
    size_t lines, longest, blocks, block_size, points, size, tokens, steps;
    double mean;
    unsigned repeat;
    bool profile;
    const char *dump, *matrix; /* may be NULL */
    struct rb_model model[2];
    bool opened;
    double wall_rate[RUNNER_THREADS + 1], cpu_rate[RUNNER_THREADS + 1]; /* flop/s, all threads */
    double fma_rate[RUNNER_THREADS + 1]; /* the processor's limit: flop/s by CPU, all threads */
};

/* Ends the process with the error's words unless s is RB_OK: a bench has nobody to report to. */
void must(enum rb_status s, const struct rb_error *err);

/* Opens the models, made first if they are missing. */
void bench_models(struct bench *b);

/* The alignment set and the MLM blocks of this bench. */
void bench_lines(struct bench *b, struct rb_sequences *ret);
void bench_blocks(struct bench *b, struct rb_sequences *ret);

/* The line of a phase: times, rates, and ratios where the machine has been measured: wall_ratio and
 * cpu_ratio to its products, fma_ratio to the processor's limit (by CPU). tokens 0: it has none. */
void bench_print(const struct bench *b, const char *row, unsigned threads, double tokens,
                 const struct runner_result *r);

/* Runs the collection over s. The caller owns the moments. */
struct rb_moments *bench_collect(struct bench *b, const struct rb_sequences *s, unsigned threads,
                                 struct runner_result *ret);
/* Solves; the caller owns the alignment. */
struct rb_alignment *bench_solve(struct bench *b, const struct rb_moments *m, unsigned threads,
                                 struct runner_result *ret);
/* Evaluates one lambda; returns the loss. */
double bench_evaluate(struct bench *b, const struct rb_blend *blend, const struct rb_sequences *s,
                      unsigned threads, struct runner_result *ret);

/* Rows: each prints "row key=value ..." lines. */
void row_kernel(struct bench *b, unsigned threads);
void row_machine(struct bench *b, unsigned threads);
void row_shapes(struct bench *b, unsigned threads); /* one product at a time */
void row_collect(struct bench *b, unsigned threads);
void row_evaluate(struct bench *b, unsigned threads);
void row_align(struct bench *b, unsigned threads);
void row_learn(struct bench *b, unsigned threads);
void row_job(struct bench *b, unsigned threads);
void row_assign(struct bench *b, unsigned threads);

#endif
