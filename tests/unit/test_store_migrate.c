// LINK: server_store
/* Databases of every released schema, opened with today's code. fixtures/store/schema-1.sql is one
 * as rebasind 0.1.0 left it; those after it are made of it as an upgrade makes them, step by step,
 * each with what rows-N.sql puts into the tables and columns that schema N brought. That the
 * steps are those that were released, migrations.sha256 says. Whoever adds a migration writes the
 * one before it into that file, and a row for each table that it made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/hash.h"
#include "server/store/caches.h"
#include "server/store/datasets.h"
#include "server/store/idempotency.h"
#include "server/store/jobs_list.h"
#include "server/store/jobs_read.h"
#include "server/store/migrate.h"
#include "server/store/migrations.h"
#include "server/store/models.h"
#include "unit/store_support.h"

#include <sqlite3.h>

enum { TEXT_BYTES = 1 << 20 };

static int begin(void **state)
{
    (void)state;
    assert_ok(rb_ids_init(&err));
    tmpdir_init(&folder);
    return 0;
}

static sqlite3 *open_raw(const char *path)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

/* All rows that the query gives, as text; new, free(). */
static char *rows(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    char *text = calloc(1, TEXT_BYTES);
    size_t used = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    while (sqlite3_step(statement) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const unsigned char *value = sqlite3_column_text(statement, i);
            int n = snprintf(text + used, TEXT_BYTES - used, "%s%c",
                             value != NULL ? (const char *)value : "NULL",
                             i + 1 < sqlite3_column_count(statement) ? '|' : '\n');
            assert_true(n > 0 && used + (size_t)n < TEXT_BYTES);
            used += (size_t)n;
        }
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    return text;
}

static void execute(sqlite3 *db, const char *what, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", what, sqlite3_errmsg(db));
}

/* New, free(); NULL if there is no such file. */
static char *fixture(const char *name)
{
    char path[512];
    size_t bytes;
    (void)snprintf(path, sizeof path, "%s/store/%s", RB_FIXTURES, name);
    return access(path, F_OK) == 0 ? (char *)tmpdir_read(path, &bytes) : NULL;
}

/* Makes a database of that schema, with rows in every table. */
static void make(int version, const char *path)
{
    sqlite3 *db = open_raw(path);
    char *sql = fixture("schema-1.sql"), name[64];
    assert_non_null(sql);
    execute(db, "schema-1.sql", sql);
    free(sql);
    for (int v = 2; v <= version; v++) {
        execute(db, rb_migrations[v - 1].name, rb_migrations[v - 1].sql);
        (void)snprintf(name, sizeof name, "PRAGMA user_version = %d", v);
        execute(db, name, name);
        (void)snprintf(name, sizeof name, "rows-%d.sql", v);
        sql = fixture(name);
        if (sql != NULL)
            execute(db, name, sql);
        free(sql);
    }
    sqlite3_close(db);
}

/* "SELECT quote(a), quote(b) FROM t ORDER BY …" over the columns that the table has in db. */
static char *select_all(sqlite3 *db, const char *table)
{
    char sql[512];
    (void)snprintf(sql, sizeof sql,
                   "SELECT 'SELECT ' || group_concat('quote(\"' || name || '\")', ', ') || "
                   "' FROM \"%s\" ORDER BY ' || group_concat('\"' || name || '\"', ', ') "
                   "FROM pragma_table_xinfo('%s')",
                   table, table);
    return rows(db, sql);
}

/* What every table of the old database held, by the queries that were made for it. */
struct kept {
    char *tables, *queries[64], *contents[64];
    size_t count;
};

static void keep(struct kept *k, const char *path)
{
    sqlite3 *db = open_raw(path);
    *k = (struct kept){.tables = rows(db, "SELECT name FROM sqlite_schema WHERE type = 'table' "
                                          "AND name NOT LIKE 'sqlite_%' ORDER BY name")};
    for (char *t = strtok(k->tables, "\n"); t != NULL; t = strtok(NULL, "\n"), k->count++) {
        assert_true(k->count < 64);
        k->queries[k->count] = select_all(db, t);
        k->contents[k->count] = rows(db, k->queries[k->count]);
        if (k->contents[k->count][0] == '\0')
            fail_msg("the fixture has no row in table %s", t);
    }
    sqlite3_close(db);
}

