// LINK: server_work
/* Files that a job takes over: there, whole, and on disk before the call returns. fsync is ours
 * here, and notes what was synced. */
#include "server/work/jobdir.h"
#include "server/base/fsutil.h"

#include "unit/work_support.h"

#include <errno.h>
#include <sys/syscall.h>

enum { NOTED = 64 };
static ino_t synced[NOTED];
static size_t synced_count;

int fsync(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && synced_count < NOTED)
        synced[synced_count++] = st.st_ino;
    return (int)syscall(SYS_fsync, fd);
}

static bool was_synced(const char *below)
{
    struct stat st;
    assert_int_equal(fstatat(work.options.data_fd, below, &st, 0), 0);
    for (size_t i = 0; i < synced_count; i++)
        if (synced[i] == st.st_ino)
            return true;
    return false;
}

static void assert_holds(const char *below, const char *expected)
{
    char *text;
    size_t bytes;
    assert_ok(rb_file_get(work.options.data_fd, below, 100, &text, &bytes, &err));
    assert_string_equal(text, expected);
    free(text);
}

static void test_link_alignment(void **state)
{
    (void)state;
    assert_ok(rb_mkdirs_beneath(work.options.data_fd, "jobs/old", &err));
    assert_ok(rb_file_put(work.options.data_fd, "jobs/old/alignment.safetensors", "maps", 4, &err));
    synced_count = 0;
    assert_ok(rb_job_link_alignments(&work, "old", "new", 2, &err));
    assert_holds("jobs/new/alignment.safetensors", "maps");
    assert_true(was_synced("jobs/new")); /* the name in it */
    assert_true(was_synced("jobs"));     /* and the folder's own */
    assert_true(was_synced("jobs/new/alignment.safetensors"));
    assert_int_equal(rb_job_link_alignments(&work, "none", "newer", 2, &err), RB_ENOTFOUND);
    assert_int_not_equal(
        faccessat(work.options.data_fd, "jobs/newer/alignment.safetensors", F_OK, 0), 0);
}

/* Of three models two are moved, and something is said of all: each is needed. */
static void test_link_alignments_of_three(void **state)
{
    (void)state;
    static const char *const files[] = {"alignment.safetensors", "alignment-2.safetensors",
                                        "reference.json"};
    char from[64], to[64];
    assert_ok(rb_mkdirs_beneath(work.options.data_fd, "jobs/three", &err));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(rb_job_link_alignments(&work, "three", "more", 3, &err), RB_ENOTFOUND);
        (void)snprintf(from, sizeof from, "jobs/three/%s", files[i]);
        assert_ok(rb_file_put(work.options.data_fd, from, files[i], strlen(files[i]), &err));
        assert_int_equal(rb_remove_beneath(work.options.data_fd, "jobs/more", &err), RB_OK);
    }
    synced_count = 0;
    assert_ok(rb_job_link_alignments(&work, "three", "all", 3, &err));
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(to, sizeof to, "jobs/all/%s", files[i]);
        assert_holds(to, files[i]);
        assert_true(was_synced(to));
    }
}

static void test_link_artifact(void **state)
{
    (void)state;
    struct rb_artifact a;
    assert_ok(rb_mkdirs_beneath(work.options.data_fd, "jobs/j", &err));
    assert_ok(rb_file_put(work.options.data_fd, "jobs/j/one", "1", 1, &err));
    assert_ok(rb_file_put(work.options.data_fd, "jobs/j/two", "22", 2, &err));
    synced_count = 0;
    assert_ok(
        rb_job_link_artifact(&work, "j", "one", "two", &err)); /* in place of what was there */
    assert_holds("jobs/j/two", "1");
    assert_true(was_synced("jobs/j"));
    assert_ok(rb_job_describe_artifact(&work, "j", "two", &a, &err));
    assert_int_equal(a.bytes, 1);
    assert_string_equal(a.name, "two");
    assert_string_equal(a.sha256,
                        "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b");
    assert_int_equal(rb_job_link_artifact(&work, "j", "none", "three", &err), RB_ENOTFOUND);
    assert_int_equal(rb_job_describe_artifact(&work, "j", "none", &a, &err), RB_ENOTFOUND);
    rb_data_remove(work.options.data_fd, "jobs/j");
    assert_int_equal(faccessat(work.options.data_fd, "jobs/j", F_OK, 0), -1);
    rb_data_remove(work.options.data_fd, "jobs/j"); /* gone already: fine */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_link_alignment),
                                       cmocka_unit_test(test_link_alignments_of_three),
                                       cmocka_unit_test(test_link_artifact)};
    return cmocka_run_group_tests(tests, set_up_work, tear_down_work);
}
