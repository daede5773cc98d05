/* core/tensor/safetensors.h: one safetensors file: its tensors and metadata. Made by
 * safetensors_open.h; safetensors_write.h writes one.
 *
 * Format: 8 bytes little-endian header length N, N bytes JSON, then the data. The header comes
 * from strangers, so everything in it is checked before use: N against the file's size and
 * RB_ST_MAX_HEADER_BYTES; first byte '{'; no duplicate keys; depth at most 4; at most
 * RB_ST_MAX_TENSORS tensors of at most RB_ST_MAX_RANK axes; known dtype; shape x size == range in
 * checked arithmetic; ranges without overlap or hole, covering the whole data part.
 * https://github.com/huggingface/safetensors#format
 */
#ifndef RB_CORE_TENSOR_SAFETENSORS_H
#define RB_CORE_TENSOR_SAFETENSORS_H

#include "core/status.h"
#include "core/tensor/dtype.h"

#include <stdint.h>

#define RB_ST_MAX_HEADER_BYTES ((size_t)100 * 1000 * 1000)
enum { RB_ST_MAX_TENSORS = 1000000, RB_ST_MAX_RANK = 8, RB_ST_MAX_NAME = 512 };

/* A view; the file (or whoever holds the memory) owns name and data. */
struct rb_tensor {
    const char *name;
    const void *data; /* row-major, may be unaligned */
    size_t bytes;
    enum rb_dtype dtype;
    uint32_t rank;
    uint64_t shape[RB_ST_MAX_RANK];
};

struct rb_metadata { /* one "__metadata__" entry */
    const char *key, *value;
};

struct rb_safetensors {
    char *path;                /* for messages; owned */
    struct rb_tensor *tensors; /* sorted by name (strcmp) */
    size_t tensor_count;
    struct rb_metadata *metadata;
    size_t metadata_count;
    struct rb_map *map; /* private to core/tensor from here on; NULL if only parsed */
    char *names;
};

void rb_safetensors_deinit(struct rb_safetensors *st);
/* Drops the whole pages of that part of the file from the process until they are read again. Any
 * thread, also while others read them. */
void rb_safetensors_forget(const struct rb_safetensors *st, const void *data, size_t bytes);

/* By name, NULL if absent; binary search. */
const struct rb_tensor *rb_safetensors_find(const struct rb_safetensors *st, const char *name);
/* NULL if absent. */
const char *rb_safetensors_metadata(const struct rb_safetensors *st, const char *key);

/* What a tensor of that shape takes; false if that is more than can be addressed. Axes of length 0
 * are left out of the product and make it 0 at the end, so that no partial product that a caller
 * may form can overflow either. */
bool rb_shape_bytes(enum rb_dtype dtype, const uint64_t *shape, uint32_t rank,
                    size_t *ret) RB_MUST_CHECK;

/* "[512, 128]" into buffer; returns buffer. */
char *rb_shape_text(const uint64_t *shape, uint32_t rank, char *buffer, size_t size);

#endif
