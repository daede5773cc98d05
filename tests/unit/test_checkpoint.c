// LINK: core_tensor
#include "core/tensor/map.h"
#include "core/tensor/checkpoint.h"
#include "core/tensor/safetensors_open.h"
#include "core/tensor/safetensors_write.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/tmpdir.h"

#define CONFIG "{\"model_type\":\"bert\"}"
#define INDEX "model.safetensors.index.json"
#define SHARD_1 "model-00001-of-00002.safetensors"
#define SHARD_2 "model-00002-of-00002.safetensors"

/* ---- the fixtures ---- */

static long shared_bytes(void) /* resident pages that belong to files */
{
    long size, resident, shared;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld %ld", &size, &resident, &shared), 3);
    (void)fclose(f);
    return shared * sysconf(_SC_PAGESIZE);
}

static size_t sum_of(const struct rb_tensor *t)
{
    const volatile unsigned char *data = t->data;
    size_t sum = 0;
    for (size_t i = 0; i < t->bytes; i++)
        sum += data[i];
    return sum;
}

static void test_forget(void **state)
{
    (void)state;
    struct rb_checkpoint c;
    struct rb_error err = {0};
    if (rb_checkpoint_open(RB_FIXTURES "/models/bert-a", &c, &err) != RB_OK)
        fail_msg("%s", err.detail);
    const struct rb_tensor *t = rb_checkpoint_find(&c, "bert.embeddings.word_embeddings.weight");
    assert_non_null(t);
    size_t sum = sum_of(t);
    long before = shared_bytes();
    rb_checkpoint_forget(&c, t);
    assert_true(before - shared_bytes() > (long)t->bytes / 2);
    assert_int_equal(sum_of(t), sum);
    struct rb_tensor elsewhere = *t;
    unsigned char own[3 * 4096];
    memset(own, 7, sizeof own);
    elsewhere.data = own;
    elsewhere.bytes = sizeof own;
    rb_checkpoint_forget(&c, &elsewhere); /* no part of the file: untouched */
    assert_int_equal(sum_of(&elsewhere), 7 * sizeof own);
    rb_checkpoint_deinit(&c);
}

static void test_fixture_models(void **state)
{
    (void)state;
    const struct {
        const char *name;
        enum rb_dtype dtype;
    } rows[] = {
        {"bert-a", RB_F32},    {"bert-b", RB_F32},     {"authors-a", RB_F16},
        {"authors-b", RB_F16}, {"overlap-a", RB_BF16}, {"overlap-b", RB_BF16},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char folder[512];
        struct stat st;
        struct rb_checkpoint c;
        struct rb_error err = {0};
        (void)snprintf(folder, sizeof folder, RB_FIXTURES "/models/%s", rows[i].name);
        if (rb_checkpoint_open(folder, &c, &err) != RB_OK)
            fail_msg("%s", err.detail);
        assert_string_equal(c.path, folder);
        assert_string_equal(json_string_value(json_object_get(c.config, "model_type")), "bert");
        assert_int_equal(c.shard_count, 1);
        strcat(folder, "/model.safetensors");
        assert_int_equal(stat(folder, &st), 0);
        assert_int_equal(c.bytes, st.st_size);

        const struct rb_tensor *t =
            rb_checkpoint_find(&c, "bert.encoder.layer.3.output.dense.weight");
        assert_non_null(t);
        assert_int_equal(t->dtype, rows[i].dtype);
        assert_int_equal(t->shape[0], 128);
        assert_int_equal(t->shape[1], 512);
        float values[64];
        rb_dtype_to_f32(t->dtype, t->data, values, 64);
        float sum = 0;
        for (int j = 0; j < 64; j++)
            sum += values[j] < 0 ? -values[j] : values[j];
        assert_true(sum > 0.01f && sum < 64); /* weights, not noise bytes */

        for (size_t j = 1; j < c.tensor_count; j++)
            assert_true(strcmp(c.tensors[j - 1]->name, c.tensors[j]->name) < 0);
        assert_null(rb_checkpoint_find(&c, "bert.encoder.layer.4.output.dense.weight"));
        assert_int_equal(rb_checkpoint_verify(&c, &err), RB_OK);
        rb_checkpoint_deinit(&c);
    }
}

