// LINK: server_work
/* Which job is claimed next, which may run beside another, and what becomes of those over which a
 * process died. Runs are put in by hand: what they compute is the end-to-end tests'. */
#include "server/work/queue.c"

#include "unit/work_support.h"

static void tidy(void)
{
    struct rb_job_filter all = {.statuses = RB_JOB_ANY, .limit = 100};
    struct rb_job_page page;
    assert_ok(rb_store_begin(store, &err)); /* all of it: one sync of the disk */
    assert_ok(rb_jobs_list(store, &all, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        int64_t seq = page.rows[i].seq;
        enum rb_job_status status = page.rows[i].job.status;
        if (status == RB_JOB_RUNNING)
            assert_ok(change_job(seq, RB_JOB_QUEUED, 1));
        if (status == RB_JOB_RUNNING || status == RB_JOB_QUEUED || status == RB_JOB_CANCELING)
            assert_ok(change_job(seq, RB_JOB_CANCELED, 1));
        assert_ok(rb_job_delete(store, seq, &err));
    }
    rb_job_page_deinit(&page);
    assert_ok(rb_store_end(store, RB_OK, &err));
    work.run_count = 0;
    work.alone = false;
}

/* A job that a process died over `times` times, the last while it ran. */
static int64_t died_over(unsigned times)
{
    int64_t seq = add_job(1000);
    for (unsigned i = 0; i < times; i++) {
        if (i > 0)
            assert_ok(change_job(seq, RB_JOB_QUEUED, 1));
        assert_ok(change_job(seq, RB_JOB_RUNNING, 1));
    }
    return seq;
}

static void test_recover(void **state)
{
    (void)state;
    int64_t once = died_over(1), twice = died_over(2), thrice = died_over(3);
    int64_t canceling = died_over(1), waiting = add_job(1001), done = died_over(1);
    assert_ok(change_job(canceling, RB_JOB_CANCELING, 1));
    assert_ok(change_job(done, RB_JOB_SUCCEEDED, 1));
    assert_ok(rb_queue_recover(&work, &err));
    assert_int_equal(status_of(once), RB_JOB_QUEUED);
    assert_int_equal(status_of(twice), RB_JOB_QUEUED);
    assert_int_equal(status_of(thrice), RB_JOB_FAILED);
    assert_int_equal(status_of(canceling), RB_JOB_CANCELED);
    assert_int_equal(status_of(waiting), RB_JOB_QUEUED);
    assert_int_equal(status_of(done), RB_JOB_SUCCEEDED);
    assert_int_equal(attempt_of(once), 1); /* it was charged */
    struct rb_job_row row;
    assert_ok(rb_job_get_seq(store, thrice, &row, &err));
    assert_int_equal(row.job.error.status, RB_ECRASHLOOP);
    rb_job_row_deinit(&row);
    tidy();
}

/* More than one page of them. */
static void test_recover_many(void **state)
{
    (void)state;
    enum { MANY = LIST_LIMIT + 7 };
    static int64_t seqs[MANY];
    assert_ok(rb_store_begin(store, &err));
    for (size_t i = 0; i < MANY; i++)
        seqs[i] = died_over(1);
    assert_ok(rb_queue_recover(&work, &err));
    assert_ok(rb_store_end(store, RB_OK, &err));
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(status_of(seqs[i]), RB_JOB_QUEUED);
    for (int i = 0; i < 6; i++)
        tidy();
}

static void test_joining(void **state)
{
    (void)state;
    struct rb_job_row fresh = {.run_attempts = 0}, died = {.run_attempts = 1};
    work.run_count = 0;
    work.alone = true; /* of a run that has ended */
    assert_true(may_join(&work, &fresh) && may_join(&work, &died));
    work.run_count = 1;
    work.alone = false;
    assert_true(may_join(&work, &fresh));
    assert_false(may_join(&work, &died)); /* it runs alone … */
    work.alone = true;
    assert_false(may_join(&work, &fresh)); /* … so nothing joins it */
    assert_false(may_join(&work, &died));
    work.run_count = 0;
}

/* Nothing is claimed before the start, while it drains, or without room; a wake looks once. */
static void test_waking(void **state)
{
    (void)state;
    struct rb_room room = {.is_short = true};
    int64_t seq = add_job(1000);
    rb_queue_wake(&work);
    assert_false(work.looking);
    work.started = work.draining = true;
    rb_queue_wake(&work);
    assert_false(work.looking);
    work.draining = false;
    work.options.room = &room;
    rb_queue_wake(&work);
    assert_true(work.looking);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    assert_false(work.looking);
    assert_int_equal(status_of(seq), RB_JOB_QUEUED);
    work.options.room = NULL;
    work.options.parallel_jobs = 0; /* as if all places were taken */
    rb_queue_wake(&work);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(status_of(seq), RB_JOB_QUEUED);
    work.options.parallel_jobs = 2;
    work.started = false;
    tidy();
}

/* A claim is counted and committed before the run begins; what cannot begin goes back uncharged. */
static void test_claims(void **state)
{
    (void)state;
    int64_t low = add_job(1000), high = add_job(1001);
    struct rb_job_patch patch = {.given = RB_PATCH_PRIORITY, .priority = 5};
    bool claimed = false;
    assert_ok(rb_job_edit(store, high, &patch, 0, 1, NULL, &err));
    assert_ok(claim_next(&work, &claimed, &err));
    assert_true(claimed);
    assert_int_equal(work.run_count, 1);
    assert_int_equal(status_of(high), RB_JOB_RUNNING);
    assert_int_equal(attempt_of(high), 1);
    assert_int_equal(status_of(low), RB_JOB_QUEUED);
    assert_ok(claim_next(&work, &claimed, &err));
    assert_true(claimed);
    assert_int_equal(work.run_count, 2);
    assert_int_equal(status_of(low), RB_JOB_RUNNING);
    assert_ok(claim_next(&work, &claimed, &err));
    assert_false(claimed);
    work.draining = true; /* the runs have not begun: they are put back, nothing charged */
    for (struct rb_run *run = work.runs; run != NULL; run = rb_run_next(run))
        rb_run_stop(run, RB_RUN_DRAIN);
    while (work.run_count > 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    work.draining = false;
    assert_int_equal(status_of(high), RB_JOB_QUEUED);
    assert_int_equal(attempt_of(high), 0);
    tidy();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recover), cmocka_unit_test(test_recover_many),
        cmocka_unit_test(test_joining), cmocka_unit_test(test_waking),
        cmocka_unit_test(test_claims),
    };
    return cmocka_run_group_tests(tests, set_up_work, tear_down_work);
}
