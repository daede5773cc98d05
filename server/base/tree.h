/* server/base/tree.h: whole trees below a root (fsutil.h). */
#ifndef RB_SERVER_BASE_TREE_H
#define RB_SERVER_BASE_TREE_H

#include "api/status.h"

#include <stdint.h>

/* Removes file or folder `path` below root_fd with all it holds; follows no link; absent is fine.
 */
enum rb_status rb_remove_beneath(int root_fd, const char *path, struct rb_error *err) RB_MUST_CHECK;

#endif
