/* core/file.h: regular files, opened and read whole. */
#ifndef RB_CORE_FILE_H
#define RB_CORE_FILE_H

#include "core/status.h"

#include <stdint.h>
#include <sys/stat.h>

struct rb_file {
    int fd;
    struct stat st;
    uint64_t bytes;
};

/* Opens path for reading. Anything but a regular file counts as not found. The failures of
 * rb_input_open. The caller owns *ret: rb_file_close. */
enum rb_status rb_file_open(const char *path, struct rb_file *ret,
                            struct rb_error *err) RB_MUST_CHECK;
/* The same of an open descriptor, which stays the caller's. */
enum rb_status rb_file_of_fd(int fd, const char *label, struct rb_file *ret,
                             struct rb_error *err) RB_MUST_CHECK;
void rb_file_close(struct rb_file *file);
/* Exactly n bytes from `offset` on; RB_EIO, also if the file ends before. */
enum rb_status rb_file_read(const struct rb_file *file, uint64_t offset, void *buffer, size_t n,
                            const char *label, struct rb_error *err) RB_MUST_CHECK;

#endif
