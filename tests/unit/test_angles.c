// LINK: core_align
/* By what angles a map turns: of maps whose angles are known. */
#include "unit/numbers.h"

#include "core/align/angles.h"

static struct rb_error err;

/* Turns of `degrees` in planes (0, 1), (2, 3) … of (n, n), stretched by `stretch` along unit 0. */
static float *planes(size_t n, const double *degrees, double stretch)
{
    float *m = calloc(n * n, sizeof *m);
    assert_non_null(m);
    for (size_t i = 0; i < n; i++)
        m[i * n + i] = 1;
    for (size_t p = 0; 2 * p + 1 < n; p++) {
        double a = degrees[p] * 3.14159265358979323846 / 180;
        size_t i = 2 * p, j = i + 1;
        m[i * n + i] = m[j * n + j] = (float)cos(a);
        m[i * n + j] = (float)-sin(a);
        m[j * n + i] = (float)sin(a);
    }
    for (size_t i = 0; i < n; i++) /* from the left: the nearest orthogonal matrix stays a turn */
        m[i] *= (float)stretch;
    return m;
}

static void test_known_angles(void **state)
{
    (void)state;
    static const double degrees[] = {12, 63, 179};
    struct rb_turns t = rb_turns_none();
    float *m = planes(7, degrees, 1);
    assert_int_equal(rb_turns_add(&t, m, 7, &err), RB_OK);
    assert_int_equal(t.count, 7);
    assert_true(fabs(t.mean - 2 * (12 + 63 + 179) / 7.0) < 1e-3);
    assert_true(fabs(t.most - 179) < 1e-2);
    assert_true(fabs(t.condition - 1) < 1e-5);
    assert_int_equal(t.histogram[0], 1); /* the unit that stays */
    assert_int_equal(t.histogram[2], 2);
    assert_int_equal(t.histogram[12], 2);
    assert_int_equal(t.histogram[35], 2);
    free(m);
}

static void test_several_and_stretched(void **state)
{
    (void)state;
    static const double degrees[] = {0, 0};
    struct rb_turns t = rb_turns_none();
    float *plain = planes(4, degrees, 1), *stretched = planes(4, degrees, 8);
    assert_int_equal(rb_turns_add(&t, plain, 4, &err), RB_OK);
    assert_int_equal(rb_turns_add(&t, stretched, 4, &err), RB_OK);
    assert_int_equal(t.count, 8);
    assert_int_equal(t.histogram[0], 8);
    assert_true(t.most < 1e-3);
    assert_true(fabs(t.condition - 8) < 1e-4);
    free(plain);
    free(stretched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_angles),
        cmocka_unit_test(test_several_and_stretched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
