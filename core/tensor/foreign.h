/* core/tensor/foreign.h: what a file that is no weights file is instead, by how it begins: for
 * messages that say what happened and what to do. */
#ifndef RB_CORE_TENSOR_FOREIGN_H
#define RB_CORE_TENSOR_FOREIGN_H

#include <stddef.h>

enum { RB_FOREIGN_HEAD_BYTES = 512 };

/* A sentence about a file that begins with these bytes (at most RB_FOREIGN_HEAD_BYTES of them are
 * looked at), e.g. "a Git LFS pointer, not the file itself: ..."; NULL if nothing is known. */
const char *rb_foreign_name(const unsigned char *head, size_t bytes);

#endif