/* ---- folders made here ---- */

/* One F32 tensor per letter of `names`, its value the letter's code. */
static void write_weights(struct tmpdir *dir, const char *file, const char *names)
{
    struct rb_st_spec specs[8];
    char name[8][2];
    struct rb_st_writer *w;
    size_t count = strlen(names);
    for (size_t i = 0; i < count; i++) {
        name[i][0] = names[i];
        name[i][1] = '\0';
        specs[i] = (struct rb_st_spec){.name = name[i], .dtype = RB_F32};
    }
    assert_int_equal(rb_st_writer_open(tmpdir_path(dir, file), specs, count, NULL, 0, &w, NULL),
                     RB_OK);
    for (size_t i = 0; i < count; i++) {
        float value = (float)names[i];
        assert_int_equal(rb_st_writer_write(w, i, 0, &value, sizeof value, NULL), RB_OK);
    }
    assert_int_equal(rb_st_writer_commit(w, NULL), RB_OK);
}

static void write_text(struct tmpdir *dir, const char *file, const char *text)
{
    tmpdir_write(dir, file, text, strlen(text));
}

static void write_sharded(struct tmpdir *dir, const char *index)
{
    write_text(dir, "config.json", CONFIG);
    write_text(dir, INDEX, index);
    write_weights(dir, SHARD_1, "db");
    write_weights(dir, SHARD_2, "ca");
}

#define WHOLE_INDEX                                                                                \
    "{\"metadata\":{\"total_size\":16},\"weight_map\":{\"a\":\"" SHARD_2 "\",\"b\":\"" SHARD_1     \
    "\",\"c\":\"" SHARD_2 "\",\"d\":\"" SHARD_1 "\"}}"

static void test_sharded(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct rb_checkpoint c;
    struct rb_error err = {0};
    tmpdir_init(&dir);
    write_sharded(&dir, WHOLE_INDEX);
    if (rb_checkpoint_open(dir.path, &c, &err) != RB_OK)
        fail_msg("%s", err.detail);
    assert_int_equal(c.shard_count, 2);
    assert_int_equal(c.tensor_count, 4);
    struct stat one, two;
    assert_int_equal(stat(tmpdir_path(&dir, SHARD_1), &one), 0);
    assert_int_equal(stat(tmpdir_path(&dir, SHARD_2), &two), 0);
    assert_int_equal(c.bytes, one.st_size + two.st_size);
    for (char name[2] = "a"; name[0] <= 'd'; name[0]++) {
        float value;
        const struct rb_tensor *t = rb_checkpoint_find(&c, name);
        assert_non_null(t);
        assert_ptr_equal(t, c.tensors[name[0] - 'a']);
        memcpy(&value, t->data, sizeof value);
        assert_true(value == (float)name[0]);
    }
    assert_null(rb_checkpoint_find(&c, "e"));
    rb_checkpoint_deinit(&c);

    /* As transformers does: a single file goes before an index. */
    write_weights(&dir, "model.safetensors", "e");
    assert_int_equal(rb_checkpoint_open(dir.path, &c, &err), RB_OK);
    assert_int_equal(c.tensor_count, 1);
    assert_non_null(rb_checkpoint_find(&c, "e"));
    rb_checkpoint_deinit(&c);
    tmpdir_deinit(&dir);
}

static void refuse(const char *folder, enum rb_status status, const char *file, const char *word)
{
    struct rb_checkpoint c;
    struct rb_error err = {0};
    enum rb_status s = rb_checkpoint_open(folder, &c, &err);
    if (s != status || err.status != status)
        fail_msg("%s (%s), expected %s", rb_status_code(s), err.detail, rb_status_code(status));
    if (strstr(err.detail, word) == NULL || strstr(err.detail, file) == NULL)
        fail_msg("'%s' should say '%s' of '%s'", err.detail, word, file);
}

