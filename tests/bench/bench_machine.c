/* The denominators: what the processor can do at all (fused multiply-adds in registers), and
 * OpenBLAS's single-precision product of large squares, by the kernel that the daemon runs. */
#include "server/base/blas_kernel.h"
#include "tests/bench/bench.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

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

struct adder {
    pthread_t thread;
    pthread_barrier_t *begin;
    const struct rb_fma_set *set;
    double rate;
};

static void *multiply_add(void *argument)
{
    struct adder *a = argument;
    pthread_barrier_wait(a->begin);
    a->rate = rb_fma_rate(a->set);
    return NULL;
}

/* Operations per second of CPU time, of all threads at once: they may share what a core has. */
static double measure_set(const struct rb_fma_set *set, unsigned threads)
{
    struct adder a[RUNNER_THREADS];
    pthread_barrier_t begin;
    double rate = 0;
    pthread_barrier_init(&begin, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        a[i] = (struct adder){.begin = &begin, .set = set};
        if (pthread_create(&a[i].thread, NULL, multiply_add, &a[i]) != 0)
            exit(1);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(a[i].thread, NULL);
        rate += a[i].rate;
    }
    pthread_barrier_destroy(&begin);
    return rate;
}

/* A word: blanks part the figures of a line. */
static const char *word(const char *text, char ret[32])
{
    (void)snprintf(ret, 32, "%s", text != NULL ? text : "unknown");
    for (char *c = ret; *c != '\0'; c++)
        *c = *c == ' ' ? '_' : *c;
    return ret;
}

/* A line per instruction set that this processor has; the best is its limit. */
static void measure_limits(struct bench *b, unsigned threads)
{
    struct rb_cpu cpu;
    rb_cpu_read(&cpu);
    for (const struct rb_fma_set *s = rb_fma_sets; s->name != NULL; s++) {
        if ((cpu.features & s->needs) != s->needs)
            continue;
        double rate = measure_set(s, threads);
        char name[32];
        b->fma_rate[threads] = fmax(b->fma_rate[threads], rate);
        (void)printf("fma threads=%u set=%s cpu_gflops=%.1f\n", threads, word(s->name, name),
                     rate / 1e9);
    }
}

void row_kernel(struct bench *b, unsigned threads)
{
    const struct rb_kernel_info *k = rb_kernel_info();
    char set[32];
    (void)b;
    (void)printf("kernel threads=%u name=%s set=%s chosen_by=%s\n", threads, k->kernel,
                 word(k->instruction_set, set), rb_kernel_origin_names[k->origin]);
}

void row_machine(struct bench *b, unsigned threads)
{
    double wall = 0, cpu = 0;
    measure_limits(b, threads);
    for (int i = 0; i < 3; i++) {
        double w, c;
        measure_product(threads, &w, &c);
        wall = fmax(wall, w);
        cpu = fmax(cpu, c);
    }
    b->wall_rate[threads] = fmax(b->wall_rate[threads], wall);
    b->cpu_rate[threads] = fmax(b->cpu_rate[threads], cpu);
    const struct rb_kernel_info *kernel = rb_kernel_info();
    char set[32];
    (void)printf("machine threads=%u wall_gflops=%.1f cpu_gflops=%.1f fma_ratio=%.3f kernel=%s "
                 "set=%s\n",
                 threads, wall / 1e9, cpu / 1e9, cpu / b->fma_rate[threads], kernel->kernel,
                 word(kernel->instruction_set, set));
    (void)fflush(stdout);
}

/* ---- products of a layer's shapes ---- */

struct shape { /* y (rows, out) = x (rows, in) W^T, or of moments x^T y over `in` tokens */
    const char *name;
    int rows, out, in;
    bool moments;
};

/* Operations per second of CPU time of one product, after another of the same that warms up. */
static double rate_of_shape(const struct shape *s, const float *x, const float *w, float *y)
{
    double cpu = 0;
    for (int warm = 1; warm >= 0; warm--) {
        cpu = runner_cpu_now();
        if (s->moments)
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, s->rows, s->out, s->in, 1, x,
                        SQUARE, w, SQUARE, 0, y, SQUARE);
        else
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, s->rows, s->out, s->in, 1, x,
                        s->in, w, s->in, 0, y, s->out);
        cpu = runner_cpu_now() - cpu;
    }
    return 2.0 * s->rows * s->out * s->in / cpu;
}

/* Each shape in turn, in several rounds; each counts with its best. */
void row_shapes(struct bench *b, unsigned threads)
{
    static const struct shape shapes[] = {
        {"square", SQUARE, SQUARE, SQUARE, false}, {"d_d_512", 512, 768, 768, false},
        {"d_d_1024", 1024, 768, 768, false},       {"up_512", 512, 3072, 768, false},
        {"up_1024", 1024, 3072, 768, false},       {"down_512", 512, 768, 3072, false},
        {"down_1024", 1024, 768, 3072, false},     {"logits_512", 512, 1024, 768, false},
        {"moments_ff", 768, 3072, 3072, true},     {"moments_d", 768, 768, 3072, true},
    };
    enum { SHAPES = sizeof shapes / sizeof shapes[0], ROUNDS = 9 };
    double best[SHAPES] = {0};
    float *x = square(1), *w = square(2), *y = square(3);
    (void)b;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < SHAPES; i++)
            best[i] = fmax(best[i], rate_of_shape(&shapes[i], x, w, y));
    for (int i = 0; i < SHAPES; i++)
        (void)printf(
            "shapes threads=%u shape=%s rows=%d out=%d in=%d cpu_gflops=%.1f square_ratio=%.3f\n",
            threads, shapes[i].name, shapes[i].rows, shapes[i].out, shapes[i].in, best[i] / 1e9,
            best[i] / best[0]);
    free(x);
    free(w);
    free(y);
}
