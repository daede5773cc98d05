#include "server/work/submit.h"
#include "api/job_spec_encode.h"
#include "core/align/alignment.h"
#include "core/align/alignment_file.h"
#include "core/align/shape.h"
#include "server/base/fsutil.h"
#include "server/base/ids.h"
#include "server/base/log.h"
#include "server/store/jobs.h"
#include "server/store/jobs_read.h"
#include "server/store/results.h"
#include "server/work/jobdir.h"
#include "server/work/places.h"
#include "server/work/plan.h"
#include "server/work/queue.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
    struct rb_submission_item public;
    struct rb_places places;
    uint64_t versions[RB_JOB_INPUTS_MAX];
    struct rb_plan plan;
    struct rb_event_row event;
    bool folder; /* made for an alignment that is reused */
};

struct rb_submission {
    struct rb_work *w;
    struct rb_async async;
    rb_submit_done *done;
    void *data;
    bool batch, checking, freed, committed;

    struct item *items;
    size_t count;
    char submitter[RB_SUBMITTER_SIZE];    /* "": nobody */
    uint64_t queued_limit, running_limit; /* 0: none */
    uint64_t bytes_left;
    char group[RB_JOB_ID_SIZE]; /* "": none */
    uint32_t position;          /* of the first in it */
    char retry_of[RB_JOB_ID_SIZE];
    int64_t retry_seq;
    bool reuse; /* the old job's inputs have the same digests */

    enum rb_status status;
    struct rb_error error;
    struct rb_problems missing; /* of the first job that names what is not there */
};

static void submission_deinit(struct rb_submission *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct item *it = &s->items[i];
        char folder[RB_PATH_SIZE];
        if (it->folder && !s->committed)
            rb_data_remove(s->w->options.data_fd, rb_layout_job(it->public.id, NULL, folder));
        rb_job_spec_deinit(&it->public.spec);
        rb_places_deinit(&it->places);
        rb_event_row_deinit(&it->event);
    }
    free(s->items);
    free(s);
}

void rb_submission_free(struct rb_submission *s)
{
    if (s == NULL)
        return;
    s->freed = true;
    if (!s->checking)
        submission_deinit(s);
}

enum { POINTER_SIZE = sizeof((struct rb_error *)0)->pointer };
_Static_assert(POINTER_SIZE == sizeof((struct rb_fault *)0)->pointer, "of one size");

static void place_pointer(char pointer[POINTER_SIZE], size_t i)
{
    char placed[POINTER_SIZE];
    (void)snprintf(placed, sizeof placed, "/jobs/%zu%.120s", i, pointer);
    memcpy(pointer, placed, sizeof placed);
}

/* In a batch a pointer starts at the job that it is about. */
static void place_error(struct rb_submission *s, size_t i)
{
    if (!s->batch)
        return;
    place_pointer(s->error.pointer, i);
    for (size_t k = 0; k < s->missing.count; k++)
        place_pointer(s->missing.items[k].pointer, i);
}

/* ---- on a pool thread ---- */

static bool same_models(const struct item *a, const struct item *b)
{
    bool same = a->places.models == b->places.models;
    for (size_t i = 0; i < a->places.models && same; i++)
        same = strcmp(a->places.path[i], b->places.path[i]) == 0;
    return same;
}

static enum rb_status check_alignment(const struct item *it, const struct rb_subject *subject,
                                      size_t model, struct rb_error *err)
{
    struct rb_alignment *alignment = NULL;
    struct rb_motion motion;
    enum rb_status status = rb_alignment_load(it->places.alignments[model], &alignment, err);
    if (status != RB_OK)
        return status;
    status = rb_alignment_motion(alignment, &subject->model[model], &motion, err);
    if (status == RB_OK)
        rb_motion_deinit(&motion);
    else
        (void)snprintf(err->pointer, sizeof err->pointer, "/align/from_job");
    rb_alignment_free(alignment);
    return status;
}