static void test_index_refused(void **state)
{
    (void)state;
    char *many = malloc(4200 * 40),
         *end = many + sprintf(many, "{\"weight_map\":{\"0\":\"0.safetensors\"");
    for (int i = 1; i <= 4096; i++)
        end += sprintf(end, ",\"%d\":\"%d.safetensors\"", i, i);
    strcpy(end, "}}");
    const struct {
        const char *index;
        enum rb_status status;
        const char *file, *word;
    } rows[] = {
        {"", RB_ESAFETENSORS, INDEX, "not a JSON object"},
        {"[]", RB_ESAFETENSORS, INDEX, "not a JSON object"},
        {"{", RB_ESAFETENSORS, INDEX, "line 1"},
        {"{}", RB_ESAFETENSORS, INDEX, "no object 'weight_map'"},
        {"{\"weight_map\":[]}", RB_ESAFETENSORS, INDEX, "no object 'weight_map'"},
        {"{\"weight_map\":{}}", RB_ESAFETENSORS, INDEX, "no object 'weight_map'"},
        {"{\"weight_map\":{\"a\":1}}", RB_ESAFETENSORS, INDEX, "'a' is not mapped"},
        {"{\"weight_map\":{\"a\":\"\"}}", RB_ESAFETENSORS, INDEX, "'a' is not mapped"},
        {"{\"weight_map\":{\"a\":\".safetensors\"}}", RB_ESAFETENSORS, INDEX, "'a' is not mapped"},
        {"{\"weight_map\":{\"a\":\"config.json\"}}", RB_ESAFETENSORS, INDEX, "'a' is not mapped"},
        {"{\"weight_map\":{\"a\":\"x/y.safetensors\"}}", RB_ESAFETENSORS, INDEX,
         "'a' is not mapped"},
        {"{\"weight_map\":{\"a\":\"/etc/x.safetensors\"}}", RB_ESAFETENSORS, INDEX,
         "'a' is not mapped"},
        {"{\"weight_map\":{\"a\":\"..safetensors\"}}", RB_ESAFETENSORS, INDEX, "'a' is not mapped"},
        {"{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"a\":\"" SHARD_2 "\"}}", RB_ESAFETENSORS, INDEX,
         "duplicate"},
        {"{\"weight_map\":[[[[[[[[]]]]]]]]}", RB_ESAFETENSORS, INDEX, "nested 9 deep, at most 8"},
        {many, RB_ESAFETENSORS, INDEX, "4097 shards, at most 4096"},
        {"{\"weight_map\":{\"a\":\"model-3.safetensors\"}}", RB_ENOTFOUND, "model-3.safetensors",
         "No such file"},
        {"{\"weight_map\":{\"a\":\"folder.safetensors\"}}", RB_ENOTFOUND, "folder.safetensors",
         "not a regular file"},
        {"{\"weight_map\":{\"a\":\"bad.safetensors\"}}", RB_ESAFETENSORS, "bad.safetensors",
         "too few"},
        /* a: elsewhere than the index says */
        {"{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_1 "\",\"c\":\"" SHARD_2
         "\",\"d\":\"" SHARD_1 "\"}}",
         RB_ESAFETENSORS, SHARD_1, "tensor 'a' is missing, the index says it is here"},
        /* e: nowhere */
        {"{\"weight_map\":{\"a\":\"" SHARD_2 "\",\"b\":\"" SHARD_1 "\",\"c\":\"" SHARD_2
         "\",\"d\":\"" SHARD_1 "\",\"e\":\"" SHARD_1 "\"}}",
         RB_ESAFETENSORS, SHARD_1, "tensor 'e' is missing"},
        /* c: not in the index */
        {"{\"weight_map\":{\"a\":\"" SHARD_2 "\",\"b\":\"" SHARD_1 "\",\"d\":\"" SHARD_1 "\"}}",
         RB_ESAFETENSORS, SHARD_2, "tensor 'c' is not in the index"},
        /* b: in two shards, in the index for one */
        {"{\"weight_map\":{\"a\":\"" SHARD_2 "\",\"b\":\"" SHARD_1 "\",\"c\":\"" SHARD_2
         "\",\"d\":\"" SHARD_1 "\",\"x\":\"twin.safetensors\"}}",
         RB_ESAFETENSORS, "twin.safetensors", "tensor 'b' is here, the index says it is in"},
    };
    struct tmpdir dir;
    tmpdir_init(&dir);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_sharded(&dir, rows[i].index);
        write_text(&dir, "bad.safetensors", "bad");
        write_weights(&dir, "twin.safetensors", "bx");
        assert_true(mkdir(tmpdir_path(&dir, "folder.safetensors"), 0700) == 0 || errno == EEXIST);
        refuse(dir.path, rows[i].status, rows[i].file, rows[i].word);
    }
    tmpdir_deinit(&dir);
    free(many);
}

