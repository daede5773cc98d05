#include "core/tensor/shards.h"
#include "core/json_bounded.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct rb_json_limits index_limits = {
    .bytes = RB_ST_MAX_HEADER_BYTES,
    .depth = 8,
    .values = RB_ST_MAX_TENSORS + 1000,
};
enum { MAX_SHARDS = 4096, MAX_NAME_BYTES = 255 };

char *rb_path_join(const char *folder, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* Names come from the index: none may lead out of the folder, or to another of its files. */
static bool is_shard_name(const json_t *file, const char *suffix)
{
    const char *name = json_string_value(file);
    size_t length = json_string_length(file), suffix_length = strlen(suffix);
    return length > suffix_length && length <= MAX_NAME_BYTES && strlen(name) == length &&
           strchr(name, '/') == NULL && strstr(name, "..") == NULL &&
           strcmp(name + length - suffix_length, suffix) == 0;
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts names and drops what is there twice; returns how many are left. */
static size_t sort_unique(const char **names, size_t count)
{
    size_t kept = 0;
    qsort(names, count, sizeof *names, by_string);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0)
            names[kept++] = names[i];
    return kept;
}

static enum rb_status collect_names(const char *label, struct rb_shards *w, struct rb_error *err)
{
    const char *tensor;
    json_t *file;
    w->map = json_object_get(w->index, "weight_map");
    if (!json_is_object(w->map) || json_object_size(w->map) == 0)
        return rb_error_set(err, w->format->damaged, "%s: no object 'weight_map' with tensors",
                            label);
    w->names = calloc(json_object_size(w->map), sizeof *w->names);
    if (w->names == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory for its shards", label);
    json_object_foreach(w->map, tensor, file)
    {
        if (!json_is_string(file) || !is_shard_name(file, w->format->suffix))
            return rb_error_set(err, w->format->damaged,
                                "%s: weight_map: '%.120s' is not mapped to a plain '%s' file name",
                                label, tensor, w->format->suffix);
        w->names[w->count++] = json_string_value(file);
    }
    w->count = sort_unique(w->names, w->count);
    if (w->count > MAX_SHARDS)
        return rb_error_set(err, w->format->damaged, "%s: %zu shards, at most %d are allowed",
                            label, w->count, MAX_SHARDS);
    return RB_OK;
}

static enum rb_status list_single(const struct rb_container_format *format, const char *folder,
                                  struct rb_shards *ret, struct rb_error *err)
{
    const char **names = calloc(1, sizeof *names);
    if (names == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to open it", folder);
    names[0] = format->single;
    *ret = (struct rb_shards){.format = format, .names = names, .count = 1};
    return RB_OK;
}

static enum rb_status list_indexed(const struct rb_container_format *format, const char *folder,
                                   struct rb_shards *ret, struct rb_error *err)
{
    struct rb_shards w = {.format = format};
    char *path = rb_path_join(folder, format->index);
    if (path == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to open it", folder);
    enum rb_status s = rb_json_file(path, index_limits, format->damaged, &w.index, err);
    if (s == RB_OK)
        s = collect_names(path, &w, err);
    free(path);
    if (s == RB_OK)
        *ret = w;
    else
        rb_shards_deinit(&w);
    return s;
}

static bool is_there(int dir_fd, const char *name)
{
    return faccessat(dir_fd, name, F_OK, 0) == 0;
}

/* ---- what a folder without weights has instead ---- */

static const struct {
    const char *name, *sentence;
} instead[] = {
    {"adapter_config.json",
     "a LoRA adapter, which holds only changes to a base model: merge it into "
     "that (peft's merge_and_unload) and save the whole model"},
    {"adapter_model.safetensors",
     "a LoRA adapter, which holds only changes to a base model: merge it "
     "into that (peft's merge_and_unload) and save the whole model"},
    {"adapter_model.bin",
     "a LoRA adapter, which holds only changes to a base model: merge it into that "
     "(peft's merge_and_unload) and save the whole model"},
    {"tf_model.h5",
     "weights of TensorFlow: fetch the PyTorch or safetensors ones, or convert them with "
     "transformers' from_pretrained(..., from_tf=True) and save_pretrained"},
    {"flax_model.msgpack",
     "weights of Flax: fetch the PyTorch or safetensors ones, or convert them "
     "with transformers' from_pretrained(..., from_flax=True) and save_pretrained"},
    {"model.ckpt.index", "a checkpoint of TensorFlow 1: convert it with transformers-cli convert"},
    {"model.onnx", "an ONNX graph, which is a program and no checkpoint: fetch the PyTorch or "
                   "safetensors weights it was exported from"},
};

static const struct {
    const char *suffix, *sentence;
} instead_by_suffix[] = {
    {".gguf", "a GGUF file (llama.cpp), whose weights are quantised: fetch the original "
              "model.safetensors"},
    {".onnx",
     "an ONNX graph, which is a program and no checkpoint: fetch the PyTorch or safetensors "
     "weights it was exported from"},
    {".ckpt", "a checkpoint of a training program: save the model's state_dict() as "
              "pytorch_model.bin, or use save_pretrained"},
    {".pt",
     "a file of a training program: if torch.save wrote a model's state_dict() to it, name it "
     "pytorch_model.bin"},
    {".pth",
     "a file of a training program: if torch.save wrote a model's state_dict() to it, name it "
     "pytorch_model.bin"},
};

static const char beside_sentence[] =
    "what training leaves beside a model, not its weights: take those from where it was saved";

static const char *sentence_of_suffix(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof instead_by_suffix / sizeof instead_by_suffix[0]; i++) {
        size_t suffix = strlen(instead_by_suffix[i].suffix);
        if (n > suffix && strcmp(name + n - suffix, instead_by_suffix[i].suffix) == 0 &&
            !rb_lies_beside(name))
            return instead_by_suffix[i].sentence;
    }
    return NULL;
}

/* The first file of the folder, by name, whose ending says what it is, or that lies beside. */
static const char *look_around(int dir_fd, bool beside, char name[MAX_NAME_BYTES + 1])
{
    const char *sentence = NULL;
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        const char *found = beside ? (rb_lies_beside(entry->d_name) ? beside_sentence : NULL)
                                   : sentence_of_suffix(entry->d_name);
        if (found != NULL && (sentence == NULL || strcmp(entry->d_name, name) < 0)) {
            sentence = found;
            (void)snprintf(name, MAX_NAME_BYTES + 1, "%s", entry->d_name);
        }
    }
    closedir(dir);
    return sentence;
}

static enum rb_status no_weights(int dir_fd, const char *folder, struct rb_error *err)
{
    char name[MAX_NAME_BYTES + 1] = "";
    const char *sentence = NULL;
    for (size_t i = 0; sentence == NULL && i < sizeof instead / sizeof instead[0]; i++)
        if (is_there(dir_fd, instead[i].name)) {
            (void)snprintf(name, sizeof name, "%s", instead[i].name);
            sentence = instead[i].sentence;
        }
    if (sentence == NULL)
        sentence = look_around(dir_fd, false, name);
    if (sentence == NULL)
        sentence = look_around(dir_fd, true, name);
    if (sentence != NULL)
        return rb_error_set(err, RB_ENOTFOUND, "%s: neither %s nor %s is there, only %.80s: %s",
                            folder, rb_container_formats[0].single, rb_container_formats[1].single,
                            name, sentence);
    return rb_error_set(err, RB_ENOTFOUND, "%s: neither %s nor %s is there, nor an index of shards",
                        folder, rb_container_formats[0].single, rb_container_formats[1].single);
}

enum rb_status rb_shards_list(int dir_fd, const char *folder, struct rb_shards *ret,
                              struct rb_error *err)
{
    const struct rb_container_format *found[RB_CONTAINER_FORMATS] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i < RB_CONTAINER_FORMATS; i++)
        if (is_there(dir_fd, rb_container_formats[i].single) ||
            is_there(dir_fd, rb_container_formats[i].index))
            found[count++] = &rb_container_formats[i];
    if (count == 0)
        return no_weights(dir_fd, folder, err);
    enum rb_status s = is_there(dir_fd, found[0]->single)
                           ? list_single(found[0], folder, ret, err)
                           : list_indexed(found[0], folder, ret, err);
    if (s == RB_OK)
        ret->other = count > 1 ? found[1] : NULL;
    return s;
}

void rb_shards_deinit(struct rb_shards *w)
{
    free(w->names);
    json_decref(w->index);
    *w = (struct rb_shards){0};
}

size_t rb_shards_position(const struct rb_shards *w, const char *name)
{
    const char **found = bsearch(&name, w->names, w->count, sizeof *w->names, by_string);
    assert(found != NULL);
    return (size_t)(found - w->names);
}
