/* /v1/sweeps and /v1/jobs/matrix: many jobs asked for as one. A sweep, or a matrix, is a group of
 * the store (store/groups.h); what it shows is read anew from its jobs each time. */
#include "api/job_spec_encode.h"
#include "api/matrix.h"
#include "api/sweep.h"
#include "api/sweep_table.h"
#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/headers.h"
#include "server/http/reply.h"
#include "server/http/submissions.h"
#include "server/http/waits.h"

#include "server/base/clock.h"
#include "server/base/ids.h"
#include "server/server.h"
#include "server/store/groups.h"
#include "server/store/jobs_read.h"
#include "server/work/jobdir.h"
#include "server/work/queue.h"
#include "server/work/share.h"
#include "server/work/work.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a sweep as it is now ---- */

/* Everything that a view borrows from. */
struct sweep {
    struct rb_group_row group;
    json_t *grid;
    struct rb_job_row *jobs;
    struct rb_sweep_row *rows;
    size_t count;
    struct rb_sweep_view view;
};

static void sweep_deinit(struct sweep *s)
{
    rb_group_row_deinit(&s->group);
    json_decref(s->grid);
    rb_group_jobs_free(s->jobs, s->count);
    free(s->rows);
    *s = (struct sweep){0};
}

/* Jobs that wait take as long as those that are done, or are about to be, took in the mean; NaN
 * where nothing is known. */
static double eta_of(const struct sweep *s, uint32_t at_once)
{
    double seconds = 0, left = 0;
    size_t known = 0, waiting = 0;
    int64_t now = rb_clock_realtime_ms();
    for (size_t i = 0; i < s->count; i++) {
        const struct rb_job *j = &s->jobs[i].job;
        double eta = j->progress.eta_seconds;
        waiting += j->status == RB_JOB_QUEUED;
        if (j->status == RB_JOB_SUCCEEDED) {
            seconds += (double)(j->finished_ms - j->started_ms) * 1e-3;
            known++;
        } else if (j->status == RB_JOB_RUNNING && !isnan(eta)) {
            seconds += (double)(now - j->started_ms) * 1e-3 + eta;
            left += eta;
            known++;
        }
    }
    if (waiting > 0 && known == 0)
        return (double)NAN;
    if (waiting > 0)
        left += seconds / (double)known * (double)waiting;
    return left / (at_once > 0 ? at_once : 1);
}

static void make_view(struct sweep *s, const struct rb_work *w)
{
    for (size_t i = 0; i < s->count; i++) {
        rb_work_overlay(w, &s->jobs[i].job);
        s->rows[i] =
            (struct rb_sweep_row){.position = s->jobs[i].job.position, .job = &s->jobs[i].job};
    }
    rb_sweep_rank(s->rows, s->count, s->grid);
    s->view = (struct rb_sweep_view){
        .id = s->group.id,
        .kind = s->group.kind,
        .name = s->group.name,
        .labels = s->group.labels,
        .spec = s->group.spec,
        .grid_text = s->group.grid,
        .grid = s->grid,
        .submitted_by = s->group.submitted_by,
        .created_ms = s->group.created_ms,
        .jobs = s->group.jobs,
        .rows = s->rows,
        .count = s->count,
        .eta_seconds = eta_of(s, w->options.parallel_jobs),
    };
}

/* Takes *group. The caller owns *ret: sweep_deinit. */
static enum rb_status sweep_fill(const struct rb_request *r, struct rb_group_row *group,
                                 struct sweep *ret, struct rb_error *err)
{
    struct sweep s = {.group = *group};
    *group = (struct rb_group_row){0};
    s.grid = json_loads(s.group.grid, 0, NULL);
    enum rb_status status =
        s.grid != NULL
            ? rb_group_jobs(rb_request_server(r)->store, s.group.seq, &s.jobs, &s.count, err)
            : rb_error_set(err, RB_ENOMEM, "no memory for a sweep's grid");
    if (status == RB_OK) {
        s.rows = calloc(s.count + 1, sizeof *s.rows);
        if (s.rows == NULL)
            status = rb_error_set(err, RB_ENOMEM, "no memory for %zu jobs", s.count);
    }
    if (status != RB_OK) {
        sweep_deinit(&s);
        return status;
    }
    *ret = s;
    make_view(ret, rb_request_work(r));
    return RB_OK;
}

