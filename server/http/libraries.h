/* server/http/libraries.h: the libraries in this binary and their versions, for /version, readyz
 * and `rebasind version`. */
#ifndef RB_SERVER_HTTP_LIBRARIES_H
#define RB_SERVER_HTTP_LIBRARIES_H

#include "api/service.h"

#include <stddef.h>

/* The kernel that multiplies. */
struct rb_blas_view rb_blas_view_here(void);
/* As linked at run time; ends with a NULL name after *ret_count rows. Loop thread. */
const struct rb_library_version *rb_libraries(size_t *ret_count);

#endif
