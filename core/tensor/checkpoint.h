/* core/tensor/checkpoint.h: a Hugging Face folder: its config.json and its tensors, whether in one
 * model.safetensors or pytorch_model.bin, or in shards named by an index beside them. */
#ifndef RB_CORE_TENSOR_CHECKPOINT_H
#define RB_CORE_TENSOR_CHECKPOINT_H

#include "core/tensor/container.h"

#include <jansson.h>

struct rb_checkpoint {
    char *path;     /* the folder */
    json_t *config; /* config.json, an object; never changed after opening */
    const struct rb_container_format *format;
    const struct rb_container_format
        *other; /* of weights that lie beside these and are not read, or NULL */
    struct rb_container *shards;
    size_t shard_count;
    const struct rb_tensor **tensors; /* of all shards, sorted by name */
    size_t tensor_count;
    uint64_t bytes; /* of all shard files */
};

/* Maps every shard. Weights are model.safetensors if it is there, else what its index names, else
 * the same of pytorch_model.bin. With an index: each tensor must be where the index says, index and
 * shards must name the same tensors, and shard names must be plain file names (no '/', no "..",
 * with the format's suffix). Errors name the file: RB_ENOTFOUND (folder or file missing),
 * RB_ECONFIG, RB_ESAFETENSORS, RB_ETORCH, RB_EIO. The caller owns *ret: rb_checkpoint_deinit. */
enum rb_status rb_checkpoint_open(const char *folder, struct rb_checkpoint *ret,
                                  struct rb_error *err) RB_MUST_CHECK;
void rb_checkpoint_deinit(struct rb_checkpoint *c);
const struct rb_tensor *rb_checkpoint_find(const struct rb_checkpoint *c, const char *name);

/* Gives back the memory that the pages of tensor t take which were read; reading them again is
 * fine. For tables of which few rows are read: the kernel maps what lies around them too. Any
 * thread. */
void rb_checkpoint_forget(const struct rb_checkpoint *c, const struct rb_tensor *t);

/* The files that make up the checkpoint, for hashing, copying and listing, relative to the folder:
 * config.json, the weights (index and shards), and those of `companions` (names, NULL at the end:
 * rb_tokenizer_files) that are there. A NULL-terminated array, sorted; free each and the array, or
 * rb_checkpoint_files_free. */
enum rb_status rb_checkpoint_files(const char *folder, const char *const *companions, char ***ret,
                                   struct rb_error *err) RB_MUST_CHECK;
void rb_checkpoint_files_free(char **files);

/* Has any shard of c shrunk while it was mapped (map.h), or been replaced, removed, or changed in
 * size or mtime on disk since it was opened? Ask after a stage has read it; if so, its results must
 * not be used. RB_EIO naming the file, or RB_OK. */
enum rb_status rb_checkpoint_verify(const struct rb_checkpoint *c,
                                    struct rb_error *err) RB_MUST_CHECK;

#endif