static enum rb_status sweep_read(const struct rb_request *r, const char *id, struct sweep *ret,
                                 struct rb_error *err)
{
    struct rb_group_row group;
    enum rb_status status = rb_group_get(rb_request_server(r)->store, id, &group, err);
    return status == RB_OK ? sweep_fill(r, &group, ret, err) : status;
}

static bool is_live(const struct sweep *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (!rb_job_status_terminal(s->jobs[i].job.status))
            return true;
    return false;
}

/* Its jobs' versions count stored changes; how far it is lives in memory. */
static void write_tag(const struct sweep *s, char tag[RB_JOB_TAG_SIZE])
{
    unsigned long long versions = 0;
    for (size_t i = 0; i < s->count; i++)
        versions += s->jobs[i].job.version;
    (void)snprintf(tag, RB_JOB_TAG_SIZE, "\"%llu-%zu-%.6g\"", versions, s->count,
                   is_live(s) ? rb_sweep_fraction(&s->view) : 1);
}

static void reply_sweep(struct rb_request *r, int status, const struct sweep *s)
{
    struct rb_json w;
    char tag[RB_JOB_TAG_SIZE];
    write_tag(s, tag);
    rb_json_init(&w);
    rb_sweep_encode(&w, NULL, &s->view, true);
    rb_reply_etag(r, "%s", tag);
    if (is_live(s))
        rb_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    rb_reply_json(r, status, &w);
}

/* ---- waiting ---- */

static void waited_deinit(void *own)
{
    sweep_deinit(own);
}

static enum rb_status waited_read(struct rb_request *r, const char *id, struct rb_waited *now,
                                  struct rb_error *err)
{
    struct sweep *s = now->own;
    enum rb_status status = sweep_read(r, id, s, err);
    if (status != RB_OK)
        return status;
    now->group = s->group.seq;
    now->ended = !is_live(s);
    write_tag(s, now->tag);
    return RB_OK;
}

static void waited_reply(struct rb_request *r, int status, const struct rb_waited *now)
{
    reply_sweep(r, status, now->own);
}

static const struct rb_wait_kind wait_kind = {.noun = "sweep",
                                              .is_group = true,
                                              .own_bytes = sizeof(struct sweep),
                                              .read = waited_read,
                                              .reply = waited_reply,
                                              .deinit = waited_deinit};

/* ---- asking for one ---- */

struct asked {
    struct rb_sweep sweep;
    const char *kind;
    char id[RB_JOB_ID_SIZE];
};

static void asked_deinit(void *own)
{
    rb_sweep_deinit(&((struct asked *)own)->sweep);
}

static const char *id_of(const struct rb_submitting *f)
{
    return ((const struct asked *)f->own)->id;
}

static char *labels_text(const struct rb_labels *labels)
{
    struct rb_json w;
    struct rb_error ignored;
    char *text = NULL;
    rb_json_init(&w);
    rb_labels_encode(&w, NULL, labels);
    return rb_json_finish(&w, &text, NULL, &ignored) == RB_OK ? text : NULL;
}

static enum rb_status begin(struct rb_submitting *f, int64_t now_ms, struct rb_error *err)
{
    struct asked *a = f->own;
    enum { FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(17) };
    struct rb_group_row row = {.name = a->sweep.name,
                               .labels = labels_text(&a->sweep.labels),
                               .spec = json_dumps(a->sweep.spec, FLAGS),
                               .grid = json_dumps(a->sweep.grid, FLAGS),
                               .jobs = rb_submission_count(f->submission),
                               .created_ms = now_ms};
    rb_group_id_make(now_ms, a->id);
    (void)snprintf(row.kind, sizeof row.kind, "%s", a->kind);
    memcpy(row.id, a->id, sizeof row.id);
    memcpy(row.submitted_by, f->r->who.name, sizeof row.submitted_by);
    bool whole = row.labels != NULL && row.spec != NULL && row.grid != NULL;
    enum rb_status status = whole ? rb_group_add(rb_request_server(f->r)->store, &row, err)
                                  : rb_error_set(err, RB_ENOMEM, "no memory for a sweep");
    free(row.labels);
    free(row.spec);
    free(row.grid);
    rb_submission_group(f->submission, a->id);
    return status;
}

