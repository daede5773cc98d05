// LINK: core_tensor server_base
/* Every good file of tests/fixtures/torch against its sidecar, every hostile one against
 * cases.json. */
#include "core/tensor/checkpoint.h"
#include "core/tensor/foreign.h"
#include "core/tensor/torch_file.h"
#include "server/base/hash.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/tmpdir.h"

static const char root[] = RB_FIXTURES "/torch";

static json_t *load_json(const char *path)
{
    json_error_t why;
    json_t *json = json_load_file(path, 0, &why);
    if (json == NULL)
        fail_msg("%s: %s", path, why.text);
    return json;
}

static unsigned char *load(const char *path, size_t *ret_bytes)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    unsigned char *bytes = malloc((size_t)st.st_size + 1);
    assert_int_equal(fread(bytes, 1, (size_t)st.st_size, f), st.st_size);
    fclose(f);
    *ret_bytes = (size_t)st.st_size;
    return bytes;
}

static enum rb_status open_path(const char *path, bool check, struct rb_torch_file *ret,
                                struct rb_error *err)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    enum rb_status s = rb_torch_file_open_fd(fd, path, ret, err);
    if (s == RB_OK && check && (s = rb_torch_file_check(fd, path, NULL, NULL, err)) != RB_OK)
        rb_torch_file_deinit(ret);
    close(fd);
    return s;
}

/* ---- good files ---- */

static void check_tensor(const char *file, const char *name, const json_t *expected,
                         const struct rb_tensor *t)
{
    char hex[RB_SHA256_HEX];
    unsigned char digest[RB_SHA256_BYTES];
    struct rb_sha256 h;
    const json_t *shape = json_object_get(expected, "shape");
    if (t == NULL)
        fail_msg("%s: %s is missing", file, name);
    assert_string_equal(rb_dtype_name(t->dtype),
                        json_string_value(json_object_get(expected, "dtype")));
    assert_int_equal(t->rank, json_array_size(shape));
    for (uint32_t i = 0; i < t->rank; i++)
        assert_int_equal(t->shape[i], json_integer_value(json_array_get(shape, i)));
    rb_sha256_init(&h);
    rb_sha256_add(&h, t->data, t->bytes);
    rb_sha256_end(&h, digest);
    rb_sha256_hex(digest, hex);
    if (strcmp(hex, json_string_value(json_object_get(expected, "sha256"))) != 0)
        fail_msg("%s: %s holds other numbers", file, name);
}

static const struct rb_tensor *find(const struct rb_tensor *tensors, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(tensors[i].name, name) == 0)
            return &tensors[i];
    return NULL;
}

static void check_tensors(const char *file, const json_t *tensors, const struct rb_tensor *found,
                          size_t count)
{
    const char *name;
    json_t *expected;
    assert_int_equal(count, json_object_size(tensors));
    json_object_foreach((json_t *)tensors, name, expected)
        check_tensor(file, name, expected, find(found, count, name));
}

static int is_bin(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 4 && strcmp(e->d_name + n - 4, ".bin") == 0;
}

static void test_good_files(void **state)
{
    (void)state;
    struct dirent **names;
    char path[512], sidecar[512];
    (void)snprintf(path, sizeof path, "%s/good", root);
    int n = scandir(path, &names, is_bin, alphasort);
    assert_true(n >= 30);
    for (int i = 0; i < n; i++) {
        struct rb_torch_file t;
        struct rb_error err;
        (void)snprintf(path, sizeof path, "%s/good/%s", root, names[i]->d_name);
        (void)snprintf(sidecar, sizeof sidecar, "%s/good/%.*s.json", root,
                       (int)strlen(names[i]->d_name) - 4, names[i]->d_name);
        json_t *expected = load_json(sidecar);
        if (open_path(path, true, &t, &err) != RB_OK)
            fail_msg("%s", err.detail);
        check_tensors(path, json_object_get(expected, "tensors"), t.tensors, t.tensor_count);
        rb_torch_file_deinit(&t);
        json_decref(expected);
        free(names[i]);
    }
    free(names);
}