static void test_config_refused(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    char *deep = malloc(200), *large = malloc(5000000), *crowded = malloc(1000000);
    memset(deep, '[', 200);
    memcpy(deep, "{\"a\":", 5);
    strcpy(deep + 40, "]]");
    memset(deep + 40, ']', 35);
    strcpy(deep + 75, "}");
    memset(large, ' ', 5000000);
    memcpy(large, CONFIG, sizeof CONFIG - 1);
    large[4999999] = '\0';
    char *end = crowded + sprintf(crowded, "{\"a\":[0");
    for (int i = 0; i < 200000; i++)
        end += sprintf(end, ",0");
    strcpy(end, "]}");
    const struct {
        const char *config, *word;
    } rows[] = {
        {"", "not a JSON object"},
        {"[]", "not a JSON object"},
        {"null", "not a JSON object"},
        {"\"x\"", "not a JSON object"},
        {"{\"a\":1,}", "line 1: string or '}' expected"},
        {"{\n\"a\":nil}", "line 2"},
        {"{\"a\":1} x", "end of file expected"},
        {"{\"a\":1,\"a\":2}", "duplicate object key"},
        {"{\"a\":\"\xff\"}", "decode byte 0xff"},
        {deep, "nested 36 deep, at most 32"},
        {large, "4999999 bytes, at most"},
        {crowded, "values, at most 200000"},
    };
    write_weights(&dir, "model.safetensors", "a");
    refuse(dir.path, RB_ENOTFOUND, "config.json", "No such file");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_text(&dir, "config.json", rows[i].config);
        refuse(dir.path, RB_ECONFIG, "config.json", rows[i].word);
    }
    free(crowded);
    free(large);
    free(deep);
    tmpdir_deinit(&dir);
}

static void test_folder_refused(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    write_text(&dir, "config.json", CONFIG);
    refuse(dir.path, RB_ENOTFOUND, "model.safetensors", "neither");
    refuse(tmpdir_path(&dir, "absent"), RB_ENOTFOUND, "absent", "No such file");
    refuse(tmpdir_path(&dir, "config.json"), RB_ENOTFOUND, "config.json", "Not a directory");
    write_text(&dir, "model.safetensors", "junk");
    refuse(dir.path, RB_ESAFETENSORS, "model.safetensors", "too few");
    tmpdir_deinit(&dir);
}

/* ---- its files ---- */

static const char *const companions[] = {"tokenizer_config.json", "vocab.txt", NULL};

static void expect_files(const char *folder, const char *joined)
{
    char **files, all[512] = "";
    struct rb_error err = {0};
    if (rb_checkpoint_files(folder, companions, &files, &err) != RB_OK)
        fail_msg("%s", err.detail);
    for (size_t i = 0; files[i] != NULL; i++) {
        strcat(all, files[i]);
        strcat(all, " ");
    }
    assert_string_equal(all, joined);
    rb_checkpoint_files_free(files);
}

static void refuse_files(const char *folder, enum rb_status status, const char *word)
{
    char **files;
    struct rb_error err = {0};
    assert_int_equal(rb_checkpoint_files(folder, companions, &files, &err), status);
    if (strstr(err.detail, word) == NULL)
        fail_msg("'%s' should say '%s'", err.detail, word);
}

