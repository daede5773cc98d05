// LINK: server_base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/fsutil.h"
#include "unit/tmpdir.h"

#include <sys/wait.h>

static struct tmpdir folder;
static int root;

static int set_up(void **state)
{
    (void)state;
    struct rb_error err;
    tmpdir_init(&folder);
    return rb_root_open(folder.path, false, &root, &err) == RB_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    close(root);
    tmpdir_deinit(&folder);
    return 0;
}

static void assert_text(const char *path, const char *expected)
{
    char *text;
    size_t bytes;
    struct rb_error err;
    assert_int_equal(rb_file_get(root, path, 1000, &text, &bytes, &err), RB_OK);
    assert_string_equal(text, expected);
    assert_int_equal(bytes, strlen(expected));
    free(text);
}

static void test_root(void **state)
{
    (void)state;
    struct rb_error err;
    int fd;
    char path[256];
    (void)snprintf(path, sizeof path, "%s/a/../b/c//", folder.path);
    assert_int_equal(rb_root_open(path, false, &fd, &err), RB_ENOTFOUND);
    assert_int_equal(rb_root_open(path, true, &fd, &err), RB_OK);
    close(fd);
    tmpdir_write(&folder, "file", "x", 1);
    assert_int_equal(rb_root_open(tmpdir_path(&folder, "file"), true, &fd, &err), RB_ENOTFOUND);
    assert_int_equal(rb_root_open(tmpdir_path(&folder, "file/x"), true, &fd, &err), RB_ENOTFOUND);
}

/* No way out of the root: by "..", absolute paths, links, or /proc's magic links. */
static void test_beneath(void **state)
{
    (void)state;
    struct rb_error err;
    int fd;
    assert_int_equal(rb_mkdirs_beneath(root, "a/b", &err), RB_OK);
    assert_int_equal(rb_file_put(root, "a/b/inside", "in", 2, &err), RB_OK);
    assert_int_equal(symlink("b/inside", tmpdir_path(&folder, "a/fine")), 0);
    assert_int_equal(symlink("/etc/passwd", tmpdir_path(&folder, "a/absolute")), 0);
    assert_int_equal(symlink("../../../etc/passwd", tmpdir_path(&folder, "a/up")), 0);
    assert_int_equal(symlink("/etc", tmpdir_path(&folder, "etc")), 0);
    assert_text("a/fine", "in");
    static const char *const ways[] = {"../x", "a/../../x",  "/etc/passwd", "",
                                       "a/up", "a/absolute", "etc/passwd",  "a/b/../../.."};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        assert_int_equal(rb_open_beneath(root, ways[i], O_RDONLY, 0, &fd, &err), RB_EINPUT);
    assert_int_equal(rb_file_put(root, "../x", "out", 3, &err), RB_EINPUT);
    assert_int_equal(rb_file_put(root, "etc/rebasind", "out", 3, &err), RB_EINPUT);
    assert_int_equal(rb_file_put(root, "a/absolute", "in", 2, &err), RB_OK); /* the link went */
    assert_text("a/absolute", "in");
    assert_int_equal(rb_open_beneath(root, "a/none", O_RDONLY, 0, &fd, &err), RB_ENOTFOUND);
    assert_non_null(strstr(err.detail, "a/none"));
    assert_int_equal(rb_mkdirs_beneath(root, "etc/rebasind", &err), RB_EINPUT);
    assert_int_equal(rb_mkdirs_beneath(root, "../x", &err), RB_EINPUT);
}

