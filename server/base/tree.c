#include "server/base/tree.h"
#include "server/base/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Calls one(folder's descriptor, entry's name, its kind) for each entry of the folder fd (taken).
 */
static enum rb_status each_entry(int fd, const char *path,
                                 enum rb_status (*one)(int fd, const char *name, bool is_folder,
                                                       void *data, struct rb_error *err),
                                 void *data, struct rb_error *err)
{
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        enum rb_status status = rb_error_errno(err, errno, path);
        (void)close(fd);
        return status;
    }
    enum rb_status status = RB_OK;
    for (struct dirent *e; status == RB_OK && (e = readdir(folder)) != NULL;) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            status = one(fd, e->d_name, S_ISDIR(st.st_mode), data, err);
        else if (errno != ENOENT)
            status = rb_error_errno(err, errno, e->d_name);
    }
    (void)closedir(folder);
    return status;
}

static enum rb_status remove_entry(int fd, const char *name, bool is_folder, void *data,
                                   struct rb_error *err)
{
    if (is_folder) {
        int inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner < 0)
            return errno == ENOENT ? RB_OK : rb_error_errno(err, errno, name);
        enum rb_status status = each_entry(inner, name, remove_entry, data, err);
        if (status != RB_OK)
            return status;
    }
    if (unlinkat(fd, name, is_folder ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT)
        return rb_error_errno(err, errno, name);
    return RB_OK;
}

enum rb_status rb_remove_beneath(int root_fd, const char *path, struct rb_error *err)
{
    int parent;
    const char *name;
    struct rb_error found;
    enum rb_status status = rb_parent_open(root_fd, path, &parent, &name, &found);
    if (status == RB_ENOTFOUND)
        return RB_OK;
    if (status != RB_OK)
        return rb_error_set(err, status, "%s", found.detail);
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        status = remove_entry(parent, name, S_ISDIR(st.st_mode), NULL, err);
    else if (errno != ENOENT)
        status = rb_error_errno(err, errno, path);
    (void)close(parent);
    return status;
}

static enum rb_status add_usage(int fd, const char *name, bool is_folder, void *data,
                                struct rb_error *err)
{
    uint64_t *bytes = data;
    struct stat st;
    if (is_folder) {
        int inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner < 0)
            return errno == ENOENT ? RB_OK : rb_error_errno(err, errno, name);
        return each_entry(inner, name, add_usage, data, err);
    }
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
        *bytes += (uint64_t)st.st_size;
    return RB_OK;
}

enum rb_status rb_usage_beneath(int root_fd, const char *path, uint64_t *ret_bytes,
                                struct rb_error *err)
{
    int fd;
    uint64_t bytes = 0;
    struct rb_error found;
    enum rb_status status = rb_open_beneath(root_fd, path, O_RDONLY | O_DIRECTORY, 0, &fd, &found);
    if (status == RB_OK)
        status = each_entry(fd, path, add_usage, &bytes, err);
    else if (status == RB_ENOTFOUND)
        status = RB_OK;
    else
        return rb_error_set(err, status, "%s", found.detail);
    if (status == RB_OK)
        *ret_bytes = bytes;
    return status;
}
