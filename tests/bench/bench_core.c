/* bench_core: core's phases against the machine's own matrix product rate, and where their time
 * goes.
 *
 *    bench_core [options] ROW...
 *
 * Rows: machine collect solve evaluate align assign. Each prints lines "row key=value ...".
 * Options:
 *    --models FOLDER   work in FOLDER (models a and b are made there if missing); else a new
 *                      folder under $TMPDIR, removed at the end
 *    --shape NAME      base (default), large, or layers,hidden,heads,inner,vocabulary,positions
 *    --threads LIST    e.g. 1,2 (default): each row runs once per number
 *    --lines N --mean M --longest N     sequences of the alignment set (256, 40, 128)
 *    --blocks N --block-size N          MLM blocks (256, 128)
 *    --repeat N        rounds over all rows; machine is measured anew in each (1)
 *    --profile         where the CPU time went
 *    --dump FOLDER     also write what was run as ids, for torch_pipeline.py, and its results
 *
 * Rates: "wall" divides by elapsed time, "cpu" by the CPU time of the threads inside items: the
 * first is what a user sees, the second what the code does when others use the machine too. */
#include "core/align/alignment.h"
#include "core/align/assignment.h"
#include "core/merge/curve.h"
#include "tests/bench/runner.h"
#include "tests/bench/synth.h"

#include <cblas.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void openblas_set_num_threads(int n);

struct bench {
    struct synth_shape shape;
    char folder[2048];
    bool temporary;
    unsigned threads[8];
    size_t thread_count;
    size_t lines, longest, blocks, block_size;
    double mean;
    unsigned repeat;
    bool profile;
    const char *dump;
    struct rb_model model[2];
    bool opened;
    double wall_rate[RUNNER_THREADS + 1], cpu_rate[RUNNER_THREADS + 1]; /* flop/s, all threads */
};

static void die(const struct rb_error *err)
{
    (void)fprintf(stderr, "bench_core: %s\n", err->detail);
    exit(1);
}

static void must(enum rb_status s, const struct rb_error *err)
{
    if (s != RB_OK)
        die(err);
}

/* ---- the machine ---- */

enum { SQUARE = 3072 };

struct product {
    pthread_t thread;
    pthread_barrier_t *begin;
    float *a, *b, *c;
    double wall, cpu;
};

static float *square(uint64_t seed)
{
    float *x = rb_malloc_aligned((size_t)SQUARE * SQUARE, sizeof(float));
    if (x == NULL)
        exit(1);
    for (size_t i = 0; i < (size_t)SQUARE * SQUARE; i++)
        x[i] = (float)rb_mask_uniform(seed, i, 0, 0) - 0.5f;
    return x;
}

static void *multiply(void *argument)
{
    struct product *p = argument;
    for (int warm = 1; warm >= 0; warm--) {
        int n = warm ? 512 : SQUARE; /* threads, pages and frequency come up first */
        pthread_barrier_wait(p->begin);
        p->wall = runner_now();
        p->cpu = runner_cpu_now();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1, p->a, SQUARE, p->b, SQUARE,
                    0, p->c, SQUARE);
        p->cpu = runner_cpu_now() - p->cpu;
        p->wall = runner_now() - p->wall;
    }
    return NULL;
}

/* Each thread its own product, as the engine works: one OpenBLAS thread per call. */
static void measure_product(unsigned threads, double *ret_wall, double *ret_cpu)
{
    struct product p[RUNNER_THREADS];
    pthread_barrier_t begin;
    pthread_barrier_init(&begin, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        p[i] = (struct product){.begin = &begin, .a = square(1), .b = square(2), .c = square(3)};
        if (pthread_create(&p[i].thread, NULL, multiply, &p[i]) != 0)
            exit(1);
    }
    double flops = 2.0 * SQUARE * SQUARE * SQUARE, wall = 0;
    *ret_cpu = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(p[i].thread, NULL);
        wall = fmax(wall, p[i].wall);
        *ret_cpu += flops / p[i].cpu;
        free(p[i].a);
        free(p[i].b);
        free(p[i].c);
    }
    *ret_wall = threads * flops / wall;
    pthread_barrier_destroy(&begin);
}

static void row_machine(struct bench *b, unsigned threads)
{
    double wall = 0, cpu = 0;
    for (int i = 0; i < 3; i++) {
        double w, c;
        measure_product(threads, &w, &c);
        wall = fmax(wall, w);
        cpu = fmax(cpu, c);
    }
    b->wall_rate[threads] = fmax(b->wall_rate[threads], wall);
    b->cpu_rate[threads] = fmax(b->cpu_rate[threads], cpu);
    (void)printf("machine threads=%u wall_gflops=%.1f cpu_gflops=%.1f\n", threads, wall / 1e9,
                 cpu / 1e9);
}

/* ---- models ---- */

