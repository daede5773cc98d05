/* core/tensor/torch_legacy.h: the older layout; private to core/tensor. */
#ifndef RB_CORE_TENSOR_TORCH_LEGACY_H
#define RB_CORE_TENSOR_TORCH_LEGACY_H

#include "core/tensor/torch_layout.h"

/* Does the file begin like the older layout? */
bool rb_torch_legacy_begins(const unsigned char *head, size_t bytes);

/* Reads all but the tensors' bytes. RB_ETORCH, RB_EIO, RB_ENOMEM; *ret, zeroed by the caller, is
 * for rb_torch_layout_deinit whatever is returned. */
enum rb_status rb_torch_legacy_read(const struct rb_bytes *file, struct rb_torch_layout *ret,
                                    struct rb_error *err) RB_MUST_CHECK;

#endif
