// LINK: server_store
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/store/caches.h"
#include "server/store/datasets.h"
#include "server/store/idempotency.h"
#include "server/store/models.h"
#include "unit/store_support.h"

/* ---- models ---- */

static void test_models(void **state)
{
    (void)state;
    struct rb_model_file files[] = {{.name = "config.json", .bytes = 10},
                                    {.name = "vocab.txt", .bytes = 20}};
    struct rb_model_problem problems[] = {{.status = RB_ETENSOR, .detail = "second"},
                                          {.status = RB_EVOCAB, .detail = "first"}};
    struct rb_model_row row = {.path = "/srv/m", .imported = true, .updated_ms = 5}, read;
    bool created;
    memset(files[0].sha256, 'd', 64);
    strcpy(row.resource.name, "bert");
    row.resource.status = RB_MODEL_INVALID;
    strcpy(row.resource.architecture, "BertForMaskedLM");
    strcpy(row.resource.dtype, "F32");
    row.resource.hidden_size = 768;
    row.resource.num_layers = 12;
    row.resource.num_heads = 11;
    row.resource.intermediate_size = 3072;
    row.resource.vocab_size = 30522;
    row.resource.max_position_embeddings = 512;
    row.resource.parameters = 110000000;
    row.resource.bytes = 30;
    row.resource.files = files;
    row.resource.file_count = 2;
    row.resource.problems = problems;
    row.resource.problem_count = 2;
    row.resource.created_ms = 4;
    strcpy(row.resource.note, "both formats");
    strcpy(row.resource.family, "roberta");
    strcpy(row.resource.tokenizer_kind, "bpe");
    row.resource.tokenizer_size = 50265;
    assert_ok(rb_model_put(store, &row, &created, &err));
    assert_true(created);
    reopen_store();
    assert_ok(rb_model_get(store, "bert", &read, &err));
    assert_true(read.imported);
    assert_string_equal(read.path, "/srv/m");
    assert_int_equal(read.version, 1);
    assert_int_equal(read.updated_ms, 5);
    assert_int_equal(read.resource.status, RB_MODEL_INVALID);
    assert_string_equal(read.resource.architecture, "BertForMaskedLM");
    assert_string_equal(read.resource.dtype, "F32");
    assert_int_equal(read.resource.hidden_size, 768);
    assert_int_equal(read.resource.num_layers, 12);
    assert_int_equal(read.resource.num_heads, 11);
    assert_int_equal(read.resource.intermediate_size, 3072);
    assert_int_equal(read.resource.vocab_size, 30522);
    assert_int_equal(read.resource.max_position_embeddings, 512);
    assert_int_equal(read.resource.parameters, 110000000);
    assert_int_equal(read.resource.bytes, 30);
    assert_string_equal(read.resource.sha256, "");
    assert_int_equal(read.resource.created_ms, 4);
    assert_string_equal(read.resource.note, "both formats");
    assert_string_equal(read.resource.family, "roberta");
    assert_string_equal(read.resource.tokenizer_kind, "bpe");
    assert_int_equal(read.resource.tokenizer_size, 50265);
    assert_string_equal(read.resource.source, "import");
    assert_int_equal(read.resource.file_count, 2);
    assert_string_equal(read.resource.files[0].sha256, files[0].sha256);
    assert_string_equal(read.resource.files[1].name, "vocab.txt");
    assert_int_equal(read.resource.problem_count, 2);
    assert_int_equal(read.resource.problems[0].status, RB_ETENSOR);
    assert_string_equal(read.resource.problems[1].detail, "first");
    rb_model_row_deinit(&read);

    row.resource.file_count = 1;
    row.resource.problem_count = 0;
    row.resource.status = RB_MODEL_READY;
    row.resource.created_ms = 99;
    memset(row.resource.sha256, 'e', 64);
    assert_ok(rb_model_put(store, &row, &created, &err));
    assert_false(created);
    assert_ok(rb_model_get(store, "bert", &read, &err));
    assert_int_equal(read.version, 2);
    assert_int_equal(read.resource.created_ms, 4); /* stays */
    assert_int_equal(read.resource.file_count, 1);
    assert_int_equal(read.resource.problem_count, 0);
    assert_string_equal(read.resource.sha256, row.resource.sha256);
    rb_model_row_deinit(&read);
    assert_int_equal(rb_model_get(store, "none", &read, &err), RB_ENOTFOUND);
    assert_non_null(strstr(err.detail, "\"none\""));
}

