// LINK: core_align
/* Polar factors, whole and in steps, against LAPACK's dgesdd, which they replace: of odd sizes,
 * around the sizes where panels begin, of matrices with few directions and of zero ones; what is no
 * number is refused; and a program that turns a stream is seen to go on step by step. Then those
 * inside heads that rotary positions bind. Tolerance: F64, some roundings a step. */
#include "unit/numbers.h"

#include "core/align/polar.h"
#include "core/align/procrustes.h"
#include "core/memory.h"

#include <cblas.h>

extern void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda,
                    double *s, double *u, const int *ldu, double *vt, const int *ldvt, double *work,
                    const int *lwork, int *iwork, int *info, size_t jobz_length);

static const double TOLERANCE = 1e-10, ORTHOGONAL = 1e-12;

/* U V^T by rows, as it was found before there were steps; the singular values into s. */
static void reference(const double *m, size_t n, double *s, double *ret)
{
    int size = (int)n, info, room = (int)(4 * n * n + 7 * n + 64 * n);
    double *a = must_alloc(n * n, sizeof *a), *u = must_alloc(n * n, sizeof *u),
           *vt = must_alloc(n * n, sizeof *vt), *work = must_alloc((size_t)room, sizeof *work);
    int *iwork = must_alloc(8 * n, sizeof *iwork);
    memcpy(a, m, n * n * sizeof *a);
    dgesdd_("A", &size, &size, a, &size, s, u, &size, vt, &size, work, &room, iwork, &info, 1);
    assert_int_equal(info, 0);
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, size, size, size, 1.0, u, size, vt, size,
                0.0, ret, size);
    free(a);
    free(u);
    free(vt);
    free(work);
    free(iwork);
}

static double off_orthogonal(const double *o, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = i == j ? -1 : 0;
            for (size_t k = 0; k < n; k++)
                sum += o[i * n + k] * o[j * n + k];
            worst = fmax(worst, fabs(sum));
        }
    return worst;
}

static void random_matrix(size_t n, size_t rank, double *ret, uint64_t *seed)
{
    double *x = must_alloc(n * rank + 1, sizeof *x);
    memset(ret, 0, n * n * sizeof *ret);
    for (size_t k = 0; k < 2; k++) { /* x y^T, where the rank is not whole */
        for (size_t i = 0; i < n * rank; i++)
            x[i] = random_normal(seed);
        for (size_t i = 0; i < n && rank == n; i++)
            memcpy(ret + i * n, x + i * n, n * sizeof *ret);
        for (size_t i = 0; i < n && rank < n; i++)
            for (size_t j = 0; j < n; j++)
                for (size_t r = 0; r < rank; r++)
                    ret[i * n + j] += x[i * rank + r] * x[j * rank + r];
    }
    free(x);
}

/* <O, M> is the sum of the singular values, whatever directions M leaves free; where it leaves none
 * O is the reference's. */
static void check(size_t n, size_t rank, uint64_t seed)
{
    double *m = must_alloc(n * n, sizeof *m), *o = must_alloc(n * n, sizeof *o),
           *r = must_alloc(n * n, sizeof *r), *s = must_alloc(n, sizeof *s), sum = 0, along = 0;
    struct rb_error err;
    random_matrix(n, rank, m, &seed);
    reference(m, n, s, r);
    MUST(rb_polar(m, n, o, &err), &err);
    assert_true(off_orthogonal(o, n) < ORTHOGONAL * (double)n);
    for (size_t i = 0; i < n * n; i++)
        along += o[i] * m[i];
    for (size_t i = 0; i < n; i++)
        sum += s[i];
    assert_true(fabs(along - sum) <= TOLERANCE * fmax(sum, 1));
    for (size_t i = 0; i < n * n && rank == n; i++)
        if (!(fabs(o[i] - r[i]) <= TOLERANCE * s[0] / s[n - 1]))
            fail_msg("%zu: entry %zu is %.15g, by dgesdd %.15g", n, i, o[i], r[i]);
    MUST(rb_polar(m, n, m, &err), &err); /* in place */
    assert_memory_equal(m, o, n * n * sizeof *m);
    free(m);
    free(o);
    free(r);
    free(s);
}

