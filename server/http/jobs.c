#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/headers.h"
#include "server/http/reply.h"
#include "server/http/waits.h"

#include "api/time.h"
#include "server/base/clock.h"
#include "server/server.h"
#include "server/store/jobs.h"
#include "server/store/jobs_list.h"
#include "server/store/jobs_read.h"
#include "server/work/jobdir.h"
#include "server/work/queue.h"
#include "server/work/work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list ---- */

/* status=queued,running, and as often as one likes. */
static enum rb_status read_statuses(const struct rb_request *r, uint32_t *ret, struct rb_error *err)
{
    char words[240];
    for (size_t i = 0; i < r->target.pair_count; i++) {
        if (strcmp(r->target.pairs[i].name, "status") != 0)
            continue;
        char value[128], *rest = NULL;
        (void)snprintf(value, sizeof value, "%s", r->target.pairs[i].value);
        if (strspn(value, ",") == strlen(value))
            return rb_error_at(err, RB_EQUERY, "status",
                               "status: expected at least one status, found none; leave it out for "
                               "jobs of every status");
        for (char *word = strtok_r(value, ",", &rest); word != NULL;
             word = strtok_r(NULL, ",", &rest)) {
            int status = rb_enum_find(rb_job_status_names, word);
            if (status < 0) {
                rb_enum_describe(rb_job_status_names, word, words, sizeof words);
                return rb_error_at(err, RB_EQUERY, "status", "status: %s", words);
            }
            *ret |= 1U << status;
        }
    }
    return RB_OK;
}

enum { LABEL_FILTERS_MAX = 8 };

/* label=sweep:heads; all that are given must fit. The strings are copies in storage. */
static enum rb_status read_labels(const struct rb_request *r, struct rb_label *items,
                                  char storage[LABEL_FILTERS_MAX][256], struct rb_labels *ret,
                                  struct rb_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < r->target.pair_count && n < LABEL_FILTERS_MAX; i++) {
        if (strcmp(r->target.pairs[i].name, "label") != 0)
            continue;
        (void)snprintf(storage[n], sizeof storage[n], "%s", r->target.pairs[i].value);
        char *colon = strchr(storage[n], ':');
        if (colon == NULL || colon == storage[n])
            return rb_error_at(err, RB_EQUERY, "label", "label takes key:value, found '%.80s'",
                               storage[n]);
        *colon = '\0';
        items[n] = (struct rb_label){.key = storage[n], .value = colon + 1};
        n++;
    }
    *ret = (struct rb_labels){.items = items, .count = n};
    return RB_OK;
}

static enum rb_status read_cursor(const struct rb_page_request *page, struct rb_job_cursor *ret,
                                  struct rb_error *err)
{
    if (!page->has_after)
        return RB_OK;
    char *end;
    *ret = (struct rb_job_cursor){.present = true, .key = page->after.number};
    ret->seq = strtoll(page->after.text, &end, 10);
    return *end == '\0' ? RB_OK
                        : rb_error_at(err, RB_EQUERY, "page_token", "the page token is damaged");
}

static int64_t read_time(const struct rb_request *r, const char *name)
{
    int64_t time_ms = 0;
    const char *value = rb_request_query(r, name); /* the route's row has checked it */
    if (value != NULL)
        (void)rb_time_parse(value, strlen(value), &time_ms);
    return time_ms;
}

static void reply_page(struct rb_request *r, const struct rb_page_request *request,
                       struct rb_job_page *page)
{
    struct rb_json w;
    struct rb_page_position next = {.number = page->next.key};
    (void)snprintf(next.text, sizeof next.text, "%" PRId64, page->next.seq);
    rb_json_init(&w);
    rb_page_begin(&w);
    for (size_t i = 0; i < page->count; i++) {
        rb_work_overlay(rb_request_work(r), &page->rows[i].job);
        rb_job_encode(&w, NULL, &page->rows[i].job);
    }
    rb_page_reply(r, &w, request, page->next.present ? &next : NULL);
}

