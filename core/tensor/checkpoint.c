#include "core/tensor/checkpoint.h"
#include "core/input.h"
#include "core/json_bounded.h"
#include "core/tensor/map.h"
#include "core/tensor/shards.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A config holds a few dozen values, or one name for each of some thousand labels. */
static const struct rb_json_limits config_limits = {
    .bytes = (size_t)4 << 20,
    .depth = 32,
    .values = 200000,
};

static enum rb_status no_memory(const char *folder, struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "%s: no memory to open it", folder);
}

/* ---- opening ---- */

static enum rb_status read_config(struct rb_checkpoint *c, struct rb_error *err)
{
    char *path = rb_path_join(c->path, "config.json");
    if (path == NULL)
        return no_memory(c->path, err);
    enum rb_status s = rb_json_file(path, config_limits, RB_ECONFIG, &c->config, err);
    free(path);
    return s;
}

static enum rb_status open_shards(struct rb_checkpoint *c, const struct rb_shards *w,
                                  struct rb_error *err)
{
    c->format = w->format;
    c->other = w->other;
    c->shards = calloc(w->count, sizeof *c->shards);
    if (c->shards == NULL)
        return no_memory(c->path, err);
    for (size_t i = 0; i < w->count; i++) {
        char *path = rb_path_join(c->path, w->names[i]);
        if (path == NULL)
            return no_memory(c->path, err);
        enum rb_status s = rb_container_open(w->format, path, &c->shards[i], err);
        free(path);
        if (s != RB_OK)
            return s;
        c->shard_count++;
        c->tensor_count += c->shards[i].tensor_count;
        c->bytes += rb_map_bytes(c->shards[i].map);
    }
    return RB_OK;
}

/* Everything the index names is in the shard it names... */
static enum rb_status check_index(const struct rb_checkpoint *c, const struct rb_shards *w,
                                  struct rb_error *err)
{
    const char *name;
    json_t *file;
    json_object_foreach(w->map, name, file)
    {
        const struct rb_container *shard =
            &c->shards[rb_shards_position(w, json_string_value(file))];
        if (rb_container_find(shard, name) == NULL)
            return rb_error_set(err, c->format->damaged,
                                "%s: tensor '%.120s' is missing, the index says it is here",
                                shard->path, name);
    }
    return RB_OK;
}

/* ...and everything in the shards is named by the index, for that shard: so none is there twice. */
static enum rb_status check_shard(const struct rb_container *shard, const char *file,
                                  const struct rb_shards *w, struct rb_error *err)
{
    for (size_t i = 0; i < shard->tensor_count; i++) {
        const char *name = shard->tensors[i].name;
        const char *where = json_string_value(json_object_get(w->map, name));
        if (where == NULL)
            return rb_error_set(err, w->format->damaged, "%s: tensor '%.120s' is not in the index",
                                shard->path, name);
        if (strcmp(where, file) != 0)
            return rb_error_set(err, w->format->damaged,
                                "%s: tensor '%.120s' is here, the index says it is in '%.120s'",
                                shard->path, name, where);
    }
    return RB_OK;
}

static enum rb_status check_shards(const struct rb_checkpoint *c, const struct rb_shards *w,
                                   struct rb_error *err)
{
    if (w->map == NULL)
        return RB_OK;
    enum rb_status s = check_index(c, w, err);
    for (size_t i = 0; s == RB_OK && i < c->shard_count; i++)
        s = check_shard(&c->shards[i], w->names[i], w, err);
    return s;
}

