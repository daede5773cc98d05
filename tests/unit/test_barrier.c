// LINK: core_merge
/* Both barriers and the diagnosis of a curve's shape, on curves drawn by hand, and what must hold
 * for any curve. Tolerance: F64 rounding. */
#include "unit/numbers.h"

#include "core/merge/barrier.h"
#include "core/merge/curve.h"

#include <stdio.h>

static const double EXACT = 1e-14;

enum { MOST = 16 };

/* clang-format off */
static const struct {
    const char *what;
    size_t n;
    double lambdas[MOST]; /* none: evenly spaced */
    double losses[MOST];
    double chord, chord_lambda, mean, mean_lambda, lowest_lambda;
    enum rb_shape shape;
    size_t peaks;
    double peak[RB_MAX_PEAKS];
} curves[] = {
    {"two points", 2, {0}, {2, 3}, 0, 0, 0.5, 1, 0, RB_SHAPE_MONOTONE, 0, {0}},
    {"two points alike", 2, {0}, {2, 2}, 0, 0, 0, 0, 0, RB_SHAPE_FLAT, 0, {0}},
    {"flat", 5, {0}, {2, 2, 2, 2, 2}, 0, 0, 0, 0, 0, RB_SHAPE_FLAT, 0, {0}},
    /* 1 % of the larger end is still flat */
    {"flat but for noise", 5, {0}, {2, 2.015, 2, 2.01, 2}, 0.015, 0.25, 0.015, 0.25, 0,
     RB_SHAPE_FLAT, 0, {0}},
    {"hump", 5, {0}, {2, 3, 4, 3, 2}, 2, 0.5, 2, 0.5, 0, RB_SHAPE_HUMP, 1, {0.5}},
    {"hump of one point", 3, {0}, {2, 4, 2}, 2, 0.5, 2, 0.5, 0, RB_SHAPE_HUMP, 1, {0.5}},
    /* chord 1, 1.5, 2, 2.5, 3: the barrier is where the gap is largest, not the loss */
    {"hump on a slope", 5, {0}, {1, 3, 3.75, 4, 3}, 1.75, 0.5, 2, 0.75, 0,
     RB_SHAPE_HUMP, 1, {0.75}},
    {"hump, mean and chord apart", 5, {0}, {1, 4, 4.25, 4, 3}, 2.5, 0.25, 2.25, 0.5, 0,
     RB_SHAPE_HUMP, 1, {0.5}},
    {"hump with a flat top", 5, {0}, {1, 3, 3, 3, 1}, 2, 0.25, 2, 0.25, 0,
     RB_SHAPE_HUMP, 1, {0.25}},
    {"dip, then hump", 5, {0}, {2, 1, 4, 3, 2}, 2, 0.5, 2, 0.5, 0.25, RB_SHAPE_HUMP, 1, {0.5}},
    {"hump, then dip", 5, {0}, {2, 3, 4, 1, 2}, 2, 0.5, 2, 0.5, 0.75, RB_SHAPE_HUMP, 1, {0.5}},
    {"a dip at either end", 5, {0}, {2, 1, 4, 1.5, 2}, 2, 0.5, 2, 0.5, 0.25, RB_SHAPE_M, 1, {0.5}},
    {"two humps", 5, {0}, {1, 3, 2, 4, 1}, 3, 0.75, 3, 0.75, 0, RB_SHAPE_M, 2, {0.25, 0.75}},
    {"three humps", 7, {0}, {1, 3, 1, 3, 1, 3, 1}, 2, 1.0 / 6, 2, 1.0 / 6, 0,
     RB_SHAPE_M, 3, {1.0 / 6, 0.5, 5.0 / 6}},
    /* only RB_MAX_PEAKS are kept */
    {"six humps", 13, {0}, {1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1}, 2, 1.0 / 12, 2, 1.0 / 12, 0,
     RB_SHAPE_M, 4, {1.0 / 12, 3.0 / 12, 5.0 / 12, 7.0 / 12}},
    {"valley", 5, {0}, {2, 1, 0.5, 1, 2}, 0, 0, 0, 0, 0.5, RB_SHAPE_VALLEY, 0, {0}},
    {"valley on a slope", 5, {0}, {2, 1, 0.5, 1, 3}, 0, 0, 0.5, 1, 0.5, RB_SHAPE_VALLEY, 0, {0}},
    {"falling", 5, {0}, {5, 4, 3, 2, 1}, 0, 0, 2, 0, 1, RB_SHAPE_MONOTONE, 0, {0}},
    {"rising, bent", 5, {0}, {1, 1.5, 2.5, 4.5, 5}, 0.5, 0.75, 2, 1, 0, RB_SHAPE_MONOTONE, 0, {0}},
    /* 0.01 of 4: below half a percent of the range, a wiggle is no hump */
    {"falling with a wiggle", 5, {0}, {5, 4, 4.01, 2, 1}, 1.01, 0.5, 2, 0, 1,
     RB_SHAPE_MONOTONE, 0, {0}},
    {"highest at the end", 4, {0}, {1, 3, 1.5, 4}, 1, 1.0 / 3, 1.5, 1, 0,
     RB_SHAPE_HUMP, 1, {1.0 / 3}},
    {"still rising at the end", 4, {0}, {1, 2, 3, 3.001}, 0.666, 2.0 / 3, 1.0005, 1, 0,
     RB_SHAPE_MONOTONE, 0, {0}},
    /* the chord is over lambda, not over the index: 1, 1.2, 2, 2.8, 3 */
    {"uneven lambdas", 5, {0, 0.1, 0.5, 0.9, 1}, {1, 2.2, 2.5, 3.3, 3}, 1, 0.1, 1.3, 0.9, 0,
     RB_SHAPE_HUMP, 1, {0.9}},
    {"below zero", 3, {0}, {-2, -1, -2}, 1, 0.5, 1, 0.5, 0, RB_SHAPE_HUMP, 1, {0.5}},
};
/* clang-format on */