void rb_handle_jobs(struct rb_request *r)
{
    struct rb_error err;
    struct rb_page_request request;
    struct rb_label labels[LABEL_FILTERS_MAX];
    char label_text[LABEL_FILTERS_MAX][256];
    if (!rb_page_request_read(r, "jobs", &request))
        return;
    const char *sort = rb_request_query(r, "sort");
    struct rb_job_filter filter = {
        .model = rb_request_query(r, "model"),
        .group = rb_request_query(r, "group"),
        .submitted_by = rb_request_mine(r),
        .created_after_ms = read_time(r, "created_after"),
        .created_before_ms = read_time(r, "created_before"),
        .sort = sort != NULL ? (enum rb_job_sort)rb_enum_find(rb_job_sort_names, sort)
                             : RB_JOB_SORT_CREATED_DESC,
        .limit = request.limit,
    };
    struct rb_job_page page;
    enum rb_status s = read_statuses(r, &filter.statuses, &err);
    if (s == RB_OK)
        s = read_labels(r, labels, label_text, &filter.labels, &err);
    if (s == RB_OK)
        s = read_cursor(&request, &filter.after, &err);
    if (s == RB_OK)
        s = rb_jobs_list(rb_request_server(r)->store, &filter, &page, &err);
    if (s != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    reply_page(r, &request, &page);
    rb_job_page_deinit(&page);
}

/* ---- one job ---- */

void rb_handle_job(struct rb_request *r)
{
    struct rb_error err;
    struct rb_job_row row;
    int wait_seconds;
    char tag[RB_JOB_TAG_SIZE];
    const char *if_none_match = rb_request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH);
    if (rb_prefer_wait(rb_request_header(r, "Prefer"), RB_WAIT_MAX_SECONDS, &wait_seconds, &err) !=
        RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    if (!rb_job_row_read(r, &row))
        return;
    if (wait_seconds > 0 && rb_etag_listed(if_none_match, rb_job_tag(&row.job, tag), true))
        rb_wait_for_job(r, row.job.id, wait_seconds, false, MHD_HTTP_OK);
    else
        rb_job_reply(r, MHD_HTTP_OK, &row.job);
    rb_job_row_deinit(&row);
}

static enum rb_status check_if_match(const struct rb_request *r, const struct rb_job *job,
                                     struct rb_error *err)
{
    const char *if_match = rb_request_header(r, MHD_HTTP_HEADER_IF_MATCH);
    if (if_match == NULL)
        return rb_error_at(err, RB_EPRECONDREQ, "If-Match",
                           "send If-Match with the ETag of the job as it was read, or *");
    if (!rb_job_tag_matches(if_match, job->version))
        return rb_error_at(err, RB_EPRECOND, "If-Match", "the job has version %llu by now",
                           (unsigned long long)job->version);
    return RB_OK;
}

/* The job, changed just now. */
static void reply_as_it_is(struct rb_request *r, int status)
{
    struct rb_job_row row;
    if (!rb_job_row_read(r, &row))
        return;
    rb_job_reply(r, status, &row.job);
    rb_job_row_deinit(&row);
}

void rb_handle_job_patch(struct rb_request *r)
{
    struct rb_server *server = rb_request_server(r);
    struct rb_problems problems = {0};
    struct rb_job_patch patch;
    struct rb_error err;
    struct rb_event_row event;
    struct rb_job_row row;
    if (!rb_job_row_read(r, &row))
        return;
    enum rb_status s = rb_owner_check(r, "job", row.job.id, row.job.submitted_by, &err);
    if (s == RB_OK)
        s = check_if_match(r, &row.job, &err);
    if (s == RB_OK)
        s = rb_job_patch_decode(r->json, &patch, &problems, &err);
    if (s == RB_OK) {
        s = rb_job_edit(server->store, row.seq, &patch, row.job.version, rb_clock_realtime_ms(),
                        &event, &err);
        rb_job_patch_deinit(&patch);
    }
    rb_job_row_deinit(&row);
    if (s != RB_OK) {
        rb_reply_error(r, &err, &problems);
        return;
    }
    rb_hub_ring(&server->work->hub, &event);
    rb_queue_wake(server->work);
    reply_as_it_is(r, MHD_HTTP_OK);
}

void rb_handle_job_cancel(struct rb_request *r)
{
    struct rb_error err;
    enum rb_job_status status;
    struct rb_job_row row;
    if (!rb_job_row_read(r, &row))
        return;
    enum rb_status s = rb_owner_check(r, "job", row.job.id, row.job.submitted_by, &err);
    rb_job_row_deinit(&row);
    if (s == RB_OK)
        s = rb_work_cancel(rb_request_work(r), r->params[0], &status, &err);
    if (s != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    reply_as_it_is(r, status == RB_JOB_CANCELED ? MHD_HTTP_OK : MHD_HTTP_ACCEPTED);
}

void rb_handle_job_delete(struct rb_request *r)
{
    struct rb_server *server = rb_request_server(r);
    struct rb_error err;
    struct rb_job_row row;
    char folder[RB_PATH_SIZE];
    if (!rb_job_row_read(r, &row))
        return;
    /* As for PATCH: progress is no change. */
    char tag[RB_JOB_TAG_SIZE];
    const char *match = rb_request_header(r, MHD_HTTP_HEADER_IF_MATCH);
    const char *none = rb_request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH);
    if ((match != NULL && !rb_job_tag_matches(match, row.job.version)) ||
        (none != NULL && rb_etag_listed(none, rb_job_tag(&row.job, tag), true))) {
        (void)rb_error_at(&err, RB_EPRECOND, "If-Match", "the job has version %llu by now",
                          (unsigned long long)row.job.version);
        rb_job_row_deinit(&row);
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_layout_job(row.job.id, NULL, folder);
    enum rb_status s = rb_owner_check(r, "job", row.job.id, row.job.submitted_by, &err);
    if (s == RB_OK)
        s = rb_job_delete(server->store, row.seq, &err);
    if (s == RB_OK)
        rb_hub_deleted(&server->work->hub, row.job.id);
    rb_job_row_deinit(&row);
    if (s != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_data_trash(server->work, folder);
    rb_reply_empty(r, MHD_HTTP_NO_CONTENT);
}
