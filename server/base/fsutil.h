/* server/base/fsutil.h: files below a root, whole or absent, and the lock on the data folder.
 *
 * DESIGN. Every file that rebasind makes or opens under a name that others chose is reached from a
 * folder's descriptor with openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS): no "..", no absolute
 * link, no /proc magic leads out, whatever happens to the tree meanwhile. Every file that must
 * survive power loss goes through struct rb_file_writer: written under a temporary name, synced,
 * renamed, and its folder synced. These are the only places that write blobs, so faults are
 * injected here and nowhere else.
 *
 * Any thread; all of it may block on disk. Errors name the path: RB_EIO, RB_ENOTFOUND, RB_EFILES,
 * RB_EDISKFULL, RB_ENOMEM by errno; RB_EINPUT for a path that leads out of its root.
 */
#ifndef RB_SERVER_BASE_FSUTIL_H
#define RB_SERVER_BASE_FSUTIL_H

#include "api/status.h"
#include "server/base/layout.h"

#include <stdint.h>
#include <sys/types.h>

/* ---- below a root ---- */

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
/* Removes file or folder `path` below root_fd with all it holds; follows no link; absent is fine.
 */
enum rb_status rb_remove_beneath(int root_fd, const char *path, struct rb_error *err) RB_MUST_CHECK;
/* Bytes of all regular files below `path`; absent is 0. */
enum rb_status rb_usage_beneath(int root_fd, const char *path, uint64_t *ret_bytes,
                                struct rb_error *err) RB_MUST_CHECK;

/* ---- whole or absent ---- */

struct rb_file_writer {
    int root_fd; /* borrowed until committed or aborted */
    int fd;      /* of the temporary file; write(2) to it freely, or hand it to the pool */
    char path[1024];
    char temporary[RB_PATH_SIZE]; /* below the root, as rb_layout_temporary names it */
};

/* A new temporary file in "tmp/" below root_fd (made if absent) that will become `path`. */
enum rb_status rb_file_begin(int root_fd, const char *path, struct rb_file_writer *ret,
                             struct rb_error *err) RB_MUST_CHECK;
/* All bytes or an error; retries short writes. */
enum rb_status rb_file_write(struct rb_file_writer *w, const void *bytes, size_t count,
                             struct rb_error *err) RB_MUST_CHECK;
/* fsync, rename over `path`, fsync of its folder (which must exist). After a failure too the writer
 * is finished and the temporary file gone; `path` is what it was before or, where only the last
 * fsync failed, the new file, which power loss may still take away. */
enum rb_status rb_file_commit(struct rb_file_writer *w, struct rb_error *err) RB_MUST_CHECK;
void rb_file_abort(struct rb_file_writer *w);
/* begin, write, commit. */
enum rb_status rb_file_put(int root_fd, const char *path, const void *bytes, size_t count,
                           struct rb_error *err) RB_MUST_CHECK;
/* The whole file, at most max_bytes (RB_ETOOLARGE beyond); NUL-terminated, the caller's: free(). */
enum rb_status rb_file_get(int root_fd, const char *path, size_t max_bytes, char **ret,
                           size_t *ret_bytes, struct rb_error *err) RB_MUST_CHECK;

/* fsync of an open file and of the folder that `path` lies in: for files that core wrote. */
enum rb_status rb_sync_beneath(int root_fd, const char *path, struct rb_error *err) RB_MUST_CHECK;

/* ---- the data folder ---- */

/* Free bytes for an unprivileged writer on root_fd's file system. */
enum rb_status rb_disk_free(int root_fd, uint64_t *ret_bytes, struct rb_error *err) RB_MUST_CHECK;
/* Locks "lock" below root_fd for this process until *ret_fd is closed or the process ends, and
 * writes the process id into it. RB_ELOCKED naming the holder's id. */
enum rb_status rb_data_lock(int root_fd, int *ret_fd, struct rb_error *err) RB_MUST_CHECK;

#endif
