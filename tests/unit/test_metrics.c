// LINK: core_merge
/* Metrics against values worked out by hand, and against their definitions. Tolerance: F64
 * rounding. */
#include "unit/numbers.h"

#include "core/merge/metrics.h"

static const double EXACT = 1e-14;

enum { MOST = 12 };

/* ---- classes ---- */

static const struct {
    const char *what;
    uint32_t classes;
    size_t n;
    uint32_t predicted[MOST], truth[MOST];
    double accuracy, f1, matthews;
} rows[] = {
    {"all right", 2, 4, {0, 1, 1, 0}, {0, 1, 1, 0}, 1, 1, 1},
    {"all wrong", 2, 4, {1, 0, 0, 1}, {0, 1, 1, 0}, 0, 0, -1},
    /* tp 2, fp 1, fn 1, tn 1: f1 2*2/(2*2+1+1); mcc (2*1-1*1)/sqrt(3*3*2*2) */
    {"mixed", 2, 5, {1, 1, 1, 0, 0}, {1, 1, 0, 1, 0}, 0.6, 2.0 / 3, 1.0 / 6},
    /* tp 0, fp 0: F1 of class 1 is 0; a constant side: Matthews 0 */
    {"never predicted", 2, 4, {0, 0, 0, 0}, {0, 1, 1, 0}, 0.5, 0, 0},
    {"never true", 2, 3, {0, 1, 0}, {0, 0, 0}, 2.0 / 3, 0, 0},
    {"nothing but zeros", 2, 3, {0, 0, 0}, {0, 0, 0}, 1, 0, 0},
    {"one example", 2, 1, {1}, {1}, 1, 1, 0},
    /* tp 1, fp 2, fn 1, tn 6: mcc (1*6-2*1)/sqrt(3*2*8*7) */
    {"unbalanced",
     2,
     10,
     {1, 1, 1, 0, 0, 0, 0, 0, 0, 0},
     {1, 0, 0, 1, 0, 0, 0, 0, 0, 0},
     0.7,
     0.4,
     0.21821789023599236},
    {"three, all right", 3, 3, {0, 1, 2}, {0, 1, 2}, 1, 1, 1},
    /* F1 by class: 2*1/(2+1), 2*1/(1+2), 2*2/(3+3). R_K: (4*6 -
       (2*1+1*2+3*3))/sqrt((36-14)*(36-14)) */
    {"three, mixed", 3, 6, {0, 2, 1, 0, 2, 2}, {0, 1, 1, 2, 2, 2}, 4.0 / 6, 2.0 / 3, 0.5},
    /* class 3 is nowhere: counts as 0 in the mean */
    {"four, one nowhere", 4, 3, {0, 1, 2}, {0, 1, 2}, 1, 0.75, 1},
};

/* What the table leaves to arithmetic: means of F1, and R_K by its definition over the confusion
 * matrix (Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient",
 * 2004). */
static double r_k(const uint32_t *p, const uint32_t *t, size_t n, uint32_t classes)
{
    double c[4][4] = {{0}}, top = 0, below_p = 0, below_t = 0;
    for (size_t i = 0; i < n; i++)
        c[t[i]][p[i]]++;
    for (uint32_t k = 0; k < classes; k++)
        for (uint32_t l = 0; l < classes; l++)
            for (uint32_t m = 0; m < classes; m++)
                top += c[k][k] * c[m][l] - c[l][k] * c[k][m];
    for (uint32_t k = 0; k < classes; k++) {
        double row = 0, column = 0;
        for (uint32_t l = 0; l < classes; l++) {
            row += c[k][l];
            column += c[l][k];
        }
        below_t += row * ((double)n - row);
        below_p += column * ((double)n - column);
    }
    return below_p * below_t > 0 ? top / sqrt(below_p * below_t) : 0;
}

static void test_classes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const uint32_t *p = rows[i].predicted, *t = rows[i].truth;
        assert_near(rows[i].what, rb_accuracy(p, t, rows[i].n), rows[i].accuracy, EXACT);
        assert_near(rows[i].what, rb_matthews(p, t, rows[i].n, rows[i].classes),
                    r_k(p, t, rows[i].n, rows[i].classes), EXACT);
        assert_near(rows[i].what, rb_f1(p, t, rows[i].n, rows[i].classes), rows[i].f1, EXACT);
        assert_near(rows[i].what, rb_matthews(p, t, rows[i].n, rows[i].classes), rows[i].matthews,
                    EXACT);
    }
}

