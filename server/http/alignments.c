/* Maps, permutations and correlations: read from the job's alignment.safetensors, or that of another
 * moved model (?model=), on a pool thread, since that file grows with the model. */
#include "core/align/alignment_file.h"
#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/reply.h"
#include "server/server.h"

#include "api/alignment.h"
#include "api/artifact.h"
#include "api/correlations.h"
#include "api/permutations.h"
#include "server/base/layout.h"
#include "server/http/router.h"
#include "server/store/jobs_read.h"
#include "server/store/results.h"
#include "server/work/pool.h"
#include "server/work/work.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum view { PERMUTATIONS, PERMUTATION, CORRELATIONS, CORRELATION, ALIGNMENT, MAP };

/* Input and output of the pool's part. */
struct reading {
    struct rb_async async;
    struct rb_request *r; /* NULL: the client is gone */
    enum view view;
    char *path;
    char job[RB_JOB_ID_SIZE];
    char group[64];
    bool rotations, matrix;
    char size[16];    /* ?size=, "" if absent */
    double losses[2]; /* B's as it is and moved, which the file was written too early for; NaN */

    enum rb_status status;
    struct rb_error error;
    struct rb_json json;
};

/* ---- on a pool thread ---- */

static enum rb_status encode_correlation(struct reading *g, const struct rb_group *group)
{
    uint32_t size = 0;
    if (g->matrix) {
        enum rb_status s = rb_correlation_size_decode(group, g->size[0] != '\0' ? g->size : NULL,
                                                      &size, &g->error);
        if (s != RB_OK)
            return s;
    }
    rb_correlation_encode(&g->json, g->job, group, size);
    return RB_OK;
}

static enum rb_status encode_group(struct reading *g, const struct rb_alignment *a)
{
    const struct rb_group *group = rb_alignment_find(a, g->group);
    if (group == NULL)
        return rb_error_set(&g->error, RB_ENOTFOUND, "job %s has no group '%s'", g->job, g->group);
    if (g->view == CORRELATION)
        return encode_correlation(g, group);
    if (g->view == MAP)
        return rb_alignment_group_encode(&g->json, g->job, group, g->rotations, &g->error);
    rb_permutation_encode(&g->json, g->job, group, g->rotations);
    return RB_OK;
}

static enum rb_status encode(struct reading *g, const struct rb_alignment *a)
{
    switch (g->view) {
    case PERMUTATIONS:
        rb_permutations_encode(&g->json, g->job, a);
        return RB_OK;
    case CORRELATIONS:
        rb_correlations_encode(&g->json, g->job, a);
        return RB_OK;
    case ALIGNMENT:
        rb_alignment_encode(&g->json, g->job, a);
        return RB_OK;
    case PERMUTATION:
    case CORRELATION:
    case MAP:
        break;
    }
    return encode_group(g, a);
}

static void on_read(struct rb_async *async)
{
    struct reading *g = async->data;
    struct rb_alignment *a;
    g->status = rb_alignment_load(g->path, &a, &g->error);
    if (g->status != RB_OK)
        return;
    a->certificate.loss_before = g->losses[0];
    a->certificate.loss_after = g->losses[1];
    g->status = encode(g, a);
    rb_alignment_free(a);
}

/* ---- on the loop ---- */

static void after_read(struct rb_async *async)
{
    struct reading *g = async->data;
    struct rb_request *r = g->r;
    if (r != NULL) {
        r->data = NULL;
        r->gone = NULL;
        if (g->status == RB_OK)
            rb_reply_json(r, MHD_HTTP_OK, &g->json);
        else
            rb_reply_error(r, &g->error, NULL);
    }
    rb_json_deinit(&g->json);
    free(g->path);
    free(g);
}

static void on_gone(struct rb_request *r)
{
    struct reading *g = r->data;
    g->r = NULL;
}

