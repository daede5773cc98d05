/* core/tensor/safetensors.h: one safetensors file, in (by mmap) and out (tensor by tensor).
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

/* Checks a header that is in memory: `head` is the file's first head_bytes bytes (at least the 8
 * length bytes and the whole header), file_bytes its full size. data pointers are set relative to
 * `data` (the byte after the header; may be NULL: then all data pointers are NULL, for checks on
 * arrival). `label` names the file in errors. The target of fuzzing.
 * RB_ESAFETENSORS, RB_ENOMEM. On success the caller owns *ret: rb_safetensors_deinit. */
enum rb_status rb_safetensors_parse(const char *label, const void *head, size_t head_bytes,
                                    uint64_t file_bytes, const void *data,
                                    struct rb_safetensors *ret, struct rb_error *err) RB_MUST_CHECK;

/* Maps the file read-only and parses it. RB_ENOTFOUND (or not a regular file), RB_EIO,
 * RB_ESAFETENSORS, RB_ENOMEM. */
enum rb_status rb_safetensors_open(const char *path, struct rb_safetensors *ret,
                                   struct rb_error *err) RB_MUST_CHECK;
/* The same of an open descriptor (borrowed: may be closed afterwards). */
enum rb_status rb_safetensors_open_fd(int fd, const char *label, struct rb_safetensors *ret,
                                      struct rb_error *err) RB_MUST_CHECK;
void rb_safetensors_deinit(struct rb_safetensors *st);

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

/* ---- writing ----
 * All tensors are announced first (name, dtype, shape), so that offsets are known; then each is
 * written, in any order, from any thread, in pieces; commit checks that every byte was written,
 * fsyncs, renames over `path` and fsyncs the folder. Until commit nothing is seen at `path`;
 * abort removes the temporary file (path + ".tmp"); opening replaces one left by a killed run, so
 * there can be one writer per path. The data start 8-byte aligned, tensors in the order of specs,
 * without gaps. Disk space is reserved at opening. RB_EDISKFULL, RB_EFILES, RB_EIO, RB_ENOMEM,
 * RB_ENOTFOUND (no such folder); RB_EINTERNAL for a name announced twice, a write outside a tensor,
 * or a commit with bytes missing. */
struct rb_st_writer;

struct rb_st_spec {
    const char *name; /* copied */
    enum rb_dtype dtype;
    uint32_t rank;
    uint64_t shape[RB_ST_MAX_RANK];
};

enum rb_status rb_st_writer_open(const char *path, const struct rb_st_spec *specs, size_t count,
                                 const struct rb_metadata *metadata, size_t metadata_count,
                                 struct rb_st_writer **ret, struct rb_error *err) RB_MUST_CHECK;
/* `bytes` bytes of tensor `index` (position in specs) at byte `offset` inside it. Thread-safe. */
enum rb_status rb_st_writer_write(struct rb_st_writer *w, size_t index, uint64_t offset,
                                  const void *data, size_t bytes,
                                  struct rb_error *err) RB_MUST_CHECK;
/* Frees w whether it succeeds or not. */
enum rb_status rb_st_writer_commit(struct rb_st_writer *w, struct rb_error *err) RB_MUST_CHECK;
/* w may be NULL. */
void rb_st_writer_abort(struct rb_st_writer *w);

#endif
