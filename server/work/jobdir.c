#include "server/work/jobdir.h"
#include "server/base/fsutil.h"
#include "server/base/hash.h"
#include "server/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void rb_data_remove(int data_fd, const char *below)
{
    struct rb_error err;
    if (rb_remove_beneath(data_fd, below, &err) != RB_OK)
        rb_log_warn("cannot be removed", RB_S("path", below), RB_ERROR_FIELDS(&err));
}

/* ---- what waits to be removed ---- */

struct trash {
    struct rb_async async;
    int data_fd;
    char path[RB_PATH_SIZE];
};

static void on_trash(struct rb_async *async)
{
    struct trash *t = async->data;
    struct rb_error err;
    if (rb_remove_beneath(t->data_fd, t->path, &err) != RB_OK)
        rb_log_warn("leftover not removed", RB_ERROR_FIELDS(&err));
}

static void after_trash(struct rb_async *async)
{
    free(async->data);
}

static void move_to_trash(const struct rb_work *w, const char *path, struct trash *t)
{
    struct rb_error err;
    int data_fd = w->options.data_fd;
    (void)rb_layout_temporary(t->path);
    enum rb_status s = rb_mkdirs_beneath(data_fd, RB_LAYOUT_TEMPORARY, &err);
    if (s == RB_OK && renameat(data_fd, path, data_fd, t->path) == 0) {
        t->async = (struct rb_async){.work = on_trash, .done = after_trash, .data = t};
        t->data_fd = data_fd;
        rb_async_start(w->pool, &t->async);
        return;
    }
    if (s == RB_OK && errno != ENOENT)
        s = rb_error_errno(&err, errno, path);
    if (s != RB_OK)
        rb_log_warn("leftover not removed", RB_ERROR_FIELDS(&err));
    free(t);
}

void rb_data_trash(const struct rb_work *w, const char *path)
{
    struct trash *t = calloc(1, sizeof *t);
    if (t != NULL)
        move_to_trash(w, path, t);
}

/* ---- another job's alignment ---- */

static enum rb_status copy_file(int data_fd, const char *from, const char *to, struct rb_error *err)
{
    char *bytes = NULL;
    size_t count = 0;
    enum rb_status status = rb_file_get(data_fd, from, SIZE_MAX / 2, &bytes, &count, err);
    if (status == RB_OK)
        status = rb_file_put(data_fd, to, bytes, count, err);
    free(bytes);
    return status;
}

/* The same file under a second name, or a copy where the file system has no links. */
static enum rb_status link_file(int data_fd, const char *from, const char *to, struct rb_error *err)
{
    if (linkat(data_fd, from, data_fd, to, 0) == 0)
        return rb_sync_beneath(data_fd, to, err);
    if (errno == ENOENT)
        return rb_error_errno(err, errno, from);
    return copy_file(data_fd, from, to, err);
}

static enum rb_status link_from(int data_fd, const char *from, const char *id, const char *file,
                                struct rb_error *err)
{
    char source[RB_PATH_SIZE], target[RB_PATH_SIZE];
    rb_layout_job(from, file, source);
    return link_file(data_fd, source, rb_layout_job(id, file, target), err);
}

enum rb_status rb_job_link_alignments(const struct rb_work *w, const char *from, const char *id,
                                      size_t models, struct rb_error *err)
{
    char folder[RB_PATH_SIZE], name[RB_FILE_NAME_SIZE];
    int data_fd = w->options.data_fd;
    enum rb_status status = rb_mkdirs_beneath(data_fd, rb_layout_job(id, NULL, folder), err);
    for (size_t m = 1; m < models && status == RB_OK; m++) {
        rb_artifact_of_model(RB_FILE_ALIGNMENT, m, name);
        status = link_from(data_fd, from, id, name, err);
    }
    return status == RB_OK && models > 2 ? link_from(data_fd, from, id, RB_FILE_REFERENCE, err)
                                         : status;
}

enum rb_status rb_job_link_artifact(const struct rb_work *w, const char *id, const char *from,
                                    const char *to, struct rb_error *err)
{
    char source[RB_PATH_SIZE], target[RB_PATH_SIZE];
    int data_fd = w->options.data_fd;
    rb_layout_job(id, from, source);
    rb_layout_job(id, to, target);
    enum rb_status status = rb_remove_beneath(data_fd, target, err);
    return status == RB_OK ? link_file(data_fd, source, target, err) : status;
}

enum rb_status rb_job_describe_artifact(const struct rb_work *w, const char *id, const char *name,
                                        struct rb_artifact *ret, struct rb_error *err)
{
    char path[RB_PATH_SIZE];
    struct rb_artifact found = {.bytes = 0};
    enum rb_status status = rb_file_measure(w->options.data_fd, rb_layout_job(id, name, path),
                                            &found.bytes, found.sha256, err);
    if (status != RB_OK)
        return status;
    (void)snprintf(found.name, sizeof found.name, "%s", name);
    *ret = found;
    return RB_OK;
}