static void test_whole_or_absent(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_file_writer w;
    assert_int_equal(rb_file_put(root, "f", "old", 3, &err), RB_OK);
    assert_int_equal(rb_file_begin(root, "f", &w, &err), RB_OK);
    assert_int_equal(rb_file_write(&w, "new content", 11, &err), RB_OK);
    assert_text("f", "old"); /* not before the commit */
    assert_int_equal(rb_file_commit(&w, &err), RB_OK);
    assert_text("f", "new content");
    assert_int_equal(rb_file_begin(root, "f", &w, &err), RB_OK);
    assert_int_equal(rb_file_write(&w, "never", 5, &err), RB_OK);
    rb_file_abort(&w);
    assert_text("f", "new content");
    assert_int_equal(rb_file_begin(root, "no/folder/f", &w, &err), RB_OK);
    assert_int_equal(rb_file_write(&w, "never", 5, &err), RB_OK);
    assert_int_equal(rb_file_commit(&w, &err), RB_ENOTFOUND);
    assert_int_equal(rmdir(tmpdir_path(&folder, "tmp")), 0); /* nothing is left behind */
    struct stat st;
    assert_int_equal(stat(tmpdir_path(&folder, "f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(rb_sync_beneath(root, "f", &err), RB_OK);
    assert_int_equal(rb_sync_beneath(root, "g", &err), RB_ENOTFOUND);
}

static void test_get(void **state)
{
    (void)state;
    struct rb_error err;
    char *text, large[20000];
    size_t bytes;
    memset(large, 'y', sizeof large);
    assert_int_equal(rb_file_put(root, "large", large, sizeof large, &err), RB_OK);
    assert_int_equal(rb_file_get(root, "large", sizeof large - 1, &text, &bytes, &err),
                     RB_ETOOLARGE);
    assert_int_equal(rb_file_get(root, "large", sizeof large, &text, &bytes, &err), RB_OK);
    assert_int_equal(bytes, sizeof large);
    assert_memory_equal(text, large, sizeof large);
    assert_int_equal(text[bytes], '\0');
    free(text);
    assert_int_equal(mkfifo(tmpdir_path(&folder, "fifo"), 0600),
                     0); /* must not wait for a writer */
    assert_int_equal(rb_file_get(root, "fifo", 10, &text, &bytes, &err), RB_OK);
    free(text);
    assert_int_equal(rb_mkdirs_beneath(root, "d", &err), RB_OK);
    assert_int_equal(rb_file_get(root, "d", 10, &text, &bytes, &err), RB_EIO);
}

static void test_trees(void **state)
{
    (void)state;
    struct rb_error err;
    tmpdir_write(&folder, "outside", "12345", 5);
    assert_int_equal(rb_mkdirs_beneath(root, "t/u/v", &err), RB_OK);
    assert_int_equal(rb_file_put(root, "t/a", "123", 3, &err), RB_OK);
    assert_int_equal(rb_file_put(root, "t/u/v/b", "1234", 4, &err), RB_OK);
    assert_int_equal(symlink("../outside", tmpdir_path(&folder, "t/link")), 0);
    assert_int_equal(symlink(".", tmpdir_path(&folder, "t/loop")), 0);
    assert_int_equal(rb_remove_beneath(root, "t", &err), RB_OK);
    assert_int_equal(access(tmpdir_path(&folder, "t"), F_OK), -1);
    assert_text("outside", "12345"); /* links were removed, not followed */
    assert_int_equal(rb_remove_beneath(root, "t", &err), RB_OK);
    assert_int_equal(rb_remove_beneath(root, "none/deeper", &err), RB_OK);
    assert_int_equal(rb_remove_beneath(root, "..", &err), RB_EINPUT);
    assert_int_equal(rb_remove_beneath(root, "../x", &err), RB_EINPUT);
    assert_int_equal(rb_remove_beneath(root, "outside", &err), RB_OK);
    assert_int_equal(access(tmpdir_path(&folder, "outside"), F_OK), -1);
}

/* Another process holds the folder: the second is told by whom. */
static void test_lock(void **state)
{
    (void)state;
    int ready[2], finish[2];
    struct rb_error err;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(finish), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd;
        char c = rb_data_lock(root, &fd, &err) == RB_OK ? 'y' : 'n';
        (void)!write(ready[1], &c, 1);
        (void)!read(finish[0], &c, 1);
        _exit(0);
    }
    char c, holder[32];
    int fd;
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_int_equal(rb_data_lock(root, &fd, &err), RB_ELOCKED);
    (void)snprintf(holder, sizeof holder, "process %d", (int)child);
    assert_non_null(strstr(err.detail, holder));
    assert_int_equal(write(finish[1], &c, 1), 1);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(rb_data_lock(root, &fd, &err), RB_OK); /* its death has freed it */
    close(fd);
    for (size_t i = 0; i < 2; i++)
        close(ready[i]), close(finish[i]);
    uint64_t bytes;
    assert_int_equal(rb_disk_free(root, &bytes, &err), RB_OK);
    assert_true(bytes > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_root, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_beneath, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_whole_or_absent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_get, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_trees, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lock, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
