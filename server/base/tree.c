#include "server/base/tree.h"
#include "server/base/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum rb_status remove_entry(int fd, const char *name, bool is_folder, struct rb_error *err);

/* What is in the folder fd (taken). */
static enum rb_status remove_entries(int fd, const char *path, struct rb_error *err)
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
            status = remove_entry(fd, e->d_name, S_ISDIR(st.st_mode), err);
        else if (errno != ENOENT)
            status = rb_error_errno(err, errno, e->d_name);
    }
    (void)closedir(folder);
    return status;
}

static enum rb_status remove_entry(int fd, const char *name, bool is_folder, struct rb_error *err)
{
    if (is_folder) {
        int inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner < 0)
            return errno == ENOENT ? RB_OK : rb_error_errno(err, errno, name);
        enum rb_status status = remove_entries(inner, name, err);
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
        status = remove_entry(parent, name, S_ISDIR(st.st_mode), err);
    else if (errno != ENOENT)
        status = rb_error_errno(err, errno, path);
    (void)close(parent);
    return status;
}
