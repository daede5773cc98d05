#include "server/http/common.h"

#include "server/http/headers.h"
#include "server/base/layout.h"
#include "server/base/log.h"
#include "server/http/internal.h"
#include "server/http/reply.h"
#include "server/store/jobs_read.h"
#include "server/work/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- pages ---- */

static void write_scope(const struct rb_request *r, const char *list, char *scope, size_t size)
{
    size_t used = (size_t)snprintf(scope, size, "%s", list);
    for (size_t i = 0; i < r->target.pair_count && used < size; i++) {
        const struct rb_pair *pair = &r->target.pairs[i];
        if (strcmp(pair->name, "limit") != 0 && strcmp(pair->name, "page_token") != 0)
            used += (size_t)snprintf(scope + used, size - used, "&%s=%s", pair->name, pair->value);
    }
}

bool rb_page_request_read(struct rb_request *r, const char *list, struct rb_page_request *ret)
{
    struct rb_error err;
    const char *token = rb_request_query(r, "page_token");
    *ret = (struct rb_page_request){.has_after = token != NULL};
    write_scope(r, list, ret->scope, sizeof ret->scope);
    if (rb_page_limit_decode(rb_request_query(r, "limit"), &ret->limit, &err) == RB_OK &&
        (token == NULL || rb_page_token_decode(ret->scope, token, &ret->after, &err) == RB_OK))
        return true;
    rb_reply_error(r, &err, NULL);
    return false;
}

void rb_page_reply(struct rb_request *r, struct rb_json *w, const struct rb_page_request *page,
                   const struct rb_page_position *next)
{
    char token[RB_PAGE_TOKEN_SIZE];
    rb_page_end(w, next != NULL ? rb_page_token_encode(page->scope, next, token) : NULL);
    rb_reply_json(r, MHD_HTTP_OK, w);
}

