// LINK: server_work
/* What the sweep removes: folders below jobs/ that no row names, and nothing that the store would
 * not say anything about. */
#include "server/work/sweep.c"

#include "server/base/ids.h"
#include "unit/work_support.h"

#include <sqlite3.h>

static void make_folder(const char *name)
{
    char below[RB_PATH_SIZE];
    (void)snprintf(below, sizeof below, "jobs/%.60s", name);
    (void)mkdirat(work.options.data_fd, "jobs", 0700);
    assert_int_equal(mkdirat(work.options.data_fd, below, 0700), 0);
    (void)snprintf(below, sizeof below, "jobs/%.60s/file", name);
    int fd = openat(work.options.data_fd, below, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0 && close(fd) == 0);
}

static bool is_there(const char *name)
{
    char below[RB_PATH_SIZE];
    (void)snprintf(below, sizeof below, "jobs/%.60s/file", name);
    return faccessat(work.options.data_fd, below, F_OK, 0) == 0;
}

static void sweep(void)
{
    assert_ok(rb_sweep_start(&work, &err));
    run_out();
    assert_null(work.sweep);
}

static void run_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(tmpdir_path(&folder, "rebasind.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_leftovers(void **state)
{
    (void)state;
    enum { LEFT = NAMES_AT_ONCE + 30, LIVE = 5 };
    char live[LIVE][RB_JOB_ID_SIZE], left[LEFT][RB_JOB_ID_SIZE];
    for (size_t i = 0; i < LIVE; i++) {
        struct rb_job job;
        int64_t seq;
        make_job(&job, 1000 + (int64_t)i);
        assert_ok(rb_job_add(store, &job, &seq, NULL, &err));
        memcpy(live[i], job.id, sizeof live[i]);
        make_folder(live[i]);
    }
    for (size_t i = 0; i < LEFT; i++) {
        rb_job_id_make(2000, left[i]);
        make_folder(left[i]);
    }
    make_folder("notes"); /* somebody else's */

    /* A store that fails says nothing about any of them. */
    run_sql("ALTER TABLE jobs RENAME TO jobs_away");
    sweep();
    for (size_t i = 0; i < LIVE; i++)
        assert_true(is_there(live[i]));
    for (size_t i = 0; i < LEFT; i++)
        assert_true(is_there(left[i]));
    run_sql("ALTER TABLE jobs_away RENAME TO jobs");

    /* A drain ends it before it has looked. */
    work.draining = true;
    sweep();
    work.draining = false;
    assert_true(is_there(left[0]));

    sweep();
    for (size_t i = 0; i < LIVE; i++)
        assert_true(is_there(live[i]));
    for (size_t i = 0; i < LEFT; i++)
        assert_false(is_there(left[i]));
    assert_true(is_there("notes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_leftovers)};
    return cmocka_run_group_tests(tests, set_up_work, tear_down_work);
}
