/* server/base/beneath.h: folders and files below a root (fsutil.h). */
#ifndef RB_SERVER_BASE_BENEATH_H
#define RB_SERVER_BASE_BENEATH_H

#include "api/status.h"

#include <sys/types.h>

/* Opens the folder path (absolute or from the working directory) for use as a root; follows links.
 * The caller owns *ret_fd: close(). With `make`, makes it and its parents, mode 0700;
 * new ones are durable on return. */
enum rb_status rb_root_open(const char *path, bool make, int *ret_fd,
                            struct rb_error *err) RB_MUST_CHECK;

/* open(2) of `path` below root_fd; flags as open's (O_CLOEXEC is added). RB_EINPUT if the path is
 * absolute, empty, or leads out of the root, by links too. Follows links that stay inside. */
enum rb_status rb_open_beneath(int root_fd, const char *path, int flags, mode_t mode, int *ret_fd,
                               struct rb_error *err) RB_MUST_CHECK;

/* Makes folder `path` and its parents below root_fd, mode 0700; there already is fine. New folders
 * are durable on return. */
enum rb_status rb_mkdirs_beneath(int root_fd, const char *path, struct rb_error *err) RB_MUST_CHECK;

/* Opens the folder that path lies in; *ret_name is the last part of path (borrowed from it). */
enum rb_status rb_parent_open(int root_fd, const char *path, int *ret_fd, const char **ret_name,
                              struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_fd_sync(int fd, const char *path, struct rb_error *err) RB_MUST_CHECK;

#endif
