// LINK: core_merge
/* Weight vectors: what each grid consists of, by counting and by hand; barriers against the formula
 * of METHOD 13; and an error over three ends that is the one over two where two of them are one. */
#include "core/merge/barrier.h"
#include "core/merge/simplex.h"
#include "unit/numbers.h"

enum { MOST = 32 };

static void check_grid(enum rb_simplex_grid grid, size_t models, size_t points)
{
    size_t n = rb_simplex_count(grid, models, points);
    double *w = must_alloc((n + 1) * models, sizeof *w);
    w[n * models] = 7; /* nothing is written behind the end */
    rb_simplex_fill(grid, models, points, w);
    assert_near("behind the end", w[n * models], 7, 0);
    for (size_t i = 0; i < n; i++) {
        assert_true(rb_simplex_valid(w + i * models, models));
        for (size_t k = 0; k < i; k++)
            assert_false(rb_simplex_equal(w + i * models, w + k * models, models));
        for (size_t m = 0; m < models && i < models; m++)
            assert_near("vertex", w[i * models + m], m == i, 0);
    }
    free(w);
}

static bool has(const double *w, size_t n, double a, double b, double c)
{
    const double wanted[3] = {a, b, c};
    for (size_t i = 0; i < n; i++)
        if (rb_simplex_equal(w + 3 * i, wanted, 3))
            return true;
    return false;
}

static void test_grids(void **state)
{
    (void)state;
    for (size_t models = 2; models <= MOST; models++) {
        check_grid(RB_SIMPLEX_WHOLE, models, 0);
        for (size_t points = 2; points < 8; points++) {
            check_grid(RB_SIMPLEX_CENTROID, models, points);
            check_grid(RB_SIMPLEX_WHOLE, 3, points);
        }
    }
    double w[3 * 15];
    assert_int_equal(rb_simplex_count(RB_SIMPLEX_WHOLE, 3, 5), 15);
    rb_simplex_fill(RB_SIMPLEX_WHOLE, 3, 5, w);
    assert_true(has(w, 15, 0.25, 0.25, 0.5) && has(w, 15, 0, 0.75, 0.25));
    assert_int_equal(rb_simplex_count(RB_SIMPLEX_WHOLE, 3, 0), 7);
    rb_simplex_fill(RB_SIMPLEX_WHOLE, 3, 0, w);
    assert_true(has(w, 7, 0.5, 0, 0.5) && has(w, 7, 1.0 / 3, 1.0 / 3, 1.0 / 3));
    assert_int_equal(rb_simplex_count(RB_SIMPLEX_CENTROID, 3, 3), 7);
    rb_simplex_fill(RB_SIMPLEX_CENTROID, 3, 3, w);
    assert_true(has(w, 7, 2.0 / 3, 1.0 / 6, 1.0 / 6) && has(w, 7, 1.0 / 3, 1.0 / 3, 1.0 / 3));
}

static void test_validity(void **state)
{
    (void)state;
    const double good[2] = {0.3, 0.7}, off[2] = {0.3, 0.6}, negative[2] = {-0.5, 1.5};
    const double odd[2] = {(double)NAN, 1};
    assert_true(rb_simplex_valid(good, 2));
    assert_false(rb_simplex_valid(off, 2));
    assert_false(rb_simplex_valid(negative, 2));
    assert_false(rb_simplex_valid(odd, 2));
}

static void test_barriers(void **state)
{
    (void)state;
    double w[21], barriers[7];
    struct rb_point points[7] = {{0}};
    rb_simplex_fill(RB_SIMPLEX_WHOLE, 3, 0, w);
    const double losses[7] = {1, 2, 4, 1.5, 5, 3.5, 4};
    for (size_t i = 0; i < 7; i++)
        points[i].loss = losses[i];
    assert_int_equal(rb_simplex_barriers(points, 7, w, 3, barriers), 4);
    const double expected[7] = {0, 0, 0, 0, 2.5, 0.5, 4 - 7.0 / 3};
    for (size_t i = 0; i < 7; i++)
        assert_near("barrier", barriers[i], expected[i], 1e-12);
}

static void test_errors(void **state)
{
    (void)state;
    const struct rb_block at[3] = {{5, 0, 2}, {9, 0, 3}, {4, 0, 2}};
    const struct rb_block first[3] = {{1, 0, 2}, {4, 0, 3}, {1, 0, 2}};
    const struct rb_block last[3] = {{2, 0, 2}, {2, 0, 3}, {3, 0, 2}};
    const struct rb_excess two = rb_excess_pair(at, first, last, 0.4, 0.6);
    const struct rb_excess three = {
        .at = at, .ends = {first, last, last}, .weights = {0.4, 0.1, 0.5}, .end_count = 3};
    assert_near("error", rb_excess_error(&three, 3), rb_excess_error(&two, 3), 1e-12);
    assert_near("reduction", rb_excess_reduction_error(&three, &two, 3),
                rb_excess_reduction_error(&two, &two, 3), 1e-12);
    assert_true(rb_excess_error(&two, 3) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grids),
        cmocka_unit_test(test_validity),
        cmocka_unit_test(test_barriers),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
