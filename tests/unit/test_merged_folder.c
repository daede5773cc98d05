// LINK: server_work
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/tensor/checkpoint.h"
#include "server/base/fsutil.h"
#include "server/base/ids.h"
#include "server/work/merged_folder.h"
#include "unit/tmpdir.h"

#define JOB "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"

static struct tmpdir data;
static struct rb_work work;
static size_t weights_bytes;

static int set_up(void **state)
{
    (void)state;
    struct rb_error err;
    tmpdir_init(&data);
    work.options.data_dir = data.path;
    assert_int_equal(rb_ids_init(&err), RB_OK);
    assert_int_equal(rb_root_open(data.path, false, &work.options.data_fd, &err), RB_OK);
    unsigned char *weights =
        tmpdir_read(RB_FIXTURES "/models/bert-a/model.safetensors", &weights_bytes);
    assert_int_equal(rb_mkdirs_beneath(work.options.data_fd, "jobs/" JOB, &err), RB_OK);
    tmpdir_write(&data, "jobs/" JOB "/merged-0.50.safetensors", weights, weights_bytes);
    free(weights);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(work.options.data_fd);
    tmpdir_deinit(&data);
    return 0;
}

/* Writes the folder; it opens as a checkpoint, and the last artifact is the digest of its tar. */
static size_t put(uint64_t shard_bytes, struct rb_artifact ret[RB_FOLDER_FILES_MAX])
{
    struct rb_error err;
    size_t bytes, count = 0;
    char *config = (char *)tmpdir_read(RB_FIXTURES "/models/bert-a/config.json", &bytes);
    const struct rb_folder_file files[] = {{"config.json", config, bytes}};
    const struct rb_model_card card = {
        .job = JOB, .version = "1", .spec = "{}", .dtype = "source", .lambda = 0.5};
    const struct rb_merged_folder f = {&card, files, 1, shard_bytes};
    assert_int_equal(rb_merged_folder_put(&work, &f, ret, &count, &err), RB_OK);
    free(config);
    struct rb_checkpoint c;
    assert_int_equal(
        rb_checkpoint_open(tmpdir_path(&data, "jobs/" JOB "/merged/lambda-0.50"), &c, &err), RB_OK);
    rb_checkpoint_deinit(&c);
    unsigned char told[RB_SHA256_BYTES], found[RB_SHA256_BYTES];
    struct rb_tar_entry entries[RB_FOLDER_FILES_MAX];
    size_t entry_count = 0;
    assert_int_equal(rb_folder_digest_read(work.options.data_fd, JOB, 0.5, told, &err), RB_OK);
    assert_int_equal(
        rb_folder_tar_open(work.options.data_fd, JOB, 0.5, ret, count, entries, &entry_count, &err),
        RB_OK);
    assert_int_equal(entry_count, count - 1);
    assert_int_equal(rb_tar_sha256(entries, entry_count, found, &err), RB_OK);
    assert_memory_equal(told, found, sizeof told);
    rb_folder_tar_close(entries, entry_count);
    return count;
}

/* One file is a link, and written again over what a dead process left. */
static void test_one_file(void **state)
{
    (void)state;
    struct rb_artifact artifacts[RB_FOLDER_FILES_MAX];
    struct stat st;
    for (int i = 0; i < 2; i++) {
        size_t count = put(1ULL << 40, artifacts);
        assert_int_equal(count, 5);
        assert_string_equal(artifacts[2].name, "merged/lambda-0.50/model.safetensors");
        assert_int_equal(artifacts[2].bytes, weights_bytes);
    }
    assert_int_equal(stat(tmpdir_path(&data, "jobs/" JOB "/merged-0.50.safetensors"), &st), 0);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(
        unlink(tmpdir_path(&data, "jobs/" JOB "/merged/lambda-0.50/model.safetensors")), 0);
}

static void test_shards(void **state)
{
    (void)state;
    struct rb_artifact artifacts[RB_FOLDER_FILES_MAX];
    size_t count = put(weights_bytes / 3 + 1, artifacts), shards = 0, indices = 0;
    for (size_t i = 0; i < count; i++) {
        shards += strstr(artifacts[i].name, "/model-0000") != NULL;
        indices += strstr(artifacts[i].name, "/model.safetensors.index.json") != NULL;
    }
    assert_true(shards >= 3);
    assert_int_equal(indices, 1);
    assert_int_equal(count, shards + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_shards),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
