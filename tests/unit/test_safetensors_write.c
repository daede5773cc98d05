// LINK: core_tensor
#include "core/tensor/safetensors.h"
#include "core/tensor/safetensors_open.h"
#include "core/tensor/safetensors_write.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "unit/tmpdir.h"

/* ---- the system, made difficult ----
 * These definitions take the place of libc's in the library under test. */
static struct {
    size_t most_bytes; /* per pwrite or pread; 0: no limit */
    int interrupt;     /* every how manieth of them fails with EINTR; 0: none */
    int fail_write;    /* errno of pwrites beyond the first 8 bytes of data, or 0 */
    int fail_sync;     /* errno of the fail_sync_nth fsync, or 0 */
    int fail_sync_nth;
    int fail_reserve;
    int calls, syncs;
    off_t reserved; /* by the last fallocate */
    char trace[64]; /* "s" for fsync of a file, "d" of a folder, "r" for rename */
} faults;

static bool interrupted(void)
{
    return faults.interrupt != 0 && ++faults.calls % faults.interrupt == 0;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    if (interrupted() || (faults.fail_write != 0 && offset > 8)) {
        errno = faults.fail_write != 0 ? faults.fail_write : EINTR;
        return -1;
    }
    if (faults.most_bytes != 0 && bytes > faults.most_bytes)
        bytes = faults.most_bytes;
    return (ssize_t)syscall(SYS_pwrite64, fd, data, bytes, offset);
}

ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
    if (interrupted()) {
        errno = EINTR;
        return -1;
    }
    if (faults.most_bytes != 0 && bytes > faults.most_bytes)
        bytes = faults.most_bytes;
    return (ssize_t)syscall(SYS_pread64, fd, data, bytes, offset);
}

int fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    strcat(faults.trace, S_ISDIR(st.st_mode) ? "d" : "s");
    if (faults.fail_sync != 0 && ++faults.syncs == faults.fail_sync_nth) {
        errno = faults.fail_sync;
        return -1;
    }
    return 0;
}

int rename(const char *from, const char *to)
{
    strcat(faults.trace, "r");
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to); /* arm64 has no other */
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    if (faults.fail_reserve != 0) {
        errno = faults.fail_reserve;
        return -1;
    }
    faults.reserved = offset + bytes;
    return (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
}

static int no_faults(void **state)
{
    (void)state;
    memset(&faults, 0, sizeof faults);
    return 0;
}

/* ---- one small file ---- */

static const struct rb_st_spec specs[] = {
    {"b", RB_F32, 2, {2, 3}},          {"a", RB_U8, 1, {3}},
    {"scalar", RB_F16, 0, {0}},        {"none", RB_F64, 2, {0, 7}},
    {"\xc3\xa9\"\\", RB_BF16, 1, {2}},
};
enum { SPECS = sizeof specs / sizeof specs[0] };
static const size_t spec_bytes[SPECS] = {24, 3, 2, 0, 4};
static const struct rb_metadata metadata[] = {{"format", "pt"}, {"lambda", "0.5"}};
static const unsigned char content[64] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

static struct rb_st_writer *writer(const char *path)
{
    struct rb_st_writer *w;
    struct rb_error err = {0};
    if (rb_st_writer_open(path, specs, SPECS, metadata, 2, &w, &err) != RB_OK)
        fail_msg("%s", err.detail);
    return w;
}

static void put(struct rb_st_writer *w, size_t index, uint64_t offset, size_t bytes)
{
    struct rb_error err = {0};
    if (rb_st_writer_write(w, index, offset, content + 10 * index + offset, bytes, &err) != RB_OK)
        fail_msg("%s", err.detail);
}

static void put_all(struct rb_st_writer *w)
{
    for (size_t i = SPECS; i-- > 0;)
        put(w, i, 0, spec_bytes[i]);
}