void rb_page_reply_list(struct rb_request *r, const struct rb_page_list *list, const void *context)
{
    struct rb_error err;
    struct rb_page_request page;
    struct rb_page_position next = {.number = 0};
    struct rb_json w;
    void *rows;
    size_t count;
    if (!rb_page_request_read(r, list->name, &page))
        return;
    enum rb_status s = list->read(r, context, &page, page.limit + 1, &rows, &count, &err);
    if (s != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    bool more = count > page.limit;
    size_t shown = more ? page.limit : count;
    if (more)
        list->position(context, rows, shown - 1, &next);
    rb_json_init(&w);
    rb_page_begin(&w);
    for (size_t i = 0; i < shown && s == RB_OK; i++)
        s = list->encode(r, context, &w, rows, i, &err);
    list->rows_free(context, rows, count);
    if (s == RB_OK) {
        rb_page_reply(r, &w, &page, more ? &next : NULL);
    } else {
        rb_json_deinit(&w);
        rb_reply_error(r, &err, NULL);
    }
}

/* ---- jobs ---- */

bool rb_job_row_read(struct rb_request *r, struct rb_job_row *ret)
{
    struct rb_error err;
    if (rb_job_get(rb_request_server(r)->store, r->params[0], ret, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return false;
    }
    rb_work_overlay(rb_request_work(r), &ret->job);
    return true;
}

/* The version counts stored changes; progress lives in memory and shows in a running job's
 * representation, so it is part of the tag. The time a phase has taken so far is not: a poll would
 * never see 304, and a long poll never wait. */
char *rb_job_tag(const struct rb_job *job, char tag[RB_JOB_TAG_SIZE])
{
    if (job->status == RB_JOB_RUNNING)
        (void)snprintf(tag, RB_JOB_TAG_SIZE, "\"%llu-%.9g\"", (unsigned long long)job->version,
                       job->progress.done);
    else
        (void)snprintf(tag, RB_JOB_TAG_SIZE, "\"%llu\"", (unsigned long long)job->version);
    return tag;
}

bool rb_job_tag_matches(const char *if_match, uint64_t version)
{
    char start[32];
    int n = snprintf(start, sizeof start, "\"%llu", (unsigned long long)version);
    if (strcmp(if_match, "*") == 0)
        return true;
    for (const char *p = if_match; *p != '\0'; p += strcspn(p, ","), p += *p == ',') {
        p += strspn(p, " \t");
        if (strncmp(p, start, (size_t)n) == 0 && (p[n] == '"' || p[n] == '-'))
            return true;
    }
    return false;
}

void rb_job_reply(struct rb_request *r, int status, const struct rb_job *job)
{
    struct rb_json w;
    rb_json_init(&w);
    rb_job_encode(&w, NULL, job);
    char tag[RB_JOB_TAG_SIZE];
    rb_reply_etag(r, "%s", rb_job_tag(job, tag));
    if (!rb_job_status_terminal(job->status))
        rb_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    rb_reply_json(r, status, &w);
}

/* ---- preconditions ---- */

enum rb_status rb_preconditions_check(const struct rb_request *r, const char *tag,
                                      struct rb_error *err)
{
    const char *match = rb_request_header(r, MHD_HTTP_HEADER_IF_MATCH);
    const char *none = rb_request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH);
    const char *now = tag != NULL ? tag : "none: there is no such thing";
    if (match != NULL && (tag == NULL || !rb_etag_listed(match, tag, false)))
        return rb_error_at(err, RB_EPRECOND, "If-Match", "the ETag is %s", now);
    if (none != NULL && tag != NULL && rb_etag_listed(none, tag, true))
        return rb_error_at(err, RB_EPRECOND, "If-None-Match", "the ETag is %s", now);
    return RB_OK;
}

/* ---- whose ---- */

enum rb_status rb_owner_check(const struct rb_request *r, const char *noun, const char *name,
                              const char *owner, struct rb_error *err)
{
    if (owner[0] == '\0' || (r->who.scopes & RB_SCOPE_ADMIN) != 0 ||
        strcmp(owner, r->who.name) == 0)
        return RB_OK;
    return rb_error_at(err, RB_ESCOPE, "Authorization",
                       "%s %s is %s's: only they, or a token with scope admin, may change it, and "
                       "you are %s",
                       noun, name, owner, r->who.name);
}

enum rb_status rb_bytes_check(const struct rb_request *r, uint64_t bytes, struct rb_error *err)
{
    struct rb_usage usage;
    uint64_t limit = r->who.limits.bytes;
    if (limit == 0)
        return RB_OK;
    enum rb_status s = rb_submitter_usage(rb_request_server(r)->store, r->who.name, &usage, err);
    if (s != RB_OK || (usage.bytes <= limit && bytes <= limit - usage.bytes))
        return s;
    return rb_error_set(err, RB_ETOOLARGE,
                        "%s may store %llu bytes and has %llu; this would add %llu. Delete jobs, "
                        "models or datasets first",
                        r->who.name, (unsigned long long)limit, (unsigned long long)usage.bytes,
                        (unsigned long long)bytes);
}

const char *rb_request_mine(const struct rb_request *r)
{
    return rb_query_flag(&r->target, "mine") ? r->who.name : NULL;
}

enum rb_status rb_request_model(const struct rb_request *r, const struct rb_job *job, size_t *ret,
                                struct rb_error *err)
{
    const char *name = rb_request_query(r, "model");
    size_t count = 0;
    *ret = 1;
    for (size_t m = 0; name != NULL && m < RB_MODELS_MAX; m++) {
        char role[24];
        rb_job_model_role(m, role);
        for (size_t i = 0; i < job->input_count; i++) {
            if (strcmp(job->inputs[i].role, role) != 0)
                continue;
            count = m + 1;
            if (m > 0 && strcmp(job->inputs[i].name, name) == 0) {
                *ret = m;
                return RB_OK;
            }
        }
    }
    if (name == NULL)
        return RB_OK;
    return rb_error_set(err, RB_ENOTFOUND, "none of the %zu models that job %s moved is '%s'",
                        count > 0 ? count - 1 : 0, job->id, name);
}
