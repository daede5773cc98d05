// LINK: server_work
/* How long a job will take, with several workers and on a machine that does other things besides;
 * and which points both curves share. */
#include "server/work/run_progress.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

/* The rate of every phase is that of the plan's first guess. */
static void set_up(struct rb_run *run, struct rb_work *w)
{
    *w = (struct rb_work){.options = {.workers = 4}};
    w->rates.machine = 1e9;
    *run = (struct rb_run){.work = w};
    run->row.job.phase = RB_PHASE_EVALUATING;
}

static void test_wall_not_core_seconds(void **state)
{
    (void)state;
    struct rb_run run;
    struct rb_work w;
    struct rb_run_phase phases[RB_PHASE_COUNT] = {0};
    set_up(&run, &w);
    /* Half is done, in as long as was thought: what is left takes that again. */
    double thought = expected(&run, RB_PHASE_EVALUATING, 1e11);
    phases[RB_PHASE_EVALUATING] = (struct rb_run_phase){
        .total = 2e11, .done = 1e11, .busy_seconds = 4 * thought, .wall_seconds = thought};
    assert_true(fabs(eta(&run, phases) - thought) < 1e-9 * thought);
    /* It took twice as long: nearly all of that holds for the half that is left, and for the phase
     * that comes, of which nothing else is known. */
    phases[RB_PHASE_EVALUATING].wall_seconds = 2 * thought;
    double weight = 1e11 / (1e11 + 2e10);
    double slow = (2 * thought + SECONDS_UNPACED) / (thought + SECONDS_UNPACED);
    assert_true(slow > 1.9 && slow < 2);
    double rest = (1 - weight) * slow * thought + weight * 2 * thought;
    assert_true(fabs(eta(&run, phases) - rest) < 1e-9 * thought);
    phases[RB_PHASE_WRITING].total = 1e9;
    rest += slow * expected(&run, RB_PHASE_WRITING, 1e9);
    assert_true(fabs(eta(&run, phases) - rest) < 1e-9 * thought);
}

static void test_nothing_left(void **state)
{
    (void)state;
    struct rb_run run;
    struct rb_work w;
    struct rb_run_phase phases[RB_PHASE_COUNT] = {0};
    set_up(&run, &w);
    phases[RB_PHASE_WRITING] = (struct rb_run_phase){
        .total = 0.3, .done = 0.1 + 0.1 + 0.1 - 1e-16, .busy_seconds = 1, .wall_seconds = 1};
    assert_true(eta(&run, phases) == 0);
}

/* By the weights: what is over counts whole, the present phase by its share, what is to come not at
 * all; and it never reaches the end before the end. */
static void test_fraction(void **state)
{
    (void)state;
    struct rb_run run;
    struct rb_work w;
    struct rb_progress p;
    set_up(&run, &w);
    run.phases[RB_PHASE_ALIGNING] = (struct rb_run_phase){.weight = 1e9, .total = 4, .done = 1};
    run.phases[RB_PHASE_EVALUATING] = (struct rb_run_phase){.weight = 2e9, .total = 8, .done = 2};
    run.phases[RB_PHASE_WRITING] = (struct rb_run_phase){.weight = 1e9, .total = 5};
    rb_run_progress(&run, &p);
    assert_true(fabs(p.total - 4) < 1e-9);
    assert_true(fabs(p.done - 1.5) < 1e-9);
}

static void test_shares(void **state)
{
    (void)state;
    struct rb_work w;
    struct rb_run run;
    struct rb_alignment a = {.certificate = {.present = true, .equivalent = true}};
    double lambdas[3] = {0, 0.5, 1};
    set_up(&run, &w);
    run.spec.has_evaluate = true;
    run.spec.evaluate.options.control = true;
    run.spec.lambdas.values = lambdas;
    run.spec.lambdas.count = 3;
    run.spec.align.options.components = RB_COMPONENT_FF;
    run.alignment = &a;
    assert_true(rb_run_shares(&run, 0));
    assert_false(rb_run_shares(&run, 1));
    assert_true(rb_run_shares(&run, 2));
    a.certificate.equivalent = false; /* moved B is another model */
    assert_true(rb_run_shares(&run, 0));
    assert_false(rb_run_shares(&run, 2));
    run.alignment = NULL;
    assert_false(rb_run_shares(&run, 2));
    run.spec.align.options.components = 0; /* nothing moves */
    assert_true(rb_run_shares(&run, 1));
    run.spec.evaluate.options.control = false;
    assert_false(rb_run_shares(&run, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wall_not_core_seconds),
        cmocka_unit_test(test_nothing_left),
        cmocka_unit_test(test_fraction),
        cmocka_unit_test(test_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
