#include "core/tensor/shards.h"
#include "core/json_bounded.h"
#include "core/tensor/safetensors.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char single_name[] = "model.safetensors";

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
static bool is_shard_name(const char *name)
{
    static const char suffix[] = ".safetensors";
    size_t length = strlen(name), suffix_length = sizeof suffix - 1;
    return length > suffix_length && length <= MAX_NAME_BYTES && strchr(name, '/') == NULL &&
           strstr(name, "..") == NULL && strcmp(name + length - suffix_length, suffix) == 0;
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
        return rb_error_set(err, RB_ESAFETENSORS, "%s: no object 'weight_map' with tensors", label);
    w->names = calloc(json_object_size(w->map), sizeof *w->names);
    if (w->names == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory for its shards", label);
    json_object_foreach(w->map, tensor, file)
    {
        if (!json_is_string(file) || !is_shard_name(json_string_value(file)))
            return rb_error_set(
                err, RB_ESAFETENSORS,
                "%s: weight_map: '%.120s' is not mapped to a plain '.safetensors' file name", label,
                tensor);
        w->names[w->count++] = json_string_value(file);
    }
    w->count = sort_unique(w->names, w->count);
    if (w->count > MAX_SHARDS)
        return rb_error_set(err, RB_ESAFETENSORS, "%s: %zu shards, at most %d are allowed", label,
                            w->count, MAX_SHARDS);
    return RB_OK;
}

static enum rb_status list_single(const char *folder, struct rb_shards *ret, struct rb_error *err)
{
    const char **names = calloc(1, sizeof *names);
    if (names == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to open it", folder);
    names[0] = single_name;
    *ret = (struct rb_shards){.names = names, .count = 1};
    return RB_OK;
}

static enum rb_status list_indexed(const char *folder, struct rb_shards *ret, struct rb_error *err)
{
    struct rb_shards w = {0};
    char *path = rb_path_join(folder, RB_SHARDS_INDEX);
    if (path == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to open it", folder);
    enum rb_status s = rb_json_file(path, index_limits, RB_ESAFETENSORS, &w.index, err);
    if (s == RB_OK)
        s = collect_names(path, &w, err);
    free(path);
    if (s == RB_OK)
        *ret = w;
    else
        rb_shards_deinit(&w);
    return s;
}

enum rb_status rb_shards_list(int dir_fd, const char *folder, struct rb_shards *ret,
                              struct rb_error *err)
{
    if (faccessat(dir_fd, single_name, F_OK, 0) == 0)
        return list_single(folder, ret, err);
    if (faccessat(dir_fd, RB_SHARDS_INDEX, F_OK, 0) == 0)
        return list_indexed(folder, ret, err);
    return rb_error_set(err, RB_ENOTFOUND, "%s: neither %s nor %s is there", folder, single_name,
                        RB_SHARDS_INDEX);
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
