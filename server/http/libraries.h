/* server/http/libraries.h: what this binary is and which libraries are in it, for /version, readyz,
 * `rebasind version` and the provenance of merged folders. */
#ifndef RB_SERVER_HTTP_LIBRARIES_H
#define RB_SERVER_HTTP_LIBRARIES_H

#include "api/service.h"

/* Version, commit, compiler, libraries as linked at run time, and the kernel that multiplies.
 * Loop thread. */
struct rb_version_view rb_version_here(void);

#endif
