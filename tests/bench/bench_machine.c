/* The denominator: OpenBLAS's single-precision product of large squares. */
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

void row_machine(struct bench *b, unsigned threads)
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
