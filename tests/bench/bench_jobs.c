/* Alignment as a whole, and a job as a whole: the same work as torch_pipeline.py's, so that both
 * can be timed and their results compared. */
#include "tests/bench/bench.h"
#include "core/align/certify.h"
#include "core/align/collect.h"
#include "core/align/solve.h"
#include "core/merge/curve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rb_alignment *bench_solve(struct bench *b, const struct rb_moments *m, unsigned threads,
                                 struct runner_result *ret)
{
    struct rb_error err = {0};
    struct rb_align_options o;
    struct rb_program *p;
    rb_align_options_default(&o);
    must(rb_solve_new(&b->model[0].config, b->model[0].head, m, &o, &p, &err), &err);
    must(runner_run(p, threads, b->profile, ret, &err), &err);
    struct rb_alignment *a = rb_solve_take(p);
    rb_program_free(p);
    return a;
}

static size_t elements(const struct rb_tensor *t)
{
    size_t n = 1;
    for (uint32_t i = 0; i < t->rank; i++)
        n *= (size_t)t->shape[i];
    return n;
}

/* Every tensor of moved B once: what "applying" costs where B is not moved on the fly. */
static double apply(struct bench *b, const struct rb_motion *motion)
{
    const struct rb_model *m = &b->model[1];
    const struct rb_blend blend = rb_blend_single(m, motion);
    struct rb_error err = {0};
    struct rb_scratch scratch;
    double start = runner_now();
    rb_scratch_init(&scratch);
    for (enum rb_slot r = 0; r < RB_SLOT_COUNT; r++)
        for (uint32_t l = 0; l < m->config.num_hidden_layers; l++) {
            const struct rb_tensor *t = rb_model_tensor(m, r, l);
            if (t == NULL)
                continue;
            rb_scratch_reset(&scratch);
            float *dst = rb_scratch_alloc(&scratch, elements(t), sizeof(float));
            if (dst == NULL)
                exit(1);
            must(rb_blend_rows(&blend, r, l, 0, (size_t)t->shape[0], dst, &scratch, &err), &err);
        }
    rb_scratch_deinit(&scratch);
    return runner_now() - start;
}

static double total_score(const struct rb_alignment *a)
{
    double score = 0;
    for (size_t i = 0; i < a->group_count; i++)
        score += a->groups[i].score;
    return score;
}

/* Features, moments, assignments. */
static struct rb_alignment *align(struct bench *b, const char *row, unsigned threads)
{
    struct runner_result moments, solved;
    struct rb_sequences s;
    bench_lines(b, &s);
    struct rb_moments *m = bench_collect(b, &s, threads, &moments);
    struct rb_alignment *a = bench_solve(b, m, threads, &solved);
    char name[64];
    (void)snprintf(name, sizeof name, "%s.moments", row);
    bench_print(b, name, threads, (double)m->tokens, &moments);
    (void)snprintf(name, sizeof name, "%s.assignments", row);
    bench_print(b, name, threads, 0, &solved);
    rb_moments_free(m);
    rb_sequences_deinit(&s);
    return a;
}

void row_align(struct bench *b, unsigned threads)
{
    struct rb_error err = {0};
    struct rb_motion motion;
    bench_models(b);
    double start = runner_now(), cpu = runner_process_cpu_now();
    struct rb_alignment *a = align(b, "align", threads);
    must(rb_alignment_motion(a, &b->model[1], &motion, &err), &err);
    double applied = apply(b, &motion), seconds = runner_now() - start;
    cpu = runner_process_cpu_now() - cpu;
    (void)printf("align threads=%u seconds=%.3f cpu=%.3f apply_seconds=%.3f tokens=%llu "
                 "tokens_per_s=%.1f score=%.12g\n",
                 threads, seconds, cpu, applied, (unsigned long long)a->tokens,
                 (double)a->tokens / seconds, total_score(a));
    rb_motion_deinit(&motion);
    rb_alignment_free(a);
}

static void certify(struct bench *b, struct rb_alignment *a, unsigned threads)
{
    struct rb_error err = {0};
    struct rb_program *p;
    struct runner_result r;
    must(rb_certify_new(&b->model[1], a, &p, &err), &err);
    must(runner_run(p, threads, b->profile, &r, &err), &err);
    const struct rb_certificate c = rb_certify_result(p);
    bench_print(b, "job.certificate", threads, 0, &r);
    (void)printf("job.certified equivalent=%d max_difference=%.2e\n", c.equivalent,
                 c.max_abs_logit_difference);
    rb_program_free(p);
}

static double peak_mb(void)
{
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "VmHWM: %lf", &kb) == 1)
            break;
    if (f != NULL)
        (void)fclose(f);
    return kb * 1024 / 1e6;
}

/* The curve and its control; endpoints are the same function and computed once. */
static void curves(struct bench *b, const struct rb_motion *motion, unsigned threads)
{
    struct rb_sequences s;
    struct runner_result r, sum = {0};
    bench_blocks(b, &s);
    size_t last = b->points - 1, evaluated = 0;
    (void)printf("job.losses");
    for (int control = 0; control < 2; control++)
        for (size_t i = 0; i <= last; i++) {
            const struct rb_blend blend = rb_blend_pair(
                &b->model[0], &b->model[1], control ? NULL : motion, (double)i / (double)last);
            if (control && (i == 0 || i == last))
                continue;
            (void)printf(" %s%zu=%.5f", control ? "c" : "a", i,
                         bench_evaluate(b, &blend, &s, threads, &r));
            sum.wall_seconds += r.wall_seconds;
            sum.cpu_seconds += r.cpu_seconds;
            sum.busy_seconds += r.busy_seconds;
            sum.idle_seconds += r.idle_seconds;
            sum.serial_seconds += r.serial_seconds;
            sum.rounds += r.rounds;
            sum.items += r.items;
            sum.cost += r.cost;
            evaluated++;
        }
    (void)printf("\n");
    bench_print(b, "job.evaluation", threads, (double)(rb_sequences_tokens(&s) * evaluated), &sum);
    rb_sequences_deinit(&s);
}

void row_job(struct bench *b, unsigned threads)
{
    struct rb_error err = {0};
    struct rb_motion motion;
    struct rb_align_options o;
    uint64_t sums, buffers;
    double cost, start = runner_now();
    bench_models(b);
    struct rb_alignment *a = align(b, "job", threads);
    must(rb_alignment_motion(a, &b->model[1], &motion, &err), &err);
    certify(b, a, threads);
    curves(b, &motion, threads);
    rb_align_options_default(&o);
    rb_collect_estimate(&b->model[0], 2, 1, rb_taps_needed(&o), a->tokens, &sums, &buffers, &cost);
    double weights = (double)(b->model[0].checkpoint.bytes + b->model[1].checkpoint.bytes) / 1e6;
    (void)printf("job threads=%u seconds=%.3f peak_mb=%.0f weights_mb=%.0f accumulators_mb=%.0f "
                 "beyond_mb=%.0f\n",
                 threads, runner_now() - start, peak_mb(), weights, (double)sums / 1e6,
                 peak_mb() - weights - (double)sums / 1e6);
    rb_motion_deinit(&motion);
    rb_alignment_free(a);
}
