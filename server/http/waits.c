#include "server/http/waits.h"

#include "server/base/clock.h"
#include "server/http/headers.h"
#include "server/http/reply.h"
#include "server/server.h"
#include "server/store/groups.h"
#include "server/store/jobs_read.h"
#include "server/work/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wait {
    struct rb_request *r;
    const struct rb_wait_kind *kind;
    struct rb_listener listener;
    char id[RB_JOB_ID_SIZE];
    int64_t group; /* as it was read */
    bool until_finished;
    int late_status;
};

static void end_wait(struct rb_request *r)
{
    struct wait *w = r->data;
    rb_hub_unlisten(&rb_request_work(r)->hub, &w->listener);
    r->data = NULL;
    r->gone = NULL;
    r->due = NULL;
    free(w);
}

/* The ETag that the reply would set, held against If-None-Match. */
static bool has_changed(const struct rb_request *r, const char *tag)
{
    return !rb_etag_listed(rb_request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH), tag, true);
}

static void look(struct wait *w, bool late)
{
    struct rb_request *r = w->r;
    const struct rb_wait_kind *kind = w->kind;
    struct rb_error err;
    struct rb_waited now = {.own = calloc(1, kind->own_bytes)};
    enum rb_status status = now.own != NULL
                                ? kind->read(r, w->id, &now, &err)
                                : rb_error_set(&err, RB_ENOMEM, "no memory for a %s", kind->noun);
    if (status != RB_OK) {
        free(now.own);
        end_wait(r);
        rb_reply_error(r, &err, NULL);
        return;
    }
    w->group = now.group;
    bool done = w->until_finished ? now.ended : has_changed(r, now.tag);
    if (done || late) {
        int code = done ? MHD_HTTP_OK : w->late_status;
        end_wait(r);
        kind->reply(r, code, &now); /* a GET becomes 304 there */
    }
    kind->deinit(now.own);
    free(now.own);
}

static void on_due(struct rb_request *r)
{
    look(r->data, true);
}

static void on_heard(struct rb_listener *l, const struct rb_event *event)
{
    struct wait *w = l->data;
    /* Most events cannot end such a wait, and reading what it is for costs more than hearing them.
     */
    if (w->until_finished && event->type != RB_EVENT_STATUS)
        return;
    if (!w->kind->is_group || rb_group_has(rb_request_server(w->r)->store, w->group, event->job))
        look(w, false);
}

static void on_deleted(struct rb_listener *l)
{
    look(l->data, false); /* finds nothing, and says so */
}

void rb_wait_begin(struct rb_request *r, const struct rb_wait_kind *kind, const char *id,
                   int seconds, bool until_finished, int late_status)
{
    struct wait *w = calloc(1, sizeof *w);
    if (w == NULL) {
        rb_reply_fail(r, RB_ENOMEM, "no memory to wait for the %s", kind->noun);
        return;
    }
    w->r = r;
    w->kind = kind;
    (void)snprintf(w->id, sizeof w->id, "%s", id);
    w->until_finished = until_finished;
    w->late_status = late_status;
    w->listener.job = kind->is_group ? NULL : w->id;
    w->listener.heard = on_heard;
    w->listener.gone = kind->is_group ? NULL : on_deleted;
    w->listener.data = w;
    rb_hub_listen(&rb_request_work(r)->hub, &w->listener);
    r->data = w;
    r->gone = end_wait;
    r->due = on_due;
    r->deadline_ns = rb_clock_monotonic_ns() + (uint64_t)seconds * 1000000000;
    r->watch_client = true;
    r->waits = true;
    look(w, rb_request_server(r)->draining);
}

/* ---- for a job ---- */

static void job_deinit(void *own)
{
    rb_job_row_deinit(own);
}

static enum rb_status job_read(struct rb_request *r, const char *id, struct rb_waited *now,
                               struct rb_error *err)
{
    struct rb_job_row *row = now->own;
    enum rb_status status = rb_job_get(rb_request_server(r)->store, id, row, err);
    if (status != RB_OK)
        return status;
    rb_work_overlay(rb_request_work(r), &row->job);
    now->ended = rb_job_status_terminal(row->job.status);
    (void)rb_job_tag(&row->job, now->tag);
    return RB_OK;
}

static void job_reply(struct rb_request *r, int status, const struct rb_waited *now)
{
    const struct rb_job_row *row = now->own;
    rb_job_reply(r, status, &row->job);
}

void rb_wait_for_job(struct rb_request *r, const char *job_id, int seconds, bool until_finished,
                     int late_status)
{
    static const struct rb_wait_kind kind = {.noun = "job",
                                             .own_bytes = sizeof(struct rb_job_row),
                                             .read = job_read,
                                             .reply = job_reply,
                                             .deinit = job_deinit};
    rb_wait_begin(r, &kind, job_id, seconds, until_finished, late_status);
}
