#include "server/base/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A new folder outlives a power loss once the one that it lies in is synced. */
static enum rb_status sync_parent(char *path, struct rb_error *err)
{
    char *slash = strrchr(path, '/');
    const char *parent = slash == NULL ? "." : slash == path ? "/" : path;
    if (slash != NULL && slash != path)
        *slash = '\0';
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum rb_status status =
        fd >= 0 ? rb_fd_sync(fd, parent, err) : rb_error_errno(err, errno, parent);
    if (fd >= 0)
        (void)close(fd);
    return status;
}

/* mkdir -p; from the working directory, so ".." is fine: the operator chose the path. */
static enum rb_status make_path(const char *path, struct rb_error *err)
{
    char partial[4096];
    if (strlen(path) >= sizeof partial)
        return rb_error_errno(err, ENAMETOOLONG, path);
    for (const char *end = path; *end != '\0';) {
        end += strspn(end, "/");
        end += strcspn(end, "/");
        memcpy(partial, path, (size_t)(end - path));
        partial[end - path] = '\0';
        enum rb_status status = RB_OK;
        if (mkdir(partial, 0700) == 0)
            status = sync_parent(partial, err);
        else if (errno != EEXIST)
            status = rb_error_errno(err, errno, partial);
        if (status != RB_OK)
            return status;
    }
    return RB_OK;
}

enum rb_status rb_root_open(const char *path, bool make, int *ret_fd, struct rb_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && make) {
        enum rb_status status = make_path(path, err);
        if (status != RB_OK)
            return status;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0)
        return rb_error_errno(err, errno, path);
    *ret_fd = fd;
    return RB_OK;
}

static enum rb_status open_error(int error_number, int flags, const char *path,
                                 struct rb_error *err)
{
    if (error_number == EXDEV || error_number == ELOOP)
        return rb_error_set(err, RB_EINPUT, "%s: leads out of the folder it must lie in", path);
    if (error_number == ENOSYS)
        return rb_error_set(err, RB_EIO,
                            "%s: this kernel has no openat2 (Linux 5.6 or newer needed)", path);
    return (flags & O_CREAT) != 0 ? rb_error_errno_writing(err, error_number, path)
                                  : rb_error_errno(err, error_number, path);
}

enum rb_status rb_open_beneath(int root_fd, const char *path, int flags, mode_t mode, int *ret_fd,
                               struct rb_error *err)
{
    if (path[0] == '\0' || path[0] == '/')
        return rb_error_set(err, RB_EINPUT, "\"%s\": expected a path below the folder", path);
    struct open_how how = {
        .flags = (__u64)(unsigned)(flags | O_CLOEXEC),
        .mode = (flags & O_CREAT) != 0 ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd;
    /* EAGAIN: somebody renamed folders on the way meanwhile. */
    do
        fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    if (fd < 0)
        return open_error(errno, flags, path, err);
    *ret_fd = (int)fd;
    return RB_OK;
}

enum rb_status rb_parent_open(int root_fd, const char *path, int *ret_fd, const char **ret_name,
                              struct rb_error *err)
{
    const char *slash = strrchr(path, '/');
    char parent[4096] = ".";
    if (slash != NULL) {
        if ((size_t)(slash - path) >= sizeof parent)
            return rb_error_errno(err, ENAMETOOLONG, path);
        memcpy(parent, path, (size_t)(slash - path));
        parent[slash - path] = '\0';
    }
    const char *name = slash == NULL ? path : slash + 1;
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return rb_error_set(err, RB_EINPUT, "\"%s\": expected a name at its end", path);
    enum rb_status status =
        rb_open_beneath(root_fd, parent, O_RDONLY | O_DIRECTORY, 0, ret_fd, err);
    if (status == RB_OK)
        *ret_name = name;
    return status;
}

enum rb_status rb_fd_sync(int fd, const char *path, struct rb_error *err)
{
    return fsync(fd) == 0 ? RB_OK : rb_error_errno(err, errno, path);
}

static enum rb_status make_one(int root_fd, const char *path, struct rb_error *err)
{
    int parent = -1;
    const char *name = "";
    enum rb_status status = rb_parent_open(root_fd, path, &parent, &name, err);
    if (status != RB_OK)
        return status;
    if (mkdirat(parent, name, 0700) == 0)
        status = rb_fd_sync(parent, path, err);
    else if (errno != EEXIST)
        status = rb_error_errno_writing(err, errno, path);
    (void)close(parent);
    return status;
}

enum rb_status rb_mkdirs_beneath(int root_fd, const char *path, struct rb_error *err)
{
    char partial[4096];
    if (strlen(path) >= sizeof partial)
        return rb_error_errno(err, ENAMETOOLONG, path);
    for (const char *end = path; *end != '\0';) {
        end += strcspn(end, "/");
        memcpy(partial, path, (size_t)(end - path));
        partial[end - path] = '\0';
        enum rb_status status = make_one(root_fd, partial, err);
        if (status != RB_OK)
            return status;
        end += strspn(end, "/");
    }
    int fd = -1;
    enum rb_status status = rb_open_beneath(root_fd, path, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (status == RB_OK)
        (void)close(fd);
    return status;
}