/* For two classes R_K is Matthews' coefficient. */
static void test_matthews_is_phi(void **state)
{
    (void)state;
    uint64_t seed = 71;
    for (int round = 0; round < 200; round++) {
        uint32_t p[MOST], t[MOST];
        double x[MOST], y[MOST];
        size_t n = 2 + random_index(&seed, MOST - 2);
        for (size_t i = 0; i < n; i++) {
            x[i] = p[i] = (uint32_t)random_index(&seed, 2);
            y[i] = t[i] = (uint32_t)random_index(&seed, 2);
        }
        double phi = rb_pearson(x, y, n); /* of 0/1 variables it is the same */
        assert_near("phi", rb_matthews(p, t, n, 2), isnan(phi) ? 0 : phi, 1e-12);
    }
}

/* ---- numbers ---- */

static const struct {
    const char *what;
    size_t n;
    double x[MOST], y[MOST];
    double pearson, spearman; /* NaN: undefined */
} pairs[] = {
    {"a line", 4, {1, 2, 3, 4}, {3, 5, 7, 9}, 1, 1},
    {"a line down", 4, {1, 2, 3, 4}, {9, 7, 5, 3}, -1, -1},
    /* x: -1.5 -0.5 0.5 1.5, y: -0.5 -1.5 1.5 0.5: 3/5 */
    {"swapped", 4, {1, 2, 3, 4}, {2, 1, 4, 3}, 0.6, 0.6},
    {"monotone, not straight", 4, {1, 2, 3, 4}, {1, 10, 100, 1000}, 0.824140716620699, 1},
    /* ranks of x: 0, 1.5, 1.5, 3; of y: 0 1 2 3: 4.5/sqrt(4.5 * 5) */
    {"ties", 4, {1, 2, 2, 3}, {1, 2, 3, 4}, 0.94868329805, 0.94868329805},
    /* ranks of x: 1 1 1 3, of y: 0.5 0.5 2.5 2.5: cov 2, var 3 and 4 */
    {"ties on both sides", 4, {5, 5, 5, 7}, {1, 1, 2, 2}, 0.57735026919, 0.57735026919},
    {"unrelated", 4, {1, -1, 1, -1}, {1, 1, -1, -1}, 0, 0},
    {"two points", 2, {0.25, 0.5}, {8, 4}, -1, -1},
    {"shifted far", 4, {1e9 + 1, 1e9 + 2, 1e9 + 3, 1e9 + 4}, {2, 1, 4, 3}, 0.6, 0.6},
    {"tiny", 4, {1e-200, 2e-200, 3e-200, 4e-200}, {2e-9, 1e-9, 4e-9, 3e-9}, (double)NAN, 0.6},
    {"x constant", 3, {0.1, 0.1, 0.1}, {1, 2, 3}, (double)NAN, (double)NAN},
    {"y constant",
     7,
     {1, 2, 3, 4, 5, 6, 7},
     {0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7},
     (double)NAN,
     (double)NAN},
    {"x constant, ten",
     10,
     {0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1},
     {3, 1, 4, 1, 5, 9, 2, 6, 5, 3},
     (double)NAN,
     (double)NAN},
    {"one point", 1, {1}, {1}, (double)NAN, (double)NAN},
};

static void same_or_undefined(const char *what, double found, double expected)
{
    if (isnan(expected) ? !isnan(found) : !(fabs(found - expected) <= 1e-10))
        fail_msg("%s: %.17g, expected %.17g", what, found, expected);
}

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        same_or_undefined(pairs[i].what, rb_pearson(pairs[i].x, pairs[i].y, pairs[i].n),
                          pairs[i].pearson);
        same_or_undefined(pairs[i].what, rb_spearman(pairs[i].x, pairs[i].y, pairs[i].n),
                          pairs[i].spearman);
        same_or_undefined(pairs[i].what, rb_spearman(pairs[i].y, pairs[i].x, pairs[i].n),
                          pairs[i].spearman); /* symmetric */
    }
}

/* A constant is a constant however its mean rounds. */
static void test_any_constant(void **state)
{
    (void)state;
    uint64_t seed = 72;
    for (int round = 0; round < 1000; round++) {
        double x[MOST], y[MOST], c = random_uniform(&seed, -100, 100);
        size_t n = 2 + random_index(&seed, MOST - 2);
        for (size_t i = 0; i < n; i++) {
            x[i] = c;
            y[i] = random_uniform(&seed, 0, 1);
        }
        assert_true(isnan(rb_pearson(x, y, n)));
        assert_true(isnan(rb_pearson(y, x, n)));
        assert_true(isnan(rb_spearman(x, y, n)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_matthews_is_phi),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_any_constant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
