// LINK: server_base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/hash.h"
#include "server/base/ids.h"
#include "unit/tmpdir.h"

static int set_up(void **state)
{
    (void)state;
    struct rb_error err;
    return rb_ids_init(&err) == RB_OK ? 0 : -1;
}

static void test_job_ids(void **state)
{
    (void)state;
    char a[RB_JOB_ID_SIZE], b[RB_JOB_ID_SIZE];
    rb_job_id_make(0x0123456789abLL, a);
    assert_int_equal(strncmp(a, "job_01234567-89ab-7", 19), 0);
    assert_true(rb_job_id_valid(a, strlen(a)));
    rb_job_id_make(0x0123456789abLL, b);
    assert_string_not_equal(a, b);
    rb_job_id_make(0x0123456789acLL, b);
    assert_true(strcmp(a, b) < 0); /* later sorts after */
    for (int i = 0; i < 1000; i++) {
        rb_job_id_make(rb_clock_realtime_ms(), a);
        assert_true(rb_job_id_valid(a, strlen(a)));
    }
}

static void test_other_ids(void **state)
{
    (void)state;
    char request[RB_REQUEST_ID_TEXT], token[RB_TOKEN_ID_TEXT], secret[RB_TOKEN_TEXT];
    rb_request_id_make(request);
    assert_int_equal(strlen(request), RB_REQUEST_ID_TEXT - 1);
    assert_int_equal(strspn(request + 4, "0123456789abcdef"), 16);
    rb_token_id_make(token);
    assert_int_equal(strlen(token), RB_TOKEN_ID_TEXT - 1);
    rb_token_make(secret);
    assert_int_equal(strlen(secret), RB_TOKEN_TEXT - 1);
    assert_int_equal(strncmp(secret, "rb_", 3), 0);
}

static void test_clock(void **state)
{
    (void)state;
    assert_true(rb_clock_realtime_ms() > 1600000000000LL);
    uint64_t before = rb_clock_monotonic_ns();
    usleep(2000);
    uint64_t passed = rb_clock_monotonic_ns() - before;
    assert_true(passed >= 2000000 && passed < 2000000000);
}

/* FIPS 180-2, appendix B.1. */
static const char abc_hex[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void test_digests(void **state)
{
    (void)state;
    unsigned char digest[RB_SHA256_BYTES], again[RB_SHA256_BYTES];
    char hex[RB_SHA256_HEX];
    struct rb_sha256 h;
    rb_sha256_of("abc", 3, digest);
    rb_sha256_hex(digest, hex);
    assert_string_equal(hex, abc_hex);
    rb_sha256_init(&h);
    rb_sha256_add(&h, "a", 1);
    rb_sha256_add(&h, "bc", 2);
    rb_sha256_end(&h, again);
    assert_memory_equal(digest, again, sizeof digest);
    assert_true(rb_sha256_from_hex(abc_hex, again));
    assert_memory_equal(digest, again, sizeof digest);
    assert_false(rb_sha256_from_hex("ba78", again));
    assert_false(rb_sha256_from_hex("", again));
    char longer[70];
    (void)snprintf(longer, sizeof longer, "%s00", abc_hex);
    assert_false(rb_sha256_from_hex(longer, again));
    longer[63] = 'g', longer[64] = '\0';
    assert_false(rb_sha256_from_hex(longer, again));
}

static void test_file_digest(void **state)
{
    (void)state;
    struct tmpdir t;
    struct rb_error err;
    unsigned char digest[RB_SHA256_BYTES], expected[RB_SHA256_BYTES];
    size_t bytes = (3 << 20) + 17;
    char *data = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (char)(i * i);
    tmpdir_init(&t);
    int fd = open(tmpdir_write(&t, "f", data, bytes), O_RDONLY);
    assert_int_equal(rb_sha256_fd(fd, "f", NULL, digest, &err), RB_OK);
    rb_sha256_of(data, bytes, expected);
    assert_memory_equal(digest, expected, sizeof digest);
    atomic_bool stop = true;
    assert_int_equal(rb_sha256_fd(fd, "f", &stop, digest, &err), RB_ECANCELED);
    close(fd);
    fd = open(t.path, O_RDONLY);
    assert_int_equal(rb_sha256_fd(fd, "the folder", NULL, digest, &err), RB_EIO);
    assert_non_null(strstr(err.detail, "the folder"));
    close(fd);
    free(data);
    tmpdir_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_ids),     cmocka_unit_test(test_other_ids),
        cmocka_unit_test(test_clock),       cmocka_unit_test(test_digests),
        cmocka_unit_test(test_file_digest),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