static void test_model_pages(void **state)
{
    (void)state;
    static const char *const names[] = {"c", "a-b", "b", "a", "a.b"};
    void *list;
    const struct rb_model_row *rows;
    size_t count;
    uint64_t all;
    for (size_t i = 0; i < 5; i++) {
        struct rb_model_row row = {.path = ""};
        strcpy(row.resource.name, names[i]);
        assert_ok(rb_model_put(store, &row, NULL, &err));
    }
    assert_ok(rb_registered_list(store, &rb_models_kind, NULL, NULL, 3, &list, &count, &err));
    rows = list;
    assert_int_equal(count, 3);
    assert_string_equal(rows[0].resource.name, "a");
    assert_string_equal(rows[1].resource.name, "a-b");
    assert_string_equal(rows[2].resource.name, "a.b");
    rb_registered_free(&rb_models_kind, list, count);
    assert_ok(rb_registered_list(store, &rb_models_kind, "a.b", NULL, 3, &list, &count, &err));
    rows = list;
    assert_int_equal(count, 2);
    assert_string_equal(rows[1].resource.name, "c");
    rb_registered_free(&rb_models_kind, list, count);
    assert_ok(rb_models_count(store, &all, &err));
    assert_int_equal(all, 5);
}

/* ---- datasets ---- */

static void test_datasets(void **state)
{
    (void)state;
    static char text[] = "sentence", label[] = "class", path[] = "datasets/d/data";
    struct rb_dataset_row row = {.path = path, .updated_ms = 9}, read;
    void *list;
    bool created;
    size_t count;
    uint64_t all;
    strcpy(row.resource.name, "d");
    row.resource.format = RB_TSV;
    row.resource.rows = 7;
    row.resource.bytes = UINT64_C(1) << 40;
    row.resource.fields.text = text;
    row.resource.fields.label = label;
    row.resource.created_ms = 8;
    memset(row.resource.sha256, '1', 64);
    assert_ok(rb_dataset_put(store, &row, &created, &err));
    assert_true(created);
    assert_ok(rb_dataset_put(store, &row, &created, &err));
    assert_false(created);
    reopen_store();
    assert_ok(rb_dataset_get(store, "d", &read, &err));
    assert_false(read.imported);
    assert_string_equal(read.path, path);
    assert_int_equal(read.resource.format, RB_TSV);
    assert_int_equal(read.resource.rows, 7);
    assert_true(read.resource.bytes == UINT64_C(1) << 40);
    assert_string_equal(read.resource.fields.text, text);
    assert_null(read.resource.fields.text_pair);
    assert_string_equal(read.resource.fields.label, label);
    assert_string_equal(read.resource.sha256, row.resource.sha256);
    assert_int_equal(read.resource.created_ms, 8);
    assert_int_equal(read.updated_ms, 9);
    assert_int_equal(read.version, 2);
    rb_dataset_row_deinit(&read);
    assert_int_equal(rb_dataset_get(store, "e", &read, &err), RB_ENOTFOUND);
    assert_ok(rb_registered_list(store, &rb_datasets_kind, NULL, NULL, 10, &list, &count, &err));
    assert_int_equal(count, 1);
    rb_registered_free(&rb_datasets_kind, list, count);
    assert_ok(rb_registered_list(store, &rb_datasets_kind, "d", NULL, 10, &list, &count, &err));
    assert_int_equal(count, 0);
    rb_registered_free(&rb_datasets_kind, list, count);
    assert_ok(rb_datasets_count(store, &all, &err));
    assert_int_equal(all, 1);
}

/* ---- answers to give again ---- */

static void test_idempotency(void **state)
{
    (void)state;
    struct rb_idempotency_row row = {.token = "tok_1",
                                     .key = "k",
                                     .http_status = 202,
                                     .location = "/v1/jobs/x",
                                     .response = "{\"id\":1}",
                                     .created_at_ms = 1000},
                              read;
    bool found;
    memset(row.request_sha256, 7, sizeof row.request_sha256);
    assert_ok(rb_idempotency_get(store, "tok_1", "k", 1000, &found, &read, &err));
    assert_false(found);
    assert_ok(rb_idempotency_add(store, &row, &err));
    assert_int_equal(rb_idempotency_add(store, &row, &err), RB_ECONFLICT);
    assert_ok(rb_idempotency_get(store, "tok_1", "k", 2000, &found, &read, &err));
    assert_true(found);
    assert_int_equal(read.http_status, 202);
    assert_string_equal(read.location, "/v1/jobs/x");
    assert_string_equal(read.response, "{\"id\":1}");
    assert_memory_equal(read.request_sha256, row.request_sha256, sizeof row.request_sha256);
    rb_idempotency_row_deinit(&read);
    assert_ok(rb_idempotency_get(store, "tok_2", "k", 2000, &found, &read, &err)); /* not theirs */
    assert_false(found);
    int64_t later = 1000 + RB_IDEMPOTENCY_LIFE_MS;
    assert_ok(rb_idempotency_get(store, "tok_1", "k", later, &found, &read, &err));
    assert_false(found);
    row.created_at_ms = later; /* takes the place of the one that has expired */
    row.location = NULL;
    assert_ok(rb_idempotency_add(store, &row, &err));
    assert_ok(rb_idempotency_prune(store, later + 1, &err));
    assert_ok(rb_idempotency_get(store, "tok_1", "k", later + 1, &found, &read, &err));
    assert_true(found);
    assert_null(read.location);
    rb_idempotency_row_deinit(&read);
    assert_ok(rb_idempotency_prune(store, later + RB_IDEMPOTENCY_LIFE_MS, &err));
    assert_ok(rb_idempotency_add(store, &row, &err));
}

