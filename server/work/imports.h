/* server/work/imports.h: does a path lie where the operator allows files to be read in place. */
#ifndef RB_SERVER_WORK_IMPORTS_H
#define RB_SERVER_WORK_IMPORTS_H

#include "core/status.h"
#include "server/base/config.h"

/* The real path of `path`, links resolved: new, free(). roots NULL: any path. RB_EINPUT at "/path"
 * unless it lies below one of the roots, told by openat2(RESOLVE_BENEATH) on the real root, so a
 * link changed in the middle of this cannot lead out; RB_ENOTFOUND, RB_EIO, RB_EFILES, RB_ENOMEM.
 * Any thread; blocks. */
enum rb_status rb_import_resolve(const struct rb_strings *roots, const char *path, char **ret,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
