#include "server/base/datadir.h"
#include "server/base/beneath.h"
#include "server/base/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum rb_status rb_disk_free(int root_fd, uint64_t *ret_bytes, struct rb_error *err)
{
    struct statvfs v;
    if (fstatvfs(root_fd, &v) != 0)
        return rb_error_errno(err, errno, "the data folder");
    *ret_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return RB_OK;
}

static enum rb_status locked_by(int fd, struct rb_error *err)
{
    char holder[24] = "";
    ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
    holder[n > 0 ? strcspn(holder, "\n") : 0] = '\0';
    return rb_error_set(err, RB_ELOCKED,
                        "the data folder is in use by another rebasind, process %s: stop it or "
                        "choose another --data-dir",
                        holder[0] != '\0' ? holder : "(unknown)");
}

enum rb_status rb_data_lock(int root_fd, int *ret_fd, struct rb_error *err)
{
    int fd;
    enum rb_status status =
        rb_open_beneath(root_fd, RB_LAYOUT_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, &fd, err);
    if (status != RB_OK)
        return status;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        status =
            errno == EWOULDBLOCK ? locked_by(fd, err) : rb_error_errno(err, errno, RB_LAYOUT_LOCK);
        (void)close(fd);
        return status;
    }
    /* The process id only serves the message above: a full disk must not keep us from starting. */
    if (ftruncate(fd, 0) == 0)
        (void)!dprintf(fd, "%ld\n", (long)getpid());
    *ret_fd = fd;
    return RB_OK;
}

enum rb_status rb_data_check(int root_fd, const char *path, struct rb_error *err)
{
    struct stat named, opened;
    if (stat(path, &named) == 0 && fstat(root_fd, &opened) == 0 && named.st_dev == opened.st_dev &&
        named.st_ino == opened.st_ino)
        return RB_OK;
    return rb_error_set(err, RB_ESTORE, "the data folder is no longer where the daemon opened it");
}
