// LINK: core_tensor
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/tensor/checkpoint.h"
#include "core/tensor/split.h"
#include "core/tensor/safetensors_open.h"
#include "unit/tmpdir.h"

static const char *const source = RB_FIXTURES "/models/bert-a/model.safetensors";

static struct rb_safetensors open_source(void)
{
    struct rb_safetensors st;
    struct rb_error err;
    assert_int_equal(rb_safetensors_open(source, &st, &err), RB_OK);
    return st;
}

/* The shards and their index are a checkpoint that holds what the one file held. */
static void test_shards(void **state)
{
    (void)state;
    enum { MOST = 300000 };
    struct tmpdir dir;
    struct rb_error err;
    struct rb_safetensors st = open_source();
    struct rb_split s;
    tmpdir_init(&dir);
    assert_int_equal(rb_split_plan(&st, MOST, 99, &s, &err), RB_OK);
    assert_true(s.count > 2);
    for (size_t i = 0; i < s.count; i++) {
        char name[RB_SPLIT_NAME_SIZE];
        struct rb_safetensors shard;
        uint64_t bytes = 0;
        rb_split_name(&s, i, name);
        assert_int_equal(rb_split_write(&s, &st, i, tmpdir_path(&dir, name), &err), RB_OK);
        assert_int_equal(rb_safetensors_open(tmpdir_path(&dir, name), &shard, &err), RB_OK);
        assert_string_equal(rb_safetensors_metadata(&shard, "format"), "pt");
        for (size_t k = 0; k < shard.tensor_count; k++)
            bytes += shard.tensors[k].bytes;
        assert_true(bytes <= MOST || shard.tensor_count == 1);
        rb_safetensors_deinit(&shard);
    }
    json_t *index = rb_split_index(&s, &st);
    assert_non_null(index);
    assert_int_equal(json_dump_file(index, tmpdir_path(&dir, "model.safetensors.index.json"), 0),
                     0);
    json_decref(index);
    size_t bytes;
    unsigned char *config = tmpdir_read(RB_FIXTURES "/models/bert-a/config.json", &bytes);
    tmpdir_write(&dir, "config.json", config, bytes);
    free(config);
    struct rb_checkpoint whole;
    assert_int_equal(rb_checkpoint_open(dir.path, &whole, &err), RB_OK);
    assert_int_equal(whole.tensor_count, st.tensor_count);
    for (size_t i = 0; i < st.tensor_count; i++) {
        const struct rb_tensor *t = rb_checkpoint_find(&whole, st.tensors[i].name);
        assert_non_null(t);
        assert_int_equal(t->bytes, st.tensors[i].bytes);
        assert_memory_equal(t->data, st.tensors[i].data, t->bytes);
    }
    rb_checkpoint_deinit(&whole);
    rb_split_deinit(&s);
    rb_safetensors_deinit(&st);
    tmpdir_deinit(&dir);
}

static void test_counts(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_safetensors st = open_source();
    struct rb_split s;
    char name[RB_SPLIT_NAME_SIZE];
    assert_int_equal(rb_split_plan(&st, RB_SHARD_BYTES, 48, &s, &err), RB_OK);
    assert_int_equal(s.count, 1);
    rb_split_deinit(&s);
    assert_int_equal(rb_split_plan(&st, 1, 1000, &s, &err), RB_OK); /* one for each */
    assert_int_equal(s.count, st.tensor_count);
    rb_split_deinit(&s);
    assert_int_equal(rb_split_plan(&st, 1, 3, &s, &err), RB_OK);
    assert_true(s.count >= 1 && s.count <= 3);
    s.count = 3;
    rb_split_name(&s, 1, name);
    assert_string_equal(name, "model-00002-of-00003.safetensors");
    rb_split_deinit(&s);
    rb_safetensors_deinit(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
