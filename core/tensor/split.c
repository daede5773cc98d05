#include "core/tensor/split.h"
#include "core/tensor/safetensors_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many shards of at most `most` bytes there are; shard_of is filled. */
static size_t deal(const struct rb_safetensors *st, uint64_t most, uint32_t *shard_of)
{
    uint64_t used = 0;
    uint32_t shard = 0;
    for (size_t i = 0; i < st->tensor_count; i++) {
        if (used > 0 && used + st->tensors[i].bytes > most) {
            shard++;
            used = 0;
        }
        used += st->tensors[i].bytes;
        shard_of[i] = shard;
    }
    return shard + 1;
}

enum rb_status rb_split_plan(const struct rb_safetensors *st, uint64_t most, size_t shards_max,
                             struct rb_split *ret, struct rb_error *err)
{
    struct rb_split s = {.shard_of = calloc(st->tensor_count + 1, sizeof *s.shard_of)};
    if (s.shard_of == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to split %s", st->path);
    while ((s.count = deal(st, most, s.shard_of)) > shards_max)
        most *= 2;
    *ret = s;
    return RB_OK;
}

void rb_split_deinit(struct rb_split *s)
{
    free(s->shard_of);
    *s = (struct rb_split){0};
}

void rb_split_name(const struct rb_split *s, size_t shard, char ret[RB_SPLIT_NAME_SIZE])
{
    (void)snprintf(ret, RB_SPLIT_NAME_SIZE, "model-%05u-of-%05u.safetensors",
                   (unsigned)(shard + 1) % 100000, (unsigned)s->count % 100000);
}

static enum rb_status copy(const struct rb_tensor *from, size_t count, struct rb_st_writer *w,
                           struct rb_error *err)
{
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < count && status == RB_OK; i++)
        if (from[i].bytes > 0)
            status = rb_st_writer_write(w, i, 0, from[i].data, from[i].bytes, err);
    return status;
}

enum rb_status rb_split_write(const struct rb_split *s, const struct rb_safetensors *st,
                              size_t shard, const char *path, struct rb_error *err)
{
    size_t first = 0, count = 0;
    while (first < st->tensor_count && s->shard_of[first] < shard)
        first++;
    while (first + count < st->tensor_count && s->shard_of[first + count] == shard)
        count++;
    struct rb_st_spec *specs = calloc(count + 1, sizeof *specs);
    struct rb_st_writer *w = NULL;
    if (specs == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write %s", path);
    for (size_t i = 0; i < count; i++) {
        const struct rb_tensor *t = &st->tensors[first + i];
        specs[i] = (struct rb_st_spec){.name = t->name, .dtype = t->dtype, .rank = t->rank};
        memcpy(specs[i].shape, t->shape, sizeof specs[i].shape);
    }
    enum rb_status status =
        rb_st_writer_open(path, specs, count, st->metadata, st->metadata_count, &w, err);
    free(specs);
    if (status != RB_OK)
        return status;
    return rb_st_writer_end(w, copy(st->tensors + first, count, w, err), err);
}

json_t *rb_split_index(const struct rb_split *s, const struct rb_safetensors *st)
{
    json_t *map = json_object();
    uint64_t total = 0;
    int failed = map == NULL;
    for (size_t i = 0; i < st->tensor_count; i++) {
        char name[RB_SPLIT_NAME_SIZE];
        rb_split_name(s, s->shard_of[i], name);
        total += st->tensors[i].bytes;
        failed |= json_object_set_new(map, st->tensors[i].name, json_string(name)) != 0;
    }
    json_t *index =
        json_pack("{s:{s:I},s:O}", "metadata", "total_size", (json_int_t)total, "weight_map", map);
    json_decref(map);
    if (!failed)
        return index;
    json_decref(index);
    return NULL;
}
