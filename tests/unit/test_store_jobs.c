// LINK: server_store
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/store/datasets.h"
#include "server/store/jobs_read.h"
#include "server/store/query.h"
#include "server/store/models.h"
#include "server/store/terms.h"
#include "unit/store_support.h"

#include <math.h>

/* ---- adding and reading ---- */

static void test_add(void **state)
{
    (void)state;
    struct rb_job job;
    struct rb_job_row row;
    struct rb_event_row event;
    int64_t seq;
    struct rb_label labels[] = {{.key = "a-b", .value = "1"}, {.key = "sweep", .value = "x:y"}};
    make_job(&job, 1234);
    job.name = "heads on 1000 lines";
    job.priority = -7;
    job.labels = (struct rb_labels){.items = labels, .count = 2};
    memset(job.inputs[0].sha256, 'a', 64);
    strcpy(job.retry_of, "job_01234567-89ab-7cde-8f01-23456789abcd");
    assert_ok(rb_job_add(store, &job, &seq, &event, &err));
    assert_int_equal(event.event.type, RB_EVENT_STATUS);
    assert_string_equal(event.event.job, job.id);
    assert_true(event.event.id > 0);
    assert_non_null(strstr(event.event.data_json, "\"status\":\"queued\""));
    rb_event_row_deinit(&event);
    reopen_store();
    assert_ok(rb_job_get(store, job.id, &row, &err));
    assert_int_equal(row.seq, seq);
    assert_int_equal(row.run_attempts, 0);
    assert_string_equal(row.job.id, job.id);
    assert_int_equal(row.job.status, RB_JOB_QUEUED);
    assert_int_equal(row.job.phase, RB_PHASE_NONE);
    assert_string_equal(row.job.name, job.name);
    assert_int_equal(row.job.priority, -7);
    assert_string_equal(row.job.spec_json, job.spec_json);
    assert_int_equal(row.job.labels.count, 2);
    assert_string_equal(row.job.labels.items[0].key, "a-b");
    assert_string_equal(row.job.labels.items[1].value, "x:y");
    assert_int_equal(row.job.input_count, 3);
    assert_string_equal(row.job.inputs[1].role, "model_b");
    assert_string_equal(row.job.inputs[0].sha256, job.inputs[0].sha256);
    assert_string_equal(row.job.inputs[1].sha256, "");
    assert_int_equal(row.job.created_ms, 1234);
    assert_int_equal(row.job.updated_ms, 1234);
    assert_int_equal(row.job.started_ms, -1);
    assert_int_equal(row.job.finished_ms, -1);
    assert_int_equal(row.job.version, 1);
    assert_string_equal(row.job.retry_of, job.retry_of);
    assert_true(isnan(row.job.summary.reduction));
    assert_int_equal(row.job.summary.equivalent, -1);
    assert_true(isnan(row.job.timings[RB_PHASE_ALIGNING]));
    assert_int_equal(row.job.error.status, RB_OK);
    rb_job_row_deinit(&row);
    assert_int_equal(rb_job_get(store, "job_none", &row, &err), RB_ENOTFOUND);
    assert_int_equal(rb_job_add(store, &job, &seq, NULL, &err), RB_EINTERNAL); /* the id is taken */
}

/* ---- transitions ---- */

static void expect(int64_t seq, enum rb_job_status status, uint32_t attempt, uint32_t run_attempts,
                   uint64_t version)
{
    struct rb_job_row row;
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    assert_int_equal(row.job.status, status);
    assert_int_equal(row.job.attempt, attempt);
    assert_int_equal(row.run_attempts, run_attempts);
    assert_int_equal(row.job.version, version);
    rb_job_row_deinit(&row);
}