/* Tensors that lie row by row are used in place: nothing is copied but what must be. */
static void test_only_strided_views_are_copied(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool copied;
    } rows[] = {{"zip", false},         {"legacy", false},  {"tied", false},
                {"one-storage", false}, {"buffers", false}, {"transposed", true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[512];
        struct rb_torch_file t;
        struct rb_error err;
        (void)snprintf(path, sizeof path, "%s/good/%s.bin", root, rows[i].name);
        if (open_path(path, false, &t, &err) != RB_OK)
            fail_msg("%s", err.detail);
        assert_int_equal(t.copied_bytes > 0, rows[i].copied);
        rb_torch_file_deinit(&t);
    }
}

/* A folder that holds what `from` holds, and config.json. */
static void make_folder(struct tmpdir *t, const char *from)
{
    char to[700], file[700];
    DIR *dir = opendir(from);
    struct dirent *e;
    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.') {
            (void)snprintf(file, sizeof file, "%s/%s", from, e->d_name);
            (void)snprintf(to, sizeof to, "%s/%s", t->path, e->d_name);
            assert_int_equal(symlink(file, to), 0);
        }
    closedir(dir);
    (void)snprintf(to, sizeof to, "%s/config.json", t->path);
    FILE *f = fopen(to, "w");
    assert_non_null(f);
    fputs("{}", f);
    fclose(f);
}

static void test_shards(void **state)
{
    (void)state;
    struct tmpdir folder;
    struct rb_checkpoint c;
    struct rb_error err;
    tmpdir_init(&folder);
    make_folder(&folder, RB_FIXTURES "/torch/good/sharded");
    json_t *expected = load_json(RB_FIXTURES "/torch/good/sharded.json");
    const json_t *tensors = json_object_get(expected, "tensors");
    const char *name;
    json_t *one;
    if (rb_checkpoint_open(folder.path, &c, &err) != RB_OK)
        fail_msg("%s", err.detail);
    assert_int_equal(c.shard_count, 2);
    assert_int_equal(c.tensor_count, json_object_size(tensors));
    json_object_foreach((json_t *)tensors, name, one)
        check_tensor("sharded", name, one, rb_checkpoint_find(&c, name));
    assert_int_equal(rb_checkpoint_verify(&c, &err), RB_OK);
    rb_checkpoint_deinit(&c);
    json_decref(expected);
    tmpdir_deinit(&folder);
}

