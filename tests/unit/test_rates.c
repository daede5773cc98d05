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
    assert_near("narrow", rb_rates_of(&timed, RB_PHASE_EVALUATING, NARROW), 0.40e9, 1);
    assert_near("narrower", rb_rates_of(&timed, RB_PHASE_EVALUATING, 16), 0.40e9, 1);
    assert_near("wide", rb_rates_of(&timed, RB_PHASE_EVALUATING, WIDE), 0.80e9, 1);
    assert_near("wider", rb_rates_of(&timed, RB_PHASE_EVALUATING, 4096), 0.80e9, 1);
    double between = rb_rates_of(&timed, RB_PHASE_EVALUATING, 313); /* half way by its logarithm */
    assert_near("between", between, 0.600e9, 1e6);
}

static void test_learning(void **state)
{
    (void)state;
    struct rb_rates r = {.machine = 1e9};
    double thought = rb_rates_of(&r, RB_PHASE_ALIGNING, WIDE);
    /* Half the time for SECONDS_OF_PRIOR: half way there. */
    double prior = SECONDS_OF_PRIOR;
    rb_rates_learn(&r, RB_PHASE_ALIGNING, WIDE, 2 * thought * prior, prior);
    assert_near("half", rb_rates_of(&r, RB_PHASE_ALIGNING, WIDE), thought / 0.75, 1e-6 * thought);
    /* For long: nearly all the way. Short measurements hardly count. */
    rb_rates_learn(&r, RB_PHASE_ALIGNING, WIDE, 3 * thought * 1e6, 1e6);
    assert_near("long", rb_rates_of(&r, RB_PHASE_ALIGNING, WIDE), 3 * thought, 1e-4 * thought);
    rb_rates_learn(&r, RB_PHASE_ALIGNING, WIDE, 100 * thought * 1e-5, 1e-5);
    assert_near("short", rb_rates_of(&r, RB_PHASE_ALIGNING, WIDE), 3 * thought, 1e-2 * thought);
    /* What was learnt at one width holds at another, and not for another phase. */
    assert_near("narrow", rb_rates_of(&r, RB_PHASE_ALIGNING, NARROW), 3 * 0.45e9, 3e6);
    assert_near("other phase", rb_rates_of(&r, RB_PHASE_EVALUATING, WIDE), 0.80e9, 1);
    /* Nothing was done, or in no time: nothing is learnt. */
    struct rb_rates before = r;
    rb_rates_learn(&r, RB_PHASE_ALIGNING, WIDE, 0, 5);
    rb_rates_learn(&r, RB_PHASE_ALIGNING, WIDE, 5, 0);
    assert_memory_equal(&r, &before, sizeof r);
}

/* ---- from job to job ---- */

/* What phases really reached of the machine's product rate (docs/performance.md): BERT-base on one
 * and two workers, the Pythia-160M shape on two processors. */
static const struct {
    double aligning, evaluating;
} machines[] = {{0.81, 0.86}, {0.87, 0.88}, {0.72, 0.76}, {0.71, 0.77}};

/* Seconds that a job's two large phases are thought to take, and take. */
struct seconds {
    double thought, taken;
};

/* A job of the fake history, each phase `noise` slower than its machine's share says. */
static struct seconds run_job(struct rb_rates *r, size_t machine, double truth, double noise)
{
    const double cost[2] = {3e12, 5e12};
    const double share[2] = {machines[machine].aligning, machines[machine].evaluating};
    static const enum rb_phase phases[2] = {RB_PHASE_ALIGNING, RB_PHASE_EVALUATING};
    struct seconds s = {0};
    for (int i = 0; i < 2; i++)
        s.thought += cost[i] / rb_rates_of(r, phases[i], WIDE);
    for (int i = 0; i < 2; i++) {
        double seconds = cost[i] / (truth * share[i]) * (1 + noise);
        s.taken += seconds;
        rb_rates_learn(r, phases[i], WIDE, cost[i], seconds);
    }
    return s;
}

static double off(struct seconds s)
{
    return fabs(s.thought - s.taken) / s.taken;
}

/* The first job of a machine is foretold within 30 % by what was timed at the start, the tenth
 * within 10 %, though others make each job up to a sixth slower. */
static void test_history(void **state)
{
    (void)state;
    const double truth = 1.6e11; /* operations a second: SkylakeX here */
    static const double noise[] = {0.00, 0.16, 0.03, 0.11, 0.16, 0.00, 0.08, 0.14, 0.01};
    for (size_t m = 0; m < sizeof machines / sizeof machines[0]; m++) {
        struct rb_rates r = {0};
        rb_rates_settle(&r, truth);
        for (size_t j = 0; j < sizeof noise / sizeof noise[0]; j++) {
            double error = off(run_job(&r, m, truth, noise[j]));
            if (j == 0 && !(error < 0.30))
                fail_msg("machine %zu: the first job was off by %.0f %%", m, 100 * error);
        }
        for (int quiet = 0; quiet < 2; quiet++) { /* the tenth, whichever it is */
            struct rb_rates tenth = r;
            double error = off(run_job(&tenth, m, truth, quiet ? 0 : 0.16));
            if (!(error < 0.10))
                fail_msg("machine %zu: the tenth job was off by %.0f %%", m, 100 * error);
        }
    }
}

static void test_settle(void **state)
{
    (void)state;
    struct rb_rates r = {.machine = 1e11};
    rb_rates_settle(&r, 1.1e11); /* nothing was learnt: the newer one */
    assert_near("newer", r.machine, 1.1e11, 1);
    r.factor[RB_PHASE_ALIGNING] = 0.8;
    rb_rates_settle(&r, 0.4e11);
    assert_near("kept", r.machine, 1.1e11, 1);
    assert_near("factor", r.factor[RB_PHASE_ALIGNING], 0.8, 1e-9);
}

static void test_machine(void **state)
{
    (void)state;
    double rate = rb_rates_time_machine();
    assert_true(isfinite(rate) && rate > 1e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_anything_is_known), cmocka_unit_test(test_learning),
        cmocka_unit_test(test_history), cmocka_unit_test(test_settle),
        cmocka_unit_test(test_machine)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
