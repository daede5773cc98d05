// LINK: server_store
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/store/idempotency.h"
#include "server/store/jobs_read.h"
#include "server/store/migrate.h"
#include "unit/faulty_vfs.h"
#include "unit/store_support.h"

#include <sys/wait.h>

static int64_t pragma(const char *path, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    int64_t value = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return value;
}

static uint64_t count_jobs(void)
{
    uint64_t counts[RB_JOB_STATUS_COUNT], sum = 0;
    assert_ok(rb_jobs_count(store, counts, &err));
    for (size_t i = 0; i < RB_JOB_STATUS_COUNT; i++)
        sum += counts[i];
    return sum;
}

/* ---- opening ---- */

static void test_schema(void **state)
{
    (void)state;
    const char *path = tmpdir_path(&folder, "rebasind.db");
    int version;
    assert_ok(rb_store_ping(store, &err));
    assert_ok(rb_store_check(store, &err));
    assert_true(rb_store_bytes(store) > 4096);
    rb_store_close(store);
    assert_ok(rb_store_peek(path, &version, &err));
    assert_int_equal(version, rb_store_schema_version());
    assert_int_equal(pragma(path, "PRAGMA user_version"), rb_store_schema_version());
    assert_int_equal(pragma(path, "PRAGMA application_id"), 0x72626e64);
    assert_int_equal(pragma(path,
                            "SELECT count(*) FROM pragma_table_list "
                            "WHERE schema = 'main' AND NOT strict AND name NOT LIKE 'sqlite_%'"),
                     0);
    open_store(NULL);
    assert_ok(rb_store_peek(tmpdir_path(&folder, "none.db"), &version, &err));
    assert_int_equal(version, 0);
}

static void test_newer_is_refused(void **state)
{
    (void)state;
    const char *path = tmpdir_path(&folder, "rebasind.db");
    struct rb_store *other;
    int version;
    rb_store_close(store);
    store = NULL;
    (void)pragma(path, "PRAGMA user_version = 9999");
    assert_int_equal(rb_store_open(path, NULL, NULL, &other, &err), RB_EVERSION);
    assert_non_null(strstr(err.detail, "schema 9999"));
    assert_int_equal(rb_store_peek(path, &version, &err), RB_EVERSION);
    assert_int_equal(pragma(path, "PRAGMA user_version"), 9999); /* untouched */
}

static void test_foreign_and_damaged_are_refused(void **state)
{
    (void)state;
    struct rb_store *other;
    const char *path = tmpdir_path(&folder, "other.db");
    size_t bytes, bytes_after;
    (void)pragma(path, "CREATE TABLE t (a)");
    unsigned char *before = tmpdir_read(path, &bytes);
    assert_int_equal(rb_store_open(path, NULL, NULL, &other, &err), RB_ESTORE);
    assert_non_null(strstr(err.detail, "another program"));
    unsigned char *after = tmpdir_read(path, &bytes_after);
    assert_int_equal(bytes, bytes_after);
    assert_memory_equal(before, after, bytes); /* left as it is */
    free(before);
    free(after);
    path =
        tmpdir_write(&folder, "text.db", "this is no database, however long it is made to be", 50);
    assert_int_equal(rb_store_open(path, NULL, NULL, &other, &err), RB_ESTORE);
    assert_non_null(strstr(err.detail, "text.db"));
    path = tmpdir_path(&folder, "nowhere/rebasind.db");
    assert_int_equal(rb_store_open(path, NULL, NULL, &other, &err), RB_ESTORE);
    assert_non_null(strstr(err.detail, path));
}

static void test_damage_is_found(void **state)
{
    (void)state;
    char garbage[4096];
    memset(garbage, 0x5a, sizeof garbage);
    for (int i = 0; i < 50; i++)
        (void)add_job(i);
    rb_store_close(store);
    const char *path = tmpdir_path(&folder, "rebasind.db");
    int fd = open(path, O_RDWR);
    for (off_t page = 5; page < 40; page++)
        assert_int_equal(pwrite(fd, garbage, sizeof garbage, page * 4096), sizeof garbage);
    close(fd);
    enum rb_status status = rb_store_open(path, NULL, NULL, &store, &err);
    if (status == RB_OK)
        status = rb_store_check(store, &err);
    else
        store = NULL;
    assert_int_equal(status, RB_ESTORE);
}

/* ---- transactions ---- */

static void test_nesting(void **state)
{
    (void)state;
    assert_ok(rb_store_begin(store, &err));
    (void)add_job(1);
    assert_ok(rb_store_begin(store, &err));
    (void)add_job(2);
    assert_ok(rb_store_end(store, RB_OK, &err));
    assert_int_equal(count_jobs(), 2);
    assert_int_equal(rb_store_end(store, RB_ECANCELED, &err), RB_ECANCELED);
    assert_int_equal(count_jobs(), 0);
}

