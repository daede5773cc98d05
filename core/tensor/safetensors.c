#include "core/tensor/safetensors.h"
#include "core/memory.h"
#include "core/tensor/map.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rb_safetensors_deinit(struct rb_safetensors *st)
{
    rb_map_close(st->map);
    free(st->tensors);
    free(st->metadata);
    free(st->names);
    free(st->path);
    *st = (struct rb_safetensors){0};
}

void rb_safetensors_forget(const struct rb_safetensors *st, const void *data, size_t bytes)
{
    rb_map_forget(st->map, data, bytes);
}

static int name_of(const void *name, const void *tensor)
{
    return strcmp(name, ((const struct rb_tensor *)tensor)->name);
}

const struct rb_tensor *rb_safetensors_find(const struct rb_safetensors *st, const char *name)
{
    if (st->tensor_count == 0)
        return NULL;
    return bsearch(name, st->tensors, st->tensor_count, sizeof *st->tensors, name_of);
}

const char *rb_safetensors_metadata(const struct rb_safetensors *st, const char *key)
{
    for (size_t i = 0; i < st->metadata_count; i++)
        if (strcmp(st->metadata[i].key, key) == 0)
            return st->metadata[i].value;
    return NULL;
}

bool rb_shape_bytes(enum rb_dtype dtype, const uint64_t *shape, uint32_t rank, size_t *ret)
{
    size_t bytes = rb_dtype_bytes(dtype);
    bool empty = false;
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] == 0)
            empty = true;
        else if (!rb_mul_size(bytes, shape[i], &bytes))
            return false;
    }
    *ret = empty ? 0 : bytes;
    return true;
}

char *rb_shape_text(const uint64_t *shape, uint32_t rank, char *buffer, size_t size)
{
    size_t used = 0;
    for (uint32_t i = 0; i <= rank && used < size; i++) {
        int n = i == rank ? snprintf(buffer + used, size - used, rank == 0 ? "[]" : "]")
                          : snprintf(buffer + used, size - used, "%s%" PRIu64, i == 0 ? "[" : ", ",
                                     shape[i]);
        used += n > 0 ? (size_t)n : size;
    }
    return buffer;
}