static enum rb_status encode(struct rb_submitting *f, struct rb_json *w, struct rb_error *err)
{
    struct sweep s;
    enum rb_status status = sweep_read(f->r, id_of(f), &s, err);
    if (status != RB_OK)
        return status;
    rb_sweep_encode(w, NULL, &s.view, true);
    sweep_deinit(&s);
    return RB_OK;
}

static void encode_estimate(struct rb_json *w, const char *key, const struct rb_estimate *e)
{
    rb_json_object(w, key);
    rb_json_uint(w, "peak_bytes", e->peak_bytes);
    rb_json_number(w, "seconds", e->seconds);
    rb_json_uint(w, "disk_bytes", e->disk_bytes);
    rb_json_end(w);
}

/* The time of collections of so many pairs, and how often a model reads the text in them. */
static double collecting_seconds(const struct rb_work *w, const struct rb_plan *p, size_t models,
                                 size_t count, size_t at_once, size_t *ret_passes)
{
    double seconds = 0;
    size_t passes = 0;
    for (size_t first = 0; first < count && p->moments_bytes > 0; first += at_once) {
        size_t end = first + at_once < count ? first + at_once : count;
        size_t among = rb_matrix_among(models, first, end);
        seconds += rb_plan_share_seconds(p, among, end - first, &w->rates, w->options.workers);
        passes += among;
    }
    *ret_passes = passes;
    return seconds;
}

/* What pairs have in common is collected by one of them for the others (share.h). */
static void estimate_shared(const struct rb_submitting *f, struct rb_json *json,
                            struct rb_estimate *all)
{
    const struct asked *a = f->own;
    const struct rb_work *w = rb_request_work(f->r);
    const struct rb_plan *p = rb_submission_item(f->submission, 0)->plan;
    size_t count = rb_submission_count(f->submission), models = rb_matrix_models(a->sweep.grid);
    size_t at_once = rb_share_pairs(p, &w->options);
    at_once = at_once < count ? at_once : count;
    uint64_t together =
        rb_plan_share_bytes(p, models < 2 * at_once ? models : 2 * at_once, at_once);
    all->peak_bytes = together > all->peak_bytes ? together : all->peak_bytes;
    all->disk_bytes -= (count - at_once) * p->moments_bytes; /* what is kept is bounded */
    size_t passes, passes_alone;
    double shared = collecting_seconds(w, p, models, count, at_once, &passes);
    double alone = collecting_seconds(w, p, models, count, 1, &passes_alone);
    all->seconds -= alone - shared;
    rb_json_object(json, "shared");
    rb_json_uint(json, "pairs_at_once", at_once);
    rb_json_uint(json, "collections", (count + at_once - 1) / at_once);
    rb_json_uint(json, "moments_bytes", at_once * p->moments_bytes);
    rb_json_uint(json, "model_passes", passes);
    rb_json_number(json, "saved_seconds", alone - shared);
    rb_json_end(json);
}