static void points_of(size_t i, struct rb_point *p)
{
    bool even = !(curves[i].lambdas[curves[i].n - 1] > 0);
    for (size_t k = 0; k < curves[i].n; k++)
        p[k] = (struct rb_point){.lambda = even ? (double)k / (double)(curves[i].n - 1)
                                                : curves[i].lambdas[k],
                                 .loss = curves[i].losses[k]};
}

static void near(size_t curve, const char *figure, double found, double expected)
{
    char what[96];
    (void)snprintf(what, sizeof what, "%s: %s", curves[curve].what, figure);
    assert_near(what, found, expected, EXACT);
}

static void test_curves(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(curves); i++) {
        struct rb_point p[MOST];
        struct rb_barrier b;
        points_of(i, p);
        rb_barrier_compute(p, curves[i].n, &b);
        near(i, "chord", b.chord, curves[i].chord);
        near(i, "lambda of the chord", b.chord_lambda, curves[i].chord_lambda);
        near(i, "mean", b.mean, curves[i].mean);
        near(i, "lambda of the mean", b.mean_lambda, curves[i].mean_lambda);
        near(i, "lowest", b.lowest_lambda, curves[i].lowest_lambda);
        if (b.shape != curves[i].shape)
            fail_msg("%s: shape '%s', expected '%s'", curves[i].what, rb_shape_names[b.shape],
                     rb_shape_names[curves[i].shape]);
        near(i, "peaks", b.peak_count, (double)curves[i].peaks);
        for (size_t k = 0; k < curves[i].peaks; k++)
            near(i, "peak", b.peaks[k], curves[i].peak[k]);
    }
}

/* ---- any curve ---- */

static size_t random_curve(struct rb_point *p, uint64_t *seed)
{
    size_t n = 2 + random_index(seed, MOST - 1);
    double at = 0;
    for (size_t i = 0; i < n; i++) {
        p[i] = (struct rb_point){.lambda = at, .loss = random_uniform(seed, 1, 3)};
        at += random_uniform(seed, 0.1, 1);
    }
    for (size_t i = 0; i < n; i++)
        p[i].lambda = i + 1 == n ? 1 : p[i].lambda / p[n - 1].lambda;
    return n;
}

/* Swapping the two models mirrors everything. */
static void test_mirrored(void **state)
{
    (void)state;
    uint64_t seed = 81;
    for (int round = 0; round < 20000; round++) {
        struct rb_point p[MOST], q[MOST];
        struct rb_barrier b, m;
        size_t n = random_curve(p, &seed);
        for (size_t i = 0; i < n; i++)
            q[n - 1 - i] = (struct rb_point){.lambda = 1 - p[i].lambda, .loss = p[i].loss};
        rb_barrier_compute(p, n, &b);
        rb_barrier_compute(q, n, &m);
        assert_near("chord", m.chord, b.chord, 1e-12);
        assert_near("mean", m.mean, b.mean, 1e-12);
        assert_near("lowest", m.lowest_lambda, 1 - b.lowest_lambda, 1e-12);
        assert_int_equal(m.shape, b.shape);
        assert_int_equal(m.peak_count, b.peak_count);
        for (size_t i = 0; i < b.peak_count && b.peak_count < RB_MAX_PEAKS; i++)
            assert_near("peak", m.peaks[i], 1 - b.peaks[b.peak_count - 1 - i], 1e-12);
    }
}

