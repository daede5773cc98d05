#include "server/http/waits.h"

#include "server/base/clock.h"
#include "server/http/common.h"
#include "server/http/headers.h"
#include "server/http/reply.h"
#include "server/server.h"
#include "server/store/jobs_read.h"
#include "server/work/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wait {
    struct rb_request *r;
    struct rb_listener listener;
    char id[RB_JOB_ID_SIZE];
    bool until_finished;
    int late_status;
};

static struct wait *end_wait(struct rb_request *r)
{
    struct wait *w = r->data;
    rb_hub_unlisten(&rb_request_work(r)->hub, &w->listener);
    r->data = NULL;
    r->gone = NULL;
    r->due = NULL;
    return w;
}

static void on_gone(struct rb_request *r)
{
    free(end_wait(r));
}

static bool read_job(struct wait *w, struct rb_job_row *row)
{
    struct rb_error err;
    struct rb_request *r = w->r;
    if (rb_job_get(rb_request_server(r)->store, w->id, row, &err) != RB_OK) {
        free(end_wait(r));
        rb_reply_error(r, &err, NULL);
        return false;
    }
    rb_work_overlay(rb_request_work(r), &row->job);
    return true;
}

/* The ETag that rb_job_reply would set, held against If-None-Match. */
static bool has_changed(const struct rb_request *r, const struct rb_job *job)
{
    char tag[RB_JOB_TAG_SIZE];
    return !rb_etag_listed(rb_request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH),
                           rb_job_tag(job, tag), true);
}

static void look(struct wait *w, bool late)
{
    struct rb_job_row row;
    struct rb_request *r = w->r;
    if (!read_job(w, &row))
        return;
    bool finished = rb_job_status_terminal(row.job.status);
    if (w->until_finished ? finished : has_changed(r, &row.job)) {
        free(end_wait(r));
        rb_job_reply(r, MHD_HTTP_OK, &row.job);
    } else if (late) {
        int status = w->late_status;
        free(end_wait(r));
        rb_job_reply(r, status, &row.job); /* a GET becomes 304 there */
    }
    rb_job_row_deinit(&row);
}

static void on_due(struct rb_request *r)
{
    look(r->data, true);
}

static void on_heard(struct rb_listener *l, const struct rb_event *event)
{
    struct wait *w = l->data;
    /* Most events cannot end such a wait, and reading the job costs more than hearing them. */
    if (w->until_finished && event->type != RB_EVENT_STATUS)
        return;
    look(w, false);
}

static void on_deleted(struct rb_listener *l)
{
    look(l->data, false); /* finds nothing, and says so */
}

void rb_wait_for_job(struct rb_request *r, const char *job_id, int seconds, bool until_finished,
                     int late_status)
{
    struct wait *w = calloc(1, sizeof *w);
    if (w == NULL) {
        rb_reply_fail(r, RB_ENOMEM, "no memory to wait for the job");
        return;
    }
    w->r = r;
    (void)snprintf(w->id, sizeof w->id, "%s", job_id);
    w->until_finished = until_finished;
    w->late_status = late_status;
    w->listener.job = w->id;
    w->listener.heard = on_heard;
    w->listener.gone = on_deleted;
    w->listener.data = w;
    rb_hub_listen(&rb_request_work(r)->hub, &w->listener);
    r->data = w;
    r->gone = on_gone;
    r->due = on_due;
    r->deadline_ns = rb_clock_monotonic_ns() + (uint64_t)seconds * 1000000000;
    r->watch_client = true;
    r->waits = true;
    look(w, rb_request_server(r)->draining);
}