static void test_life(void **state)
{
    (void)state;
    int64_t seq = add_job(1);
    struct rb_job_row row;
    struct rb_event_row event;
    assert_ok(change_job(seq, RB_JOB_RUNNING, 100));
    expect(seq, RB_JOB_RUNNING, 1, 1, 2);
    struct rb_job_change phase = {.to = RB_JOB_RUNNING, .phase = RB_PHASE_SOLVING, .at_ms = 110};
    assert_ok(rb_job_change(store, seq, &phase, &event, &err));
    assert_string_equal(event.event.data_json,
                        "{\"status\":\"running\",\"phase\":\"solving\",\"attempt\":1,\"version\":3,"
                        "\"error\":null}");
    rb_event_row_deinit(&event);
    double timings[RB_PHASE_COUNT];
    for (int i = 0; i < RB_PHASE_COUNT; i++)
        timings[i] = i == RB_PHASE_WRITING ? (double)NAN : 0.1 * i;
    struct rb_job_summary summary = {.barrier_chord = 0.125,
                                     .barrier_mean = 1.0 / 3,
                                     .control_barrier_chord = NAN,
                                     .control_barrier_mean = NAN,
                                     .reduction = NAN,
                                     .equivalent = 0,
                                     .verdict = {.kind = RB_MERGE_BETTER,
                                                 .near = true,
                                                 .lambda = 0.25,
                                                 .loss = 1.5,
                                                 .metric = 2.5,
                                                 .parent_loss = {3, 4},
                                                 .parent_metric = {5, 6},
                                                 .metric_name = RB_ACCURACY,
                                                 .chance = {7, 0.75}}};
    struct rb_artifact artifacts[2] = {{.name = "b.json", .bytes = 10},
                                       {.name = "a.csv", .bytes = 20}};
    memset(artifacts[0].sha256, 'c', 64);
    struct rb_job_change done = {.to = RB_JOB_SUCCEEDED,
                                 .at_ms = 200,
                                 .summary = &summary,
                                 .timings = timings,
                                 .peak_bytes = 1 << 20,
                                 .artifacts = artifacts,
                                 .artifact_count = 2};
    assert_ok(rb_job_change(store, seq, &done, NULL, &err));
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    assert_int_equal(row.job.status, RB_JOB_SUCCEEDED);
    assert_int_equal(row.job.phase, RB_PHASE_NONE);
    assert_int_equal(row.job.started_ms, 100);
    assert_int_equal(row.job.finished_ms, 200);
    assert_int_equal(row.job.updated_ms, 200);
    assert_true(row.job.summary.barrier_mean == 1.0 / 3);
    assert_true(isnan(row.job.summary.reduction));
    assert_int_equal(row.job.summary.equivalent, 0);
    struct rb_merge_verdict *v = &row.job.summary.verdict;
    assert_int_equal(v->kind, RB_MERGE_BETTER);
    assert_true(v->near && v->lambda == 0.25 && v->loss == 1.5 && v->metric == 2.5);
    assert_true(v->parent_loss[0] == 3 && v->parent_loss[1] == 4);
    assert_true(v->parent_metric[0] == 5 && v->parent_metric[1] == 6);
    assert_int_equal(v->metric_name, RB_ACCURACY);
    assert_true(v->chance.loss == 7 && v->chance.accuracy == 0.75);
    assert_true(row.job.timings[RB_PHASE_EVALUATING] == timings[RB_PHASE_EVALUATING]);
    assert_true(isnan(row.job.timings[RB_PHASE_WRITING]));
    assert_int_equal(row.job.peak_bytes, 1 << 20);
    assert_int_equal(row.job.artifact_count, 2);
    assert_string_equal(row.job.artifacts[0].name, "a.csv");
    assert_string_equal(row.job.artifacts[1].sha256, artifacts[0].sha256);
    rb_job_row_deinit(&row);
}

static void test_failure(void **state)
{
    (void)state;
    struct rb_job_row row;
    struct rb_event_row event;
    int64_t seq = add_job(1);
    assert_ok(change_job(seq, RB_JOB_RUNNING, 2));
    struct rb_job_error error = {.status = RB_EDISKFULL, .detail = "no \"room\""};
    struct rb_job_change failed = {.to = RB_JOB_FAILED, .at_ms = 3, .error = &error};
    assert_ok(rb_job_change(store, seq, &failed, &event, &err));
    assert_non_null(strstr(event.event.data_json, "\"no_space\""));
    rb_event_row_deinit(&event);
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    assert_int_equal(row.job.error.status, RB_EDISKFULL);
    assert_string_equal(row.job.error.detail, "no \"room\"");
    rb_job_row_deinit(&row);
}

