#include "server/base/file.h"
#include "server/base/beneath.h"
#include "server/base/layout.h"
#include "server/base/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A failure names the file to be, not one that nobody knows. */
static enum rb_status make_temporary(struct rb_file_writer *w, struct rb_error *err)
{
    int folder = -1;
    const char *name = "";
    enum rb_status status = rb_parent_open(w->root_fd, w->temporary, &folder, &name, err);
    if (status != RB_OK)
        return status;
    w->fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w->fd < 0)
        status = rb_error_errno_writing(err, errno, w->path);
    (void)close(folder);
    return status;
}

enum rb_status rb_file_begin(int root_fd, const char *path, struct rb_file_writer *ret,
                             struct rb_error *err)
{
    struct rb_file_writer w = {.root_fd = root_fd, .fd = -1};
    int n = snprintf(w.path, sizeof w.path, "%s", path);
    if (n < 0 || (size_t)n >= sizeof w.path)
        return rb_error_errno(err, ENAMETOOLONG, path);
    (void)rb_layout_temporary(w.temporary);
    enum rb_status status = rb_mkdirs_beneath(root_fd, RB_LAYOUT_TEMPORARY, err);
    if (status == RB_OK)
        status = make_temporary(&w, err);
    if (status == RB_OK)
        *ret = w;
    return status;
}

enum rb_status rb_file_write(struct rb_file_writer *w, const void *bytes, size_t count,
                             struct rb_error *err)
{
    const unsigned char *next = bytes;
    while (count > 0) {
        ssize_t n = write(w->fd, next, count);
        if (n < 0 && errno != EINTR)
            return rb_error_errno(err, errno, w->path);
        if (n > 0) {
            next += n;
            count -= (size_t)n;
        }
    }
    return RB_OK;
}

static enum rb_status rename_synced(struct rb_file_writer *w, struct rb_error *err)
{
    int from_fd = -1, to_fd = -1;
    const char *from = "", *to = "";
    enum rb_status status = rb_fd_sync(w->fd, w->path, err);
    if (status != RB_OK)
        return status;
    status = rb_parent_open(w->root_fd, w->temporary, &from_fd, &from, err);
    if (status != RB_OK)
        return status;
    status = rb_parent_open(w->root_fd, w->path, &to_fd, &to, err);
    if (status != RB_OK)
        goto err_after_from;
    if (renameat(from_fd, from, to_fd, to) != 0)
        status = rb_error_errno_writing(err, errno, w->path);
    else
        status = rb_fd_sync(to_fd, w->path, err);
    (void)close(to_fd);
err_after_from:
    (void)close(from_fd);
    return status;
}

enum rb_status rb_file_commit(struct rb_file_writer *w, struct rb_error *err)
{
    enum rb_status status = rename_synced(w, err);
    if (status != RB_OK) {
        rb_file_abort(w);
        return status;
    }
    (void)close(w->fd); /* synced: nothing can be lost any more */
    w->fd = -1;
    return RB_OK;
}

void rb_file_abort(struct rb_file_writer *w)
{
    if (w->fd >= 0)
        (void)close(w->fd);
    w->fd = -1;
    struct rb_error ignored; /* the next start sweeps tmp/ */
    (void)!rb_remove_beneath(w->root_fd, w->temporary, &ignored);
}

enum rb_status rb_file_put(int root_fd, const char *path, const void *bytes, size_t count,
                           struct rb_error *err)
{
    struct rb_file_writer w = {.fd = -1};
    enum rb_status status = rb_file_begin(root_fd, path, &w, err);
    if (status != RB_OK)
        return status;
    status = rb_file_write(&w, bytes, count, err);
    if (status != RB_OK) {
        rb_file_abort(&w);
        return status;
    }
    return rb_file_commit(&w, err);
}

static enum rb_status read_all(int fd, const char *path, size_t max_bytes, char **ret,
                               size_t *ret_bytes, struct rb_error *err)
{
    size_t capacity = 4096, used = 0;
    char *text = malloc(capacity);
    for (;;) {
        if (text == NULL)
            return rb_error_set(err, RB_ENOMEM, "%s: no memory to read it", path);
        ssize_t n = read(fd, text + used, capacity - used - 1);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR) {
            enum rb_status status = rb_error_errno(err, errno, path);
            free(text);
            return status;
        }
        used += n > 0 ? (size_t)n : 0;
        if (used > max_bytes) {
            free(text);
            return rb_error_set(err, RB_ETOOLARGE, "%s: expected at most %zu bytes", path,
                                max_bytes);
        }
        if (capacity - used < 2) {
            char *larger = realloc(text, capacity *= 2);
            if (larger == NULL)
                free(text);
            text = larger;
        }
    }
    text[used] = '\0';
    *ret = text;
    *ret_bytes = used;
    return RB_OK;
}

enum rb_status rb_file_get(int root_fd, const char *path, size_t max_bytes, char **ret,
                           size_t *ret_bytes, struct rb_error *err)
{
    int fd;
    enum rb_status status = rb_open_beneath(root_fd, path, O_RDONLY | O_NONBLOCK, 0, &fd, err);
    if (status != RB_OK)
        return status;
    status = read_all(fd, path, max_bytes, ret, ret_bytes, err);
    (void)close(fd);
    return status;
}

enum rb_status rb_sync_beneath(int root_fd, const char *path, struct rb_error *err)
{
    int fd, parent;
    const char *name;
    enum rb_status status = rb_open_beneath(root_fd, path, O_RDONLY, 0, &fd, err);
    if (status != RB_OK)
        return status;
    status = rb_fd_sync(fd, path, err);
    (void)close(fd);
    if (status != RB_OK)
        return status;
    status = rb_parent_open(root_fd, path, &parent, &name, err);
    if (status != RB_OK)
        return status;
    status = rb_fd_sync(parent, path, err);
    (void)close(parent);
    return status;
}

enum rb_status rb_file_measure(int root_fd, const char *path, uint64_t *ret_bytes,
                               char ret_sha256[RB_SHA256_HEX], struct rb_error *err)
{
    unsigned char digest[RB_SHA256_BYTES];
    struct stat st;
    int fd = -1;
    enum rb_status status = rb_open_beneath(root_fd, path, O_RDONLY, 0, &fd, err);
    if (status != RB_OK)
        return status;
    if (fstat(fd, &st) != 0)
        status = rb_error_errno(err, errno, path);
    else
        status = rb_sha256_fd(fd, path, NULL, digest, err);
    (void)close(fd);
    if (status != RB_OK)
        return status;
    *ret_bytes = (uint64_t)st.st_size;
    rb_sha256_hex(digest, ret_sha256);
    return RB_OK;
}