static void ensure_models(struct bench *b)
{
    struct rb_error err = {0};
    if (b->opened)
        return;
    for (int i = 0; i < 2; i++) {
        char path[4096], file[4200];
        (void)snprintf(path, sizeof path, "%s/%c", b->folder, "ab"[i]);
        (void)snprintf(file, sizeof file, "%s/vocab.txt", path); /* written last */
        if (access(file, R_OK) != 0) {
            (void)mkdir(path, 0777);
            must(synth_model_write(path, &b->shape, (uint64_t)i + 1, &err), &err);
        }
        must(rb_model_open(path, &b->model[i], &err), &err);
    }
    b->opened = true;
}

static void remove_models(struct bench *b)
{
    static const char *const files[] = {"config.json", "model.safetensors", "vocab.txt"};
    for (int i = 0; i < 2; i++) {
        char path[4096];
        if (b->opened)
            rb_model_deinit(&b->model[i]);
        for (size_t f = 0; b->temporary && f < sizeof files / sizeof files[0]; f++) {
            (void)snprintf(path, sizeof path, "%s/%c/%s", b->folder, "ab"[i], files[f]);
            (void)unlink(path);
        }
        (void)snprintf(path, sizeof path, "%s/%c", b->folder, "ab"[i]);
        if (b->temporary)
            (void)rmdir(path);
    }
    if (b->temporary)
        (void)rmdir(b->folder);
}

/* ---- printing ---- */

static void print_profile(const struct runner_result *r)
{
    double all = r->idle_seconds + r->serial_seconds;
    for (int k = 0; k < PROFILE_KINDS; k++)
        all += r->profile.seconds[k];
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
                 r->idle_seconds, 100 * r->idle_seconds / all);
    (void)printf("    %-12s %8.3f s  %5.1f %%  (next_round, others waiting)\n", "serial",
                 r->serial_seconds, 100 * r->serial_seconds / all);
}

static void print_phase(const struct bench *b, const char *row, unsigned threads, double tokens,
                        const struct runner_result *r)
{
    double wall = r->cost / r->wall_seconds, cpu = r->cost / r->cpu_seconds * threads;
    (void)printf("%s threads=%u seconds=%.3f cpu=%.3f tokens=%.0f tokens_per_s=%.1f gflop=%.1f "
                 "wall_gflops=%.1f cpu_gflops=%.1f",
                 row, threads, r->wall_seconds, r->cpu_seconds, tokens, tokens / r->wall_seconds,
                 r->cost / 1e9, wall / 1e9, cpu / 1e9);
    if (b->wall_rate[threads] > 0)
        (void)printf(" wall_ratio=%.3f cpu_ratio=%.3f", wall / b->wall_rate[threads],
                     cpu / b->cpu_rate[threads]);
    (void)printf(" idle=%.3f serial=%.3f rounds=%llu items=%llu longest_item_ms=%.1f\n",
                 r->idle_seconds, r->serial_seconds, (unsigned long long)r->rounds,
                 (unsigned long long)r->items, 1000 * r->longest_item_seconds);
    if (b->profile)
        print_profile(r);
    (void)fflush(stdout);
}

/* ---- phases ---- */

static struct rb_moments *collect(struct bench *b, unsigned threads, struct runner_result *ret)
{
    struct rb_error err = {0};
    struct rb_align_options o;
    struct rb_sequences s;
    struct rb_program *p;
    rb_align_options_default(&o);
    ensure_models(b);
    must(synth_lines(&b->shape, b->lines, b->mean, b->longest, 7, &s, &err), &err);
    must(rb_collect_new(&b->model[0], &b->model[1], &s, rb_taps_needed(&o), &o, &p, &err), &err);
    must(runner_run(p, threads, b->profile, ret, &err), &err);
    struct rb_moments *m = rb_collect_take(p);
    rb_program_free(p);
    rb_sequences_deinit(&s);
    return m;
}

