/* server/base/file.h: files that are whole or absent (fsutil.h). */
#ifndef RB_SERVER_BASE_FILE_H
#define RB_SERVER_BASE_FILE_H

#include "server/base/hash.h"
#include "server/base/layout.h"
#include "api/status.h"

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

/* How long the file is, and its digest (hash.h's errors, too). Not on the loop thread. */
enum rb_status rb_file_measure(int root_fd, const char *path, uint64_t *ret_bytes,
                               char ret_sha256[RB_SHA256_HEX], struct rb_error *err) RB_MUST_CHECK;

/* fsync of an open file and of the folder that `path` lies in: for files that core wrote. */
enum rb_status rb_sync_beneath(int root_fd, const char *path, struct rb_error *err) RB_MUST_CHECK;

#endif