/* Nats or bits: the shape does not depend on the unit of loss. */
static void test_scaled(void **state)
{
    (void)state;
    uint64_t seed = 82;
    for (int round = 0; round < 20000; round++) {
        struct rb_point p[MOST];
        struct rb_barrier b, m;
        size_t n = random_curve(p, &seed);
        rb_barrier_compute(p, n, &b);
        for (size_t i = 0; i < n; i++)
            p[i].loss *= 8;
        rb_barrier_compute(p, n, &m);
        assert_near("chord", m.chord, 8 * b.chord, 1e-12);
        assert_int_equal(m.shape, b.shape);
        assert_int_equal(m.peak_count, b.peak_count);
        assert_true(b.chord >= 0 && b.mean >= -1e-15); /* the ends count */
    }
}

/* METHOD 13 word by word, in extended precision: a list of positions, each with its block. */
struct position {
    size_t block;
    double at, first, last, control_at, control_first, control_last;
};

static long double plain_mean(const struct position *p, size_t n, size_t offset)
{
    long double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += *(const double *)(const void *)((const char *)&p[i] + offset);
    return sum / (long double)n;
}
#define MEAN(member) plain_mean(p, n, offsetof(struct position, member))

static void plain_errors(const struct position *p, size_t n, size_t blocks, long double l,
                         long double *ret_b, long double *ret_r)
{
    long double b = MEAN(at) - (1 - l) * MEAN(first) - l * MEAN(last);
    long double c = MEAN(control_at) - (1 - l) * MEAN(control_first) - l * MEAN(control_last);
    long double sum_b = 0, sum_r = 0;
    for (size_t s = 0; s < blocks; s++) {
        long double d = 0, dc = 0, count = 0;
        for (size_t i = 0; i < n; i++)
            if (p[i].block == s) {
                d += p[i].at - (1 - l) * p[i].first - l * p[i].last;
                dc += p[i].control_at - (1 - l) * p[i].control_first - l * p[i].control_last;
                count += 1;
            }
        long double e = -(d - b * count) / c + b * (dc - c * count) / (c * c);
        sum_b += (d - b * count) * (d - b * count);
        sum_r += e * e;
    }
    long double factor = (long double)blocks / (long double)(blocks - 1);
    *ret_b = sqrtl(factor * sum_b) / (long double)n;
    *ret_r = sqrtl(factor * sum_r) / (long double)n;
}

static double uniform(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (double)(*seed >> 11) * 0x1p-53;
}

static void add_to(struct rb_block *b, double loss)
{
    b->sum += loss;
    b->square += loss * loss;
    b->count += 1;
}

static void test_errors(void **state)
{
    (void)state;
    enum { POSITIONS = 700, BLOCKS = 23 };
    static struct position p[POSITIONS];
    uint64_t seed = 83;
    for (int round = 0; round < 200; round++) {
        struct rb_block at[BLOCKS] = {0}, first[BLOCKS] = {0}, last[BLOCKS] = {0};
        struct rb_block cat[BLOCKS] = {0}, cfirst[BLOCKS] = {0}, clast[BLOCKS] = {0};
        double l = 0.05 * (double)(1 + round % 19);
        for (size_t i = 0; i < POSITIONS; i++) {
            double base = 3 * uniform(&seed);
            size_t s = (size_t)(uniform(&seed) * BLOCKS);
            p[i] = (struct position){s,
                                     base + 1 + uniform(&seed),
                                     base,
                                     base + uniform(&seed),
                                     base + 3 + 2 * uniform(&seed),
                                     base,
                                     base + uniform(&seed)};
            add_to(&at[s], p[i].at);
            add_to(&first[s], p[i].first);
            add_to(&last[s], p[i].last);
            add_to(&cat[s], p[i].control_at);
            add_to(&cfirst[s], p[i].control_first);
            add_to(&clast[s], p[i].control_last);
        }
        long double b, r;
        plain_errors(p, POSITIONS, BLOCKS, (long double)l, &b, &r);
        const struct rb_excess aligned = rb_excess_pair(at, first, last, 1 - l, l);
        const struct rb_excess control = rb_excess_pair(cat, cfirst, clast, 1 - l, l);
        assert_near("barrier", rb_excess_error(&aligned, BLOCKS), (double)b, 1e-12);
        assert_near("reduction", rb_excess_reduction_error(&aligned, &control, BLOCKS), (double)r,
                    1e-12);
        assert_true(isnan(rb_excess_error(&aligned, 1)));
        /* Nothing to reduce. */
        const struct rb_excess none = rb_excess_pair(cfirst, cat, cat, 1 - l, l);
        assert_true(isnan(rb_excess_reduction_error(&aligned, &none, BLOCKS)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curves),
        cmocka_unit_test(test_mirrored),
        cmocka_unit_test(test_scaled),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
