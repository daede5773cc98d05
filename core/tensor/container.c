#include "core/tensor/container.h"
#include "core/file.h"
#include "core/tensor/safetensors_open.h"
#include "core/tensor/torch_file.h"

#include <stdlib.h>
#include <string.h>

/* ---- safetensors ---- */

static enum rb_status open_safetensors(int fd, const char *label, struct rb_container *ret,
                                       struct rb_error *err)
{
    struct rb_safetensors *st = malloc(sizeof *st);
    if (st == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to open it", label);
    enum rb_status s = rb_safetensors_open_fd(fd, label, st, err);
    if (s != RB_OK) {
        free(st);
        return s;
    }
    *ret = (struct rb_container){.path = st->path,
                                 .tensors = st->tensors,
                                 .tensor_count = st->tensor_count,
                                 .map = st->map,
                                 .file = st};
    return RB_OK;
}

static void close_safetensors(void *file)
{
    rb_safetensors_deinit(file);
    free(file);
}

/* ---- torch.save ---- */

static enum rb_status open_torch(int fd, const char *label, struct rb_container *ret,
                                 struct rb_error *err)
{
    struct rb_torch_file *t = malloc(sizeof *t);
    if (t == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to open it", label);
    enum rb_status s = rb_torch_file_open_fd(fd, label, t, err);
    if (s != RB_OK) {
        free(t);
        return s;
    }
    *ret = (struct rb_container){.path = t->path,
                                 .tensors = t->tensors,
                                 .tensor_count = t->tensor_count,
                                 .map = t->map,
                                 .file = t};
    return RB_OK;
}

static void close_torch(void *file)
{
    rb_torch_file_deinit(file);
    free(file);
}

/* ---- the table ---- */

const struct rb_container_format rb_container_formats[RB_CONTAINER_FORMATS] = {
    {
        .single = "model.safetensors",
        .index = RB_SHARDS_INDEX,
        .suffix = ".safetensors",
        .damaged = RB_ESAFETENSORS,
        .open_fd = open_safetensors,
        .close = close_safetensors,
    },
    {
        .single = "pytorch_model.bin",
        .index = "pytorch_model.bin.index.json",
        .suffix = ".bin",
        .damaged = RB_ETORCH,
        .open_fd = open_torch,
        .close = close_torch,
        .check = rb_torch_file_check,
    },
};

/* By the Trainer and by Accelerate. */
static const char *const beside[] = {
    "optimizer.pt", "scheduler.pt",  "training_args.bin", "rng_state.pth",
    "scaler.pt",    "optimizer.bin", "scheduler.bin",     "sampler.bin",
};

bool rb_lies_beside(const char *name)
{
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++)
        if (strcmp(name, beside[i]) == 0)
            return true;
    return false;
}

const struct rb_container_format *rb_container_format_of(const char *name)
{
    size_t n = strlen(name);
    if (rb_lies_beside(name))
        return NULL;
    for (size_t i = 0; i < RB_CONTAINER_FORMATS; i++) {
        size_t suffix = strlen(rb_container_formats[i].suffix);
        if (n > suffix && strcmp(name + n - suffix, rb_container_formats[i].suffix) == 0)
            return &rb_container_formats[i];
    }
    return NULL;
}

enum rb_status rb_container_open(const struct rb_container_format *format, const char *path,
                                 struct rb_container *ret, struct rb_error *err)
{
    struct rb_file file;
    enum rb_status s = rb_file_open(path, &file, err);
    if (s != RB_OK)
        return s;
    s = format->open_fd(file.fd, path, ret, err);
    rb_file_close(&file);
    if (s == RB_OK)
        ret->format = format;
    return s;
}

void rb_container_close(struct rb_container *c)
{
    if (c->file != NULL)
        c->format->close(c->file);
    *c = (struct rb_container){0};
}

static int name_of(const void *name, const void *tensor)
{
    return strcmp(name, ((const struct rb_tensor *)tensor)->name);
}

const struct rb_tensor *rb_container_find(const struct rb_container *c, const char *name)
{
    if (c->tensor_count == 0)
        return NULL;
    return bsearch(name, c->tensors, c->tensor_count, sizeof *c->tensors, name_of);
}
