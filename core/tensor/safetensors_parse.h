/* core/tensor/safetensors_parse.h: a safetensors file's header. */
#ifndef RB_CORE_TENSOR_SAFETENSORS_PARSE_H
#define RB_CORE_TENSOR_SAFETENSORS_PARSE_H

#include "core/tensor/safetensors.h"

/* Checks a header that is in memory: `head` is the file's first head_bytes bytes (at least the 8
 * length bytes and the whole header), file_bytes its full size. data pointers are set relative to
 * `data` (the byte after the header; may be NULL: then all data pointers are NULL, for checks on
 * arrival). `label` names the file in errors. The target of fuzzing.
 * RB_ESAFETENSORS, RB_ENOMEM. On success the caller owns *ret: rb_safetensors_deinit. */
enum rb_status rb_safetensors_parse(const char *label, const void *head, size_t head_bytes,
                                    uint64_t file_bytes, const void *data,
                                    struct rb_safetensors *ret, struct rb_error *err) RB_MUST_CHECK;

#endif