/* All 36 pairs of statuses: the allowed ones work, the others name both. */
static void test_transitions(void **state)
{
    (void)state;
    static const char allowed[RB_JOB_STATUS_COUNT][RB_JOB_STATUS_COUNT + 1] = {
        /*               q r c s f x */
        [RB_JOB_QUEUED] = ".X..XX",    [RB_JOB_RUNNING] = "XXXXX.", [RB_JOB_CANCELING] = ".....X",
        [RB_JOB_SUCCEEDED] = "......", [RB_JOB_FAILED] = "......",  [RB_JOB_CANCELED] = "......",
    };
    static const enum rb_job_status way[RB_JOB_STATUS_COUNT][3] = {
        /* how a job gets there from queued; 0 (queued) ends */
        [RB_JOB_RUNNING] = {RB_JOB_RUNNING},
        [RB_JOB_CANCELING] = {RB_JOB_RUNNING, RB_JOB_CANCELING},
        [RB_JOB_SUCCEEDED] = {RB_JOB_RUNNING, RB_JOB_SUCCEEDED},
        [RB_JOB_FAILED] = {RB_JOB_FAILED},
        [RB_JOB_CANCELED] = {RB_JOB_CANCELED},
    };
    for (int from = 0; from < RB_JOB_STATUS_COUNT; from++) {
        for (int to = 0; to < RB_JOB_STATUS_COUNT; to++) {
            int64_t seq = add_job(1);
            for (int i = 0; i < 3 && way[from][i] != RB_JOB_QUEUED; i++)
                assert_ok(change_job(seq, way[from][i], 2));
            enum rb_status status = change_job(seq, (enum rb_job_status)to, 3);
            if (allowed[from][to] == 'X') {
                assert_int_equal(status, RB_OK);
                continue;
            }
            assert_int_equal(status, RB_ECONFLICT);
            assert_non_null(strstr(err.detail, rb_job_status_names[from]));
            assert_non_null(strstr(err.detail, rb_job_status_names[to]));
        }
    }
    assert_int_equal(change_job(9999, RB_JOB_RUNNING, 3), RB_ENOTFOUND);
}

/* Runs that leave nothing behind are counted; a drain's is taken back, progress begins anew. */
static void test_run_attempts(void **state)
{
    (void)state;
    int64_t seq = add_job(1);
    for (uint32_t run = 1; run <= 2; run++) {
        assert_ok(change_job(seq, RB_JOB_RUNNING, run));
        assert_ok(change_job(seq, RB_JOB_QUEUED, run)); /* as recovery does */
    }
    expect(seq, RB_JOB_QUEUED, 2, 2, 5);
    assert_ok(change_job(seq, RB_JOB_RUNNING, 9));
    expect(seq, RB_JOB_RUNNING, 3, 3, 6);
    struct rb_job_change drain = {.to = RB_JOB_QUEUED, .uncharged = true, .at_ms = 10};
    assert_ok(rb_job_change(store, seq, &drain, NULL, &err));
    expect(seq, RB_JOB_QUEUED, 2, 2, 7);
    assert_ok(change_job(seq, RB_JOB_RUNNING, 11));
    struct rb_stage_row stage = {
        .stage = "moments", .product = "{}", .seconds = 1, .finished_ms = 12};
    assert_ok(rb_stage_add(store, seq, &stage, &err));
    expect(seq, RB_JOB_RUNNING, 3, 1, 8);
    struct rb_job_row row;
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    assert_int_equal(row.job.started_ms, 1); /* of the first run */
    rb_job_row_deinit(&row);
}

/* ---- the queue ---- */

static int64_t add_with_priority(int32_t priority)
{
    struct rb_job job;
    int64_t seq;
    make_job(&job, 1000);
    job.priority = priority;
    assert_ok(rb_job_add(store, &job, &seq, NULL, &err));
    return seq;
}

