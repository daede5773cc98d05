#include "server/work/imports.h"
#include "server/base/fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The part of real below root, "." for root itself; NULL if it is not below. */
static const char *below(const char *real, const char *root)
{
    size_t n = strlen(root);
    while (n > 0 && root[n - 1] == '/')
        n--;
    if (strncmp(real, root, n) != 0 || (real[n] != '/' && real[n] != '\0'))
        return NULL;
    return real[n] == '\0' || real[n + 1] == '\0' ? "." : real + n + 1;
}

/* Opens real, a path without links, if it is below root: *ret_fd is -1 where it is not. A root that
 * cannot be looked at has nothing below it; not so if only descriptors are short.
 * *ret_below is set if it is below, but does not open. */
static enum rb_status open_below(const char *root, const char *real, int flags, int *ret_fd,
                                 bool *ret_below, struct rb_error *err)
{
    char *real_root = realpath(root, NULL);
    int why = real_root == NULL ? errno : 0;
    const char *rest = real_root != NULL ? below(real, real_root) : NULL;
    int root_fd = -1;
    enum rb_status status = RB_ENOTFOUND;
    *ret_fd = -1;
    if (why == ENOMEM || why == EMFILE || why == ENFILE) /* nobody knows what lies below it */
        return rb_error_errno(err, why, root);
    if (rest != NULL)
        status = rb_root_open(real_root, false, &root_fd, err);
    if (status == RB_OK)
        status = rb_open_beneath(root_fd, rest, flags, 0, ret_fd, err);
    if (root_fd >= 0)
        close(root_fd);
    free(real_root);
    *ret_below |= rest != NULL && status != RB_OK;
    return status == RB_EFILES || status == RB_ENOMEM ? status : RB_OK;
}

static enum rb_status refuse(const struct rb_strings *roots, const char *path, struct rb_error *err)
{
    char list[256] = "";
    for (size_t i = 0; i < roots->count; i++) {
        size_t used = strlen(list);
        (void)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", roots->items[i]);
    }
    if (roots->count == 0)
        return rb_error_at(err, RB_EINPUT, "/path",
                           "%s: nothing may be imported, the daemon runs without --import-root",
                           path);
    return rb_error_at(err, RB_EINPUT, "/path", "%s: not below an import root (%s)", path, list);
}

/* Why path has no real path. Whether something exists outside the roots is nobody's business. */
static enum rb_status unresolved(const struct rb_strings *roots, const char *path,
                                 struct rb_error *err)
{
    /* What the path itself is at fault for, and not the disk. */
    int why = errno;
    enum rb_status status =
        why == ELOOP || why == ENAMETOOLONG || why == EACCES
            ? rb_error_at(err, RB_EINPUT, "/path", "%.200s: %s", path, strerror(why))
            : rb_error_errno(err, why, path);
    if (roots == NULL || path[0] != '/')
        return status;
    for (size_t i = 0; i < roots->count; i++) {
        char *real_root = realpath(roots->items[i], NULL);
        bool known = below(path, roots->items[i]) != NULL ||
                     (real_root != NULL && below(path, real_root) != NULL);
        free(real_root);
        if (known)
            return status;
    }
    return refuse(roots, path, err);
}

const struct rb_strings *rb_import_roots_for(const struct rb_strings *roots, const char *data_dir,
                                             const char *path)
{
    return below(path, data_dir) != NULL ? NULL : roots;
}

static enum rb_status resolve(const struct rb_strings *roots, const char *path, int flags,
                              char **ret, int *ret_fd, struct rb_error *err)
{
    char *real = realpath(path, NULL);
    bool is_below = false;
    int fd = -1;
    enum rb_status status = RB_OK;
    if (real == NULL)
        return unresolved(roots, path, err);
    if (roots == NULL && (fd = open(real, flags | O_CLOEXEC)) < 0)
        status = rb_error_errno(err, errno, path);
    for (size_t i = 0; roots != NULL && fd < 0 && status == RB_OK && i < roots->count; i++)
        status = open_below(roots->items[i], real, flags, &fd, &is_below, err);
    if (status == RB_OK && fd < 0 && is_below)
        status = rb_error_at(err, RB_EINPUT, "/path",
                             "%s: is below an import root, but does not "
                             "open",
                             path);
    else if (roots != NULL && status == RB_OK && fd < 0)
        status = refuse(roots, path, err);
    if (status != RB_OK) {
        free(real);
        return status;
    }
    *ret = real;
    *ret_fd = fd;
    return RB_OK;
}

enum rb_status rb_import_resolve(const struct rb_strings *roots, const char *path, char **ret,
                                 struct rb_error *err)
{
    int fd;
    enum rb_status status = resolve(roots, path, O_PATH, ret, &fd, err);
    if (status == RB_OK)
        close(fd);
    return status;
}

enum rb_status rb_import_open(void *rules, const char *path, int flags, int *ret_fd,
                              struct rb_error *err)
{
    const struct rb_import_rules *r = rules;
    const struct rb_strings *roots = rb_import_roots_for(r->roots, r->data_dir, path);
    char *real = NULL;
    enum rb_status status = resolve(roots, path, flags, &real, ret_fd, err);
    if (status == RB_OK)
        free(real);
    return status;
}