static void estimate(const struct rb_submitting *f, struct rb_json *w)
{
    const struct asked *a = f->own;
    struct rb_estimate all = {.seconds = 0};
    size_t count = rb_submission_count(f->submission);
    rb_json_object(w, NULL);
    rb_json_uint(w, "jobs", count);
    rb_json_array(w, "table");
    for (size_t i = 0; i < count; i++) {
        const struct rb_submission_item *item = rb_submission_item(f->submission, i);
        const struct rb_estimate *e = &item->estimate;
        all.peak_bytes = e->peak_bytes > all.peak_bytes ? e->peak_bytes : all.peak_bytes;
        all.disk_bytes += e->disk_bytes;
        all.seconds += e->seconds;
        rb_json_object(w, NULL);
        rb_json_string(w, "name", item->spec.name);
        rb_sweep_settings(w, "settings", a->sweep.grid, i);
        encode_estimate(w, "estimate", e);
        rb_json_end(w);
    }
    rb_json_end(w);
    if (rb_matrix_is(a->kind))
        estimate_shared(f, w, &all);
    encode_estimate(w, "estimate", &all);
    rb_json_end(w);
}

static void wait_until_finished(struct rb_request *r, const char *id, int seconds)
{
    rb_wait_begin(r, &wait_kind, id, seconds, true, MHD_HTTP_ACCEPTED);
}

/* "/jobs/3/models/b": of the fourth combination; "/jobs" alone is about how many there are. */
static void place(const struct rb_submitting *f, struct rb_error *err)
{
    const struct asked *a = f->own;
    char *end;
    if (strncmp(err->pointer, "/jobs", 5) != 0)
        return;
    if (err->pointer[5] == '\0') {
        bool matrix = rb_matrix_is(a->kind);
        (void)snprintf(err->pointer, sizeof err->pointer, "%s", matrix ? "/models" : "/grid");
        return;
    }
    size_t index = strtoul(err->pointer + 6, &end, 10);
    char rest[sizeof err->pointer];
    (void)snprintf(rest, sizeof rest, "%s", end);
    rb_sweep_place(&a->sweep, index, rest, sizeof rest);
    if (rb_matrix_is(a->kind))
        rb_matrix_place(a->sweep.grid, rest, sizeof rest);
    memcpy(err->pointer, rest, sizeof rest);
}

static const struct rb_submit_kind sweep_kind = {
    .path = "/v1/sweeps",
    .id = id_of,
    .begin = begin,
    .encode = encode,
    .estimate = estimate,
    .wait = wait_until_finished,
    .place = place,
    .own_bytes = sizeof(struct asked),
    .own_deinit = asked_deinit,
};

/* The sweep, or matrix, and a spec for each of its jobs; or a reply. */
static bool read_sweep(struct rb_request *r, const char *kind, struct rb_sweep *ret,
                       struct rb_job_spec **ret_specs)
{
    struct rb_problems problems = {0};
    struct rb_error err;
    enum rb_status status = rb_matrix_is(kind) ? rb_matrix_decode(r->json, ret, &problems, &err)
                                               : rb_sweep_decode(r->json, ret, &problems, &err);
    if (status == RB_OK) {
        if (rb_sweep_specs(ret, ret_specs, &problems, &err) == RB_OK)
            return true;
        rb_sweep_deinit(ret);
    }
    rb_reply_error(r, &err, &problems);
    return false;
}

static void submit(struct rb_request *r, const char *kind)
{
    struct rb_sweep sweep;
    struct rb_job_spec *specs;
    if (!read_sweep(r, kind, &sweep, &specs))
        return;
    struct rb_submitting *f = rb_submitting_new(r, &sweep_kind);
    if (f != NULL) {
        ((struct asked *)f->own)->sweep = sweep;
        ((struct asked *)f->own)->kind = kind;
        rb_submitting_check(f, specs, rb_sweep_count(&sweep), true);
    } else {
        rb_job_specs_free(specs, rb_sweep_count(&sweep));
        rb_sweep_deinit(&sweep);
    }
}

void rb_handle_sweep_submit(struct rb_request *r)
{
    submit(r, "sweep");
}

void rb_handle_matrix_submit(struct rb_request *r)
{
    submit(r, RB_MATRIX_KIND);
}

/* ---- the list, and one ---- */