static void test_against_dgesdd(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 17, 32, 127, 128, 129, 160, 161, 200};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        check(sizes[i], sizes[i], 31 + i);
        check(sizes[i], sizes[i] / 3, 61 + i);
    }
}

/* Between two steps nothing runs: whoever waits can count them, and stop. */
static void test_steps(void **state)
{
    (void)state;
    enum { N = 200 };
    static double m[N * N], whole[N * N];
    uint64_t seed = 9;
    struct rb_polar *p;
    struct rb_error err;
    double cost = 0;
    random_matrix(N, N, m, &seed);
    MUST(rb_polar(m, N, whole, &err), &err);
    MUST(rb_polar_new(m, N, &p, &err), &err);
    size_t steps = rb_polar_steps(N);
    assert_true(steps >= 8);
    for (size_t k = 0; k < steps; k++) {
        MUST(rb_polar_step(p, &err), &err);
        assert_true(rb_polar_step_cost(N, k) > 0);
        cost += rb_polar_step_cost(N, k);
    }
    assert_memory_equal(rb_polar_result(p), whole, sizeof whole);
    assert_true(fabs(cost - rb_polar_cost(N)) <= 1e-9 * cost);
    rb_polar_free(p);
    MUST(rb_polar_new(m, N, &p, &err), &err); /* stopped after any of them */
    MUST(rb_polar_step(p, &err), &err);
    rb_polar_free(p);
}

static void test_not_finite(void **state)
{
    (void)state;
    enum { N = 150 };
    static double m[N * N];
    struct rb_error err;
    uint64_t seed = 4;
    random_matrix(N, N, m, &seed);
    m[7 * N + 3] = NAN;
    assert_int_equal(rb_polar(m, N, m, &err), RB_ENUMERIC);
    m[7 * N + 3] = INFINITY;
    assert_int_equal(rb_polar(m, N, m, &err), RB_ENUMERIC);
}

/* ---- inside heads, with rotary positions ---- */

/* R that commutes with every turn of the planes: the same as turning before or after it. */
static void check_rotary(size_t n, size_t dims, uint64_t seed)
{
    double m[32 * 32], r[32 * 32], best = 0;
    struct rb_scratch scratch;
    struct rb_error err;
    size_t half = dims / 2;
    rb_scratch_init(&scratch);
    for (size_t i = 0; i < n * n; i++)
        m[i] = random_normal(&seed);
    MUST(rb_procrustes_rotary(m, n, dims, r, &scratch, &err), &err);
    assert_true(off_orthogonal(r, n) < ORTHOGONAL);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            bool plane = i < dims && j < dims && i % half == j % half,
                 below = i >= dims && j >= dims;
            assert_true(plane || below || fabs(r[i * n + j]) <= 0);
            best += r[i * n + j] * m[i * n + j];
        }
    for (size_t i = 0; i < half; i++) {
        size_t k = i + half;
        assert_true(fabs(r[i * n + i] - r[k * n + k]) <= 0);
        assert_true(fabs(r[i * n + k] + r[k * n + i]) <= 0);
    }
    for (int trial = 0; trial < 200; trial++) { /* nothing of that shape agrees better with M */
        double other[32 * 32], noisy[32 * 32], found = 0;
        for (size_t i = 0; i < n * n; i++)
            noisy[i] = m[i] + 0.3 * random_normal(&seed);
        MUST(rb_procrustes_rotary(noisy, n, dims, other, &scratch, &err), &err);
        for (size_t i = 0; i < n * n; i++)
            found += other[i] * m[i];
        assert_true(found <= best + 1e-12 * fabs(best));
        rb_scratch_reset(&scratch);
    }
    rb_scratch_deinit(&scratch);
}

static void test_rotary(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{2, 2}, {8, 8}, {14, 8}, {12, 6}, {10, 0}, {32, 16}, {3, 2}};
    for (size_t i = 0; i < COUNT(shapes); i++)
        check_rotary(shapes[i][0], shapes[i][1], 70 + i);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_dgesdd),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_rotary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
