/* Core's two heavy phases one by one, each against the machine's product rate. */
#include "tests/bench/bench.h"
#include "core/align/collect.h"
#include "core/merge/curve.h"
#include "core/merge/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void print_profile(const struct runner_result *r)
{
    /* Waiting is wall time: scaled like the items' wall time when others use the machine. */
    double scale = r->busy_seconds > 0 ? fmin(1, r->cpu_seconds / r->busy_seconds) : 1;
    double idle = r->idle_seconds * scale, serial = r->serial_seconds * scale;
    double all = idle + serial, flops = 0;
    for (int k = 0; k < PROFILE_KINDS; k++) {
        all += r->profile.seconds[k];
        flops += r->profile.flops[k];
    }
    for (int k = 0; k < PROFILE_KINDS; k++) {
        double s = r->profile.seconds[k];
        if (s < 0.0005 * all)
            continue;
        (void)printf("    %-12s %8.3f s  %5.1f %%", profile_names[k], s, 100 * s / all);
        if (r->profile.flops[k] > 0)
            (void)printf("  %7.1f GF/s", r->profile.flops[k] / s / 1e9);
        (void)printf("  %llu calls\n", (unsigned long long)r->profile.calls[k]);
    }
    (void)printf("    %-12s %8.3f s  %5.1f %%  (threads without an item at round ends)\n", "idle",
                 idle, 100 * idle / all);
    (void)printf("    %-12s %8.3f s  %5.1f %%  (next_round, others waiting)\n", "serial", serial,
                 100 * serial / all);
    (void)printf("    %-12s %8.3f s  %5.1f %%  products done: %.1f %% of those counted\n", "all",
                 all, 100.0, 100 * flops / r->cost);
}

void bench_print(const struct bench *b, const char *row, unsigned threads, double tokens,
                 const struct runner_result *r)
{
    double wall = r->cost / r->wall_seconds, cpu = r->cost / r->cpu_seconds * threads;
    (void)printf("%s threads=%u seconds=%.3f cpu=%.3f", row, threads, r->wall_seconds,
                 r->cpu_seconds);
    if (tokens > 0)
        (void)printf(" tokens=%.0f tokens_per_s=%.1f", tokens, tokens / r->wall_seconds);
    (void)printf(" gflop=%.1f wall_gflops=%.1f cpu_gflops=%.1f", r->cost / 1e9, wall / 1e9,
                 cpu / 1e9);
    if (b->wall_rate[threads] > 0)
        (void)printf(" wall_ratio=%.3f cpu_ratio=%.3f fma_ratio=%.3f", wall / b->wall_rate[threads],
                     cpu / b->cpu_rate[threads], cpu / b->fma_rate[threads]);
    (void)printf(" busy=%.3f idle=%.3f serial=%.3f rounds=%llu items=%llu longest_item_ms=%.1f\n",
                 r->busy_seconds, r->idle_seconds, r->serial_seconds, (unsigned long long)r->rounds,
                 (unsigned long long)r->items, 1000 * r->longest_item_seconds);
    if (b->profile)
        print_profile(r);
    (void)fflush(stdout);
}

struct rb_moments *bench_collect(struct bench *b, const struct rb_sequences *s, unsigned threads,
                                 struct runner_result *ret)
{
    struct rb_error err = {0};
    struct rb_align_options o;
    struct rb_program *p;
    rb_align_options_default(&o);
    must(rb_collect_new(&b->model[0], &b->model[1], s, rb_taps_needed(&o), &o, &p, &err), &err);
    must(runner_run(p, threads, b->profile, ret, &err), &err);
    struct rb_moments *m = rb_collect_take(p);
    rb_program_free(p);
    return m;
}

void row_collect(struct bench *b, unsigned threads)
{
    struct runner_result r;
    struct rb_sequences s;
    bench_models(b);
    bench_lines(b, &s);
    struct rb_moments *m = bench_collect(b, &s, threads, &r);
    bench_print(b, "collect", threads, (double)m->tokens, &r);
    rb_moments_free(m);
    rb_sequences_deinit(&s);
}

double bench_evaluate(struct bench *b, const struct rb_blend *blend, const struct rb_sequences *s,
                      unsigned threads, struct runner_result *ret)
{
    struct rb_error err = {0};
    struct rb_program *p;
    struct rb_point point;
    const struct rb_evaluate_options o = {
        .task = blend->terms[0].model->config.attention.causal ? RB_TASK_CLM : RB_TASK_MLM,
        .block_size = (uint32_t)b->block_size,
        .mask_probability = 0.15};
    must(rb_evaluate_new(blend, &o, s, &p, &err), &err);
    must(runner_run(p, threads, b->profile, ret, &err), &err);
    must(rb_evaluate_result(p, &point, &err), &err);
    rb_program_free(p);
    return point.loss;
}

/* A permutation of every layer's FF units and heads, as an alignment leaves it. */
static uint32_t *shuffled(size_t n, size_t block, uint64_t seed)
{
    uint32_t *p = calloc(n, sizeof *p);
    if (p == NULL)
        exit(1);
    for (size_t first = 0; first < n; first += block)
        for (size_t i = 0; i < block; i++) {
            size_t j = (size_t)(rb_mask_uniform(seed, first, i, 1) * (double)(i + 1));
            p[first + i] = p[first + j];
            p[first + j] = (uint32_t)(first + i);
        }
    return p;
}

/* Every token predicts the one behind it in its block. */
static void predict_next(struct rb_sequences *s)
{
    s->target_count = 0;
    for (size_t q = 0; q < s->count; q++)
        for (size_t t = s->starts[q]; t < s->starts[q + 1]; t++) {
            bool last = t + 1 == s->starts[q + 1];
            s->targets[t] = last ? -1 : s->ids[t + 1];
            s->target_count += !last;
        }
}

void row_evaluate(struct bench *b, unsigned threads)
{
    struct rb_error err = {0};
    struct rb_sequences s;
    struct rb_motion motion;
    struct runner_result r;
    bench_models(b);
    bench_blocks(b, &s);
    if (b->model[0].config.attention.causal)
        predict_next(&s);
    must(rb_motion_init(&motion, b->shape.layers, &err), &err);
    uint32_t *ff = shuffled(b->shape.inner, b->shape.inner, 9);
    uint32_t *mha = shuffled(b->shape.hidden, b->shape.hidden / b->shape.heads, 10);
    for (uint32_t l = 0; l < b->shape.layers; l++) {
        *rb_motion_map(&motion, RB_AXIS_FF, l) =
            (struct rb_map){.size = b->shape.inner, .index = ff};
        static const enum rb_axis axes[] = {RB_AXIS_Q, RB_AXIS_K, RB_AXIS_V, RB_AXIS_O};
        for (size_t i = 0; i < sizeof axes / sizeof axes[0]; i++)
            *rb_motion_map(&motion, axes[i], l) =
                (struct rb_map){.size = b->shape.hidden, .index = mha};
    }
    const struct rb_blend blend = rb_blend_pair(&b->model[0], &b->model[1], &motion, 0.5);
    (void)bench_evaluate(b, &blend, &s, threads, &r);
    bench_print(b, "evaluate", threads, (double)rb_sequences_tokens(&s), &r);
    rb_motion_deinit(&motion);
    rb_sequences_deinit(&s);
    free(ff);
    free(mha);
}
