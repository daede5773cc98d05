/* core/tensor/weights.h: which files hold a checkpoint's tensors; private to core/tensor. */
#ifndef RB_CORE_TENSOR_WEIGHTS_H
#define RB_CORE_TENSOR_WEIGHTS_H

#include "core/status.h"

#include <jansson.h>

#define RB_WEIGHTS_INDEX "model.safetensors.index.json"

struct rb_weights {
    json_t *index;      /* the index file, or NULL: all is in model.safetensors */
    json_t *map;        /* its weight_map, borrowed from index: tensor name -> file name */
    const char **names; /* plain file names, sorted, each once; borrowed from index */
    size_t count;
};

/* As transformers does: model.safetensors if there is one, else what the index names. Opens none
 * of them. RB_ENOTFOUND if the folder has neither, RB_ESAFETENSORS for an unusable index.
 * The caller owns *ret: rb_weights_deinit. */
enum rb_status rb_weights_list(int dir_fd, const char *folder, struct rb_weights *ret,
                               struct rb_error *err) RB_MUST_CHECK;
void rb_weights_deinit(struct rb_weights *w);
/* Position of a file in names; it must be there. */
size_t rb_weights_position(const struct rb_weights *w, const char *name);

/* "folder/name", for messages and for opening; NULL when out of memory. The caller frees it. */
char *rb_path_join(const char *folder, const char *name);

#endif