static void test_next(void **state)
{
    (void)state;
    struct rb_job_row row;
    bool found;
    int64_t oldest;
    assert_ok(rb_job_next(store, &found, &row, &err));
    assert_false(found);
    assert_ok(rb_jobs_oldest_queued(store, &oldest, &err));
    assert_int_equal(oldest, -1);
    int64_t low = add_with_priority(-100), first = add_with_priority(0);
    int64_t second = add_with_priority(0), high = add_with_priority(100);
    int64_t order[] = {high, first, second, low};
    for (size_t i = 0; i < 4; i++) {
        assert_ok(rb_job_next(store, &found, &row, &err));
        assert_true(found);
        assert_int_equal(row.seq, order[i]);
        rb_job_row_deinit(&row);
        assert_ok(change_job(order[i], RB_JOB_RUNNING, 5));
    }
    assert_ok(rb_job_next(store, &found, &row, &err));
    assert_false(found);
    assert_ok(change_job(low, RB_JOB_QUEUED, 6)); /* back in its old place */
    assert_ok(rb_jobs_oldest_queued(store, &oldest, &err));
    assert_int_equal(oldest, 1000);
}

static void test_counts(void **state)
{
    (void)state;
    uint64_t counts[RB_JOB_STATUS_COUNT];
    int64_t a = add_job(1);
    (void)add_job(1);
    assert_ok(change_job(a, RB_JOB_CANCELED, 5));
    assert_ok(rb_jobs_count(store, counts, &err));
    assert_int_equal(counts[RB_JOB_QUEUED], 1);
    assert_int_equal(counts[RB_JOB_CANCELED], 1);
    assert_ok(rb_job_delete(store, a, &err));
    assert_ok(rb_jobs_count(store, counts, &err));
    assert_int_equal(counts[RB_JOB_CANCELED], 0);
}

/* ---- editing and deleting ---- */

static void test_edit(void **state)
{
    (void)state;
    int64_t seq = add_job(1);
    struct rb_job_row row;
    struct rb_label labels[] = {{.key = "k", .value = "v"}};
    struct rb_job_patch patch = {.given = RB_PATCH_NAME | RB_PATCH_LABELS | RB_PATCH_PRIORITY,
                                 .name = "new",
                                 .labels = {labels, 1},
                                 .priority = 9};
    assert_int_equal(rb_job_edit(store, seq, &patch, 2, 50, NULL, &err), RB_EPRECOND);
    assert_ok(rb_job_edit(store, seq, &patch, 1, 50, NULL, &err));
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    assert_string_equal(row.job.name, "new");
    assert_int_equal(row.job.priority, 9);
    assert_int_equal(row.job.labels.count, 1);
    assert_int_equal(row.job.version, 2);
    assert_int_equal(row.job.updated_ms, 50);
    rb_job_row_deinit(&row);
    struct rb_job_patch less = {.given = RB_PATCH_NAME}; /* takes the name, keeps the rest */
    assert_ok(rb_job_edit(store, seq, &less, 0, 51, NULL, &err));
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    assert_null(row.job.name);
    assert_int_equal(row.job.priority, 9);
    assert_int_equal(row.job.labels.count, 1);
    rb_job_row_deinit(&row);
    assert_int_equal(rb_job_edit(store, 999, &less, 0, 51, NULL, &err), RB_ENOTFOUND);
}

/* What is found while a job runs stays in its row, is heard, and a later one takes its place. */
static void test_warn(void **state)
{
    (void)state;
    int64_t seq = add_job(1);
    struct rb_job_row row;
    struct rb_event_row event;
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    assert_string_equal(row.job.kept_warning, "");
    rb_job_row_deinit(&row);
    assert_ok(rb_job_warn(store, seq, "learning starts anew", 50, &event, &err));
    assert_non_null(strstr(event.event.data_json, "\"version\":2"));
    rb_event_row_deinit(&event);
    reopen_store();
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    assert_string_equal(row.job.kept_warning, "learning starts anew");
    assert_string_equal(row.job.warning, "");
    assert_int_equal(row.job.version, 2);
    assert_int_equal(row.job.updated_ms, 50);
    rb_job_row_deinit(&row);
    assert_ok(rb_job_warn(store, seq, "again", 51, NULL, &err));
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    assert_string_equal(row.job.kept_warning, "again");
    rb_job_row_deinit(&row);
    assert_int_equal(rb_job_warn(store, 999, "?", 51, NULL, &err), RB_ENOTFOUND);
}

