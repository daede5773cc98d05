/* core/tensor/safetensors_write.h: writing a safetensors file, tensor by tensor. */
#ifndef RB_CORE_TENSOR_SAFETENSORS_WRITE_H
#define RB_CORE_TENSOR_SAFETENSORS_WRITE_H

#include "core/tensor/safetensors.h"

/* All tensors are announced first (name, dtype, shape), so that offsets are known; then each is
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
/* Commits if status is RB_OK, else aborts and returns it. */
enum rb_status rb_st_writer_end(struct rb_st_writer *w, enum rb_status status,
                                struct rb_error *err) RB_MUST_CHECK;
/* w may be NULL. */
void rb_st_writer_abort(struct rb_st_writer *w);

#endif
