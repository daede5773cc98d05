#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/reply.h"
#include "server/server.h"

#include "api/artifact.h"
#include "server/base/fsutil.h"
#include "server/base/hash.h"
#include "server/base/layout.h"
#include "server/base/log.h"
#include "server/store/jobs_read.h"
#include "server/store/results.h"
#include "server/work/merged_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void rb_handle_artifacts(struct rb_request *r)
{
    struct rb_error err;
    struct rb_job_row row;
    struct rb_artifact *items;
    size_t count;
    struct rb_json w;
    if (!rb_job_row_read(r, &row))
        return;
    int64_t seq = row.seq;
    rb_job_row_deinit(&row);
    if (rb_artifacts_list(rb_request_server(r)->store, seq, &items, &count, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_json_init(&w);
    rb_artifacts_encode(&w, items, count);
    free(items);
    rb_reply_json(r, MHD_HTTP_OK, &w);
}

/* Opens the file and holds its size against the row. */
static enum rb_status open_artifact(struct rb_request *r, const char *job,
                                    const struct rb_artifact *artifact, int *ret_fd,
                                    struct rb_error *err)
{
    char path[RB_PATH_SIZE];
    struct stat st;
    int fd;
    rb_layout_job(job, artifact->name, path);
    enum rb_status s = rb_open_beneath(rb_request_server(r)->data_fd, path, O_RDONLY, 0, &fd, err);
    if (s != RB_OK) /* the row says it is there */
        return s == RB_ENOTFOUND ? rb_error_set(err, RB_EIO, "%s is gone from the disk", path) : s;
    if (fstat(fd, &st) != 0)
        s = rb_error_errno(err, errno, path);
    else if ((uint64_t)st.st_size != artifact->bytes)
        s = rb_error_set(err, RB_EIO, "%s has %lld bytes, recorded were %llu", path,
                         (long long)st.st_size, (unsigned long long)artifact->bytes);
    if (s != RB_OK) {
        (void)close(fd);
        return s;
    }
    *ret_fd = fd;
    return RB_OK;
}

static void reply_artifact(struct rb_request *r, const char *name)
{
    struct rb_error err;
    struct rb_job_row row;
    struct rb_artifact artifact;
    unsigned char sha256[RB_SHA256_BYTES];
    int fd = -1;
    if (!rb_job_row_read(r, &row))
        return;
    enum rb_status s = rb_artifact_get(rb_request_server(r)->store, row.seq, name, &artifact, &err);
    if (s == RB_OK)
        s = open_artifact(r, row.job.id, &artifact, &fd, &err);
    rb_job_row_deinit(&row);
    if (s != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    if (!rb_sha256_from_hex(artifact.sha256, sha256)) {
        (void)close(fd);
        rb_reply_fail(r, RB_EINTERNAL, "the artifact's digest is damaged");
        return;
    }
    rb_reply_header(r, MHD_HTTP_HEADER_CONTENT_DISPOSITION, "attachment; filename=\"%s\"",
                    rb_artifact_file_name(artifact.name));
    rb_reply_file(r, fd, artifact.bytes, rb_artifact_media_type(artifact.name), sha256);
}

void rb_handle_artifact(struct rb_request *r)
{
    reply_artifact(r, r->params[1]);
}

/* A file of a folder: "merged/lambda-0.50/README.md". */
void rb_handle_merged_file(struct rb_request *r)
{
    char name[RB_ARTIFACT_NAME_SIZE];
    const char *folder = r->params[1], *file = r->params[2];
    if (snprintf(name, sizeof name, "merged/%s/%s", folder, file) >= (int)sizeof name)
        rb_reply_fail(r, RB_ENOTFOUND, "the job has no artifact \"merged/%.64s/%.64s\"", folder,
                      file);
    else
        reply_artifact(r, name);
}

/* "merged/lambda-0.50.tar.sha256" */
void rb_handle_merged_digest(struct rb_request *r)
{
    char name[RB_ARTIFACT_NAME_SIZE];
    if (snprintf(name, sizeof name, "merged/%s", r->params[1]) >= (int)sizeof name)
        rb_reply_fail(r, RB_ENOTFOUND, "the job has no artifact \"merged/%.64s\"", r->params[1]);
    else
        reply_artifact(r, name);
}

/* ---- the folder as a tar ---- */

struct tar {
    struct rb_tar_entry entries[RB_FOLDER_FILES_MAX];
    size_t count;
};

static ssize_t read_tar(void *data, uint64_t position, char *buffer, size_t max)
{
    const struct tar *t = data;
    struct rb_error err = {.status = RB_OK};
    size_t n = 0;
    if (rb_tar_read(t->entries, t->count, position, buffer, max, &n, &err) == RB_OK && n > 0)
        return (ssize_t)n;
    rb_log_error("a tar broke off", RB_ERROR_FIELDS(&err));
    return RB_SOURCE_BROKEN;
}

static void free_tar(void *data)
{
    struct tar *t = data;
    rb_folder_tar_close(t->entries, t->count);
    free(t);
}

/* "0.5.tar", "0.50.tar": the lambda; "weights-1.tar": what stands for one. */
static bool read_lambda(const char *segment, double *ret)
{
    static const char ending[] = ".tar";
    size_t length = strlen(segment), tail = sizeof ending - 1;
    return length > tail && strcmp(segment + length - tail, ending) == 0 &&
           rb_artifact_lambda_parse(segment, length - tail, ret);
}

static enum rb_status read_digest(struct rb_request *r, const struct rb_job_row *row, double lambda,
                                  unsigned char ret[RB_SHA256_BYTES], struct rb_error *err)
{
    const struct rb_server *server = rb_request_server(r);
    char name[RB_ARTIFACT_NAME_SIZE];
    struct rb_artifact artifact;
    rb_artifact_tar_digest_name(lambda, name);
    enum rb_status s = rb_artifact_get(server->store, row->seq, name, &artifact, err);
    if (s == RB_ENOTFOUND)
        return rb_error_set(err, RB_ENOTFOUND, "the job has no merged folder of that name");
    if (s == RB_OK)
        s = rb_folder_digest_read(server->data_fd, row->job.id, lambda, ret, err);
    return s == RB_ENOTFOUND ? rb_error_set(err, RB_EIO, "%s is gone from the disk", name) : s;
}

static enum rb_status open_tar(struct rb_request *r, const struct rb_job_row *row, double lambda,
                               struct tar *t, struct rb_error *err)
{
    const struct rb_server *server = rb_request_server(r);
    struct rb_artifact *items = NULL;
    size_t count = 0;
    enum rb_status s = rb_artifacts_list(server->store, row->seq, &items, &count, err);
    if (s == RB_OK)
        s = rb_folder_tar_open(server->data_fd, row->job.id, lambda, items, count, t->entries,
                               &t->count, err);
    free(items);
    return s;
}

void rb_handle_merged_tar(struct rb_request *r)
{
    struct rb_error err;
    struct rb_job_row row;
    unsigned char sha256[RB_SHA256_BYTES];
    char folder[RB_ARTIFACT_NAME_SIZE];
    double lambda;
    if (!read_lambda(r->params[1], &lambda)) {
        rb_reply_fail(r, RB_ENOTFOUND,
                      "expected a lambda and .tar, as in 0.5.tar, or weights-0.tar, found '%.60s'",
                      r->params[1]);
        return;
    }
    if (!rb_job_row_read(r, &row))
        return;
    struct tar *t = calloc(1, sizeof *t);
    enum rb_status s = t != NULL ? read_digest(r, &row, lambda, sha256, &err)
                                 : rb_error_set(&err, RB_ENOMEM, "no memory for a tar");
    if (s == RB_OK)
        s = open_tar(r, &row, lambda, t, &err);
    rb_job_row_deinit(&row);
    if (s != RB_OK) {
        rb_reply_error(r, &err, NULL);
        if (t != NULL)
            free_tar(t);
        return;
    }
    rb_artifact_folder_name(lambda, folder);
    rb_reply_header(r, MHD_HTTP_HEADER_CONTENT_DISPOSITION, "attachment; filename=\"%s.tar\"",
                    rb_artifact_file_name(folder));
    const struct rb_reply_source source = {read_tar, free_tar, t};
    rb_reply_computed(r, &source, rb_tar_bytes(t->entries, t->count), "application/x-tar", sha256);
}