static int by_name(const void *a, const void *b)
{
    const struct rb_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static enum rb_status gather(struct rb_checkpoint *c, struct rb_error *err)
{
    size_t n = 0;
    c->tensors = calloc(c->tensor_count + 1, sizeof(void *));
    if (c->tensors == NULL)
        return no_memory(c->path, err);
    for (size_t i = 0; i < c->shard_count; i++)
        for (size_t j = 0; j < c->shards[i].tensor_count; j++)
            c->tensors[n++] = &c->shards[i].tensors[j];
    qsort(c->tensors, n, sizeof(void *), by_name);
    return RB_OK;
}

enum rb_status rb_checkpoint_open(const char *folder, struct rb_checkpoint *ret,
                                  struct rb_error *err)
{
    struct rb_checkpoint c = {0};
    struct rb_shards weights = {0};
    int dir_fd = -1;
    enum rb_status s = rb_input_open(folder, O_DIRECTORY, &dir_fd, err);
    if (s != RB_OK)
        return s;
    c.path = strdup(folder);
    s = c.path != NULL ? read_config(&c, err) : no_memory(folder, err);
    if (s == RB_OK)
        s = rb_shards_list(dir_fd, folder, &weights, err);
    if (s == RB_OK)
        s = open_shards(&c, &weights, err);
    if (s == RB_OK)
        s = check_shards(&c, &weights, err);
    if (s == RB_OK)
        s = gather(&c, err);
    rb_shards_deinit(&weights);
    close(dir_fd);
    if (s == RB_OK)
        *ret = c;
    else
        rb_checkpoint_deinit(&c);
    return s;
}

void rb_checkpoint_deinit(struct rb_checkpoint *c)
{
    free(c->tensors);
    for (size_t i = 0; i < c->shard_count; i++)
        rb_container_close(&c->shards[i]);
    free(c->shards);
    json_decref(c->config);
    free(c->path);
    *c = (struct rb_checkpoint){0};
}

static int name_of(const void *name, const void *tensor)
{
    return strcmp(name, (*(const struct rb_tensor *const *)tensor)->name);
}

const struct rb_tensor *rb_checkpoint_find(const struct rb_checkpoint *c, const char *name)
{
    if (c->tensor_count == 0)
        return NULL;
    const struct rb_tensor **found =
        bsearch(name, c->tensors, c->tensor_count, sizeof(void *), name_of);
    return found != NULL ? *found : NULL;
}

void rb_checkpoint_forget(const struct rb_checkpoint *c, const struct rb_tensor *t)
{
    for (size_t i = 0; i < c->shard_count; i++)
        rb_map_forget(c->shards[i].map, t->data, t->bytes);
}

/* ---- its files ---- */

/* Adds a copy of name to files if it is in the folder. */
static enum rb_status add_file(int dir_fd, const char *folder, const char *name, bool required,
                               char **files, size_t *count, struct rb_error *err)
{
    if (faccessat(dir_fd, name, F_OK, 0) != 0) {
        if (!required && errno == ENOENT)
            return RB_OK;
        int error_number = errno;
        char *label = rb_path_join(folder, name);
        enum rb_status s = rb_error_errno(err, error_number, label != NULL ? label : name);
        free(label);
        return s;
    }
    files[*count] = strdup(name);
    if (files[*count] == NULL)
        return no_memory(folder, err);
    ++*count;
    return RB_OK;
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum rb_status list_files(int dir_fd, const char *folder, const struct rb_shards *w,
                                 const char *const *companions, char ***ret, struct rb_error *err)
{
    size_t count = 0, companion_count = 0;
    while (companions[companion_count] != NULL)
        companion_count++;
    char **files = calloc(companion_count + w->count + 3, sizeof *files);
    if (files == NULL)
        return no_memory(folder, err);
    enum rb_status s = add_file(dir_fd, folder, "config.json", true, files, &count, err);
    for (size_t i = 0; s == RB_OK && i < companion_count; i++)
        s = add_file(dir_fd, folder, companions[i], false, files, &count, err);
    if (s == RB_OK && w->index != NULL)
        s = add_file(dir_fd, folder, w->format->index, true, files, &count, err);
    for (size_t i = 0; s == RB_OK && i < w->count; i++)
        s = add_file(dir_fd, folder, w->names[i], true, files, &count, err);
    if (s != RB_OK) {
        rb_checkpoint_files_free(files);
        return s;
    }
    qsort(files, count, sizeof *files, by_string);
    *ret = files;
    return RB_OK;
}

enum rb_status rb_checkpoint_files(const char *folder, const char *const *companions, char ***ret,
                                   struct rb_error *err)
{
    struct rb_shards weights;
    int dir_fd = -1;
    enum rb_status s = rb_input_open(folder, O_DIRECTORY, &dir_fd, err);
    if (s != RB_OK)
        return s;
    s = rb_shards_list(dir_fd, folder, &weights, err);
    if (s == RB_OK) {
        s = list_files(dir_fd, folder, &weights, companions, ret, err);
        rb_shards_deinit(&weights);
    }
    close(dir_fd);
    return s;
}

void rb_checkpoint_files_free(char **files)
{
    for (size_t i = 0; files != NULL && files[i] != NULL; i++)
        free(files[i]);
    free(files);
}

/* ---- did the files hold still? ---- */

enum rb_status rb_checkpoint_verify(const struct rb_checkpoint *c, struct rb_error *err)
{
    for (size_t i = 0; i < c->shard_count; i++) {
        const struct rb_container *shard = &c->shards[i];
        struct stat now;
        if (rb_map_damaged(shard->map))
            return rb_error_set(err, RB_EIO, "%s: could not be read to its end, it was shortened",
                                shard->path);
        if (stat(shard->path, &now) != 0)
            return rb_error_set(err, RB_EIO, "%s: gone since it was opened: %s", shard->path,
                                strerror(errno));
        if (!rb_map_same_file(shard->map, &now))
            return rb_error_set(err, RB_EIO, "%s: has changed since it was opened", shard->path);
    }
    return RB_OK;
}
