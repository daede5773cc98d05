/* core/tensor/torch_zip.h: the layout of torch 1.6 and newer; private to core/tensor. */
#ifndef RB_CORE_TENSOR_TORCH_ZIP_H
#define RB_CORE_TENSOR_TORCH_ZIP_H

#include "core/tensor/torch_layout.h"

/* Reads all but the tensors' bytes. RB_ETORCH, RB_EIO, RB_ENOMEM; *ret, zeroed by the caller, is
 * for rb_torch_layout_deinit whatever is returned. */
enum rb_status rb_torch_zip_read(const struct rb_bytes *file, struct rb_torch_layout *ret,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
