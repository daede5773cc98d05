#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/headers.h"
#include "server/http/reply.h"
#include "server/server.h"

#include "api/artifact.h"
#include "api/barrier.h"
#include "api/job_spec.h"
#include "api/learning.h"
#include "core/align/alignment.h"
#include "server/base/file.h"
#include "server/base/layout.h"
#include "server/store/jobs_read.h"
#include "server/store/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything that a barrier view borrows from. */
struct curve {
    struct rb_job_row row;
    struct rb_job_spec spec;
    struct rb_curves curves;
    struct rb_barrier_errors errors;
    struct rb_folded_control folded; /* of an earlier version */
    struct rb_barrier_view view;
};

static void curve_deinit(struct curve *c)
{
    rb_job_row_deinit(&c->row);
    rb_job_spec_deinit(&c->spec);
    free(c->curves.points);
}

/* RB_ENOTFOUND also for a job without a curve. The caller owns *ret: curve_deinit. */
static enum rb_status curve_read(struct rb_store *store, const char *id, struct curve *ret,
                                 struct rb_error *err)
{
    struct curve c = {.curves.points = NULL};
    enum rb_status s = rb_job_get(store, id, &c.row, err);
    if (s != RB_OK)
        return s;
    s = rb_job_spec_restore(c.row.job.spec_json, &c.spec, err);
    if (s != RB_OK) {
        rb_job_row_deinit(&c.row);
        return s;
    }
    if (!c.spec.has_evaluate)
        s = rb_error_set(err, RB_ENOTFOUND, "job %s has no 'evaluate', so it has no curve", id);
    else
        s = rb_curves_read(store, c.row.seq, &c.curves, err);
    if (s != RB_OK) {
        curve_deinit(&c);
        return s;
    }
    *ret = c;
    /* It borrows from where all that lies now. */
    bool near =
        ret->row.job.summary.kind == RB_KIND_NEAR || rb_align_is_near(&ret->spec.align.options);
    ret->view = rb_barrier_view_make(ret->row.job.id, &ret->spec, near, ret->curves.points,
                                     ret->curves.counts);
    s = rb_folded_control_read(store, ret->row.seq, &ret->folded, err);
    if (s == RB_OK)
        s = rb_barrier_errors_read(store, ret->row.seq, &ret->view, &ret->errors, err);
    if (s != RB_OK) {
        curve_deinit(ret);
        return s;
    }
    ret->view.folded_once = &ret->folded;
    ret->view.errors = &ret->errors;
    ret->view.verdict = &ret->row.job.summary.verdict;
    return RB_OK;
}

static void reply_csv(struct rb_request *r, const struct curve *c)
{
    struct rb_error err;
    char *text;
    size_t bytes;
    if (rb_barrier_csv(&c->view, &text, &bytes, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_reply_header(r, MHD_HTTP_HEADER_CONTENT_DISPOSITION, "inline; filename=\"barrier.csv\"");
    rb_reply_text(r, MHD_HTTP_OK, "text/csv; charset=utf-8", text, bytes);
}

void rb_handle_barrier(struct rb_request *r)
{
    static const char *const offers[] = {"application/json", "text/csv"};
    struct rb_error err;
    struct curve c;
    struct rb_json w;
    int offer = rb_accept_choose(rb_request_header(r, MHD_HTTP_HEADER_ACCEPT), offers, 2);
    if (offer < 0) {
        rb_reply_fail(r, RB_EACCEPT, "a barrier comes as application/json or text/csv");
        return;
    }
    if (curve_read(rb_request_server(r)->store, r->params[0], &c, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_reply_header(r, MHD_HTTP_HEADER_VARY, "Accept");
    if (!rb_job_status_terminal(c.row.job.status))
        rb_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (offer == 1) {
        reply_csv(r, &c);
    } else {
        rb_json_init(&w);
        rb_barrier_encode(&w, NULL, &c.view);
        rb_reply_json(r, MHD_HTTP_OK, &w);
    }
    curve_deinit(&c);
}

void rb_handle_barriers(struct rb_request *r)
{
    struct rb_error err;
    struct rb_json w;
    struct curve c;
    rb_json_init(&w);
    rb_page_begin(&w);
    for (size_t i = 0; i < r->target.pair_count; i++) {
        if (curve_read(rb_request_server(r)->store, r->target.pairs[i].value, &c, &err) != RB_OK) {
            rb_json_deinit(&w);
            rb_reply_error(r, &err, NULL);
            return;
        }
        rb_barrier_encode(&w, NULL, &c.view);
        curve_deinit(&c);
    }
    rb_page_end(&w, NULL);
    rb_reply_json(r, MHD_HTTP_OK, &w);
}

/* ---- the training curve ---- */

/* Until the first look is on disk: no points yet. */
static void reply_no_looks(struct rb_request *r, const char *job, const struct rb_learn_options *o)
{
    struct rb_json w;
    rb_json_init(&w);
    rb_learning_encode(&w, job, false, o->steps, 0, 0, NULL, 0);
    rb_reply_json(r, MHD_HTTP_OK, &w);
}

void rb_handle_learning(struct rb_request *r)
{
    enum { CURVE_BYTES_MOST = 1 << 24 };
    struct rb_error err;
    struct rb_job_row row;
    struct rb_job_spec spec;
    char path[RB_PATH_SIZE], file[RB_FILE_NAME_SIZE], *text = NULL;
    size_t bytes, model;
    if (!rb_job_row_read(r, &row))
        return;
    enum rb_status s = rb_request_model(r, &row.job, &model, &err);
    if (s == RB_OK)
        s = rb_job_spec_restore(row.job.spec_json, &spec, &err);
    if (s != RB_OK) {
        rb_job_row_deinit(&row);
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_artifact_of_model(RB_FILE_LEARNING, model, file);
    if (!spec.align.has_learn)
        s = rb_error_set(&err, RB_ENOTFOUND, "job %s learns no maps: its spec has no align.learn",
                         row.job.id);
    else
        s = rb_file_get(rb_request_server(r)->data_fd, rb_layout_job(row.job.id, file, path),
                        CURVE_BYTES_MOST, &text, &bytes, &err);
    if (!rb_job_status_terminal(row.job.status))
        rb_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (s == RB_OK)
        rb_reply_text(r, MHD_HTTP_OK, "application/json", text, bytes);
    else if (s == RB_ENOTFOUND && spec.align.has_learn)
        reply_no_looks(r, row.job.id, &spec.align.learn.options);
    else
        rb_reply_error(r, &err, NULL);
    rb_job_spec_deinit(&spec);
    rb_job_row_deinit(&row);
}
