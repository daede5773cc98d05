// LINK: server_work
/* How fast a phase is thought to be: the machine's rate, a share by the model's width, and what was
 * measured, which counts the more the longer it took. */
#include "server/work/rates.c"

#include "unit/numbers.h"

static void test_before_anything_is_known(void **state)
{
    (void)state;
    const struct rb_rates none = {0}, timed = {.machine = 1e9};
    for (enum rb_phase p = RB_PHASE_LOADING; p < RB_PHASE_COUNT; p++)
        assert_true(rb_rates_of(&none, p, 768) > 0);
    assert_near("narrow", rb_rates_of(&timed, RB_PHASE_EVALUATING, NARROW), 0.75e9, 1);
    assert_near("narrower", rb_rates_of(&timed, RB_PHASE_EVALUATING, 16), 0.75e9, 1);
    assert_near("wide", rb_rates_of(&timed, RB_PHASE_EVALUATING, WIDE), 0.85e9, 1);
    assert_near("wider", rb_rates_of(&timed, RB_PHASE_EVALUATING, 4096), 0.85e9, 1);
    double between = rb_rates_of(&timed, RB_PHASE_EVALUATING, 313); /* half way by its logarithm */
    assert_near("between", between, 0.80e9, 1e6);
}

static void test_learning(void **state)
{
    (void)state;
    struct rb_rates r = {.machine = 1e9};
    double thought = rb_rates_of(&r, RB_PHASE_ALIGNING, WIDE);
    /* Twice as fast for SECONDS_OF_WEIGHT: half way there. */
    rb_rates_learn(&r, RB_PHASE_ALIGNING, WIDE, 2 * thought * SECONDS_OF_WEIGHT, SECONDS_OF_WEIGHT);
    assert_near("half", rb_rates_of(&r, RB_PHASE_ALIGNING, WIDE), 1.5 * thought, 1e-6 * thought);
    /* For long: nearly all the way. Short measurements hardly count. */
    rb_rates_learn(&r, RB_PHASE_ALIGNING, WIDE, 3 * thought * 1e6, 1e6);
    assert_near("long", rb_rates_of(&r, RB_PHASE_ALIGNING, WIDE), 3 * thought, 1e-4 * thought);
    rb_rates_learn(&r, RB_PHASE_ALIGNING, WIDE, 100 * thought * 1e-5, 1e-5);
    assert_near("short", rb_rates_of(&r, RB_PHASE_ALIGNING, WIDE), 3 * thought, 1e-2 * thought);
    /* What was learnt at one width holds at another, and not for another phase. */
    assert_near("narrow", rb_rates_of(&r, RB_PHASE_ALIGNING, NARROW), 3 * 0.67e9, 3e6);
    assert_near("other phase", rb_rates_of(&r, RB_PHASE_EVALUATING, WIDE), 0.85e9, 1);
    /* Nothing was done, or in no time: nothing is learnt. */
    struct rb_rates before = r;
    rb_rates_learn(&r, RB_PHASE_ALIGNING, WIDE, 0, 5);
    rb_rates_learn(&r, RB_PHASE_ALIGNING, WIDE, 5, 0);
    assert_memory_equal(&r, &before, sizeof r);
}

static void test_machine(void **state)
{
    (void)state;
    double rate = rb_rates_time_machine();
    assert_true(isfinite(rate) && rate > 1e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_before_anything_is_known),
                                       cmocka_unit_test(test_learning),
                                       cmocka_unit_test(test_machine)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
