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

/* A root that cannot be looked at has nothing below it; not so if only descriptors are short. */
static enum rb_status lies_below(const char *root, const char *real, bool *ret,
                                 struct rb_error *err)
{
    char *real_root = realpath(root, NULL);
    const char *rest = real_root != NULL ? below(real, real_root) : NULL;
    int root_fd = -1, fd = -1;
    enum rb_status status = RB_ENOTFOUND;
    if (rest != NULL)
        status = rb_root_open(real_root, false, &root_fd, err);
    if (status == RB_OK)
        status = rb_open_beneath(root_fd, rest, O_PATH, 0, &fd, err);
    *ret = status == RB_OK;
    if (fd >= 0)
        close(fd);
    if (root_fd >= 0)
        close(root_fd);
    free(real_root);
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

enum rb_status rb_import_resolve(const struct rb_strings *roots, const char *path, char **ret,
                                 struct rb_error *err)
{
    char *real = realpath(path, NULL);
    if (real == NULL) {
        enum rb_status status = rb_error_errno(err, errno, path);
        /* Whether something exists outside the roots is nobody's business. */
        if (roots != NULL && path[0] == '/') {
            for (size_t i = 0; i < roots->count; i++)
                if (below(path, roots->items[i]) != NULL)
                    return status;
            return refuse(roots, path, err);
        }
        return status;
    }
    bool found = roots == NULL;
    enum rb_status status = RB_OK;
    for (size_t i = 0; !found && status == RB_OK && i < roots->count; i++)
        status = lies_below(roots->items[i], real, &found, err);
    if (found) {
        *ret = real;
        return RB_OK;
    }
    free(real);
    return status != RB_OK ? status : refuse(roots, path, err);
}
