/* server/base/fsutil_internal.h: what the files behind fsutil.h share; private to server/base. */
#ifndef RB_SERVER_BASE_FSUTIL_INTERNAL_H
#define RB_SERVER_BASE_FSUTIL_INTERNAL_H

#include "server/base/fsutil.h"

/* Opens the folder that path lies in; *ret_name is the last part of path (borrowed from it). */
enum rb_status rb_parent_open(int root_fd, const char *path, int *ret_fd, const char **ret_name,
                              struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_fd_sync(int fd, const char *path, struct rb_error *err) RB_MUST_CHECK;

#endif