static void start(struct rb_request *r, enum view view, const struct rb_job *job, const char *file)
{
    struct reading *g = calloc(1, sizeof *g);
    const char *size = rb_request_query(r, "size");
    char below[RB_PATH_SIZE];
    if (g != NULL)
        g->path =
            rb_layout_absolute(rb_request_server(r)->data_dir, rb_layout_job(job->id, file, below));
    if (g == NULL || g->path == NULL) {
        free(g);
        rb_reply_fail(r, RB_ENOMEM, "no memory to read an alignment");
        return;
    }
    g->r = r;
    g->view = view;
    (void)snprintf(g->job, sizeof g->job, "%s", job->id);
    g->losses[0] = job->summary.loss_before;
    g->losses[1] = job->summary.loss_after;
    (void)snprintf(g->group, sizeof g->group, "%s", r->params[1] != NULL ? r->params[1] : "");
    (void)snprintf(g->size, sizeof g->size, "%s", size != NULL ? size : "");
    g->rotations = rb_query_flag(&r->target, "rotations");
    g->matrix = rb_query_flag(&r->target, "matrix");
    rb_json_init(&g->json);
    r->data = g;
    r->gone = on_gone;
    g->async = (struct rb_async){.work = on_read, .done = after_read, .data = g};
    rb_async_start(rb_request_work(r)->pool, &g->async);
}

/* The file never changes once it is there, so its digest, what was asked and whether losses are
 * known beside it make the tag. */
static void set_etag(struct rb_request *r, enum view view, const struct rb_artifact *artifact,
                     bool losses)
{
    rb_reply_etag(r, "\"%.32s-%d%s-%s-%d%d%s\"", artifact->sha256, view, losses ? "l" : "",
                  r->params[1] != NULL ? r->params[1] : "", rb_query_flag(&r->target, "rotations"),
                  rb_query_flag(&r->target, "matrix"),
                  rb_request_query(r, "size") != NULL ? rb_request_query(r, "size") : "");
}

static void handle(struct rb_request *r, enum view view)
{
    struct rb_error err;
    struct rb_job_row row;
    struct rb_artifact artifact;
    if (!rb_job_row_read(r, &row))
        return;
    bool finished = rb_job_status_terminal(row.job.status);
    char file[RB_FILE_NAME_SIZE] = RB_FILE_ALIGNMENT;
    size_t model = 1;
    if (rb_request_model(r, &row.job, &model, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        rb_job_row_deinit(&row);
        return;
    }
    rb_artifact_of_model(RB_FILE_ALIGNMENT, model, file);
    enum rb_status s = rb_artifact_get(rb_request_server(r)->store, row.seq, file, &artifact, &err);
    if (s == RB_ENOTFOUND && !finished) {
        rb_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
        rb_reply_fail(r, RB_ENOTFOUND, "job %s has not been aligned yet", row.job.id);
    } else if (s == RB_ENOTFOUND) {
        rb_reply_fail(r, RB_ENOTFOUND, "job %s ended without an alignment", row.job.id);
    } else if (s != RB_OK) {
        rb_reply_error(r, &err, NULL);
    } else {
        set_etag(r, view, &artifact, !isnan(row.job.summary.loss_before));
        if (!rb_reply_not_modified(r))
            start(r, view, &row.job, file);
    }
    rb_job_row_deinit(&row);
}

void rb_handle_permutations(struct rb_request *r)
{
    handle(r, PERMUTATIONS);
}

void rb_handle_permutation(struct rb_request *r)
{
    handle(r, PERMUTATION);
}

void rb_handle_alignment(struct rb_request *r)
{
    handle(r, ALIGNMENT);
}

void rb_handle_map(struct rb_request *r)
{
    handle(r, MAP);
}

void rb_handle_correlations(struct rb_request *r)
{
    handle(r, CORRELATIONS);
}

void rb_handle_correlation(struct rb_request *r)
{
    handle(r, CORRELATION);
}
