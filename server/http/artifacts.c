#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/reply.h"
#include "server/server.h"

#include "api/artifact.h"
#include "server/base/fsutil.h"
#include "server/base/hash.h"
#include "server/base/layout.h"
#include "server/store/jobs_read.h"
#include "server/store/results.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

void rb_handle_artifact(struct rb_request *r)
{
    struct rb_error err;
    struct rb_job_row row;
    struct rb_artifact artifact;
    unsigned char sha256[RB_SHA256_BYTES];
    int fd = -1;
    if (!rb_job_row_read(r, &row))
        return;
    enum rb_status s =
        rb_artifact_get(rb_request_server(r)->store, row.seq, r->params[1], &artifact, &err);
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
                    artifact.name);
    rb_reply_file(r, fd, artifact.bytes, rb_artifact_media_type(artifact.name), sha256);
}