static uint64_t count_rows(const char *table)
{
    char sql[64];
    struct rb_query q;
    bool row;
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
    rb_query_start(store, sql, &q);
    assert_ok(rb_query_step(&q, &row, &err));
    uint64_t count = rb_column_uint(&q, 0);
    assert_ok(rb_query_end(&q, RB_OK, &err));
    return count;
}

/* Nothing of a deleted job stays behind, in no table. */
static void test_delete(void **state)
{
    (void)state;
    static const char *const tables[] = {"jobs",   "job_inputs", "job_terms", "terms",
                                         "stages", "points",     "artifacts", "events"};
    int64_t seq = add_job(1);
    assert_int_equal(rb_job_delete(store, seq, &err), RB_EINUSE);
    assert_ok(change_job(seq, RB_JOB_RUNNING, 2));
    struct rb_stage_row stage = {.stage = "s", .product = "{}"};
    assert_ok(rb_stage_add(store, seq, &stage, &err));
    struct rb_point_row point = {.point = {.loss = 1}};
    assert_ok(rb_point_add(store, seq, &point, 3, NULL, &err));
    struct rb_artifact artifact = {.name = "x"};
    assert_ok(rb_artifact_put(store, seq, &artifact, &err));
    assert_int_equal(rb_job_delete(store, seq, &err), RB_EINUSE);
    assert_ok(change_job(seq, RB_JOB_SUCCEEDED, 4));
    assert_ok(rb_job_delete(store, seq, &err));
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        assert_int_equal(count_rows(tables[i]), 0);
    assert_int_equal(rb_job_delete(store, seq, &err), RB_ENOTFOUND);
    uint64_t last;
    assert_ok(rb_events_last(store, &last, &err));
    assert_true(last > 0); /* ids are not given out again */
    assert_true(add_job(9) > seq);
}

/* ---- events ---- */

static void test_events(void **state)
{
    (void)state;
    struct rb_event_row *rows;
    size_t count;
    uint64_t last;
    assert_ok(rb_events_last(store, &last, &err));
    assert_int_equal(last, 0);
    int64_t a = add_job(1), b = add_job(2);
    assert_ok(change_job(a, RB_JOB_RUNNING, 3));
    assert_ok(rb_events_list(store, 0, 0, 10, &rows, &count, &err));
    assert_int_equal(count, 3);
    uint64_t second = rows[1].event.id;
    assert_true(rows[0].event.id < second && second < rows[2].event.id);
    assert_int_equal(rows[2].event.created_ms, 3);
    assert_int_equal(rows[2].event.type, RB_EVENT_STATUS);
    assert_string_equal(rows[0].event.job, rows[2].event.job);
    rb_events_free(rows, count);
    assert_ok(rb_events_list(store, a, second, 10, &rows, &count, &err));
    assert_int_equal(count, 1);
    rb_events_free(rows, count);
    assert_ok(rb_events_list(store, b, 0, 10, &rows, &count, &err));
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].event.id, second);
    rb_events_free(rows, count);
    assert_ok(rb_events_list(store, 0, 0, 2, &rows, &count, &err));
    assert_int_equal(count, 2);
    rb_events_free(rows, count);
    assert_ok(rb_events_list(store, 0, UINT64_MAX, 2, &rows, &count, &err));
    assert_int_equal(count, 0);
    rb_events_free(rows, count);
}

/* A change that fails leaves no event, and an event never comes without its change. */
static void test_no_event_without_change(void **state)
{
    (void)state;
    struct rb_event_row event = {0};
    int64_t seq = add_job(1);
    uint64_t before, after;
    assert_ok(rb_events_last(store, &before, &err));
    struct rb_job_change change = {.to = RB_JOB_SUCCEEDED, .at_ms = 2};
    assert_int_equal(rb_job_change(store, seq, &change, &event, &err), RB_ECONFLICT);
    assert_null(event.event.data_json);
    assert_ok(rb_events_last(store, &after, &err));
    assert_int_equal(before, after);
}

/* ---- results ---- */