/* What a preset means for the models' family; and does the family admit what align asks for? */
static enum rb_status check_options(struct rb_job_spec *spec, const struct rb_subject *subject,
                                    struct rb_error *err)
{
    struct rb_align_shape shape;
    const struct rb_model *m = &subject->model[0];
    rb_align_shape_of(&m->config, m->head, &shape);
    enum rb_status status = rb_job_spec_settle(spec, "", m->family->model_type, &shape, NULL, err);
    if (status != RB_OK)
        return status;
    if (spec->align.from_job != NULL || spec->align.options.components == 0)
        return RB_OK;
    status = rb_align_check(&shape, &spec->align.options, err);
    if (status != RB_OK) {
        char option[64];
        (void)snprintf(option, sizeof option, "%.60s", err->pointer);
        (void)snprintf(err->pointer, sizeof err->pointer, "/align/%s", option);
    }
    return status;
}

static enum rb_status check_disk(const struct rb_submission *s, const struct item *it,
                                 struct rb_error *err)
{
    uint64_t free_bytes;
    enum rb_status status = rb_disk_free(s->w->options.data_fd, &free_bytes, err);
    if (status == RB_OK && free_bytes < it->plan.disk_bytes)
        return rb_error_set(err, RB_EDISKFULL,
                            "the job will write %llu MB, %llu MB are free in the data folder",
                            (unsigned long long)(it->plan.disk_bytes / 1000000),
                            (unsigned long long)(free_bytes / 1000000));
    return status;
}

static enum rb_status check_item(struct rb_submission *s, struct item *it,
                                 struct rb_subject *subject, struct rb_error *err)
{
    struct rb_job_spec *spec = &it->public.spec;
    enum rb_status status = RB_OK;
    if (!subject->opened[1])
        status = rb_subject_open_models(subject, &it->places, err);
    if (status == RB_OK)
        status = check_options(spec, subject, err);
    if (status == RB_OK)
        status = rb_job_spec_fit(spec, "", subject->model[0].config.max_length, NULL, err);
    if (status == RB_OK)
        status = rb_subject_read_texts(subject, &it->places, spec, RB_SUBJECT_SAMPLE, err);
    for (size_t m = 1; m < it->places.models && status == RB_OK; m++)
        if (it->places.alignments[m] != NULL)
            status = check_alignment(it, subject, m, err);
    if (status != RB_OK)
        return status;
    struct rb_plan_sizes sizes = rb_plan_sizes_guess(subject, &it->places, spec);
    const struct rb_plan_machine machine = {s->w->options.workers, s->w->options.memory_limit};
    rb_plan_make(subject, spec, &sizes, &machine, &it->plan);
    return check_disk(s, it, err);
}

static void check(struct rb_async *a)
{
    struct rb_submission *s = a->data;
    struct rb_subject subject = {0};
    for (size_t i = 0; i < s->count && s->status == RB_OK; i++) {
        if (i > 0 && !same_models(&s->items[i - 1], &s->items[i])) {
            rb_subject_deinit(&subject);
        } else if (i > 0) {
            rb_sequences_deinit(&subject.align);
            rb_sequences_deinit(&subject.evaluate);
        }
        s->status = check_item(s, &s->items[i], &subject, &s->error);
        if (s->status != RB_OK)
            place_error(s, i);
    }
    rb_subject_deinit(&subject);
}

/* ---- on the loop ---- */

static void checked(struct rb_async *a)
{
    struct rb_submission *s = a->data;
    s->checking = false;
    if (s->freed) {
        submission_deinit(s);
        return;
    }
    for (size_t i = 0; i < s->count && s->status == RB_OK; i++) {
        struct item *it = &s->items[i];
        it->public.plan = &it->plan;
        it->public.estimate = (struct rb_estimate){
            .peak_bytes = it->plan.peak_bytes,
            .disk_bytes = it->plan.disk_bytes,
            .layer_groups = it->plan.split.groups,
            .feature_passes = it->plan.split.passes,
            .seconds = rb_plan_seconds(&it->plan, &s->w->rates, s->w->options.workers),
            .least_seconds = rb_plan_least_seconds(&it->plan, &s->w->rates, s->w->options.workers),
            .saved_seconds = rb_plan_saved_seconds(&it->plan, &s->w->rates, s->w->options.workers),
        };
    }
    s->done(s->data, s, s->status, s->status == RB_OK ? NULL : &s->error);
}

