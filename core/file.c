#include "core/file.h"
#include "core/input.h"

#include <errno.h>
#include <unistd.h>

enum rb_status rb_file_of_fd(int fd, const char *label, struct rb_file *ret, struct rb_error *err)
{
    struct rb_file file = {.fd = fd};
    if (fstat(fd, &file.st) != 0)
        return rb_error_errno(err, errno, label);
    if (!S_ISREG(file.st.st_mode))
        return rb_error_set(err, RB_ENOTFOUND, "%s: not a regular file", label);
    file.bytes = (uint64_t)file.st.st_size;
    *ret = file;
    return RB_OK;
}

enum rb_status rb_file_open(const char *path, struct rb_file *ret, struct rb_error *err)
{
    int fd;
    enum rb_status s = rb_input_open(path, 0, &fd, err);
    if (s != RB_OK)
        return s;
    s = rb_file_of_fd(fd, path, ret, err);
    if (s != RB_OK)
        close(fd);
    return s;
}

void rb_file_close(struct rb_file *file)
{
    close(file->fd);
    file->fd = -1;
}

enum rb_status rb_file_read(const struct rb_file *file, uint64_t offset, void *buffer, size_t n,
                            const char *label, struct rb_error *err)
{
    char *to = buffer;
    while (n > 0) {
        ssize_t got = pread(file->fd, to, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rb_error_errno(err, errno, label);
        if (got == 0)
            return rb_error_set(err, RB_EIO, "%s: ended %zu bytes early while being read", label,
                                n);
        to += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return RB_OK;
}
