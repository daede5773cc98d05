// LINK: server_work
/* What a submission looks at on the loop: room in the queue, and whether a retry may take over what
 * the old job had found. What it checks on the pool is the end-to-end tests'. */
#include "server/work/submit.c"

#include "unit/work_support.h"

static enum rb_status room(size_t count, bool batch, uint64_t limit)
{
    struct rb_submission s = {.w = &work, .count = count, .batch = batch};
    work.options.queue_limit = limit;
    err = (struct rb_error){0};
    return room_for(&s, &err);
}

static void test_room(void **state)
{
    (void)state;
    /* An empty queue: up to the limit fits, more never does. */
    assert_ok(room(1, false, 1));
    assert_ok(room(3, true, 3));
    assert_int_equal(room(4, true, 3), RB_EINPUT);
    assert_string_equal(err.pointer, "/jobs");
    /* Two wait: what would fit an empty queue has to wait. */
    int64_t running = add_job(1000);
    (void)add_job(1001);
    (void)add_job(1002);
    assert_ok(change_job(running, RB_JOB_RUNNING, 1)); /* it no longer waits */
    assert_ok(room(1, true, 3));
    assert_int_equal(room(2, true, 3), RB_EQUEUEFULL);
    assert_int_equal(room(3, true, 3), RB_EQUEUEFULL);
    assert_int_equal(room(4, true, 3), RB_EINPUT);
    assert_int_equal(room(1, false, 2), RB_EQUEUEFULL);
    work.draining = true;
    assert_int_equal(room(1, false, 100), RB_EDRAINING);
    work.draining = false;
}

static void test_same_inputs(void **state)
{
    (void)state;
    static const struct rb_job_input inputs[] = {
        {.role = "model_a", .name = "a", .sha256 = "aa"},
        {.role = "model_b", .name = "b", .sha256 = "bb"},
    };
    struct rb_job job;
    struct rb_submission_item item = {0};
    rb_job_init(&job);
    memcpy(job.inputs, inputs, sizeof inputs);
    memcpy(item.inputs, inputs, sizeof inputs);
    job.input_count = item.input_count = 2;
    assert_true(same_inputs(&job, &item));
    strcpy(item.inputs[1].name, "renamed"); /* the same bytes */
    assert_true(same_inputs(&job, &item));
    item.input_count = 1;
    assert_false(same_inputs(&job, &item));
    item.input_count = 2;
    strcpy(item.inputs[1].sha256, "cc");
    assert_false(same_inputs(&job, &item));
    strcpy(item.inputs[1].sha256, "bb");
    strcpy(item.inputs[1].role, "align_dataset");
    assert_false(same_inputs(&job, &item));
    strcpy(item.inputs[1].role, "model_b");
    job.inputs[0].sha256[0] = item.inputs[0].sha256[0] = '\0'; /* neither is known */
    assert_false(same_inputs(&job, &item));
}

static void test_places_of_errors(void **state)
{
    (void)state;
    struct rb_submission s = {.batch = false};
    strcpy(s.error.pointer, "/align/heads");
    place_error(&s, 3);
    assert_string_equal(s.error.pointer, "/align/heads");
    s.batch = true;
    place_error(&s, 3);
    assert_string_equal(s.error.pointer, "/jobs/3/align/heads");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_room),
                                       cmocka_unit_test(test_same_inputs),
                                       cmocka_unit_test(test_places_of_errors)};
    return cmocka_run_group_tests(tests, set_up_work, tear_down_work);
}