static void compare_and_free(struct kept *k, const char *path)
{
    sqlite3 *db = open_raw(path);
    for (size_t i = 0; i < k->count; i++) {
        char *now = rows(db, k->queries[i]);
        assert_string_equal(now, k->contents[i]);
        free(now);
        free(k->queries[i]);
        free(k->contents[i]);
    }
    free(k->tables);
    sqlite3_close(db);
}

static char *schema_of(const char *path)
{
    sqlite3 *db = open_raw(path);
    char *text =
        rows(db, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name");
    sqlite3_close(db);
    return text;
}

static void test_every_schema(void **state)
{
    (void)state;
    struct rb_store *fresh;
    char fresh_path[512], path[512];
    (void)snprintf(fresh_path, sizeof fresh_path, "%s", tmpdir_path(&folder, "fresh.db"));
    assert_ok(rb_store_open(fresh_path, NULL, NULL, &fresh, &err));
    rb_store_close(fresh);
    char *expected = schema_of(fresh_path);
    /* The newest may not have been released yet. */
    for (int version = 1; version < rb_store_schema_version(); version++) {
        char name[32];
        struct kept kept;
        int now;
        (void)snprintf(name, sizeof name, "old-%d.db", version);
        (void)snprintf(path, sizeof path, "%s", tmpdir_path(&folder, name));
        make(version, path);
        keep(&kept, path);
        assert_ok(rb_store_open(path, NULL, NULL, &store, &err));
        assert_ok(rb_store_check(store, &err));
        rb_store_close(store);
        store = NULL;
        assert_ok(rb_store_peek(path, &now, &err));
        assert_int_equal(now, rb_store_schema_version());
        compare_and_free(&kept, path);
        char *schema = schema_of(path);
        assert_string_equal(schema, expected);
        free(schema);
    }
    free(expected);
}

/* ---- a step that was released is never edited ---- */

static void test_released(void **state)
{
    (void)state;
    int i = 0;
    char *list = fixture("migrations.sha256");
    assert_non_null(list);
    for (char *line = strtok(list, "\n"); line != NULL; line = strtok(NULL, "\n"), i++) {
        unsigned char digest[RB_SHA256_BYTES];
        char found[RB_SHA256_HEX + 64];
        assert_true(i < rb_migration_count);
        rb_sha256_of(rb_migrations[i].sql, strlen(rb_migrations[i].sql), digest);
        rb_sha256_hex(digest, found);
        (void)snprintf(found + RB_SHA256_HEX - 1, 64, "  %s", rb_migrations[i].name);
        assert_string_equal(found, line);
    }
    assert_true(i >= rb_migration_count - 1);
    free(list);
}

/* ---- what schema 1 held, as the program sees it ---- */

static void expect_jobs(void)
{
    static const struct {
        const char *id;
        enum rb_job_status status;
        int32_t priority;
        size_t points;
    } expected[] = {
        {"job_01a20853-879b-720c-bc2c-ab1ba2a9e31a", RB_JOB_SUCCEEDED, 0, 6},
        {"job_01a20854-b8a0-7000-8000-000000000002", RB_JOB_RUNNING, 5, 2},
        {"job_01a20854-b8a1-7000-8000-000000000003", RB_JOB_FAILED, 0, 0},
        {"job_01a20854-b8a2-7000-8000-000000000004", RB_JOB_QUEUED, 0, 0},
        {"job_01a20854-b8a3-7000-8000-000000000005", RB_JOB_CANCELED, -3, 0},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct rb_job_row row;
        struct rb_point_row *points;
        size_t count;
        assert_ok(rb_job_get(store, expected[i].id, &row, &err));
        assert_int_equal(row.job.status, expected[i].status);
        assert_int_equal(row.job.priority, expected[i].priority);
        assert_int_equal(row.job.input_count, 4);
        assert_ok(rb_points_list(store, row.seq, &points, &count, &err));
        assert_int_equal(count, expected[i].points);
        free(points);
        rb_job_row_deinit(&row);
    }
}

static void expect_first_job(void)
{
    struct rb_job_row row;
    struct rb_stage_row *stages;
    struct rb_event_row *events;
    struct rb_artifact artifact;
    size_t count;
    assert_ok(rb_job_get(store, "job_01a20853-879b-720c-bc2c-ab1ba2a9e31a", &row, &err));
    assert_int_equal(row.job.artifact_count, 9);
    assert_true(row.job.summary.barrier_chord > 3.6 && row.job.summary.barrier_chord < 3.7);
    assert_ok(rb_stages_list(store, row.seq, &stages, &count, &err));
    assert_int_equal(count, 3);
    assert_string_equal(stages[1].product, "{\"file\":\"alignment.safetensors\"}");
    rb_stages_free(stages, count);
    assert_ok(rb_artifact_get(store, row.seq, "merged-0.50.safetensors", &artifact, &err));
    assert_int_equal(artifact.bytes, 3605024);
    assert_ok(rb_events_list(store, row.seq, 6, 2, &events, &count, &err));
    assert_int_equal(count, 2);
    assert_int_equal(events[0].event.id, 7);
    rb_events_free(events, count);
    rb_job_row_deinit(&row);
}

static void expect_failed_job(void)
{
    struct rb_job_row row;
    assert_ok(rb_job_get(store, "job_01a20854-b8a1-7000-8000-000000000003", &row, &err));
    assert_string_equal(row.job.name, "caf\xc3\xa9 \"quoted\"; it's");
    assert_int_equal(row.job.error.status, RB_ECONFLICT);
    rb_job_row_deinit(&row);
}

static void expect_the_rest(void)
{
    struct rb_model_row model;
    struct rb_dataset_row dataset;
    struct rb_idempotency_row answer;
    struct rb_moments_row moments;
    bool found;
    assert_ok(rb_model_get(store, "up", &model, &err));
    assert_int_equal(model.resource.status, RB_MODEL_INCOMPLETE);
    assert_int_equal(model.resource.problem_count, 2);
    assert_int_equal(model.resource.file_count, 1);
    rb_model_row_deinit(&model);
    assert_ok(rb_dataset_get(store, "pairs", &dataset, &err));
    assert_string_equal(dataset.resource.fields.label, "label");
    assert_int_equal(dataset.resource.rows, 50);
    assert_int_equal(dataset.version, 3);
    rb_dataset_row_deinit(&dataset);
    assert_ok(rb_idempotency_get(store, "tok_1", "key-1", 1795436100010, &found, &answer, &err));
    assert_true(found && answer.http_status == 202);
    rb_idempotency_row_deinit(&answer);
    assert_ok(rb_moments_oldest(store, &found, &moments, &err));
    assert_true(found && moments.bytes == 8489384);
    rb_moments_row_deinit(&moments);
}

/* And it can be worked with: lists find it by its label, the next job goes behind it. */
static void expect_to_go_on(void)
{
    struct rb_label label = {"experiment", "7"};
    struct rb_job_filter filter = {.labels = {&label, 1}, .limit = 10};
    struct rb_job_page page;
    assert_ok(rb_jobs_list(store, &filter, &page, &err));
    assert_int_equal(page.count, 1);
    assert_int_equal(page.rows[0].seq, 4);
    rb_job_page_deinit(&page);
    struct rb_label two[] = {{"experiment", "7"}, {"nobody", "has"}};
    filter.labels = (struct rb_labels){two, 2};
    assert_ok(rb_jobs_list(store, &filter, &page, &err));
    assert_int_equal(page.count, 0);
    rb_job_page_deinit(&page);
    assert_int_equal(add_job(1795436200000), 6);
    assert_ok(change_job(4, RB_JOB_RUNNING, 1795436200001));
    assert_ok(change_job(4, RB_JOB_SUCCEEDED, 1795436200002));
    uint64_t counts[RB_JOB_STATUS_COUNT];
    assert_ok(rb_jobs_count(store, counts, &err));
    assert_int_equal(counts[RB_JOB_SUCCEEDED], 2);
    assert_int_equal(counts[RB_JOB_QUEUED], 1);
}

static void test_schema_1(void **state)
{
    (void)state;
    make(1, tmpdir_path(&folder, "rebasind.db"));
    open_store(NULL);
    expect_jobs();
    expect_first_job();
    expect_failed_job();
    expect_the_rest();
    expect_to_go_on();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_schema, begin, tear_down),
        cmocka_unit_test(test_released),
        cmocka_unit_test_setup_teardown(test_schema_1, begin, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