/* Who will compute it, filled in; and is there such a one here? */
static enum rb_status settle_executor(const struct rb_work *w, struct rb_job_spec *spec,
                                      struct rb_error *err)
{
    bool several = rb_job_spec_several(spec); /* units elsewhere are of two models */
    if (spec->executor == RB_SPEC_EXECUTOR_DEFAULT && w->elsewhere_is_default && !several &&
        !rb_job_spec_makes(spec))
        spec->executor = RB_SPEC_EXECUTOR_SLURM;
    if (spec->executor == RB_SPEC_EXECUTOR_SLURM && w->elsewhere == NULL)
        return rb_error_at(err, RB_EINPUT, "/executor",
                           "this daemon has no cluster: it was started without --shared-dir");
    return RB_OK;
}

static enum rb_status find(struct rb_submission *s, struct item *it, struct rb_problems *missing,
                           struct rb_error *err)
{
    enum rb_status status = settle_executor(s->w, &it->public.spec, err);
    if (status != RB_OK)
        return status;
    return rb_places_find(s->w, NULL, &it->public.spec, &it->places, it->public.inputs,
                          it->versions, &it->public.input_count, missing, err);
}

static void start(struct rb_submission *s)
{
    for (size_t i = 0; i < s->count && s->status == RB_OK; i++) {
        s->status = find(s, &s->items[i], &s->missing, &s->error);
        if (s->status != RB_OK)
            place_error(s, i);
    }
    s->checking = true;
    s->async = (struct rb_async){.work = check, .done = checked, .data = s};
    rb_async_start(s->w->pool, &s->async);
}

static struct rb_submission *submission_new(struct rb_work *w, struct rb_job_spec *specs,
                                            size_t count, rb_submit_done *done, void *data)
{
    struct rb_submission *s = calloc(1, sizeof *s);
    struct item *items = calloc(count, sizeof *items);
    if (s == NULL || items == NULL) {
        free(s);
        free(items);
        rb_job_specs_free(specs, count);
        return NULL;
    }
    *s = (struct rb_submission){.w = w,
                                .done = done,
                                .data = data,
                                .items = items,
                                .count = count,
                                .bytes_left = UINT64_MAX};
    for (size_t i = 0; i < count; i++) {
        items[i].public.spec = specs[i];
        specs[i] = (struct rb_job_spec){0};
    }
    rb_job_specs_free(specs, count);
    return s;
}

