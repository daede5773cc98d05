/* From a body to jobs that are queued; and POST /v1/jobs, /v1/jobs/batch and /v1/jobs/{id}/retry.
 *
 * DESIGN. server/work checks off the loop; then one transaction adds the jobs and, with an
 * Idempotency-Key, the answer to give again. A key whose first request is still being checked is
 * known only here, in http->submitting. */
#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/headers.h"
#include "server/http/internal.h"
#include "server/http/reply.h"
#include "server/http/submissions.h"
#include "server/http/text.h"
#include "server/http/waits.h"

#include "server/base/clock.h"
#include "server/base/hash.h"
#include "server/http/router.h"
#include "server/store/idempotency.h"
#include "server/store/jobs_read.h"
#include "server/work/submit.h"
#include "server/work/work.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Idempotency-Key ---- */

static void hash_request(const struct rb_request *r, unsigned char digest[RB_SHA256_BYTES])
{
    struct rb_sha256 hash;
    rb_sha256_init(&hash);
    rb_sha256_add(&hash, r->route->operation, strlen(r->route->operation) + 1);
    if (r->params[0] != NULL)
        rb_sha256_add(&hash, r->params[0], strlen(r->params[0]) + 1);
    rb_sha256_add(&hash, r->body, r->body != NULL ? (size_t)r->received_bytes : 0);
    rb_sha256_end(&hash, digest);
}

static bool is_under_way(const struct rb_submitting *f)
{
    for (const struct rb_submitting *other = f->r->http->submitting; other != NULL;
         other = other->next)
        if (other->has_key && strcmp(other->key, f->key) == 0 &&
            strcmp(other->r->who.token, f->r->who.token) == 0)
            return true;
    return false;
}

