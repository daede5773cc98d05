// LINK: server_base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/tar.h"
#include "unit/tmpdir.h"

enum { FILES = 4 };
static const size_t sizes[FILES] = {0, 1, 512, 1300};
static struct tmpdir folder;
static struct rb_tar_entry entries[FILES];

static int set_up(void **state)
{
    char bytes[2048];
    (void)state;
    tmpdir_init(&folder);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)('a' + i % 23);
    for (int i = 0; i < FILES; i++) {
        struct rb_tar_entry *e = &entries[i];
        (void)snprintf(e->name, sizeof e->name, "lambda-0.50/file-%d", i);
        char name[16];
        (void)snprintf(name, sizeof name, "%d", i);
        e->bytes = sizes[i];
        e->fd = open(tmpdir_write(&folder, name, bytes, sizes[i]), O_RDONLY | O_CLOEXEC);
        assert_true(e->fd >= 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++)
        close(entries[i].fd);
    tmpdir_deinit(&folder);
    return 0;
}

/* The whole tar, read in pieces of at most `piece`. */
static char *read_all(size_t piece)
{
    struct rb_error err;
    size_t bytes = (size_t)rb_tar_bytes(entries, FILES), at = 0, n;
    char *whole = malloc(bytes + piece);
    assert_non_null(whole);
    do {
        assert_int_equal(rb_tar_read(entries, FILES, at, whole + at, piece, &n, &err), RB_OK);
        at += n;
        assert_true(at <= bytes);
    } while (n > 0);
    assert_int_equal(at, bytes);
    return whole;
}

static void test_header(void **state)
{
    (void)state;
    assert_int_equal(rb_tar_bytes(entries, FILES), 4 * 512 + 512 + 512 + 1536 + 1024);
    assert_int_equal(rb_tar_bytes(entries, 0), 1024);
    char *whole = read_all(4096), *h = whole + 512; /* the file of one byte */
    assert_string_equal(h, "lambda-0.50/file-1");
    assert_string_equal(h + 100, "0000644");
    assert_string_equal(h + 124, "00000000001");
    assert_string_equal(h + 136, "02263523000"); /* 1980-01-01 */
    assert_memory_equal(h + 257, "ustar\00000", 8);
    unsigned sum = 0, told = 0;
    for (int i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? ' ' : (unsigned char)h[i];
    assert_int_equal(sscanf(h + 148, "%o", &told), 1);
    assert_int_equal(told, sum);
    assert_int_equal(h[512], 'a');
    for (int i = 1; i < 512; i++)
        assert_int_equal(h[512 + i], 0);
    free(whole);
}

/* tar(1) finds the files as they are. */
static void test_other_reader(void **state)
{
    (void)state;
    char *whole = read_all(1000), command[1024];
    tmpdir_write(&folder, "x.tar", whole, (size_t)rb_tar_bytes(entries, FILES));
    free(whole);
    (void)snprintf(command, sizeof command,
                   "cd %s && tar -xf x.tar 2>&1 && for i in 0 1 2 3; do cmp $i lambda-0.50/file-$i "
                   "|| exit 1; done",
                   folder.path);
    assert_int_equal(system(command), 0);
}

/* Any part of it is that part of the whole; its digest is the whole's. */
static void test_parts(void **state)
{
    (void)state;
    struct rb_error err;
    size_t bytes = (size_t)rb_tar_bytes(entries, FILES);
    char *whole = read_all(1 << 20), part[700];
    for (size_t at = 0; at <= bytes; at += 7) {
        size_t n;
        assert_int_equal(rb_tar_read(entries, FILES, at, part, sizeof part, &n, &err), RB_OK);
        assert_true(n > 0 || at == bytes);
        assert_memory_equal(part, whole + at, n);
    }
    unsigned char digest[RB_SHA256_BYTES], expected[RB_SHA256_BYTES];
    rb_sha256_of(whole, bytes, expected);
    assert_int_equal(rb_tar_sha256(entries, FILES, digest, &err), RB_OK);
    assert_memory_equal(digest, expected, sizeof digest);
    free(whole);
}

static void test_large_file(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_tar_entry e = {.name = "large", .bytes = (1ULL << 33) + 5, .fd = -1};
    static const unsigned char base_256[12] = {0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 5};
    char header[512];
    size_t n;
    assert_int_equal(rb_tar_read(&e, 1, 0, header, sizeof header, &n, &err), RB_OK);
    assert_int_equal(n, sizeof header);
    assert_memory_equal(header + 124, base_256, sizeof base_256);
    e.bytes = (1ULL << 33) - 1;
    assert_int_equal(rb_tar_read(&e, 1, 0, header, sizeof header, &n, &err), RB_OK);
    assert_memory_equal(header + 124, "77777777777", 12);
}

static void test_file_cut_short(void **state)
{
    (void)state;
    struct rb_error err;
    unsigned char digest[RB_SHA256_BYTES];
    entries[1].bytes = 2;
    assert_int_equal(rb_tar_sha256(entries, FILES, digest, &err), RB_EIO);
    assert_non_null(strstr(err.detail, "file-1 ends at byte 1 of 2"));
    entries[1].bytes = 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),         cmocka_unit_test(test_other_reader),
        cmocka_unit_test(test_parts),          cmocka_unit_test(test_large_file),
        cmocka_unit_test(test_file_cut_short),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