static void test_points(void **state)
{
    (void)state;
    int64_t seq = add_job(1), other = add_job(1);
    struct rb_point_row *rows;
    struct rb_event_row event;
    size_t count;
    static const double values[] = {0.1, 1e-300, -2.5e-17, 3.0000000000000004,
                                    1.7976931348623157e308};
    for (uint32_t i = 0; i < 5; i++) {
        struct rb_point_row row = {.curve = i % 2 == 0 ? RB_CURVE_CONTROL : RB_CURVE_ALIGNED,
                                   .index = 10 - i,
                                   .point = {.lambda = values[i], .loss = values[4 - i]}};
        for (int m = 0; m < RB_METRIC_COUNT; m++)
            row.point.metrics[m] = m == 2 ? values[i] : (double)NAN;
        assert_ok(rb_point_add(store, seq, &row, 5, &event, &err));
        assert_int_equal(event.event.type, RB_EVENT_POINT);
        assert_non_null(strstr(event.event.data_json, "\"lambda\":"));
        rb_event_row_deinit(&event);
        assert_int_equal(rb_point_add(store, seq, &row, 5, NULL, &err), RB_ECONFLICT);
        assert_ok(rb_point_add(store, other, &row, 5, NULL, &err));
    }
    reopen_store();
    assert_ok(rb_points_list(store, seq, &rows, &count, &err));
    assert_int_equal(count, 5);
    static const uint32_t order[] = {3, 1, 4, 2, 0}; /* aligned 7, 9; control 6, 8, 10 */
    for (size_t i = 0; i < 5; i++) {
        uint32_t k = order[i];
        assert_int_equal(rows[i].index, 10 - k);
        assert_memory_equal(&rows[i].point.lambda, &values[k], sizeof(double));
        assert_memory_equal(&rows[i].point.loss, &values[4 - k], sizeof(double));
        assert_memory_equal(&rows[i].point.metrics[2], &values[k], sizeof(double));
        assert_true(isnan(rows[i].point.metrics[0]));
    }
    free(rows);
}

static void test_stages(void **state)
{
    (void)state;
    int64_t from = add_job(1), to = add_job(1);
    struct rb_stage_row *rows;
    struct rb_point_row *points;
    size_t count;
    static char *const names[] = {"z", "a", "m"};
    for (size_t i = 0; i < 3; i++) {
        struct rb_stage_row row = {
            .stage = names[i], .product = "{\"n\":1}", .seconds = 0.5, .finished_ms = 7};
        assert_ok(rb_stage_add(store, from, &row, &err));
        assert_int_equal(rb_stage_add(store, from, &row, &err), RB_ECONFLICT);
    }
    const struct rb_block blocks[2] = {{0.1, 1e-300, 3}, {-2.5e-17, 3.0000000000000004, 0}};
    struct rb_point_row point = {
        .index = 3, .point = {.lambda = 0.5, .loss = 2}, .blocks = blocks, .block_count = 2};
    assert_ok(rb_point_add(store, from, &point, 1, NULL, &err));
    struct rb_stage_row own = {.stage = "a", .product = "{\"own\":true}"};
    assert_ok(rb_stage_add(store, to, &own, &err));
    assert_ok(rb_stages_list(store, from, &rows, &count, &err));
    assert_int_equal(count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(rows[i].stage, names[i]);
    assert_string_equal(rows[0].product, "{\"n\":1}");
    assert_true(rows[0].seconds == 0.5);
    rb_stages_free(rows, count);
    assert_ok(rb_results_copy(store, from, to, &err));
    assert_ok(rb_stages_list(store, to, &rows, &count, &err));
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].stage, "a") == 0)
            assert_string_equal(rows[i].product, "{\"own\":true}");
    rb_stages_free(rows, count);
    assert_ok(rb_points_list(store, to, &points, &count, &err));
    assert_int_equal(count, 1);
    free(points);
    struct rb_block *read;
    assert_ok(rb_blocks_read(store, to, RB_CURVE_ALIGNED, 3, &read, &count, &err));
    assert_int_equal(count, 2);
    assert_memory_equal(read, blocks, sizeof blocks);
    free(read);
    assert_ok(rb_blocks_append(store, to, RB_CURVE_ALIGNED, 3, blocks, 1, &err));
    assert_ok(rb_blocks_read(store, to, RB_CURVE_ALIGNED, 3, &read, &count, &err));
    assert_int_equal(count, 3);
    assert_memory_equal(read, blocks, sizeof blocks);
    assert_memory_equal(&read[2], blocks, sizeof *blocks);
    free(read);
    assert_ok(rb_blocks_read(store, to, RB_CURVE_CONTROL, 3, &read, &count, &err));
    assert_true(read == NULL && count == 0);
}

