/* The assignment solver alone, on matrices that are also written down for scipy to solve. */
#include "core/align/assignment.h"
#include "tests/bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FACTORS = 48 };

static double gauss(uint64_t a, uint64_t b)
{
    double u = rb_mask_uniform(a, b, 0, 0) + 1e-18, v = rb_mask_uniform(a, b, 1, 0);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* Correlations of unrelated units over ten thousand tokens: noise of deviation 0.01. */
static void fill_noise(float *c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            c[i * n + j] = (float)(0.01 * gauss(i, j));
}

/* Correlations of two networks that have learnt the same things: units are mixtures of common
 * factors; B's unit p(i) is A's unit i, blurred, each to its own degree, and p is a shuffle. */
static void fill_factors(float *c, size_t n)
{
    double *a = calloc(2 * n * FACTORS, sizeof *a), *b = a + n * FACTORS;
    if (a == NULL)
        exit(1);
    for (size_t i = 0; i < n; i++) {
        size_t p = (i * 1297 + 11) % n; /* a shuffle: 1297 is prime */
        double blur = 0.5 + 1.5 * rb_mask_uniform(3, i, 0, 0), na = 0, nb = 0;
        for (size_t k = 0; k < FACTORS; k++) {
            double weight = 1 / sqrt(1.0 + (double)k); /* few factors matter most */
            a[i * FACTORS + k] = weight * gauss(1, i * FACTORS + k);
            b[p * FACTORS + k] = a[i * FACTORS + k] + blur * weight * gauss(2, i * FACTORS + k);
            na += a[i * FACTORS + k] * a[i * FACTORS + k];
            nb += b[p * FACTORS + k] * b[p * FACTORS + k];
        }
        for (size_t k = 0; k < FACTORS; k++) {
            a[i * FACTORS + k] /= sqrt(na);
            b[p * FACTORS + k] /= sqrt(nb);
        }
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double dot = 0.01 * gauss(i + 17, j);
            for (size_t k = 0; k < FACTORS; k++)
                dot += 0.8 * a[i * FACTORS + k] * b[j * FACTORS + k];
            c[i * n + j] = (float)dot;
        }
    free(a);
}

static float *read_matrix(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    size_t count = (size_t)ftell(f) / sizeof(float), n = (size_t)lround(sqrt((double)count));
    float *c = rb_malloc_aligned(n * n, sizeof(float));
    rewind(f);
    if (c == NULL || fread(c, sizeof(float), n * n, f) != n * n)
        exit(1);
    (void)fclose(f);
    *ret_n = n;
    return c;
}

static void write_matrix(const struct bench *b, const char *name, const float *c, size_t n)
{
    char path[4096];
    if (b->dump == NULL)
        return;
    (void)snprintf(path, sizeof path, "%s/%s.f32", b->dump, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(c, sizeof(float), n * n, f) != n * n || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static void solve(const char *name, const float *c, size_t n)
{
    struct rb_error err = {0};
    struct rb_worker w;
    double best_wall = INFINITY, best_cpu = INFINITY, score = 0;
    uint32_t *index = calloc(n, sizeof *index);
    if (index == NULL)
        exit(1);
    rb_worker_init(&w, NULL);
    for (int i = 0; i < 3; i++) {
        double wall = runner_now(), cpu = runner_cpu_now();
        rb_scratch_reset(&w.scratch);
        must(rb_assignment_solve(c, n, n, index, &score, &w, &err), &err);
        best_cpu = fmin(best_cpu, runner_cpu_now() - cpu);
        best_wall = fmin(best_wall, runner_now() - wall);
    }
    rb_worker_deinit(&w);
    free(index);
    (void)printf("assign matrix=%s n=%zu seconds=%.4f cpu=%.4f score=%.12g\n", name, n, best_wall,
                 best_cpu, score);
    (void)fflush(stdout);
}

void row_assign(struct bench *b, unsigned threads)
{
    size_t n = b->size;
    if (threads != b->threads[0])
        return; /* one problem is one item: one thread */
    if (b->matrix != NULL) {
        const char *slash = strrchr(b->matrix, '/');
        float *c = read_matrix(b->matrix, &n);
        solve(slash != NULL ? slash + 1 : b->matrix, c, n);
        free(c);
        return;
    }
    float *c = rb_malloc_aligned(n * n, sizeof(float));
    if (c == NULL)
        exit(1);
    fill_noise(c, n);
    write_matrix(b, "noise", c, n);
    solve("noise.f32", c, n);
    fill_factors(c, n);
    write_matrix(b, "factors", c, n);
    solve("factors.f32", c, n);
    free(c);
}