static void check_content(const char *path)
{
    struct rb_safetensors st;
    struct rb_error err = {0};
    if (rb_safetensors_open(path, &st, &err) != RB_OK)
        fail_msg("%s", err.detail);
    assert_int_equal(st.tensor_count, SPECS);
    for (size_t i = 0; i < SPECS; i++) {
        const struct rb_tensor *t = rb_safetensors_find(&st, specs[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, specs[i].dtype);
        assert_int_equal(t->rank, specs[i].rank);
        assert_memory_equal(t->shape, specs[i].shape, sizeof t->shape);
        assert_int_equal(t->bytes, spec_bytes[i]);
        assert_memory_equal(t->data, content + 10 * i, t->bytes);
    }
    assert_int_equal(st.metadata_count, 2);
    assert_string_equal(rb_safetensors_metadata(&st, "lambda"), "0.5");
    rb_safetensors_deinit(&st);
}

static void test_bytes_of_the_file(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    const char *path = tmpdir_path(&dir, "m.safetensors");
    struct rb_st_writer *w = writer(path);
    put_all(w);
    assert_int_equal(rb_st_writer_commit(w, NULL), RB_OK);
    check_content(path);

    const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"lambda\":\"0.5\"},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[24,27]},"
        "\"scalar\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[27,29]},"
        "\"none\":{\"dtype\":\"F64\",\"shape\":[0,7],\"data_offsets\":[29,29]},"
        "\"\xc3\xa9\\\"\\\\\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[29,33]}}";
    size_t bytes, padded = (sizeof header - 1 + 7) / 8 * 8;
    assert_int_not_equal(padded, sizeof header - 1); /* or the padding is not tested */
    unsigned char *file = tmpdir_read(path, &bytes);
    assert_int_equal(bytes, 8 + padded + 33);
    assert_int_equal(faults.reserved, bytes);
    assert_int_equal(file[0] | file[1] << 8, padded);
    assert_memory_equal(file + 2, "\0\0\0\0\0", 6);
    assert_memory_equal(file + 8, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < padded; i++)
        assert_int_equal(file[8 + i], ' ');
    free(file);
    tmpdir_deinit(&dir);
}

static void test_no_tensors(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct rb_st_writer *w;
    struct rb_safetensors st;
    tmpdir_init(&dir);
    const char *path = tmpdir_path(&dir, "m.safetensors");
    assert_int_equal(rb_st_writer_open(path, NULL, 0, NULL, 0, &w, NULL), RB_OK);
    assert_int_equal(rb_st_writer_commit(w, NULL), RB_OK);
    assert_int_equal(rb_safetensors_open(path, &st, NULL), RB_OK);
    assert_int_equal(st.tensor_count + st.metadata_count, 0);
    rb_safetensors_deinit(&st);
    tmpdir_deinit(&dir);
}

/* Nothing is seen at the path until all is there and on disk; then the rename is, too. */
static void test_commit_is_atomic(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    const char *path = tmpdir_write(&dir, "m.safetensors", "old", 3);
    tmpdir_write(&dir, "m.safetensors.tmp", "left by a killed run, longer than what comes", 44);
    struct rb_st_writer *w = writer(path);
    put_all(w);
    size_t bytes;
    unsigned char *old = tmpdir_read(path, &bytes);
    assert_string_equal(old, "old");
    free(old);
    assert_int_equal(rb_st_writer_commit(w, NULL), RB_OK);
    assert_string_equal(faults.trace, "srd");
    check_content(path);
    assert_int_equal(tmpdir_count(&dir), 1);
    tmpdir_deinit(&dir);
}

static void test_stale_temporary_may_be_a_link(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    const char *victim = tmpdir_write(&dir, "victim", "keep", 4);
    const char *path = tmpdir_path(&dir, "m.safetensors");
    assert_int_equal(symlink(victim, tmpdir_path(&dir, "m.safetensors.tmp")), 0);
    struct rb_st_writer *w = writer(path);
    put_all(w);
    assert_int_equal(rb_st_writer_commit(w, NULL), RB_OK);
    size_t bytes;
    unsigned char *kept = tmpdir_read(victim, &bytes);
    assert_string_equal(kept, "keep");
    free(kept);
    tmpdir_deinit(&dir);
}

static void test_abort(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    struct rb_st_writer *w = writer(tmpdir_path(&dir, "m.safetensors"));
    put(w, 0, 0, 8);
    assert_int_equal(tmpdir_count(&dir), 1);
    rb_st_writer_abort(w);
    assert_int_equal(tmpdir_count(&dir), 0);
    rb_st_writer_abort(NULL);
    tmpdir_deinit(&dir);
}

static void refuse_commit(struct tmpdir *dir, struct rb_st_writer *w, enum rb_status status,
                          const char *word)
{
    struct rb_error err = {0};
    assert_int_equal(rb_st_writer_commit(w, &err), status);
    if (strstr(err.detail, word) == NULL)
        fail_msg("'%s' should say '%s'", err.detail, word);
    assert_int_equal(tmpdir_count(dir), 0);
}

static void test_every_byte_is_accounted_for(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct rb_error err = {0};
    tmpdir_init(&dir);
    const char *path = tmpdir_path(&dir, "m.safetensors");
    for (size_t missing = 0; missing < SPECS; missing++) {
        if (spec_bytes[missing] == 0)
            continue;
        struct rb_st_writer *w = writer(path);
        for (size_t i = 0; i < SPECS; i++)
            put(w, i, 0, i == missing ? spec_bytes[i] - 1 : spec_bytes[i]);
        refuse_commit(&dir, w, RB_EINTERNAL, specs[missing].name);
        assert_string_equal(faults.trace, "");
    }
    struct rb_st_writer *w = writer(path);
    put_all(w);
    put(w, 1, 0, 1);
    refuse_commit(&dir, w, RB_EINTERNAL, "'a' has 3 bytes, 4 were written");

    const struct {
        size_t index;
        uint64_t offset;
        size_t bytes;
    } outside[] = {
        {SPECS, 0, 0},      {0, 0, 25},       {0, 24, 1}, {0, 25, 0},
        {0, UINT64_MAX, 1}, {0, 1, SIZE_MAX}, {3, 0, 1},
    };
    w = writer(path);
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        assert_int_equal(rb_st_writer_write(w, outside[i].index, outside[i].offset, content,
                                            outside[i].bytes, &err),
                         RB_EINTERNAL);
    put_all(w);
    assert_int_equal(rb_st_writer_commit(w, NULL), RB_OK);
    check_content(path);
    tmpdir_deinit(&dir);
}

static void refuse_open(const char *path, const struct rb_st_spec *of, size_t count,
                        enum rb_status status, const char *word)
{
    struct rb_st_writer *w;
    struct rb_error err = {0};
    assert_int_equal(rb_st_writer_open(path, of, count, NULL, 0, &w, &err), status);
    if (strstr(err.detail, word) == NULL)
        fail_msg("'%s' should say '%s'", err.detail, word);
}

static void test_open_refuses(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    const char *path = tmpdir_path(&dir, "m.safetensors");
    const struct rb_st_spec twins[] = {{"x", RB_F32, 0, {0}}, {"x", RB_F16, 0, {0}}};
    const struct rb_st_spec large[] = {{"x", RB_F32, 2, {UINT64_C(1) << 33, UINT64_C(1) << 33}}};
    const struct rb_st_spec sum[] = {{"x", RB_U8, 1, {UINT64_C(1) << 62}},
                                     {"y", RB_U8, 1, {UINT64_C(1) << 62}}};
    const struct rb_st_spec deep[] = {{"x", RB_F32, RB_ST_MAX_RANK + 1, {1}}};
    refuse_open(path, twins, 2, RB_EINTERNAL, "'x' is announced twice");
    refuse_open(path, large, 1, RB_EINTERNAL, "'x' is too large");
    refuse_open(path, sum, 2, RB_EINTERNAL, "too large");
    refuse_open(path, deep, 1, RB_EINTERNAL, "too large");
    refuse_open(tmpdir_path(&dir, "no/m.safetensors"), specs, SPECS, RB_ENOTFOUND, "No such file");
    faults.fail_reserve = ENOSPC;
    refuse_open(path, specs, SPECS, RB_EDISKFULL, "No space left");
    faults.fail_reserve = 0;
    faults.fail_write = EIO;
    refuse_open(path, specs, SPECS, RB_EIO, "Input/output error"); /* the header's text */
    assert_int_equal(tmpdir_count(&dir), 0);
    tmpdir_deinit(&dir);
}

static void test_file_systems_without_fallocate(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    const char *path = tmpdir_path(&dir, "m.safetensors");
    faults.fail_reserve = EOPNOTSUPP;
    struct rb_st_writer *w = writer(path);
    put_all(w);
    assert_int_equal(rb_st_writer_commit(w, NULL), RB_OK);
    check_content(path);
    tmpdir_deinit(&dir);
}

static void test_short_and_interrupted_calls(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    const char *path = tmpdir_path(&dir, "m.safetensors");
    faults.most_bytes = 5;
    faults.interrupt = 3;
    struct rb_st_writer *w = writer(path);
    put_all(w);
    assert_int_equal(rb_st_writer_commit(w, NULL), RB_OK);
    check_content(path); /* reading is as difficult */
    tmpdir_deinit(&dir);
}

static void test_failures_leave_nothing_behind(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct rb_error err = {0};
    tmpdir_init(&dir);
    const char *path = tmpdir_path(&dir, "m.safetensors");

    struct rb_st_writer *w = writer(path);
    faults.fail_write = ENOSPC;
    assert_int_equal(rb_st_writer_write(w, 0, 0, content, 24, &err), RB_EDISKFULL);
    faults.fail_write = 0;
    for (size_t i = 1; i < SPECS; i++)
        put(w, i, 0, spec_bytes[i]);
    refuse_commit(&dir, w, RB_EINTERNAL, "'b' has 24 bytes, 0 were written");

    w = writer(path);
    put_all(w);
    faults.fail_sync = EIO;
    faults.fail_sync_nth = 1;
    refuse_commit(&dir, w, RB_EIO, "Input/output error");
    assert_string_equal(faults.trace, "s");

    /* a folder in the way: the rename fails */
    faults.fail_sync = 0;
    assert_int_equal(mkdir(path, 0700), 0);
    w = writer(path);
    put_all(w);
    assert_int_equal(rb_st_writer_commit(w, &err), RB_EIO);
    assert_int_equal(tmpdir_count(&dir), 1);
    assert_int_equal(rmdir(path), 0);

    /* the folder's own fsync: the file is there, but that is not certain to last */
    w = writer(path);
    put_all(w);
    faults.syncs = 0;
    faults.fail_sync = EIO;
    faults.fail_sync_nth = 2;
    assert_int_equal(rb_st_writer_commit(w, &err), RB_EIO);
    check_content(path);
    tmpdir_deinit(&dir);
}

/* ---- many threads ---- */

enum { THREADS = 4, PIECE = 1000, PIECES = 400 };

struct share {
    struct rb_st_writer *w;
    size_t first;
};

static void *write_share(void *arg)
{
    const struct share *share = arg;
    unsigned char piece[PIECE];
    for (size_t i = PIECES; i-- > 0;) {
        if (i % THREADS != share->first)
            continue;
        memset(piece, (int)(i % 251), sizeof piece);
        if (rb_st_writer_write(share->w, i % 2, i / 2 * PIECE, piece, PIECE, NULL) != RB_OK)
            return arg;
    }
    return NULL;
}

static void test_pieces_from_many_threads(void **state)
{
    (void)state;
    struct tmpdir dir;
    pthread_t threads[THREADS];
    struct share shares[THREADS];
    const struct rb_st_spec two[] = {{"x", RB_U8, 1, {PIECES / 2 * PIECE}},
                                     {"y", RB_U8, 2, {PIECES / 2, PIECE}}};
    struct rb_st_writer *w;
    tmpdir_init(&dir);
    const char *path = tmpdir_path(&dir, "m.safetensors");
    assert_int_equal(rb_st_writer_open(path, two, 2, NULL, 0, &w, NULL), RB_OK);
    for (size_t i = 0; i < THREADS; i++) {
        shares[i] = (struct share){w, i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_share, &shares[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(rb_st_writer_commit(w, NULL), RB_OK);

    struct rb_safetensors st;
    assert_int_equal(rb_safetensors_open(path, &st, NULL), RB_OK);
    for (size_t i = 0; i < PIECES; i++) {
        const unsigned char *data = st.tensors[i % 2].data;
        for (size_t j = 0; j < PIECE; j++)
            assert_int_equal(data[i / 2 * PIECE + j], i % 251);
    }
    rb_safetensors_deinit(&st);
    tmpdir_deinit(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_bytes_of_the_file, no_faults),
        cmocka_unit_test_setup(test_no_tensors, no_faults),
        cmocka_unit_test_setup(test_commit_is_atomic, no_faults),
        cmocka_unit_test_setup(test_stale_temporary_may_be_a_link, no_faults),
        cmocka_unit_test_setup(test_abort, no_faults),
        cmocka_unit_test_setup(test_every_byte_is_accounted_for, no_faults),
        cmocka_unit_test_setup(test_open_refuses, no_faults),
        cmocka_unit_test_setup(test_file_systems_without_fallocate, no_faults),
        cmocka_unit_test_setup(test_short_and_interrupted_calls, no_faults),
        cmocka_unit_test_setup(test_failures_leave_nothing_behind, no_faults),
        cmocka_unit_test_setup(test_pieces_from_many_threads, no_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