static void test_artifacts(void **state)
{
    (void)state;
    int64_t seq = add_job(1);
    struct rb_artifact a = {.name = "x.json", .bytes = 1}, read, *rows;
    size_t count;
    assert_ok(rb_artifact_put(store, seq, &a, &err));
    a.bytes = 2;
    memset(a.sha256, '0', 64);
    assert_ok(rb_artifact_put(store, seq, &a, &err));
    assert_ok(rb_artifact_get(store, seq, "x.json", &read, &err));
    assert_int_equal(read.bytes, 2);
    assert_string_equal(read.sha256, a.sha256);
    assert_int_equal(rb_artifact_get(store, seq, "y", &read, &err), RB_ENOTFOUND);
    assert_ok(rb_artifacts_list(store, seq, &rows, &count, &err));
    assert_int_equal(count, 1);
    free(rows);
}

/* ---- what is in use ---- */

static void test_in_use(void **state)
{
    (void)state;
    bool used;
    int64_t seq = add_job(1);
    struct rb_model_row model = {.resource = {.name = "a"}, .path = "models/a"};
    struct rb_dataset_row dataset = {.resource = {.name = "d"}, .path = "datasets/d/data"};
    assert_ok(rb_model_put(store, &model, NULL, &err));
    assert_ok(rb_dataset_put(store, &dataset, NULL, &err));
    assert_ok(rb_jobs_use_model(store, "b", &used, &err));
    assert_true(used);
    assert_ok(rb_jobs_use_model(store, "d", &used, &err)); /* is a dataset */
    assert_false(used);
    assert_int_equal(rb_registered_remove(store, &rb_models_kind, "a", &err), RB_EINUSE);
    assert_int_equal(rb_registered_remove(store, &rb_datasets_kind, "d", &err), RB_EINUSE);
    assert_ok(change_job(seq, RB_JOB_RUNNING, 2));
    assert_ok(change_job(seq, RB_JOB_CANCELING, 2));
    assert_int_equal(rb_registered_remove(store, &rb_models_kind, "a", &err), RB_EINUSE);
    assert_ok(change_job(seq, RB_JOB_CANCELED, 2));
    assert_ok(rb_registered_remove(store, &rb_models_kind, "a", &err));
    assert_ok(rb_registered_remove(store, &rb_datasets_kind, "d", &err));
    assert_int_equal(rb_registered_remove(store, &rb_models_kind, "a", &err), RB_ENOTFOUND);
    assert_int_equal(rb_registered_remove(store, &rb_datasets_kind, "d", &err), RB_ENOTFOUND);
}

/* What fails when a statement is started comes out of its first step, binds are passed over, and the
 * next statement runs. */
static void test_statement_that_is_none(void **state)
{
    (void)state;
    struct rb_query q;
    uint64_t jobs;
    bool row = true;
    rb_query_start(store, "SELECT y FROM nowhere WHERE x = ?", &q);
    rb_bind_int(&q, 1);
    enum rb_status status = rb_query_step(&q, &row, &err);
    assert_int_equal(status, RB_EINTERNAL);
    assert_non_null(strstr(err.detail, "no such table: nowhere"));
    assert_int_equal(rb_query_end(&q, status, &err), RB_EINTERNAL);
    rb_query_start(store, "DELETE FROM nowhere", &q);
    assert_int_equal(rb_query_run(&q, &err), RB_EINTERNAL);
    assert_ok(rb_query_number(store, "SELECT count(*) FROM jobs", &jobs, &err));
    assert_int_equal(jobs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_add, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_life, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transitions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_run_attempts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_next, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_edit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_warn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_delete, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_event_without_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_points, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_artifacts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_in_use, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_statement_that_is_none, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
