/* server/work/imports.h: does a path lie where the operator allows files to be read in place. */
#ifndef RB_SERVER_WORK_IMPORTS_H
#define RB_SERVER_WORK_IMPORTS_H

#include "api/status.h"
#include "server/base/config.h"

/* The roots that hold for a model's or dataset's path: NULL, so any, in the data folder itself. */
const struct rb_strings *rb_import_roots_for(const struct rb_strings *roots, const char *data_dir,
                                             const char *path);
/* The real path of `path`, links resolved: new, free(). roots NULL: any path. RB_EINPUT at "/path"
 * unless it lies below one of the roots, told by openat2(RESOLVE_BENEATH) on the real root, so a
 * link changed in the middle of this cannot lead out; RB_ENOTFOUND, RB_EIO, RB_EFILES, RB_ENOMEM.
 * Any thread; blocks. */
enum rb_status rb_import_resolve(const struct rb_strings *roots, const char *path, char **ret,
                                 struct rb_error *err) RB_MUST_CHECK;
/* Where inputs may lie; the data folder is always allowed. */
struct rb_import_rules {
    const struct rb_strings *roots; /* NULL: anywhere */
    const char *data_dir;
};
/* An rb_input_opener (core/input.h), data: struct rb_import_rules. What *ret_fd stands for lies
 * below a root, whatever becomes of the path meanwhile. The failures of rb_import_resolve. */
enum rb_status rb_import_open(void *rules, const char *path, int flags, int *ret_fd,
                              struct rb_error *err) RB_MUST_CHECK;

#endif
