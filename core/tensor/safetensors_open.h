/* core/tensor/safetensors_open.h: a safetensors file, by mmap. */
#ifndef RB_CORE_TENSOR_SAFETENSORS_OPEN_H
#define RB_CORE_TENSOR_SAFETENSORS_OPEN_H

#include "core/tensor/safetensors.h"

/* Maps the file read-only and parses it. RB_ENOTFOUND (or not a regular file), RB_EIO,
 * RB_ESAFETENSORS, RB_ENOMEM. */
enum rb_status rb_safetensors_open(const char *path, struct rb_safetensors *ret,
                                   struct rb_error *err) RB_MUST_CHECK;
/* The same of an open descriptor (borrowed: may be closed afterwards). */
enum rb_status rb_safetensors_open_fd(int fd, const char *label, struct rb_safetensors *ret,
                                      struct rb_error *err) RB_MUST_CHECK;

#endif
