/* core/tensor/container.h: a file of named tensors, whatever its format.
 *
 * A row of rb_container_formats per format; nobody else asks which one a file has. In order of
 * preference: where a folder holds several, the first is read, as transformers does. */
#ifndef RB_CORE_TENSOR_CONTAINER_H
#define RB_CORE_TENSOR_CONTAINER_H

#include "core/tensor/safetensors.h"

struct rb_container {
    const struct rb_container_format *format;
    const char *path;                /* for messages */
    const struct rb_tensor *tensors; /* sorted by name (strcmp) */
    size_t tensor_count;
    const struct rb_map *map; /* private to core/tensor */
    void *file;               /* the format's own */
};

struct rb_container_format {
    const char *single;     /* the file of a checkpoint in one piece: "model.safetensors" */
    const char *index;      /* of one in shards: "model.safetensors.index.json" */
    const char *suffix;     /* of its files: ".safetensors" */
    enum rb_status damaged; /* what an unusable file or index is */
    /* A descriptor (borrowed). On success the caller owns *ret: rb_container_close. */
    enum rb_status (*open_fd)(int fd, const char *label, struct rb_container *ret,
                              struct rb_error *err);
    void (*close)(void *file);
    /* Reads the whole file and compares it with its own checksums; NULL if the format has none. */
    enum rb_status (*check)(int fd, const char *label, bool (*stop)(void *data), void *data,
                            struct rb_error *err);
};

/* The index of a checkpoint in shards as we write them. */
#define RB_SHARDS_INDEX "model.safetensors.index.json"

enum { RB_CONTAINER_FORMATS = 2 };
extern const struct rb_container_format rb_container_formats[RB_CONTAINER_FORMATS];

/* Is that a file which training leaves beside a model ("optimizer.pt", "training_args.bin")? Such
 * are neither weights nor a reason to complain. */
bool rb_lies_beside(const char *name);
/* By a file's name ("x.safetensors", "pytorch_model.bin"); NULL if it is none of weights. */
const struct rb_container_format *rb_container_format_of(const char *name);

/* Opens path, below the import roots as every input (core/input.h). RB_ENOTFOUND, RB_EIO,
 * RB_ENOMEM, format->damaged. */
enum rb_status rb_container_open(const struct rb_container_format *format, const char *path,
                                 struct rb_container *ret, struct rb_error *err) RB_MUST_CHECK;
void rb_container_close(struct rb_container *c);
/* By name, NULL if absent. */
const struct rb_tensor *rb_container_find(const struct rb_container *c, const char *name);

#endif