static void copy_file(const char *from, const char *to)
{
    size_t bytes;
    unsigned char *data = load(from, &bytes);
    FILE *f = fopen(to, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
    free(data);
}

/* With both formats safetensors wins, and it is said what was left. */
static void test_both_formats(void **state)
{
    (void)state;
    struct tmpdir folder;
    struct rb_checkpoint c;
    struct rb_error err;
    tmpdir_init(&folder);
    copy_file(RB_FIXTURES "/torch/model/config.json", tmpdir_path(&folder, "config.json"));
    copy_file(RB_FIXTURES "/torch/good/zip.bin", tmpdir_path(&folder, "pytorch_model.bin"));
    assert_int_equal(rb_checkpoint_open(folder.path, &c, &err), RB_OK);
    assert_string_equal(c.format->single, "pytorch_model.bin");
    assert_null(c.other);
    rb_checkpoint_deinit(&c);
    copy_file(RB_FIXTURES "/torch/model/model.safetensors",
              tmpdir_path(&folder, "model.safetensors"));
    assert_int_equal(rb_checkpoint_open(folder.path, &c, &err), RB_OK);
    assert_string_equal(c.format->single, "model.safetensors");
    assert_string_equal(c.other->single, "pytorch_model.bin");
    rb_checkpoint_deinit(&c);
    tmpdir_deinit(&folder);
}

/* ---- hostile files ---- */

/* In words: what each kind of refusal must say. */
static const struct {
    const char *name, *says;
} messages[] = {
    {"stack-global-os", "os.system"},
    {"global-__builtin__-exec", "__builtin__.exec"},
    {"reduce-webbrowser.open", "webbrowser.open"},
    {"legacy-code", "os.system"},
    {"storage-complex", "torch.ComplexFloatStorage"},
    {"unknown-opcode", "opcode 0xff (unknown)"},
    {"inst-os-system", "INST"},
    {"zip-deflated-pickle", "compressed"},
    {"zip-method-99", "compressed"},
    {"zip-strong-encryption", "encrypted"},
    {"zip-crc-storage", "CRC"},
    {"zip-flipped-byte", "CRC"},
    {"zip-local-method", "disagree"},
    {"zip64-conflict", "disagree"},
    {"zip-two-pickles", "twice"},
    {"zip-two-storages", "twice"},
    {"zip-overlap-quoted", "overlap"},
    {"zip-overlap-same", "different names"},
    {"zip-name-parent", "plain relative path"},
    {"zip-name-inner-parent", "plain relative path"},
    {"zip-byteorder-big", "byte order"},
    {"legacy-big-endian", "byte order"},
    {"storage-two-counts", "storage '0'"},
    {"storage-missing", "is not in the file"},
    {"geometry-shape-beyond", "beyond its storage"},
    {"geometry-stride-wrap", "beyond its storage"},
    {"trailing-garbage", "behind the pickle's end"},
    {"legacy-tail", "behind the last storage"},
    {"lfs-pointer", "Git LFS pointer"},
    {"html", "HTML page"},
    {"elf", "ELF"},
    {"hdf5", "tf_model.h5"},
    {"tar", "tar archive"},
    {"zip-torchscript", "TorchScript"},
    {"top-tensor", "one tensor"},
    {"deep-tuples", "nest deeper"},
    {"binget-missing", "never set"},
    {"index-missing-shard", "pytorch_model-00009-of-00009.bin"},
    {"index-missing-tensor", "'zzz' is missing"},
    {"index-parent", "plain '.bin' file name"},
    {"index-bad-shard", "os.system"},
};

static void check_message(const char *name, const struct rb_error *err)
{
    assert_true(err->detail[0] != '\0');
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
        if (strcmp(messages[i].name, name) == 0 && strstr(err->detail, messages[i].says) == NULL)
            fail_msg("%s: '%s' does not say '%s'", name, err->detail, messages[i].says);
}

static void touch(const struct rb_tensor *tensors, size_t count)
{
    volatile unsigned char sum = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < tensors[i].bytes; k++)
            sum = (unsigned char)(sum + ((const unsigned char *)tensors[i].data)[k]);
}

static enum rb_status open_folder(const char *path, struct rb_error *err)
{
    struct tmpdir folder;
    struct rb_checkpoint c;
    tmpdir_init(&folder);
    make_folder(&folder, path);
    enum rb_status s = rb_checkpoint_open(folder.path, &c, err);
    if (s == RB_OK) {
        for (size_t i = 0; i < c.tensor_count; i++)
            touch(c.tensors[i], 1);
        rb_checkpoint_deinit(&c);
    }
    tmpdir_deinit(&folder);
    return s;
}

static enum rb_status open_case(const char *name, struct rb_error *err)
{
    char path[512];
    struct rb_torch_file t;
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/hostile/%s", root, name);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return open_folder(path, err);
    (void)snprintf(path, sizeof path, "%s/hostile/%s.bin", root, name);
    enum rb_status s = open_path(path, true, &t, err);
    if (s == RB_OK) {
        touch(t.tensors, t.tensor_count);
        rb_torch_file_deinit(&t);
    }
    return s;
}

static void test_hostile_files(void **state)
{
    (void)state;
    json_t *cases = load_json(RB_FIXTURES "/torch/hostile/cases.json"), *one;
    const char *key;
    size_t count = 0, wrong = 0;
    json_object_foreach(cases, key, one)
    {
        const char *expect = json_string_value(json_object_get(one, "expect"));
        char name[128];
        struct rb_error err = {.status = RB_OK};
        (void)snprintf(name, sizeof name, "%s", key);
        name[strcspn(name, "/")] = '\0';
        enum rb_status s = open_case(name, &err);
        if (s != RB_OK)
            check_message(name, &err);
        if (getenv("RB_SHOW") != NULL)
            print_message("%s (%s): %s\n", name, expect, s == RB_OK ? "taken" : err.detail);
        if ((strcmp(expect, "accept") == 0 && s != RB_OK) ||
            (strcmp(expect, "refuse") == 0 && s == RB_OK)) {
            print_error("%s: expected %s: %s\n", name, expect, s == RB_OK ? "taken" : err.detail);
            wrong++;
        }
        count++;
    }
    assert_true(count >= 250);
    assert_int_equal(wrong, 0);
    json_decref(cases);
}

