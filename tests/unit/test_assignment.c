// LINK: core_merge
/* rb_assignment_solve against a plain Hungarian algorithm, brute force, and its own promises.
 * Tolerance: scores are sums of n costs in F64, equal to 1e-12 of the sum of their sizes. */
#include "unit/numbers.h"

#include "core/align/assignment.h"

#include <float.h>
#include <stdio.h>

/* ---- references ---- */

/* The Hungarian algorithm with potentials, O(n^3), for costs -similarity; arrays count from 1.
 * After e-maxx, https://cp-algorithms.com/graph/hungarian-algorithm.html. */
static double hungarian(const float *s, size_t n, size_t stride)
{
    double *u = must_alloc(n + 1, sizeof *u), *v = must_alloc(n + 1, sizeof *v);
    double *least = must_alloc(n + 1, sizeof *least), score = 0;
    size_t *row_of = must_alloc(n + 1, sizeof *row_of), *way = must_alloc(n + 1, sizeof *way);
    bool *used = must_alloc(n + 1, sizeof *used);
    for (size_t i = 1; i <= n; i++) {
        size_t at = 0;
        row_of[0] = i;
        for (size_t j = 0; j <= n; j++) {
            least[j] = INFINITY;
            used[j] = false;
        }
        do {
            size_t row = row_of[at], next = 0;
            double delta = INFINITY;
            used[at] = true;
            for (size_t j = 1; j <= n; j++) {
                if (used[j])
                    continue;
                double c = -(double)s[(row - 1) * stride + j - 1] - u[row] - v[j];
                if (c < least[j]) {
                    least[j] = c;
                    way[j] = at;
                }
                if (least[j] < delta) {
                    delta = least[j];
                    next = j;
                }
            }
            for (size_t j = 0; j <= n; j++)
                if (used[j]) {
                    u[row_of[j]] += delta;
                    v[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            at = next;
        } while (row_of[at] != 0);
        for (; at != 0; at = way[at])
            row_of[at] = row_of[way[at]];
    }
    for (size_t j = 1; j <= n; j++)
        score += (double)s[(row_of[j] - 1) * stride + j - 1];
    free(u);
    free(v);
    free(least);
    free(row_of);
    free(way);
    free(used);
    return score;
}

static double best_of_all(const float *s, size_t n, size_t stride, size_t row, unsigned taken)
{
    double best = row == n ? 0 : -INFINITY;
    for (size_t j = 0; row < n && j < n; j++)
        if (!(taken >> j & 1U))
            best = fmax(best, (double)s[row * stride + j] +
                                  best_of_all(s, n, stride, row + 1, taken | 1U << j));
    return best;
}

/* ---- matrices ---- */

enum kind {
    SMOOTH,      /* any floats in [-1, 1] */
    FEW_VALUES,  /* -1, 0 or 1: ties everywhere */
    CONSTANT,    /* all alike */
    DEAD_ROWS,   /* a third of the rows 0, as constant units give */
    DEAD_BOTH,   /* a third of the rows and columns 0 */
    NEGATIVE,    /* all below 0 */
    HUGE_RANGE,  /* 1e-30 to 1e30 */
    PERMUTED,    /* one clear winner per row */
    NEARLY_TIED, /* differences in the last bits */
    CORRELATED,  /* what moments give: a noisy permuted correlation matrix */
    KINDS
};
static const char *const kind_names[] = {
    "smooth",   "few values", "constant", "dead rows",   "dead rows and columns",
    "negative", "huge range", "permuted", "nearly tied", "correlated"};

static float entry(enum kind kind, size_t n, const uint32_t *winner, size_t i, size_t j,
                   uint64_t *seed)
{
    double x = random_uniform(seed, -1, 1);
    switch (kind) {
    case FEW_VALUES:
        return (float)random_index(seed, 3) - 1;
    case CONSTANT:
        return 0.3F;
    case DEAD_ROWS:
        return i % 3 == 0 ? 0 : (float)x;
    case DEAD_BOTH:
        return i % 3 == 0 || j % 3 == 1 ? 0 : (float)x;
    case NEGATIVE:
        return (float)(x - 5);
    case HUGE_RANGE:
        return (float)copysign(pow(10, 30 * random_uniform(seed, -1, 1)), x);
    case PERMUTED:
        return winner[i] == j ? 1 : 0;
    case NEARLY_TIED:
        return 1 + (float)random_index(seed, 4) * FLT_EPSILON;
    case CORRELATED:
        return (float)((winner[i] == j ? 0.6 : 0) + 0.1 * x / sqrt((double)n));
    default:
        return (float)x;
    }
}

/* (n, stride), NaN between the rows: never read. */
static float *make(enum kind kind, size_t n, size_t stride, uint32_t *winner, uint64_t *seed)
{
    float *s = must_alloc(n * stride, sizeof *s);
    random_permutation(seed, winner, n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < stride; j++)
            s[i * stride + j] = j < n ? entry(kind, n, winner, i, j, seed) : NAN;
    return s;
}

/* ---- checks ---- */

struct solver {
    struct rb_worker worker;
    struct rb_error err;
};

static void assert_permutation(const uint32_t *p, size_t n)
{
    bool *seen = must_alloc(n, sizeof *seen);
    for (size_t i = 0; i < n; i++) {
        assert_in_range(p[i], 0, n - 1);
        assert_false(seen[p[i]]);
        seen[p[i]] = true;
    }
    free(seen);
}

static void check(struct solver *v, enum kind kind, size_t n, size_t stride, uint64_t *seed)
{
    uint32_t *winner = must_alloc(n, sizeof *winner), *p = must_alloc(n, sizeof *p);
    uint32_t *again = must_alloc(n, sizeof *again);
    float *s = make(kind, n, stride, winner, seed);
    double score, second, sum = 0, size = 0;
    rb_scratch_reset(&v->worker.scratch);
    MUST(rb_assignment_solve(s, n, stride, p, &score, &v->worker, &v->err), &v->err);
    assert_permutation(p, n);
    for (size_t i = 0; i < n; i++) {
        sum += (double)s[i * stride + p[i]];
        size += fabs((double)s[i * stride + p[i]]);
    }
    assert_float_equal(score, sum, 0); /* in order of i */
    double best = n <= 7 ? best_of_all(s, n, stride, 0, 0) : hungarian(s, n, stride);
    char what[96];
    (void)snprintf(what, sizeof what, "score of %s, n = %zu", kind_names[kind], n);
    assert_near(what, score, best, 1e-12 * size);
    if (kind == PERMUTED || kind == CORRELATED)
        assert_memory_equal(p, winner, n * sizeof *p);
    rb_scratch_reset(&v->worker.scratch);
    MUST(rb_assignment_solve(s, n, stride, again, &second, &v->worker, &v->err), &v->err);
    assert_memory_equal(p, again, n * sizeof *p); /* ties too */
    free(winner);
    free(p);
    free(again);
    free(s);
}

static void test_optimal(void **state)
{
    (void)state;
    struct solver v;
    uint64_t seed = 11;
    rb_worker_init(&v.worker, NULL);
    for (enum kind kind = 0; kind < KINDS; kind++) {
        for (size_t n = 1; n <= 64; n++)
            for (size_t round = 0; round < (n <= 7 ? 20 : 2); round++)
                check(&v, kind, n, n + round % 2 * 3, &seed);
        check(&v, kind, 200, 213, &seed);
    }
    rb_worker_deinit(&v.worker);
}

/* Whatever the size, dead units must not send the search through every column: minutes otherwise.
 */
static void test_dead_units_are_quick(void **state)
{
    (void)state;
    enum { N = 1500 };
    struct solver v;
    rb_worker_init(&v.worker, NULL);
    uint64_t seed = 12;
    uint32_t *winner = must_alloc(N, sizeof *winner), *p = must_alloc(N, sizeof *p);
    for (enum kind kind = 0; kind < KINDS; kind++) {
        if (kind != CONSTANT && kind != DEAD_ROWS && kind != DEAD_BOTH)
            continue;
        float *s = make(kind, N, N, winner, &seed);
        double score;
        rb_scratch_reset(&v.worker.scratch);
        MUST(rb_assignment_solve(s, N, N, p, &score, &v.worker, &v.err), &v.err);
        assert_permutation(p, N);
        free(s);
    }
    free(winner);
    free(p);
    rb_worker_deinit(&v.worker);
}

static void test_not_finite(void **state)
{
    (void)state;
    enum { N = 19, STRIDE = 24 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct solver v;
    rb_worker_init(&v.worker, NULL);
    for (size_t k = 0; k < COUNT(bad); k++)
        for (size_t at = 0; at < N; at++) {
            uint64_t seed = 13;
            uint32_t winner[N], p[N] = {7};
            double score = 42;
            size_t i = at, j = at * 5 % N;
            float *s = make(SMOOTH, N, STRIDE, winner, &seed);
            char words[64];
            s[i * STRIDE + j] = bad[k];
            rb_scratch_reset(&v.worker.scratch);
            assert_int_equal(rb_assignment_solve(s, N, STRIDE, p, &score, &v.worker, &v.err),
                             RB_ENUMERIC);
            assert_int_equal(v.err.status, RB_ENUMERIC);
            (void)snprintf(words, sizeof words, "unit %zu of A and unit %zu of B is %g", i, j,
                           (double)bad[k]);
            assert_text_has(v.err.detail, words);
            assert_int_equal(p[0], 7); /* results untouched */
            assert_float_equal(score, 42, 0);
            free(s);
        }
    rb_worker_deinit(&v.worker);
}

static void test_stop(void **state)
{
    (void)state;
    enum { N = 50 };
    struct solver v;
    atomic_bool stop = true;
    rb_worker_init(&v.worker, &stop);
    uint64_t seed = 14;
    uint32_t winner[N], p[N] = {7};
    double score = 42;
    float *s = make(SMOOTH, N, N, winner, &seed);
    assert_int_equal(rb_assignment_solve(s, N, N, p, &score, &v.worker, &v.err), RB_ECANCELED);
    assert_int_equal(p[0], 7);
    assert_float_equal(score, 42, 0);
    atomic_store(&stop, false);
    rb_scratch_reset(&v.worker.scratch);
    MUST(rb_assignment_solve(s, N, N, p, &score, &v.worker, &v.err), &v.err);
    free(s);
    rb_worker_deinit(&v.worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimal),
        cmocka_unit_test(test_dead_units_are_quick),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