/* Gives the first answer again. False: there is none yet. */
static bool answer_again(struct rb_submitting *f)
{
    struct rb_request *r = f->r;
    struct rb_error err;
    struct rb_idempotency_row row;
    bool found;
    if (rb_idempotency_get(rb_request_server(r)->store, r->who.token, f->key,
                           rb_clock_realtime_ms(), &found, &row, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return true;
    }
    if (!found)
        return false;
    if (memcmp(row.request_sha256, f->request_sha256, sizeof row.request_sha256) != 0) {
        rb_reply_fail(r, RB_EIDEMPOTENCY,
                      "Idempotency-Key '%s' was used for another request or body", f->key);
    } else {
        if (row.location != NULL)
            rb_reply_location(r, "%s", row.location);
        rb_reply_header(r, "Idempotency-Replayed", "true");
        char *body = row.response;
        row.response = NULL;
        rb_reply_text(r, row.http_status, "application/json", body, strlen(body));
    }
    rb_idempotency_row_deinit(&row);
    return true;
}

/* False: a reply was made. */
static bool read_key(struct rb_submitting *f)
{
    struct rb_request *r = f->r;
    const char *key = rb_request_header(r, "Idempotency-Key");
    if (key == NULL || f->dry_run)
        return true;
    /* The draft of the header makes it a string of RFC 9651, in quotes; both mean the same key. */
    size_t n = strlen(key);
    bool quoted = n >= 2 && key[0] == '"' && key[n - 1] == '"' && n - 2 <= RB_KEY_MAX_BYTES;
    (void)snprintf(f->key, sizeof f->key, "%.*s", quoted ? (int)(n - 2) : RB_KEY_MAX_BYTES,
                   key + quoted);
    if ((!quoted && n > RB_KEY_MAX_BYTES) || !rb_text_is_key(f->key, RB_KEY_MAX_BYTES)) {
        rb_reply_fail(r, RB_EHEADER, "Idempotency-Key takes 1 to %d of a-z A-Z 0-9 - . _ : ~ + / =",
                      RB_KEY_MAX_BYTES);
        return false;
    }
    hash_request(r, f->request_sha256);
    if (is_under_way(f)) {
        rb_reply_fail(r, RB_EINFLIGHT, "the first request with Idempotency-Key '%s' is under way",
                      f->key);
        return false;
    }
    f->has_key = true;
    return !answer_again(f);
}

/* ---- from the request to its reply ---- */

static void submitting_end(struct rb_submitting *f)
{
    struct rb_submitting **at = &f->r->http->submitting;
    while (*at != NULL && *at != f)
        at = &(*at)->next;
    if (*at == f)
        *at = f->next;
    f->r->data = NULL;
    f->r->gone = NULL;
    rb_submission_free(f->submission);
    if (f->own != NULL)
        f->kind->own_deinit(f->own);
    free(f->own);
    free(f);
}

static void on_gone(struct rb_request *r)
{
    submitting_end(r->data);
}

struct rb_submitting *rb_submitting_new(struct rb_request *r, const struct rb_submit_kind *kind)
{
    struct rb_error err;
    int wait_seconds;
    if (rb_prefer_wait(rb_request_header(r, "Prefer"), RB_WAIT_MAX_SECONDS, &wait_seconds, &err) !=
        RB_OK) {
        rb_reply_error(r, &err, NULL);
        return NULL;
    }
    struct rb_submitting *f = calloc(1, sizeof *f);
    if (f == NULL) {
        rb_reply_fail(r, RB_ENOMEM, "no memory for a submission");
        return NULL;
    }
    f->r = r;
    f->kind = kind;
    f->wait_seconds = wait_seconds;
    f->dry_run = rb_query_flag(&r->target, "dry_run");
    if (!read_key(f)) {
        free(f);
        return NULL;
    }
    if (kind->own_bytes > 0 && (f->own = calloc(1, kind->own_bytes)) == NULL) {
        free(f);
        rb_reply_fail(r, RB_ENOMEM, "no memory for a submission");
        return NULL;
    }
    f->next = r->http->submitting;
    r->http->submitting = f;
    r->data = f;
    r->gone = on_gone;
    return f;
}

/* ---- the answer ---- */

static enum rb_status encode_answer(struct rb_submitting *f, char **ret, struct rb_error *err)
{
    struct rb_json w;
    rb_json_init(&w);
    enum rb_status s = f->kind->encode(f, &w, err);
    if (s == RB_OK)
        s = rb_json_finish(&w, ret, NULL, err);
    rb_json_deinit(&w);
    return s;
}

static enum rb_status keep_answer(struct rb_submitting *f, const char *location, char *body,
                                  int64_t now_ms, struct rb_error *err)
{
    if (!f->has_key)
        return RB_OK;
    char path[64];
    (void)snprintf(path, sizeof path, "%s", location);
    struct rb_idempotency_row row = {
        .token = f->r->who.token,
        .key = f->key,
        .http_status = MHD_HTTP_ACCEPTED,
        .location = location[0] != '\0' ? path : NULL,
        .response = body,
        .created_at_ms = now_ms,
    };
    memcpy(row.request_sha256, f->request_sha256, sizeof row.request_sha256);
    return rb_idempotency_add(rb_request_server(f->r)->store, &row, err);
}

static enum rb_status name_submitter(struct rb_submitting *f, struct rb_error *err)
{
    const struct rb_identity *who = &f->r->who;
    struct rb_usage usage = {0};
    struct rb_submitter by = {.name = who->name,
                              .queued = who->limits.queued,
                              .running = who->limits.running,
                              .bytes = UINT64_MAX};
    enum rb_status s = RB_OK;
    if (who->limits.bytes > 0)
        s = rb_submitter_usage(rb_request_server(f->r)->store, who->name, &usage, err);
    if (who->limits.bytes > 0)
        by.bytes = who->limits.bytes > usage.bytes ? who->limits.bytes - usage.bytes : 0;
    rb_submission_by(f->submission, &by);
    return s;
}

/* Jobs and answer in one transaction. *ret: the answer's body. */
static enum rb_status commit(struct rb_submitting *f, char *location, size_t location_size,
                             char **ret, struct rb_error *err)
{
    struct rb_store *store = rb_request_server(f->r)->store;
    int64_t now_ms = rb_clock_realtime_ms();
    char *body = NULL;
    enum rb_status s = rb_store_begin(store, err);
    if (s != RB_OK)
        return s;
    s = name_submitter(f, err);
    if (s == RB_OK && f->kind->begin != NULL)
        s = f->kind->begin(f, now_ms, err);
    if (s == RB_OK)
        s = rb_submission_add(f->submission, now_ms, err);
    if (s == RB_OK && f->kind->path != NULL)
        (void)snprintf(location, location_size, "%s/%s", f->kind->path, f->kind->id(f));
    if (s == RB_OK)
        s = encode_answer(f, &body, err);
    if (s == RB_OK)
        s = keep_answer(f, location, body, now_ms, err);
    s = rb_store_end(store, s, err);
    if (s != RB_OK) {
        free(body);
        return s;
    }
    rb_submission_committed(f->submission);
    *ret = body;
    return RB_OK;
}

static void reply_estimate(struct rb_submitting *f)
{
    struct rb_request *r = f->r;
    struct rb_json w;
    rb_json_init(&w);
    f->kind->estimate(f, &w);
    submitting_end(f);
    rb_reply_json(r, MHD_HTTP_OK, &w);
}

/* Each at its place in what was asked for. */
static void place_missing(const struct rb_submitting *f, struct rb_problems *missing)
{
    struct rb_error at;
    for (size_t i = 0; i < missing->count && f->kind->place != NULL; i++) {
        (void)rb_error_at(&at, RB_EINPUT, missing->items[i].pointer, "%s",
                          missing->items[i].detail);
        f->kind->place(f, &at);
        memcpy(missing->items[i].pointer, at.pointer, sizeof at.pointer);
    }
}

static void checked(void *data, struct rb_submission *submission, enum rb_status status,
                    const struct rb_error *check_error)
{
    struct rb_submitting *f = data;
    struct rb_request *r = f->r;
    struct rb_error err = {.status = status};
    struct rb_problems missing = *rb_submission_missing(submission);
    char location[64] = "", id[RB_JOB_ID_SIZE] = "", *body = NULL;
    f->submission = submission;
    if (status != RB_OK) {
        err = *check_error;
    } else if (f->dry_run) {
        reply_estimate(f);
        return;
    } else {
        status = commit(f, location, sizeof location, &body, &err);
    }
    const struct rb_submit_kind *kind = f->kind;
    if (status != RB_OK && kind->place != NULL)
        kind->place(f, &err);
    place_missing(f, &missing);
    int wait_seconds = kind->wait != NULL ? f->wait_seconds : -1;
    if (status == RB_OK && kind->id != NULL)
        (void)snprintf(id, sizeof id, "%s", kind->id(f));
    submitting_end(f);
    if (status != RB_OK) {
        rb_reply_error(r, &err, missing.count > 0 ? &missing : NULL);
        return;
    }
    if (location[0] != '\0')
        rb_reply_location(r, "%s", location);
    if (wait_seconds > 0) {
        free(body);
        kind->wait(r, id, wait_seconds);
        return;
    }
    assert(body != NULL);
    rb_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    rb_reply_text(r, MHD_HTTP_ACCEPTED, "application/json", body, strlen(body));
}

void rb_submitting_check(struct rb_submitting *f, struct rb_job_spec *specs, size_t count,
                         bool many)
{
    struct rb_request *r = f->r;
    struct rb_error err;
    if (rb_submit_check(rb_request_work(r), specs, count, many, checked, f, &f->submission, &err) !=
        RB_OK) {
        submitting_end(f);
        rb_reply_error(r, &err, NULL);
    }
}

/* ---- one job, a batch, a retry ---- */

static enum rb_status encode_jobs(struct rb_submitting *f, struct rb_json *w, struct rb_error *err)
{
    struct rb_store *store = rb_request_server(f->r)->store;
    enum rb_status s = RB_OK;
    for (size_t i = 0; i < rb_submission_count(f->submission) && s == RB_OK; i++) {
        struct rb_job_row row;
        s = rb_job_get(store, rb_submission_item(f->submission, i)->id, &row, err);
        if (s == RB_OK) {
            rb_work_overlay(rb_request_work(f->r), &row.job);
            rb_job_encode(w, NULL, &row.job);
            rb_job_row_deinit(&row);
        }
    }
    return s;
}

static enum rb_status encode_batch(struct rb_submitting *f, struct rb_json *w, struct rb_error *err)
{
    rb_page_begin(w);
    enum rb_status s = encode_jobs(f, w, err);
    if (s == RB_OK)
        rb_page_end(w, NULL);
    return s;
}

static const char *id_of_first(const struct rb_submitting *f)
{
    return rb_submission_item(f->submission, 0)->id;
}

static void estimate_first(const struct rb_submitting *f, struct rb_json *w)
{
    const struct rb_submission_item *item = rb_submission_item(f->submission, 0);
    rb_estimate_encode(w, &item->spec, &item->estimate);
}

static void wait_for_job(struct rb_request *r, const char *id, int seconds)
{
    rb_wait_for_job(r, id, seconds, true, MHD_HTTP_ACCEPTED);
}

static const struct rb_submit_kind one = {
    .path = "/v1/jobs",
    .id = id_of_first,
    .encode = encode_jobs,
    .estimate = estimate_first,
    .wait = wait_for_job,
};
static const struct rb_submit_kind batch = {.encode = encode_batch};

static void submit(struct rb_request *r, struct rb_job_spec *specs, size_t count,
                   const struct rb_submit_kind *kind)
{
    struct rb_submitting *f = rb_submitting_new(r, kind);
    if (f == NULL)
        rb_job_specs_free(specs, count);
    else
        rb_submitting_check(f, specs, count, kind == &batch);
}

void rb_handle_job_submit(struct rb_request *r)
{
    struct rb_problems problems = {0};
    struct rb_error err;
    struct rb_job_spec *spec = calloc(1, sizeof *spec);
    if (spec == NULL) {
        rb_reply_fail(r, RB_ENOMEM, "no memory for a job spec");
        return;
    }
    if (rb_job_spec_decode(r->json, "", 0, spec, &problems, &err) != RB_OK) {
        free(spec);
        rb_reply_error(r, &err, &problems);
        return;
    }
    submit(r, spec, 1, &one);
}

void rb_handle_job_batch(struct rb_request *r)
{
    struct rb_problems problems = {0};
    struct rb_error err;
    struct rb_job_spec *specs;
    size_t count;
    if (rb_job_batch_decode(r->json, &specs, &count, &problems, &err) != RB_OK) {
        rb_reply_error(r, &err, &problems);
        return;
    }
    submit(r, specs, count, &batch);
}

void rb_handle_job_retry(struct rb_request *r)
{
    struct rb_error err;
    struct rb_submitting *f = rb_submitting_new(r, &one);
    if (f == NULL)
        return;
    if (rb_submit_retry(rb_request_work(r), r->params[0], checked, f, &f->submission, &err) !=
        RB_OK) {
        submitting_end(f);
        rb_reply_error(r, &err, NULL);
    }
}
