/* The learning row: what a step of learning costs (METHOD 11), beside its start and its looks. */
#include "tests/bench/bench.h"

#include "core/learn/learn.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { BLOCKS = 18, FEW = 2 }; /* one of the blocks is held out: looks cost next to nothing */

static void run_steps(const struct bench *b, const struct rb_sequences *blocks, unsigned threads,
                      uint32_t steps, struct runner_result *ret)
{
    struct rb_error err = {0};
    struct rb_motion motion;
    struct rb_program *program;
    struct rb_learn_options o;
    const struct rb_learn_text text = {
        .blocks = blocks,
        .mask_id = b->model[1].head == RB_HEAD_MLM ? 4 : -1,
        .mask_vocabulary = b->model[1].config.vocab_size,
        .mask_probability = 0.15,
    };
    rb_learn_options_default(&o);
    o.steps = steps;
    o.patience = 0;
    o.batch_tokens = (uint32_t)b->tokens;
    must(rb_motion_init(&motion, b->model[1].config.num_hidden_layers, &err), &err);
    must(rb_learn_new(&b->model[0], NULL, &b->model[1], &motion, &text, &o, &program, &err), &err);
    must(runner_run(program, threads, b->profile, ret, &err), &err);
    rb_program_free(program);
    rb_motion_deinit(&motion);
}

void row_learn(struct bench *b, unsigned threads)
{
    struct rb_error err = {0};
    struct rb_sequences blocks;
    struct runner_result few = {0}, all = {0};
    struct rb_learn_options o;
    struct rusage usage;
    bench_models(b);
    must(synth_blocks(&b->shape, BLOCKS, b->block_size, 8, &blocks, &err), &err);
    run_steps(b, &blocks, threads, FEW, &few);
    run_steps(b, &blocks, threads, FEW + (uint32_t)b->steps, &all);
    double n = (double)b->steps, seconds = (all.wall_seconds - few.wall_seconds) / n;
    double cost = (all.cost - few.cost) / n;
    double cpu = (all.cpu_seconds - few.cpu_seconds) / n;
    bench_print(b, "learn", threads, n * (double)b->tokens, &all);
    rb_learn_options_default(&o);
    o.batch_tokens = (uint32_t)b->tokens;
    (void)getrusage(RUSAGE_SELF, &usage);
    printf("learn_step threads=%u tokens=%zu seconds=%.4f cpu_seconds=%.4f gflop=%.2f", threads,
           b->tokens, seconds, cpu, cost * 1e-9);
    if (b->wall_rate[threads] > 0)
        printf(" wall_ratio=%.3f cpu_ratio=%.3f seconds_100=%.1f seconds_100_on_64_cores=%.2f",
               cost / seconds / b->wall_rate[threads], cost / cpu * threads / b->cpu_rate[threads],
               100 * seconds, 100 * seconds * threads / 64);
    printf(" planned_mb=%.0f weights_mb=%.0f peak_mb=%.0f\n",
           (double)rb_learn_bytes(&b->model[1], &o, b->block_size) * 1e-6,
           (double)(b->model[0].checkpoint.bytes + b->model[1].checkpoint.bytes) * 1e-6,
           (double)usage.ru_maxrss * 1024e-6);
    rb_sequences_deinit(&blocks);
}
