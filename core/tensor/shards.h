/* core/tensor/shards.h: which files hold a checkpoint's tensors; private to core/tensor. */
#ifndef RB_CORE_TENSOR_SHARDS_H
#define RB_CORE_TENSOR_SHARDS_H

#include "core/status.h"

#include <jansson.h>

#define RB_SHARDS_INDEX "model.safetensors.index.json"

struct rb_shards {
    json_t *index;      /* the index file, or NULL: all is in model.safetensors */
    json_t *map;        /* its weight_map, borrowed from index: tensor name -> file name */
    const char **names; /* plain file names, sorted, each once; borrowed from index */
    size_t count;
};

/* As transformers does: model.safetensors if there is one, else what the index names. Opens none
 * of them. RB_ENOTFOUND if the folder has neither, RB_ESAFETENSORS for an unusable index.
 * The caller owns *ret: rb_shards_deinit. */
enum rb_status rb_shards_list(int dir_fd, const char *folder, struct rb_shards *ret,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_shards_deinit(struct rb_shards *w);
/* Position of a file in names; it must be there. */
size_t rb_shards_position(const struct rb_shards *w, const char *name);

/* "folder/name", for messages and for opening; NULL when out of memory. The caller frees it. */
char *rb_path_join(const char *folder, const char *name);

#endif