/* Whatever a file claims, it costs little: the heap stays far below what is claimed. */
static void test_hostile_files_take_little_memory(void **state)
{
    (void)state;
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
#if !defined(__SANITIZE_ADDRESS__)
    assert_true(usage.ru_maxrss < 256 * 1024);
#endif
}

/* Cut anywhere or with one bit turned, a file is refused or means what it meant; in memory, so that
 * ASan sees every byte read outside. */
static void test_cut_and_turned(void **state)
{
    (void)state;
    static const char *const names[] = {"_baseline-zip", "_baseline-legacy", "zip64-good",
                                        "zip64-eocd-good"};
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        char path[512];
        size_t bytes;
        struct rb_torch_file t;
        struct rb_error err;
        (void)snprintf(path, sizeof path, "%s/hostile/%s.bin", root, names[k]);
        unsigned char *whole = load(path, &bytes);
        for (size_t n = 0; n < bytes; n++) {
            unsigned char *cut = malloc(n + 1); /* ends where it ends */
            memcpy(cut, whole, n);
            unsigned char *exact = realloc(cut, n > 0 ? n : 1);
            assert_int_not_equal(rb_torch_file_parse("cut", exact, n, &t, &err), RB_OK);
            free(exact);
        }
        for (size_t bit = 0; bit < bytes * 8; bit++) {
            whole[bit / 8] ^= (unsigned char)(1 << bit % 8);
            if (rb_torch_file_parse("turned", whole, bytes, &t, &err) == RB_OK) {
                touch(t.tensors, t.tensor_count);
                rb_torch_file_deinit(&t);
            }
            whole[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        free(whole);
    }
}

/* ---- first mistakes ---- */

static void test_first_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text, *says;
    } rows[] = {
        {"tf_model.h5", "\x89HDF", "from_tf=True"},
        {"flax_model.msgpack", "x", "from_flax=True"},
        {"adapter_config.json", "{}", "LoRA adapter"},
        {"adapter_model.safetensors", "x", "LoRA adapter"},
        {"llama-q4.gguf", "GGUF", "GGUF"},
        {"model.onnx", "x", "ONNX"},
        {"training_args.bin", "x", "neither model.safetensors"},
        {"optimizer.pt", "x", "neither model.safetensors"},
        {"checkpoint.pt", "x", "name it pytorch_model.bin"},
        {"model.safetensors", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
        {"pytorch_model.bin", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
        {"model.safetensors", "\n<!DOCTYPE html><html>", "HTML page"},
        {"pytorch_model.bin", "<html><head>", "HTML page"},
        {"model.safetensors", "GGUF\3\0\0\0", "GGUF"},
        {"pytorch_model.bin", "Access to model x is restricted.", "refused the download"},
        {"pytorch_model.bin", "{\"error\":\"gated\"}", "refused the download"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tmpdir folder;
        struct rb_checkpoint c;
        struct rb_error err;
        tmpdir_init(&folder);
        tmpdir_write(&folder, "config.json", "{}", 2);
        tmpdir_write(&folder, rows[i].file, rows[i].text, strlen(rows[i].text));
        assert_int_not_equal(rb_checkpoint_open(folder.path, &c, &err), RB_OK);
        if (strstr(err.detail, rows[i].says) == NULL)
            fail_msg("%s: '%s' does not say '%s'", rows[i].file, err.detail, rows[i].says);
        tmpdir_deinit(&folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_files),
        cmocka_unit_test(test_only_strided_views_are_copied),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_both_formats),
        cmocka_unit_test(test_hostile_files),
        cmocka_unit_test(test_hostile_files_take_little_memory),
        cmocka_unit_test(test_cut_and_turned),
        cmocka_unit_test(test_first_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