static enum rb_status page_read(struct rb_request *r, const void *context,
                                const struct rb_page_request *page, uint32_t limit, void **ret_rows,
                                size_t *ret_count, struct rb_error *err)
{
    struct rb_group_row *rows;
    (void)context;
    enum rb_status status =
        rb_groups_list(rb_request_server(r)->store, page->has_after ? page->after.number : 0, limit,
                       &rows, ret_count, err);
    if (status == RB_OK)
        *ret_rows = rows;
    return status;
}

static void page_position(const void *context, const void *rows, size_t i,
                          struct rb_page_position *ret)
{
    (void)context;
    ret->number = ((const struct rb_group_row *)rows)[i].seq;
}

static enum rb_status page_encode(struct rb_request *r, const void *context, struct rb_json *w,
                                  void *rows, size_t i, struct rb_error *err)
{
    struct rb_group_row *groups = rows;
    struct sweep sweep;
    (void)context;
    enum rb_status status = sweep_fill(r, &groups[i], &sweep, err);
    if (status != RB_OK)
        return status;
    rb_sweep_encode(w, NULL, &sweep.view, false);
    sweep_deinit(&sweep);
    return RB_OK;
}

static void page_free(const void *context, void *rows, size_t count)
{
    (void)context;
    rb_groups_free(rows, count);
}

void rb_handle_sweeps(struct rb_request *r)
{
    static const struct rb_page_list list = {.name = "sweeps",
                                             .read = page_read,
                                             .position = page_position,
                                             .encode = page_encode,
                                             .rows_free = page_free};
    rb_page_reply_list(r, &list, NULL);
}