/* A failure inside spoils the whole, even where its caller forgets it. */
static void test_inner_failure(void **state)
{
    (void)state;
    assert_ok(rb_store_begin(store, &err));
    (void)add_job(1);
    assert_int_equal(change_job(77, RB_JOB_RUNNING, 1), RB_ENOTFOUND);
    struct rb_error last = {0};
    assert_int_equal(rb_store_end(store, RB_OK, &last), RB_ENOTFOUND);
    assert_string_equal(last.detail, "the job has been deleted");
    assert_int_equal(count_jobs(), 0);
    (void)add_job(1); /* and the next one is not affected */
    assert_int_equal(count_jobs(), 1);
}

static void test_jobs_and_answer_together(void **state)
{
    (void)state;
    struct rb_idempotency_row row = {
        .token = "t", .key = "k", .response = "{}", .created_at_ms = 1};
    assert_ok(rb_idempotency_add(store, &row, &err));
    assert_ok(rb_store_begin(store, &err));
    (void)add_job(1);
    enum rb_status status = rb_idempotency_add(store, &row, &err);
    assert_int_equal(rb_store_end(store, status, &err), RB_ECONFLICT);
    assert_int_equal(count_jobs(), 0);
}

/* ---- failing disks ---- */

static void reopen_faulty(void)
{
    rb_store_close(store);
    faulty_vfs_register();
    open_store("faulty");
}

static void expect_failure(int write_code, int sync_code, enum rb_status expected)
{
    struct rb_job job;
    int64_t seq;
    uint64_t before = count_jobs();
    make_job(&job, 5);
    faulty.write_code = write_code;
    faulty.sync_code = sync_code;
    assert_int_equal(rb_job_add(store, &job, &seq, NULL, &err), expected);
    assert_int_equal(count_jobs(), before); /* reading goes on */
    faulty.write_code = faulty.sync_code = 0;
    assert_ok(rb_job_add(store, &job, &seq, NULL, &err)); /* and all recovers by itself */
    assert_int_equal(count_jobs(), before + 1);
}

static void test_failing_disk(void **state)
{
    (void)state;
    reopen_faulty();
    expect_failure(SQLITE_FULL, 0, RB_EDISKFULL);
    expect_failure(SQLITE_IOERR_WRITE, 0, RB_ESTORE);
    expect_failure(0, SQLITE_IOERR_FSYNC, RB_ESTORE);
    expect_failure(SQLITE_IOERR_NOMEM, 0, RB_ENOMEM);
    expect_failure(SQLITE_READONLY, 0, RB_ESTORE);
    assert_ok(rb_store_check(store, &err));
}

/* ---- power loss ---- */

enum { JOBS = 12 };

/* In a child: adds jobs and claims them, telling of each only after it was committed. Dies at one
 * of the syncs. */
static void add_until_death(int told_fd, long die_at)
{
    faulty_vfs_register();
    faulty.track = true;
    faulty.die_at = die_at;
    open_store("faulty");
    for (int i = 0; i < JOBS; i++) {
        int64_t seq = add_job(i + 1);
        if (i % 3 == 0)
            assert_ok(change_job(seq, RB_JOB_RUNNING, i + 1));
        if (write(told_fd, &seq, sizeof seq) != sizeof seq)
            _exit(1);
    }
    rb_store_close(store);
    _exit(0);
}

/* At whichever sync the power fails, all that had been told of is there. */
static void test_power_loss(void **state)
{
    (void)state;
    int code = 9;
    long deaths = 0;
    rb_store_close(store);
    store = NULL;
    for (long die_at = 1; code == 9; die_at++) {
        struct tmpdir kept = folder;
        int told[2];
        tmpdir_init(&folder);
        assert_int_equal(pipe(told), 0);
        pid_t child = fork();
        if (child == 0)
            add_until_death(told[1], die_at);
        close(told[1]);
        assert_int_equal(waitpid(child, &code, 0), child);
        code = WEXITSTATUS(code);
        deaths += code == 9;
        if (code == 9)
            faulty_power_loss(tmpdir_path(&folder, "rebasind.db"));
        open_store(NULL);
        assert_ok(rb_store_check(store, &err));
        int64_t seq;
        while (read(told[0], &seq, sizeof seq) == sizeof seq) {
            struct rb_job_row row;
            assert_ok(rb_job_get_seq(store, seq, &row, &err));
            assert_int_equal(row.job.status, (seq - 1) % 3 == 0 ? RB_JOB_RUNNING : RB_JOB_QUEUED);
            rb_job_row_deinit(&row);
        }
        close(told[0]);
        rb_store_close(store);
        store = NULL;
        tmpdir_deinit(&folder);
        folder = kept;
    }
    assert_int_equal(code, 0);
    assert_true(deaths > JOBS); /* there was at least a sync for each */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_schema, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_newer_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_foreign_and_damaged_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nesting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_inner_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_jobs_and_answer_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failing_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_power_loss, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
