/* core/tensor/split.h: a checkpoint in shards, as transformers writes what is above 5 GB. */
#ifndef RB_CORE_TENSOR_SPLIT_H
#define RB_CORE_TENSOR_SPLIT_H

#include "core/tensor/safetensors.h"

#include <jansson.h>

#define RB_SHARD_BYTES 5000000000ULL
enum { RB_SPLIT_NAME_SIZE = 40 };

struct rb_split {
    size_t count;       /* of shards; 1: the file is left as it is */
    uint32_t *shard_of; /* of each tensor, ascending; owned */
};

/* Deals the tensors out, in the order of st: a shard is full when the next tensor would take it
 * above `most` bytes. A larger tensor has a shard of its own. `most` grows where there would be
 * more than shards_max shards. RB_ENOMEM. The caller owns *ret: rb_split_deinit. */
enum rb_status rb_split_plan(const struct rb_safetensors *st, uint64_t most, size_t shards_max,
                             struct rb_split *ret, struct rb_error *err) RB_MUST_CHECK;
void rb_split_deinit(struct rb_split *s);

/* "model-00001-of-00003.safetensors" for shard 0 of 3. */
void rb_split_name(const struct rb_split *s, size_t shard, char ret[RB_SPLIT_NAME_SIZE]);

/* Writes one shard to `path`, whole or absent, with the metadata of st. As rb_st_writer_commit. */
enum rb_status rb_split_write(const struct rb_split *s, const struct rb_safetensors *st,
                              size_t shard, const char *path, struct rb_error *err) RB_MUST_CHECK;

/* {"metadata":{"total_size"},"weight_map":{tensor: file}}. New reference; NULL without memory. */
json_t *rb_split_index(const struct rb_split *s, const struct rb_safetensors *st);

#endif
