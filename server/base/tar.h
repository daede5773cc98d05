/* server/base/tar.h: a folder as a tar file (POSIX ustar) that is never written: its bytes are
 * computed from the files wherever they are asked for, so that any part of it can be served.
 *
 * The same files give the same bytes: entries in the order given, owner 0, mode 0644, dated
 * 1980-01-01. Files of 8 GiB and more have their size in base 256, as GNU tar, libarchive and
 * Python write and read it. Any thread. */
#ifndef RB_SERVER_BASE_TAR_H
#define RB_SERVER_BASE_TAR_H

#include "api/status.h"
#include "server/base/hash.h"

#include <stdint.h>

enum { RB_TAR_NAME_MAX = 99 };

struct rb_tar_entry {
    uint64_t bytes;                 /* the file's size */
    int fd;                         /* open for reading; borrowed */
    char name[RB_TAR_NAME_MAX + 1]; /* "lambda-0.50/config.json" */
};

/* Size of the whole tar. */
uint64_t rb_tar_bytes(const struct rb_tar_entry *entries, size_t count);

/* 1 to max bytes of the tar from position on; *ret is 0 only at its end. Reads files by pread.
 * RB_EIO, naming the entry, also for a file that has become shorter. */
enum rb_status rb_tar_read(const struct rb_tar_entry *entries, size_t count, uint64_t position,
                           char *buffer, size_t max, size_t *ret,
                           struct rb_error *err) RB_MUST_CHECK;

/* SHA-256 of the whole tar; reads every file. Blocks. RB_EIO, RB_ENOMEM. */
enum rb_status rb_tar_sha256(const struct rb_tar_entry *entries, size_t count,
                             unsigned char ret[RB_SHA256_BYTES],
                             struct rb_error *err) RB_MUST_CHECK;

#endif