enum rb_status rb_submit_check(struct rb_work *w, struct rb_job_spec *specs, size_t count,
                               bool batch, rb_submit_done *done, void *data,
                               struct rb_submission **ret, struct rb_error *err)
{
    struct rb_submission *s = submission_new(w, specs, count, done, data);
    if (s == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to check %zu jobs", count);
    s->batch = batch;
    *ret = s;
    start(s);
    return RB_OK;
}

/* ---- retry ---- */

static enum rb_status spec_of(const struct rb_job *job, struct rb_job_spec **ret,
                              struct rb_error *err)
{
    struct rb_job_spec *spec = calloc(1, sizeof *spec);
    if (spec == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a job's spec");
    enum rb_status status = rb_job_spec_restore(job->spec_json, spec, err);
    if (status == RB_OK)
        *ret = spec;
    else
        free(spec);
    return status;
}

static bool same_inputs(const struct rb_job *job, const struct rb_submission_item *item)
{
    if (job->input_count != item->input_count)
        return false;
    for (size_t i = 0; i < item->input_count; i++)
        if (strcmp(job->inputs[i].role, item->inputs[i].role) != 0 ||
            strcmp(job->inputs[i].sha256, item->inputs[i].sha256) != 0 ||
            item->inputs[i].sha256[0] == '\0')
            return false;
    return true;
}

enum rb_status rb_submit_retry(struct rb_work *w, const char *id, rb_submit_done *done, void *data,
                               struct rb_submission **ret, struct rb_error *err)
{
    struct rb_job_row row;
    struct rb_job_spec *spec = NULL;
    enum rb_status status = rb_job_get(w->store, id, &row, err);
    if (status != RB_OK)
        return status;
    if (!rb_job_status_terminal(row.job.status))
        status = rb_error_set(err, RB_ECONFLICT, "job %s is %s; only a finished job can be retried",
                              id, rb_job_status_names[row.job.status]);
    else
        status = spec_of(&row.job, &spec, err);
    struct rb_submission *s = NULL;
    if (status == RB_OK) {
        s = submission_new(w, spec, 1, done, data);
        if (s == NULL)
            status = rb_error_set(err, RB_ENOMEM, "no memory to check a job");
    }
    if (status == RB_OK) {
        (void)snprintf(s->retry_of, sizeof s->retry_of, "%s", id);
        s->retry_seq = row.seq;
        (void)snprintf(s->group, sizeof s->group, "%s", row.job.group);
        s->position = row.job.position;
        *ret = s;
        start(s);
        s->reuse = same_inputs(&row.job, &s->items[0].public);
    }
    rb_job_row_deinit(&row);
    return status;
}

const struct rb_problems *rb_submission_missing(const struct rb_submission *s)
{
    return &s->missing;
}

size_t rb_submission_count(const struct rb_submission *s)
{
    return s->count;
}

const struct rb_submission_item *rb_submission_item(const struct rb_submission *s, size_t i)
{
    return &s->items[i].public;
}

void rb_submission_by(struct rb_submission *s, const struct rb_submitter *by)
{
    (void)snprintf(s->submitter, sizeof s->submitter, "%s", by->name);
    s->queued_limit = by->queued;
    s->running_limit = by->running;
    s->bytes_left = by->bytes;
}

void rb_submission_group(struct rb_submission *s, const char *group)
{
    (void)snprintf(s->group, sizeof s->group, "%s", group);
}

/* ---- adding ---- */

static enum rb_status room_for(const struct rb_submission *s, struct rb_error *err)
{
    uint64_t counts[RB_JOB_STATUS_COUNT];
    if (s->w->draining)
        return rb_error_set(err, RB_EDRAINING, "the daemon is shutting down");
    if (s->count > s->w->options.queue_limit) /* no waiting helps: it is not a full queue */
        return rb_error_at(err, RB_EINPUT, s->batch ? "/jobs" : "",
                           "%zu jobs never fit a queue of %llu (--queue-limit)", s->count,
                           (unsigned long long)s->w->options.queue_limit);
    enum rb_status status = rb_jobs_count(s->w->store, counts, err);
    if (status == RB_OK && counts[RB_JOB_QUEUED] + s->count > s->w->options.queue_limit)
        return rb_error_set(err, RB_EQUEUEFULL, "%llu jobs wait already, the limit is %llu",
                            (unsigned long long)counts[RB_JOB_QUEUED],
                            (unsigned long long)s->w->options.queue_limit);
    return status;
}

/* The same for the submitter alone. */
static enum rb_status room_for_submitter(const struct rb_submission *s, struct rb_error *err)
{
    struct rb_usage usage = {0};
    uint64_t bytes = 0;
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < s->count; i++)
        bytes += s->items[i].plan.disk_bytes;
    if (bytes > s->bytes_left)
        return rb_error_set(err, RB_ETOOLARGE,
                            "this would store %llu bytes, and %s may store %llu more. Delete jobs, "
                            "models or datasets first",
                            (unsigned long long)bytes, s->submitter,
                            (unsigned long long)s->bytes_left);
    if (s->queued_limit > 0)
        status = rb_submitter_usage(s->w->store, s->submitter, &usage, err);
    if (status == RB_OK && s->queued_limit > 0 && s->count > s->queued_limit)
        return rb_error_at(err, RB_EINPUT, s->batch ? "/jobs" : "",
                           "%zu jobs never fit the %llu that %s may have waiting", s->count,
                           (unsigned long long)s->queued_limit, s->submitter);
    if (status == RB_OK && s->queued_limit > 0 && usage.queued + s->count > s->queued_limit)
        return rb_error_set(err, RB_EQUEUEFULL, "%llu jobs of %s wait already, their limit is %llu",
                            (unsigned long long)usage.queued, s->submitter,
                            (unsigned long long)s->queued_limit);
    return status;
}

/* Is everything that was checked still what the names mean? */
static enum rb_status still_same(const struct rb_submission *s, const struct item *it,
                                 struct rb_error *err)
{
    struct rb_places places;
    struct rb_job_input inputs[RB_JOB_INPUTS_MAX];
    uint64_t versions[RB_JOB_INPUTS_MAX];
    size_t count;
    enum rb_status status =
        rb_places_find(s->w, NULL, &it->public.spec, &places, inputs, versions, &count, NULL, err);
    if (status != RB_OK)
        return status;
    rb_places_deinit(&places);
    for (size_t i = 0; i < count; i++)
        if (versions[i] != it->versions[i])
            return rb_error_set(err, RB_ECONFLICT, "'%s' was replaced while the job was checked",
                                inputs[i].name);
    return RB_OK;
}

/* What a new job takes over from an old one. */
static enum rb_status take_over(struct rb_submission *s, struct item *it, int64_t seq,
                                struct rb_error *err)
{
    const char *from = it->public.spec.align.from_job;
    if (s->reuse)
        from = s->retry_of;
    if (from != NULL) {
        enum rb_status status = rb_job_link_alignments(s->w, from, it->public.id,
                                                       rb_job_spec_models(&it->public.spec), err);
        it->folder = true;
        if (status == RB_ENOTFOUND && s->reuse)
            return RB_OK; /* the old job ended before it had one, so it has no points either */
        if (status != RB_OK)
            return status;
    }
    return s->reuse ? rb_results_copy(s->w->store, s->retry_seq, seq, err) : RB_OK;
}

static enum rb_status add(struct rb_submission *s, struct item *it, int64_t now_ms,
                          struct rb_error *err)
{
    const struct rb_job_spec *spec = &it->public.spec;
    struct rb_json w;
    char *spec_json = NULL;
    int64_t seq;
    enum rb_status status = still_same(s, it, err);
    if (status != RB_OK)
        return status;
    rb_json_init(&w);
    rb_job_spec_encode(&w, NULL, spec);
    status = rb_json_finish(&w, &spec_json, NULL, err);
    if (status != RB_OK)
        return status;
    rb_job_id_make(now_ms, it->public.id);
    struct rb_job job;
    rb_job_init(&job);
    memcpy(job.id, it->public.id, sizeof job.id);
    memcpy(job.retry_of, s->retry_of, sizeof job.retry_of);
    memcpy(job.group, s->group, sizeof job.group);
    memcpy(job.submitted_by, s->submitter, sizeof job.submitted_by);
    job.running_limit = s->running_limit;
    job.position = s->position + (uint32_t)(it - s->items);
    memcpy(job.inputs, it->public.inputs, sizeof job.inputs);
    job.input_count = it->public.input_count;
    job.name = spec->name;
    job.labels = spec->labels;
    job.priority = spec->priority;
    job.spec_json = spec_json;
    job.created_ms = now_ms;
    status = rb_job_add(s->w->store, &job, &seq, &it->event, err);
    free(spec_json);
    return status == RB_OK ? take_over(s, it, seq, err) : status;
}

enum rb_status rb_submission_add(struct rb_submission *s, int64_t now_ms, struct rb_error *err)
{
    assert(!s->checking && s->status == RB_OK);
    enum rb_status status = room_for(s, err);
    if (status == RB_OK)
        status = room_for_submitter(s, err);
    for (size_t i = 0; i < s->count && status == RB_OK; i++)
        status = add(s, &s->items[i], now_ms, err);
    return status;
}

void rb_submission_committed(struct rb_submission *s)
{
    s->committed = true;
    for (size_t i = 0; i < s->count; i++) {
        rb_log_info("job", RB_S("job", s->items[i].public.id), RB_S("status", "queued"),
                    RB_S("name", s->items[i].public.spec.name));
        rb_hub_ring(&s->w->hub, &s->items[i].event);
    }
    rb_queue_wake(s->w);
}
