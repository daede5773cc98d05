// LINK: server_work
/* The decisions of a run: which points are still to be evaluated, how it ends, what it waits for.
 */
#include "server/work/run.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { POINTS = 3 };

struct fixture {
    struct rb_work work;
    struct rb_run run;
    double lambdas[POINTS];
    struct rb_point points[RB_CURVE_COUNT][POINTS];
    bool known[RB_CURVE_COUNT][POINTS];
};

static void set_up(struct fixture *f, bool control)
{
    *f = (struct fixture){.lambdas = {0, 0.5, 1}};
    f->run.work = &f->work;
    f->run.spec.lambdas.values = f->lambdas;
    f->run.spec.lambdas.count = POINTS;
    f->run.spec.points = POINTS;
    f->run.spec.has_evaluate = true;
    f->run.spec.evaluate.options.control = control;
    for (int c = 0; c < RB_CURVE_COUNT; c++) {
        f->run.curves[c].points = f->points[c];
        f->run.curves[c].known = f->known[c];
    }
}

/* Whichever single point is missing, of a curve that is asked for: the job is not whole, and the
 * evaluating stage is needed. */
static void test_one_point_missing(void **state)
{
    (void)state;
    for (int control = 0; control < 2; control++)
        for (int curve = 0; curve < 2; curve++)
            for (size_t missing = 0; missing < POINTS; missing++) {
                struct fixture f;
                bool members[POINTS] = {false};
                set_up(&f, control);
                memset(f.known, 1, sizeof f.known);
                assert_true(rb_run_members(&f.run, members));
                assert_true(members[0] && members[1] && members[2]);
                assert_false(rb_stage_evaluating.needed(&f.run));
                f.known[curve][missing] = false;
                bool asked_for = control || curve == RB_CURVE_ALIGNED;
                assert_int_equal(rb_run_members(&f.run, members), !asked_for);
                assert_int_equal(rb_stage_evaluating.needed(&f.run), asked_for);
                f.run.spec.has_evaluate = false;
                assert_false(rb_stage_evaluating.needed(&f.run));
            }
}

/* Where norms are folded there is a third curve, of the control's points; its ends are the
 * control's. It decides nothing about where the others go on. */
static void test_the_folded_control(void **state)
{
    (void)state;
    for (int control = 0; control < 2; control++)
        for (int folds = 0; folds < 2; folds++) {
            struct fixture f;
            bool members[POINTS] = {false};
            set_up(&f, control);
            f.run.spec.align.options.components = RB_COMPONENT_FF;
            f.run.spec.align.options.fold = folds;
            memset(f.known, 1, sizeof f.known);
            f.known[RB_CURVE_FOLDED][1] = false;
            assert_true(rb_run_members(&f.run, members));
            assert_int_equal(rb_run_folded_left(&f.run, members), control && folds ? 1 : 0);
            assert_int_equal(rb_stage_evaluating.needed(&f.run), control && folds);
            members[1] = false;
            assert_int_equal(rb_run_folded_left(&f.run, members), 0);
            for (size_t i = 0; i < POINTS; i++)
                assert_int_equal(rb_run_last_same(&f.run, RB_CURVE_CONTROL, i),
                                 control && folds && i != 1 ? RB_CURVE_FOLDED : RB_CURVE_CONTROL);
            assert_int_equal(rb_run_last_same(&f.run, RB_CURVE_ALIGNED, 1), RB_CURVE_ALIGNED);
        }
}

static void test_final_status(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, false);
    assert_int_equal(final_job_status(&f.run), RB_JOB_SUCCEEDED);
    f.run.final_status = RB_ENUMERIC;
    assert_int_equal(final_job_status(&f.run), RB_JOB_FAILED);
    f.run.why = RB_RUN_DRAIN; /* whatever else it came to: the next process goes on */
    assert_int_equal(final_job_status(&f.run), RB_JOB_QUEUED);
    f.run.why = RB_RUN_CANCEL;
    assert_int_equal(final_job_status(&f.run), RB_JOB_CANCELED);
}

static void test_what_may_pass(void **state)
{
    (void)state;
    static const enum rb_status may[] = {RB_EDISKFULL, RB_ESTORE, RB_EFILES, RB_ENOMEM};
    static const enum rb_status never[] = {RB_EIO,       RB_EINPUT,    RB_EMODELS,   RB_ENUMERIC,
                                           RB_ENOTFOUND, RB_EINTERNAL, RB_ECANCELED, RB_EDATASET};
    for (size_t i = 0; i < sizeof may / sizeof may[0]; i++)
        assert_true(may_pass(may[i]));
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        assert_false(may_pass(never[i]));
}

/* A stop that weighs more is not taken back by one that weighs less. */
static void test_stops(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, false);
    f.run.closing = 1; /* nothing runs any more: too late */
    rb_run_stop(&f.run, RB_RUN_CANCEL);
    assert_int_equal(f.run.why, RB_RUN_GOES_ON);
    f.run.closing = 0;
    f.run.why = RB_RUN_CANCEL;
    rb_run_stop(&f.run, RB_RUN_DRAIN);
    assert_int_equal(f.run.why, RB_RUN_CANCEL);
    assert_false(atomic_load(&f.run.stop));
}

static void test_merged_left(void **state)
{
    (void)state;
    struct fixture f;
    double merged[3] = {0.25, 0.5, 0.75};
    struct rb_artifact there[2] = {0};
    set_up(&f, false);
    f.run.spec.merged.values = merged;
    f.run.spec.merged.count = 3;
    assert_int_equal(rb_run_merged_left(&f.run), 3);
    rb_artifact_merged_name(0.5, there[0].name);
    strcpy(there[1].name, "barrier.json");
    f.run.artifacts = there;
    f.run.artifact_count = 2;
    assert_int_equal(rb_run_merged_left(&f.run), 2);
    assert_true(rb_run_has_artifact(&f.run, "barrier.json"));
    assert_false(rb_run_has_artifact(&f.run, "barrier.csv"));
}

static void test_moves(void **state)
{
    (void)state;
    struct fixture f;
    static char job[] = "job";
    set_up(&f, true);
    assert_false(rb_run_moves(&f.run));
    f.run.spec.align.options.components = RB_COMPONENT_MHA;
    assert_true(rb_run_moves(&f.run));
    f.run.spec.align.options.components = 0;
    f.run.spec.align.from_job = job;
    assert_true(rb_run_moves(&f.run));
    assert_true(rb_run_has_control(&f.run));
    f.run.spec.has_evaluate = false;
    assert_false(rb_run_has_control(&f.run));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_point_missing),
        cmocka_unit_test(test_the_folded_control),
        cmocka_unit_test(test_final_status),
        cmocka_unit_test(test_what_may_pass),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_merged_left),
        cmocka_unit_test(test_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
