/* core/tensor/shards.h: which files hold a checkpoint's tensors; private to core/tensor. */
#ifndef RB_CORE_TENSOR_SHARDS_H
#define RB_CORE_TENSOR_SHARDS_H

#include "core/tensor/container.h"

#include <jansson.h>

struct rb_shards {
    const struct rb_container_format *format;
    const struct rb_container_format
        *other;         /* one that the folder holds too and that is not read, or NULL */
    json_t *index;      /* the index file, or NULL: all is in format->single */
    json_t *map;        /* its weight_map, borrowed from index: tensor name -> file name */
    const char **names; /* plain file names, sorted, each once; borrowed from index */
    size_t count;
};

/* As transformers does: model.safetensors if there is one, else what its index names, else the same
 * of pytorch_model.bin (the rows of rb_container_formats). Opens none of them. RB_ENOTFOUND if the
 * folder has none, saying what it has instead; format->damaged for an unusable index. The caller
 * owns *ret: rb_shards_deinit. */
enum rb_status rb_shards_list(int dir_fd, const char *folder, struct rb_shards *ret,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_shards_deinit(struct rb_shards *w);
/* Position of a file in names; it must be there. */
size_t rb_shards_position(const struct rb_shards *w, const char *name);

/* "folder/name", for messages and for opening; NULL when out of memory. The caller frees it. */
char *rb_path_join(const char *folder, const char *name);

#endif