static void reply_csv(struct rb_request *r, const struct sweep *s)
{
    struct rb_error err;
    char *text;
    size_t bytes;
    if (rb_sweep_csv(&s->view, &text, &bytes, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_reply_header(r, MHD_HTTP_HEADER_CONTENT_DISPOSITION, "inline; filename=\"sweep.csv\"");
    rb_reply_text(r, MHD_HTTP_OK, "text/csv; charset=utf-8", text, bytes);
}

void rb_handle_sweep(struct rb_request *r)
{
    static const char *const offers[] = {"application/json", "text/csv"};
    struct rb_error err;
    struct sweep s;
    int wait_seconds;
    char tag[RB_JOB_TAG_SIZE];
    int offer = rb_accept_choose(rb_request_header(r, MHD_HTTP_HEADER_ACCEPT), offers, 2);
    if (offer < 0) {
        rb_reply_fail(r, RB_EACCEPT, "a sweep comes as application/json or text/csv");
        return;
    }
    if (rb_prefer_wait(rb_request_header(r, "Prefer"), RB_WAIT_MAX_SECONDS, &wait_seconds, &err) !=
            RB_OK ||
        sweep_read(r, r->params[0], &s, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    write_tag(&s, tag);
    rb_reply_header(r, MHD_HTTP_HEADER_VARY, "Accept");
    if (offer == 1)
        reply_csv(r, &s);
    else if (wait_seconds > 0 &&
             rb_etag_listed(rb_request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH), tag, true))
        rb_wait_begin(r, &wait_kind, s.group.id, wait_seconds, false, MHD_HTTP_OK);
    else
        reply_sweep(r, MHD_HTTP_OK, &s);
    sweep_deinit(&s);
}

/* ---- ending one ---- */

/* What runs in the group is asked to stop, what waits is taken out. *ret_ending: something still
 * runs; *ret_any: there was something to cancel, or had been before. */
static enum rb_status cancel_all(struct rb_request *r, const struct sweep *s, bool *ret_ending,
                                 bool *ret_any, struct rb_error *err)
{
    enum rb_status status = RB_OK;
    *ret_ending = *ret_any = false;
    /* From the last one: a place that becomes free is not taken by another of the same sweep. */
    for (size_t i = s->count; i-- > 0 && status == RB_OK;) {
        enum rb_job_status now = s->jobs[i].job.status;
        *ret_any = *ret_any || now == RB_JOB_CANCELED || !rb_job_status_terminal(now);
        if (rb_job_status_terminal(now))
            continue;
        status = rb_work_cancel(rb_request_work(r), s->jobs[i].job.id, &now, err);
        *ret_ending = *ret_ending || (status == RB_OK && now == RB_JOB_CANCELING);
    }
    return status;
}

void rb_handle_sweep_cancel(struct rb_request *r)
{
    struct rb_error err;
    struct sweep s;
    bool ending = false, any = false;
    enum rb_status status = sweep_read(r, r->params[0], &s, &err);
    if (status == RB_OK) {
        status = rb_owner_check(r, "sweep", s.group.id, s.group.submitted_by, &err);
        if (status != RB_OK) {
            sweep_deinit(&s);
            rb_reply_error(r, &err, NULL);
            return;
        }
        status = cancel_all(r, &s, &ending, &any, &err);
        sweep_deinit(&s);
    }
    if (status == RB_OK && !any)
        status = rb_error_set(&err, RB_ECONFLICT, "every job of sweep %s has ended already",
                              r->params[0]);
    if (status == RB_OK)
        status = sweep_read(r, r->params[0], &s, &err);
    if (status != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    reply_sweep(r, ending ? MHD_HTTP_ACCEPTED : MHD_HTTP_OK, &s);
    sweep_deinit(&s);
}

/* All jobs and the group, or nothing. */
static enum rb_status delete_rows(struct rb_store *store, int64_t group, const int64_t *seqs,
                                  size_t count, struct rb_error *err)
{
    enum rb_status status = rb_store_begin(store, err);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; i < count && status == RB_OK; i++)
        status = rb_job_delete(store, seqs[i], err);
    if (status == RB_OK)
        status = rb_group_delete(store, group, err);
    return rb_store_end(store, status, err);
}

static enum rb_status delete_sweep(struct rb_request *r, struct rb_error *err)
{
    struct rb_server *server = rb_request_server(r);
    struct rb_group_row group;
    int64_t *seqs = NULL;
    size_t count = 0;
    enum rb_status status = rb_group_get(server->store, r->params[0], &group, err);
    if (status != RB_OK)
        return status;
    status = rb_group_members(server->store, group.seq, &seqs, &count, err);
    char(*ids)[RB_JOB_ID_SIZE] = status == RB_OK ? calloc(count + 1, sizeof *ids) : NULL;
    if (status == RB_OK && ids == NULL)
        status = rb_error_set(err, RB_ENOMEM, "no memory for %zu jobs", count);
    for (size_t i = 0; status == RB_OK && i < count; i++) {
        struct rb_job_row row;
        status = rb_job_get_seq(server->store, seqs[i], &row, err);
        if (status == RB_OK) {
            memcpy(ids[i], row.job.id, sizeof ids[i]);
            rb_job_row_deinit(&row);
        }
    }
    if (status == RB_OK)
        status = delete_rows(server->store, group.seq, seqs, count, err);
    for (size_t i = 0; status == RB_OK && i < count; i++) {
        char folder[RB_PATH_SIZE];
        rb_hub_deleted(&server->work->hub, ids[i]);
        rb_data_trash(server->work, rb_layout_job(ids[i], NULL, folder));
    }
    rb_group_row_deinit(&group);
    free(seqs);
    free(ids);
    return status;
}

void rb_handle_sweep_delete(struct rb_request *r)
{
    struct rb_error err;
    struct sweep s;
    char tag[RB_JOB_TAG_SIZE];
    enum rb_status status = sweep_read(r, r->params[0], &s, &err);
    if (status == RB_OK) {
        write_tag(&s, tag);
        status = rb_owner_check(r, "sweep", s.group.id, s.group.submitted_by, &err);
        sweep_deinit(&s);
    }
    if (status == RB_OK) {
        status = rb_preconditions_check(r, tag, &err);
    }
    if (status == RB_OK)
        status = delete_sweep(r, &err);
    if (status == RB_OK)
        rb_reply_empty(r, MHD_HTTP_NO_CONTENT);
    else
        rb_reply_error(r, &err, NULL);
}
