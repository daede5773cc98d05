/* Arbitrary bytes as one of the JSON files of a checkpoint folder, read from a real file by the
 * code that a daemon reads it with. The first byte chooses which: config.json,
 * tokenizer_config.json, or the index of a sharded checkpoint. What is refused must be told in
 * UTF-8. */
#include "core/model/config.h"
#include "core/tensor/checkpoint.h"
#include "core/json_bounded.h"
#include "core/text/tokenizer.h"
#include "core/text/tokenizer_open.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n";
static const char shard[] = "\x40\0\0\0\0\0\0\0"
                            "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"
                            "           \0\0\0\0";
static const struct rb_json_limits limits = {1 << 20, 32, 100000};

/* One folder for each kind of file, in memory if the machine has such a place. */
static char root[] = "/dev/shm/rb-fuzz-XXXXXX";
static char path[64];
static int folder[3];

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void put(int dir_fd, const char *name, const void *bytes, size_t count)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0);
    require(write(fd, bytes, count) == (ssize_t)count);
    close(fd);
}

static int remove_one(const char *file, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(file);
}

static void remove_root(void)
{
    (void)nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *folder_path(unsigned kind)
{
    (void)snprintf(path, sizeof path, "%s/%u", root, kind);
    return path;
}

static const char *file_path(unsigned kind, const char *name)
{
    (void)snprintf(path, sizeof path, "%s/%u/%s", root, kind, name);
    return path;
}

static void make_folders(void)
{
    require(mkdtemp(root) != NULL);
    for (unsigned kind = 0; kind < 3; kind++) {
        require(mkdir(folder_path(kind), 0700) == 0);
        folder[kind] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        require(folder[kind] >= 0);
    }
    put(folder[1], "vocab.txt", vocab, sizeof vocab - 1);
    put(folder[2], "config.json", "{}", 2);
    put(folder[2], "model-1.safetensors", shard, sizeof shard - 1);
    atexit(remove_root);
}

static void require_told(const struct rb_error *err)
{
    json_t *text = json_string(err->detail);
    require(text != NULL && err->detail[0] != '\0');
    json_decref(text);
}

static void try_config(struct rb_error *err)
{
    const struct rb_family *family;
    struct rb_config c;
    json_t *json;
    enum rb_status status =
        rb_json_file(file_path(0, "config.json"), limits, RB_ECONFIG, &json, err);
    if (status == RB_OK) {
        status = rb_config_parse("config.json", json, &family, &c, err);
        json_decref(json);
    }
    if (status != RB_OK) {
        require_told(err);
        return;
    }
    require(c.vocab_size > 0 && c.num_hidden_layers > 0 && c.mlp.inner_size > 0);
    require(c.num_labels > 0 && c.attention.heads % c.attention.kv_heads == 0);
    require(c.norm_eps >= 0 && c.norm_eps <= 1);
    require(memchr(c.class_name, '\0', sizeof c.class_name) != NULL);
}

static void try_tokenizer(struct rb_error *err)
{
    static const char text[] = "a ab [MASK] \xC3\x89";
    struct rb_tokenizer *t;
    struct rb_ids ids = {0};
    if (rb_tokenizer_open(folder_path(1), &t, err) != RB_OK) {
        require_told(err);
        return;
    }
    require(rb_tokenizer_encode(t, text, sizeof text - 1, &ids, err) == RB_OK);
    free(ids.ids);
    rb_tokenizer_free(t);
}

static void try_index(struct rb_error *err)
{
    struct rb_checkpoint c;
    if (rb_checkpoint_open(folder_path(2), &c, err) != RB_OK) {
        require_told(err);
        return;
    }
    rb_checkpoint_deinit(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        const char *name;
        void (*try)(struct rb_error *err);
    } kinds[] = {
        {"config.json", try_config},
        {"tokenizer_config.json", try_tokenizer},
        {"model.safetensors.index.json", try_index},
    };
    struct rb_error err = {0};
    if (size == 0)
        return 0;
    if (folder[0] == 0)
        make_folders();
    unsigned kind = data[0] % 3;
    put(folder[kind], kinds[kind].name, data + 1, size - 1);
    kinds[kind].try(&err);
    return 0;
}