static void test_files(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    expect_files(RB_FIXTURES "/models/bert-a",
                 "config.json model.safetensors tokenizer_config.json vocab.txt ");
    refuse_files(dir.path, RB_ENOTFOUND, "neither");
    write_sharded(&dir, WHOLE_INDEX);
    write_text(&dir, "README.md", "not part of it");
    expect_files(dir.path, "config.json " SHARD_1 " " SHARD_2 " " INDEX " ");
    write_text(&dir, "vocab.txt", "[PAD]");
    expect_files(dir.path, "config.json " SHARD_1 " " SHARD_2 " " INDEX " vocab.txt ");
    assert_int_equal(remove(tmpdir_path(&dir, SHARD_2)), 0);
    refuse_files(dir.path, RB_ENOTFOUND, SHARD_2);
    write_weights(&dir, SHARD_2, "ca");
    assert_int_equal(remove(tmpdir_path(&dir, "config.json")), 0);
    refuse_files(dir.path, RB_ENOTFOUND, "config.json");
    refuse_files(tmpdir_path(&dir, "absent"), RB_ENOTFOUND, "absent");
    rb_checkpoint_files_free(NULL);
    tmpdir_deinit(&dir);
}

/* ---- files that do not hold still ---- */

static void expect_verify(const struct rb_checkpoint *c, const char *word)
{
    struct rb_error err = {0};
    assert_int_equal(rb_checkpoint_verify(c, &err), RB_EIO);
    if (strstr(err.detail, word) == NULL || strstr(err.detail, SHARD_2) == NULL)
        fail_msg("'%s' should say '%s'", err.detail, word);
}

static void set_mtime(const char *path, struct timespec mtime)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, mtime};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_verify(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct rb_checkpoint c;
    struct stat st;
    tmpdir_init(&dir);
    write_sharded(&dir, WHOLE_INDEX);
    char path[256];
    strcpy(path, tmpdir_path(&dir, SHARD_2));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(rb_checkpoint_open(dir.path, &c, NULL), RB_OK);
    assert_int_equal(rb_checkpoint_verify(&c, NULL), RB_OK);
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    /* read, or made accessible to others: not changed */
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(rb_checkpoint_verify(&c, NULL), RB_OK);

    /* each difference alone: size, seconds, nanoseconds, another file */
    assert_int_equal(ftruncate(fd, st.st_size + 1), 0);
    set_mtime(path, st.st_mtim);
    expect_verify(&c, "has changed");
    assert_int_equal(ftruncate(fd, st.st_size), 0);
    set_mtime(path, (struct timespec){st.st_mtim.tv_sec + 1, st.st_mtim.tv_nsec});
    expect_verify(&c, "has changed");
    set_mtime(path, (struct timespec){st.st_mtim.tv_sec, (st.st_mtim.tv_nsec + 1) % 1000000000});
    expect_verify(&c, "has changed");
    set_mtime(path, st.st_mtim);
    assert_int_equal(rb_checkpoint_verify(&c, NULL), RB_OK);
    write_weights(&dir, SHARD_2, "ca");
    set_mtime(path, st.st_mtim);
    expect_verify(&c, "has changed");
    assert_int_equal(remove(path), 0);
    expect_verify(&c, "gone");
    close(fd);
    rb_checkpoint_deinit(&c);
    tmpdir_deinit(&dir);
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    if (!rb_map_sigbus(info->si_addr)) {
        signal(signal_number, SIG_DFL);
        (void)raise(signal_number);
    }
}

static void catch_sigbus(void)
{
    struct sigaction action = {0};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO;
    assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
}

enum { LARGE_BYTES = 1 << 20 };

static void write_large(const char *path)
{
    struct rb_st_writer *w;
    const struct rb_st_spec spec = {"x", RB_U8, 1, {LARGE_BYTES}};
    unsigned char *ones = malloc(LARGE_BYTES);
    memset(ones, 1, LARGE_BYTES);
    assert_int_equal(rb_st_writer_open(path, &spec, 1, NULL, 0, &w, NULL), RB_OK);
    assert_int_equal(rb_st_writer_write(w, 0, 0, ones, LARGE_BYTES, NULL), RB_OK);
    assert_int_equal(rb_st_writer_commit(w, NULL), RB_OK);
    free(ones);
}