/* ---- caches ---- */

static void test_hashes(void **state)
{
    (void)state;
    unsigned char digest[RB_SHA256_BYTES], read[RB_SHA256_BYTES];
    struct rb_file_id file = {.path = "/f",
                              .bytes = 10,
                              .device = UINT64_MAX - 1,
                              .inode = UINT64_MAX,
                              .mtime_ns = 1234567890123456789,
                              .ctime_ns = 1234567890123456790};
    bool found;
    memset(digest, 3, sizeof digest);
    assert_ok(rb_hash_put(store, &file, digest, 1, &err));
    assert_ok(rb_hash_get(store, &file, &found, read, &err));
    assert_true(found);
    assert_memory_equal(digest, read, sizeof digest);
    for (int i = 0; i < 6; i++) { /* anything else is another file */
        struct rb_file_id other = file;
        other.bytes += i == 0;
        other.inode -= i == 1;
        other.mtime_ns += i == 2;
        other.path = i == 3 ? "/g" : "/f";
        other.device -= i == 4;
        other.ctime_ns += i == 5;
        assert_ok(rb_hash_get(store, &other, &found, read, &err));
        assert_false(found);
    }
    file.mtime_ns++;
    assert_ok(rb_hash_put(store, &file, digest, 2, &err)); /* replaces */
    assert_ok(rb_hash_get(store, &file, &found, read, &err));
    assert_true(found);
}

static void put_moments(const char *key, uint64_t bytes, int64_t used_ms)
{
    struct rb_moments_row row = {.key = (char *)(uintptr_t)key,
                                 .file = (char *)(uintptr_t)key,
                                 .bytes = bytes,
                                 .used_at_ms = used_ms};
    assert_ok(rb_moments_put(store, &row, &err));
}

static void assert_oldest(const char *key)
{
    struct rb_moments_row row;
    bool found;
    assert_ok(rb_moments_oldest(store, &found, &row, &err));
    assert_int_equal(found, key != NULL);
    if (found) {
        assert_string_equal(row.key, key);
        rb_moments_row_deinit(&row);
    }
}

static enum rb_status put_rate(const char *kernel, const char *what, double rate, double seconds)
{
    const struct rb_rate_key key = {"A Processor", kernel, what};
    const struct rb_rate row = {rate, seconds};
    enum rb_status status = rb_store_begin(store, &err);
    return status == RB_OK ? rb_store_end(store, rb_rate_put(store, &key, &row, &err), &err)
                           : status;
}

static void expect_rate(const char *kernel, const char *what, double rate, double seconds)
{
    const struct rb_rate_key key = {"A Processor", kernel, what};
    struct rb_rate found = {0};
    bool there;
    assert_ok(rb_rate_get(store, &key, &there, &found, &err));
    assert_int_equal(there, rate > 0);
    assert_true(found.rate <= rate && found.rate >= rate && found.seconds <= seconds &&
                found.seconds >= seconds);
}

/* By kernel: one that was not measured knows nothing of another. */
static void test_rates(void **state)
{
    (void)state;
    expect_rate("SkylakeX", "machine", 0, 0);
    assert_ok(put_rate("SkylakeX", "machine", 1.6e11, 0));
    assert_ok(put_rate("SkylakeX", "aligning", 0.9, 12.5));
    assert_ok(put_rate("SkylakeX", "aligning", 0.8, 20)); /* replaces */
    reopen_store();
    expect_rate("SkylakeX", "machine", 1.6e11, 0);
    expect_rate("SkylakeX", "aligning", 0.8, 20);
    expect_rate("Haswell", "aligning", 0, 0);
    expect_rate("SkylakeX", "evaluating", 0, 0);
}

static void test_moments(void **state)
{
    (void)state;
    struct rb_moments_row row;
    uint64_t total;
    bool found;
    assert_oldest(NULL);
    put_moments("a", 100, 1);
    put_moments("b", 200, 2);
    put_moments("c", 300, 3);
    assert_ok(rb_moments_total(store, &total, &err));
    assert_int_equal(total, 600);
    assert_oldest("a");
    assert_ok(rb_moments_get(store, "a", 10, &found, &row, &err));
    assert_true(found);
    assert_string_equal(row.file, "a");
    assert_int_equal(row.bytes, 100);
    assert_int_equal(row.used_at_ms, 10);
    rb_moments_row_deinit(&row);
    assert_oldest("b");
    assert_ok(rb_moments_get(store, "x", 10, &found, &row, &err));
    assert_false(found);
    assert_ok(rb_moments_remove(store, "b", &err));
    assert_oldest("c");
    assert_ok(rb_moments_remove(store, "b", &err)); /* gone already */
    assert_ok(rb_moments_total(store, &total, &err));
    assert_int_equal(total, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_models, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_model_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_datasets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_idempotency, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hashes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_moments, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