static void row_collect(struct bench *b, unsigned threads)
{
    struct runner_result r;
    struct rb_moments *m = collect(b, threads, &r);
    print_phase(b, "collect", threads, (double)m->tokens, &r);
    rb_moments_free(m);
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

static void row_evaluate(struct bench *b, unsigned threads)
{
    struct rb_error err = {0};
    struct rb_sequences s;
    struct rb_motion motion;
    struct rb_program *p;
    struct runner_result r;
    struct rb_point point;
    ensure_models(b);
    must(synth_blocks(&b->shape, b->blocks, b->block_size, 8, &s, &err), &err);
    must(rb_motion_init(&motion, b->shape.layers, &err), &err);
    uint32_t *ff = shuffled(b->shape.inner, b->shape.inner, 9);
    uint32_t *mha = shuffled(b->shape.hidden, b->shape.hidden / b->shape.heads, 10);
    for (uint32_t l = 0; l < b->shape.layers; l++) {
        motion.index[(size_t)RB_AXIS_FF * motion.layers + l] = ff;
        motion.index[(size_t)RB_AXIS_MHA * motion.layers + l] = mha;
        motion.index[(size_t)RB_AXIS_QK * motion.layers + l] = mha;
    }
    const struct rb_blend blend = {&b->model[0], &b->model[1], &motion, 0.5};
    const struct rb_evaluate_options o = {
        .task = RB_TASK_MLM, .block_size = (uint32_t)b->block_size, .mask_probability = 0.15};
    must(rb_evaluate_new(&blend, &o, &s, &p, &err), &err);
    must(runner_run(p, threads, b->profile, &r, &err), &err);
    must(rb_evaluate_result(p, &point, &err), &err);
    print_phase(b, "evaluate", threads, (double)rb_sequences_tokens(&s), &r);
    rb_program_free(p);
    rb_motion_deinit(&motion);
    rb_sequences_deinit(&s);
    free(ff);
    free(mha);
}

static void row_solve(struct bench *b, unsigned threads)
{
    struct rb_error err = {0};
    struct rb_align_options o;
    struct runner_result r;
    struct rb_program *p;
    struct rb_moments *m = collect(b, b->threads[b->thread_count - 1], &r);
    rb_align_options_default(&o);
    must(rb_solve_new(&b->model[0].config, b->model[0].head, m, &o, &p, &err), &err);
    must(runner_run(p, threads, b->profile, &r, &err), &err);
    rb_alignment_free(rb_solve_take(p));
    (void)printf("solve threads=%u seconds=%.3f cpu=%.3f idle=%.3f items=%llu\n", threads,
                 r.wall_seconds, r.cpu_seconds, r.idle_seconds, (unsigned long long)r.items);
    if (b->profile)
        print_profile(&r);
    rb_program_free(p);
    rb_moments_free(m);
}

/* ---- the command ---- */

struct row {
    const char *name;
    void (*run)(struct bench *b, unsigned threads);
};

static const struct row rows[] = {
    {"machine", row_machine},
    {"collect", row_collect},
    {"solve", row_solve},
    {"evaluate", row_evaluate},
};

static const struct row *find_row(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    (void)fprintf(stderr, "bench_core: no row '%s'\n", name);
    exit(2);
}

static struct synth_shape parse_shape(const char *text)
{
    struct synth_shape s;
    if (strcmp(text, "base") == 0)
        return synth_base;
    if (strcmp(text, "large") == 0)
        return synth_large;
    if (sscanf(text, "%u,%u,%u,%u,%u,%u", &s.layers, &s.hidden, &s.heads, &s.inner, &s.vocab,
               &s.positions) != 6) {
        (void)fprintf(stderr, "bench_core: no shape '%s'\n", text);
        exit(2);
    }
    return s;
}

static void parse_threads(struct bench *b, char *text)
{
    b->thread_count = 0;
    for (char *t = strtok(text, ","); t != NULL && b->thread_count < 8; t = strtok(NULL, ","))
        b->threads[b->thread_count++] = (unsigned)strtoul(t, NULL, 10);
}

/* Returns how many arguments it took. */
static int parse_option(struct bench *b, char **a)
{
    const char *name = a[0], *value = a[1] != NULL ? a[1] : "";
    struct {
        const char *name;
        size_t *to;
    } sizes[] = {{"--lines", &b->lines},
                 {"--longest", &b->longest},
                 {"--blocks", &b->blocks},
                 {"--block-size", &b->block_size}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (strcmp(name, sizes[i].name) == 0) {
            *sizes[i].to = strtoul(value, NULL, 10);
            return 2;
        }
    if (strcmp(name, "--profile") == 0) {
        b->profile = true;
        return 1;
    }
    if (strcmp(name, "--models") == 0) {
        (void)snprintf(b->folder, sizeof b->folder, "%s", value);
        b->temporary = false;
    } else if (strcmp(name, "--shape") == 0) {
        b->shape = parse_shape(value);
    } else if (strcmp(name, "--threads") == 0) {
        parse_threads(b, a[1]);
    } else if (strcmp(name, "--mean") == 0) {
        b->mean = strtod(value, NULL);
    } else if (strcmp(name, "--repeat") == 0) {
        b->repeat = (unsigned)strtoul(value, NULL, 10);
    } else if (strcmp(name, "--dump") == 0) {
        b->dump = value;
    } else {
        (void)fprintf(stderr, "bench_core: no option '%s'\n", name);
        exit(2);
    }
    return 2;
}

static void make_folder(struct bench *b)
{
    const char *base = getenv("TMPDIR");
    if (!b->temporary) {
        (void)mkdir(b->folder, 0777);
        return;
    }
    (void)snprintf(b->folder, sizeof b->folder, "%s/rb-bench-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(b->folder) == NULL) {
        perror(b->folder);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static struct bench b = {.shape = {12, 768, 12, 3072, 30522, 512},
                             .temporary = true,
                             .threads = {1, 2},
                             .thread_count = 2,
                             .lines = 256,
                             .mean = 40,
                             .longest = 128,
                             .blocks = 256,
                             .block_size = 128,
                             .repeat = 1};
    int i = 1;
    while (i < argc && argv[i][0] == '-')
        i += parse_option(&b, argv + i);
    for (int r = i; r < argc; r++)
        (void)find_row(argv[r]);
    openblas_set_num_threads(1);
    make_folder(&b);
    for (unsigned n = 0; n < b.repeat; n++)
        for (int r = i; r < argc; r++)
            for (size_t t = 0; t < b.thread_count; t++)
                find_row(argv[r])->run(&b, b.threads[t]);
    remove_models(&b);
    return 0;
}
