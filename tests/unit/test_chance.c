// LINK: core_merge
/* What a guess by frequency loses, against the formula written out. Tolerance: F64 rounding. */
#include "unit/numbers.h"

#include "core/merge/chance.h"

#include <math.h>

static const double EXACT = 1e-14;

static struct rb_chance of(enum rb_task task, const struct rb_sequences *s)
{
    struct rb_error err;
    struct rb_chance chance;
    assert_int_equal(rb_chance_compute(task, s, &chance, &err), RB_OK);
    return chance;
}

/* Targets 7 7 9 7 5 -> p = 3/5, 1/5, 1/5; what is not predicted does not count. */
static void test_tokens(void **state)
{
    (void)state;
    size_t starts[] = {0, 3, 8};
    int32_t targets[] = {7, -1, 7, 9, -1, 7, -1, 5};
    struct rb_sequences s = {.count = 2, .starts = starts, .targets = targets, .target_count = 5};
    double expected = -(0.6 * log(0.6) + 2 * 0.2 * log(0.2));
    assert_near("mlm", of(RB_TASK_MLM, &s).loss, expected, EXACT);
    assert_near("clm", of(RB_TASK_CLM, &s).loss, expected, EXACT);
    assert_true(isnan(of(RB_TASK_MLM, &s).accuracy));
    assert_int_equal(targets[2], 7); /* the caller's are left in their order */
    assert_int_equal(targets[7], 5);
}

static void test_labels(void **state)
{
    (void)state;
    double labels[] = {1, 0, 1, 1, 2, 1, 0, 1};
    struct rb_sequences s = {.count = 8, .labels = labels};
    struct rb_chance chance = of(RB_TASK_CLASSIFICATION, &s);
    assert_near("entropy", chance.loss,
                -(0.625 * log(0.625) + 0.25 * log(0.25) + 0.125 * log(0.125)), EXACT);
    assert_near("share", chance.accuracy, 0.625, EXACT);
    double scores[] = {1, 2, 3, 6};
    s = (struct rb_sequences){.count = 4, .labels = scores};
    chance = of(RB_TASK_REGRESSION, &s);
    assert_near("variance", chance.loss, 3.5, EXACT);
    assert_true(isnan(chance.accuracy));
}

static void test_one_answer_and_none(void **state)
{
    (void)state;
    size_t starts[] = {0, 2};
    int32_t targets[] = {4, 4};
    struct rb_sequences s = {.count = 1, .starts = starts, .targets = targets, .target_count = 2};
    assert_near("one answer", of(RB_TASK_CLM, &s).loss, 0, EXACT);
    s = (struct rb_sequences){.count = 0};
    assert_true(isnan(of(RB_TASK_MLM, &s).loss));
    assert_true(isnan(of(RB_TASK_REGRESSION, &s).loss));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_one_answer_and_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