/* A file cut short while it is mapped: reading gives zeros instead of death, and verify tells,
 * even if the file has meanwhile been put back as it was. */
static void test_truncation_under_a_mapping(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct rb_checkpoint c, other;
    struct rb_error err = {0};
    struct stat st;
    char path[256];
    tmpdir_init(&dir);
    write_text(&dir, "config.json", CONFIG);
    strcpy(path, tmpdir_path(&dir, "model.safetensors"));
    write_large(path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(rb_checkpoint_open(dir.path, &c, NULL), RB_OK);
    assert_int_equal(rb_checkpoint_open(RB_FIXTURES "/models/bert-a", &other, NULL), RB_OK);
    catch_sigbus();

    assert_int_equal(truncate(path, 3 * 4096), 0);
    size_t sum = sum_of(c.tensors[0]);
    assert_true(sum > 0 && sum <= 3 * 4096);
    assert_int_equal(truncate(path, st.st_size), 0);
    set_mtime(path, st.st_mtim);

    assert_int_equal(rb_checkpoint_verify(&c, &err), RB_EIO);
    assert_non_null(strstr(err.detail, "model.safetensors: could not be read to its end"));
    assert_int_equal(rb_checkpoint_verify(&other, NULL), RB_OK);
    rb_checkpoint_deinit(&c);

    /* The node in the list is used again, and has forgotten. */
    assert_int_equal(rb_checkpoint_open(dir.path, &c, NULL), RB_OK);
    assert_int_equal(rb_checkpoint_verify(&c, NULL), RB_OK);
    rb_checkpoint_deinit(&c);
    rb_checkpoint_deinit(&other);
    signal(SIGBUS, SIG_DFL);
    tmpdir_deinit(&dir);
}

static void test_sigbus_elsewhere_is_not_ours(void **state)
{
    (void)state;
    struct rb_checkpoint c;
    int local = 7;
    assert_int_equal(rb_checkpoint_open(RB_FIXTURES "/models/bert-a", &c, NULL), RB_OK);
    const char *data = c.tensors[0]->data;
    errno = 99;
    assert_false(rb_map_sigbus(&local));
    assert_false(rb_map_sigbus(NULL));
    assert_false(rb_map_sigbus((void *)UINTPTR_MAX));
    assert_int_equal(local, 7);
    assert_int_equal(rb_checkpoint_verify(&c, NULL), RB_OK);
    rb_checkpoint_deinit(&c);
    assert_false(rb_map_sigbus((void *)(uintptr_t)data)); /* not any more */
    assert_int_equal(errno, 99);
}

/* ---- mappings come and go on other threads while one is hit ---- */

enum { THREADS = 3, ROUNDS = 200 };

static void *open_and_close(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct rb_safetensors st;
        if (rb_safetensors_open(arg, &st, NULL) != RB_OK || sum_of(&st.tensors[0]) == 0)
            return arg;
        rb_safetensors_deinit(&st);
    }
    return NULL;
}

static void test_mappings_on_many_threads(void **state)
{
    (void)state;
    struct tmpdir dir;
    pthread_t threads[THREADS];
    struct rb_safetensors st;
    char small[256], large[256];
    tmpdir_init(&dir);
    write_weights(&dir, "small", "a");
    strcpy(small, tmpdir_path(&dir, "small"));
    strcpy(large, tmpdir_path(&dir, "large"));
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, small), 0);
    catch_sigbus();
    for (int i = 0; i < 20; i++) {
        write_large(large);
        assert_int_equal(rb_safetensors_open(large, &st, NULL), RB_OK);
        assert_int_equal(truncate(large, 4096), 0);
        assert_true(sum_of(&st.tensors[0]) <= 4096);
        rb_safetensors_deinit(&st);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    signal(SIGBUS, SIG_DFL);
    tmpdir_deinit(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixture_models),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_sharded),
        cmocka_unit_test(test_index_refused),
        cmocka_unit_test(test_config_refused),
        cmocka_unit_test(test_folder_refused),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_truncation_under_a_mapping),
        cmocka_unit_test(test_sigbus_elsewhere_is_not_ours),
        cmocka_unit_test(test_mappings_on_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
