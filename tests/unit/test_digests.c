// LINK: server_work
/* Digests of files: what the store remembers is believed only while nothing about the file has
 * changed; and OpenSSL's against libsodium's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/work/digests.h"
#include "unit/store_support.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

static void digest_of(const char *path, struct rb_digests *d, bool *ret_remembered)
{
    assert_ok(rb_digests_scan_file(path, d, &err));
    rb_digests_recall(d, store);
    *ret_remembered = d->files[0].remembered;
    for (bool more = true; more;)
        assert_ok(rb_digests_step(d, NULL, &more, &err));
    rb_digests_remember(d, store);
}

static void settle(void)
{
    const struct timespec a_while = {.tv_sec = 2, .tv_nsec = 100000000};
    nanosleep(&a_while, NULL);
}

static void a_swap_that_keeps_size_and_time_is_found(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct rb_digests d = {0};
    struct stat before;
    char first[RB_SHA256_HEX], second[RB_SHA256_HEX];
    bool remembered;
    tmpdir_init(&dir);
    char path[512];
    (void)snprintf(path, sizeof path, "%s", tmpdir_write(&dir, "f", "what it was", 11));
    /* Written just now: the next write could have the same times. */
    digest_of(path, &d, &remembered);
    assert_false(remembered);
    rb_digests_deinit(&d);
    digest_of(path, &d, &remembered);
    assert_false(remembered);
    rb_digests_deinit(&d);
    settle();
    digest_of(path, &d, &remembered);
    rb_digests_deinit(&d);
    digest_of(path, &d, &remembered);
    assert_true(remembered);
    rb_digests_file_hex(&d, first);
    rb_digests_deinit(&d);

    assert_int_equal(stat(path, &before), 0);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "what it is.", 11, 0), 11);
    const struct timespec times[2] = {before.st_atim, before.st_mtim};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    struct stat now;
    assert_int_equal(stat(path, &now), 0);
    assert_true(now.st_size == before.st_size && now.st_ino == before.st_ino &&
                now.st_mtim.tv_sec == before.st_mtim.tv_sec &&
                now.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
    digest_of(path, &d, &remembered);
    assert_false(remembered);
    rb_digests_file_hex(&d, second);
    assert_string_not_equal(first, second);
    rb_digests_deinit(&d);
    tmpdir_deinit(&dir);
}

static void both_libraries_agree(void **state)
{
    (void)state;
    enum { MOST = 300000 };
    unsigned char *bytes = malloc(MOST), slow[RB_SHA256_BYTES], fast[RB_SHA256_BYTES];
    for (size_t i = 0; i < MOST; i++)
        bytes[i] = (unsigned char)(i * 131 + (i >> 8));
    static const size_t counts[] = {0, 1, 55, 56, 63, 64, 65, 119, 1000, 65536, MOST};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct rb_hasher *h = rb_hasher_new();
        assert_non_null(h);
        for (size_t from = 0; from < counts[i]; from += 777)
            rb_hasher_add(h, bytes + from, counts[i] - from < 777 ? counts[i] - from : 777);
        rb_hasher_end(h, fast);
        rb_hasher_free(h);
        rb_sha256_of(bytes, counts[i], slow);
        assert_memory_equal(fast, slow, sizeof slow);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_swap_that_keeps_size_and_time_is_found, set_up,
                                        tear_down),
        cmocka_unit_test(both_libraries_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
