#include "server/store/events_internal.h"
#include "server/store/jobs_internal.h"

#include "server/store/results.h"
#include "server/store/terms.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Which status may follow which; running to running is another phase. */
static const unsigned next_statuses[RB_JOB_STATUS_COUNT] = {
    [RB_JOB_QUEUED] = 1 << RB_JOB_RUNNING | 1 << RB_JOB_CANCELED | 1 << RB_JOB_FAILED,
    [RB_JOB_RUNNING] = 1 << RB_JOB_RUNNING | 1 << RB_JOB_QUEUED | 1 << RB_JOB_CANCELING |
                       1 << RB_JOB_SUCCEEDED | 1 << RB_JOB_FAILED,
    [RB_JOB_CANCELING] = 1 << RB_JOB_CANCELED,
};

/* ---- the event of a change ---- */

/* Ends q, an INSERT or UPDATE of jobs that returns these columns, and appends the "status" event
 * of what the row has become. No row: RB_ENOTFOUND. */
#define RETURNING " RETURNING seq, id, status, phase, attempt, version, error_code, error_detail"

static enum rb_status finish_change(struct rb_query *q, int64_t at_ms, int64_t *ret_seq,
                                    struct rb_event_row *ret_event, struct rb_error *err)
{
    struct rb_job job;
    struct rb_json data;
    bool row, more = false;
    int64_t seq = 0;
    struct rb_store *s = q->store;
    rb_job_init(&job);
    enum rb_status status = rb_query_step(q, &row, err);
    if (status == RB_OK && row) {
        seq = rb_column_int(q, 0);
        rb_column_string(q, 1, job.id, sizeof job.id);
        job.status = (enum rb_job_status)rb_column_enum(q, 2, rb_job_status_names);
        if (rb_column_text(q, 3) != NULL)
            job.phase = (enum rb_phase)rb_column_enum(q, 3, rb_phase_names);
        job.attempt = (uint32_t)rb_column_int(q, 4);
        job.version = rb_column_uint(q, 5);
        job.error.status =
            rb_column_text(q, 6) != NULL ? rb_problem_status(rb_column_text(q, 6)) : RB_OK;
        rb_column_string(q, 7, job.error.detail, sizeof job.error.detail);
        status = rb_query_step(q, &more, err); /* to the end: only then has it changed the table */
    }
    status = rb_query_end(q, status, err);
    if (status == RB_OK && !row)
        status = rb_error_set(err, RB_ENOTFOUND, "the job has been deleted");
    if (status != RB_OK)
        return status;
    rb_json_init(&data);
    rb_event_status_data(&data, &job);
    status = rb_event_add(s, seq, job.id, RB_EVENT_STATUS, &data, at_ms, ret_event, err);
    if (status == RB_OK && ret_seq != NULL)
        *ret_seq = seq;
    return status;
}

/* ---- adding ---- */

static enum rb_status write_inputs(struct rb_store *s, int64_t seq,
                                   const struct rb_job_input *inputs, size_t count,
                                   struct rb_error *err)
{
    struct rb_query q;
    enum rb_status status = RB_OK;
    for (size_t i = 0; status == RB_OK && i < count; i++) {
        rb_query_start(s,
                       "INSERT OR REPLACE INTO job_inputs (job, position, role, name, sha256) "
                       "VALUES (?, ?, ?, ?, ?)",
                       &q);
        rb_bind_int(&q, seq);
        rb_bind_uint(&q, i);
        rb_bind_text(&q, inputs[i].role);
        rb_bind_text(&q, inputs[i].name);
        rb_bind_hex_digest(&q, inputs[i].sha256);
        status = rb_query_run(&q, err);
    }
    return status;
}

/* Roles of inputs by which jobs are found. */
static bool role_kind(const char *role, enum rb_term_kind *ret)
{
    size_t length = strlen(role);
    bool dataset = length > 8 && strcmp(role + length - 8, "_dataset") == 0;
    *ret = dataset ? RB_TERM_DATASET : RB_TERM_MODEL;
    return dataset || strncmp(role, "model_", 6) == 0;
}

static enum rb_status write_terms(struct rb_store *s, int64_t seq, const struct rb_job *job,
                                  struct rb_error *err)
{
    enum rb_status status = rb_terms_add_labels(s, seq, &job->labels, err);
    for (size_t i = 0; status == RB_OK && i < job->input_count; i++) {
        struct rb_term term = {.name = job->inputs[i].name, .value = ""};
        if (role_kind(job->inputs[i].role, &term.kind))
            status = rb_term_add(s, seq, &term, err);
    }
    return status == RB_OK ? rb_terms_mark(s, seq, err) : status;
}

static enum rb_status insert(struct rb_store *s, const struct rb_job *job, int64_t *ret_seq,
                             struct rb_event_row *ret_event, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(
        s,
        "INSERT INTO jobs (id, status, rank, name, spec, attempt, run_attempts, created_ms, "
        "updated_ms, version, retry_of, peak_bytes, group_seq, position, "
        "submitted_by, running_limit) "
        "VALUES (?1, 'queued', ?2, ?3, ?4, 0, 0, ?5, ?5, 1, ?6, 0, "
        "(SELECT seq FROM groups WHERE id = ?7), ?8, ?9, nullif(?10, 0))" RETURNING,
        &q);
    rb_bind_text(&q, job->id);
    rb_bind_int(&q, -(int64_t)job->priority);
    rb_bind_text(&q, job->name);
    rb_bind_text(&q, job->spec_json);
    rb_bind_int(&q, job->created_ms);
    rb_bind_text_or_null(&q, job->retry_of);
    rb_bind_text_or_null(&q, job->group);
    rb_bind_uint(&q, job->position);
    rb_bind_text(&q, job->submitted_by);
    rb_bind_uint(&q, job->running_limit);
    return finish_change(&q, job->created_ms, ret_seq, ret_event, err);
}

enum rb_status rb_job_add(struct rb_store *s, const struct rb_job *job, int64_t *ret_seq,
                          struct rb_event_row *ret_event, struct rb_error *err)
{
    int64_t seq = 0;
    struct rb_event_row event = {0};
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    status = insert(s, job, &seq, &event, err);
    if (status == RB_OK)
        status = write_inputs(s, seq, job->inputs, job->input_count, err);
    if (status == RB_OK)
        status = write_terms(s, seq, job, err);
    status = rb_store_end_with_event(s, status, &event, ret_event, err);
    if (status == RB_OK)
        *ret_seq = seq;
    return status;
}

/* ---- changing ---- */

static enum rb_status get_status(struct rb_store *s, int64_t seq, enum rb_job_status *ret,
                                 uint64_t *ret_version, struct rb_error *err)
{
    struct rb_query q;
    bool found;
    rb_query_start(s, "SELECT status, version FROM jobs WHERE seq = ?", &q);
    rb_bind_int(&q, seq);
    enum rb_status status = rb_query_step(&q, &found, err);
    if (status == RB_OK && !found)
        status = rb_error_set(err, RB_ENOTFOUND, "the job has been deleted");
    if (status == RB_OK) {
        *ret = (enum rb_job_status)rb_column_enum(&q, 0, rb_job_status_names);
        *ret_version = rb_column_uint(&q, 1);
    }
    return rb_query_end(&q, status, err);
}

#define VERDICT_SET                                                                                \
    "verdict = ?, moved_nearly = ?, best_lambda = ?, best_loss = ?, best_metric = ?, loss_a = ?, " \
    "loss_b = ?, metric_a = ?, metric_b = ?, metric = ?, chance_loss = ?, chance_accuracy = ?, "   \
    "midpoint_loss = ?, written = ?"

static void bind_verdict(struct rb_query *q, const struct rb_merge_verdict *v)
{
    bool known = v->kind != RB_MERGE_NONE;
    rb_bind_text(q, known ? rb_merge_verdict_names[v->kind] : NULL);
    rb_bind_int(q, v->near);
    rb_bind_double(q, v->lambda);
    rb_bind_double(q, v->loss);
    rb_bind_double(q, v->metric);
    for (int i = 0; i < 2; i++)
        rb_bind_double(q, v->parent_loss[i]);
    for (int i = 0; i < 2; i++)
        rb_bind_double(q, v->parent_metric[i]);
    rb_bind_text(q, known ? rb_metric_names[v->metric_name] : NULL);
    rb_bind_double(q, v->chance.loss);
    rb_bind_double(q, v->chance.accuracy);
    rb_bind_double(q, v->midpoint_loss);
    rb_bind_text(q, rb_written_names[v->written]);
}

static enum rb_status write_summary(struct rb_store *s, int64_t seq,
                                    const struct rb_job_summary *summary, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(
        s,
        "UPDATE jobs SET barrier_chord = ?, barrier_mean = ?, control_barrier_chord = ?, "
        "control_barrier_mean = ?, reduction = ?, reduction_error = ?, equivalent = ?, kind = ?, "
        "kl = ?, top1_agreement = ?, loss_before = ?, loss_after = ?, " VERDICT_SET
        " WHERE seq = ?",
        &q);
    rb_bind_double(&q, summary->barrier_chord);
    rb_bind_double(&q, summary->barrier_mean);
    rb_bind_double(&q, summary->control_barrier_chord);
    rb_bind_double(&q, summary->control_barrier_mean);
    rb_bind_double(&q, summary->reduction);
    rb_bind_double(&q, summary->reduction_error);
    rb_bind_time(&q, summary->equivalent); /* NULL below 0, as for times */
    rb_bind_time(&q, summary->kind);
    rb_bind_double(&q, summary->kl);
    rb_bind_double(&q, summary->top1_agreement);
    rb_bind_double(&q, summary->loss_before);
    rb_bind_double(&q, summary->loss_after);
    bind_verdict(&q, &summary->verdict);
    rb_bind_int(&q, seq);
    return rb_query_run(&q, err);
}

static enum rb_status write_timings(struct rb_store *s, int64_t seq, const double *timings,
                                    struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(
        s,
        "UPDATE jobs SET loading_seconds = ?, aligning_seconds = ?, solving_seconds = ?, "
        "learning_seconds = ?, certifying_seconds = ?, evaluating_seconds = ?, merging_seconds = "
        "?, "
        "writing_seconds = ? "
        "WHERE seq = ?",
        &q);
    for (int p = RB_PHASE_LOADING; p < RB_PHASE_COUNT; p++)
        rb_bind_double(&q, timings[p]);
    rb_bind_int(&q, seq);
    return rb_query_run(&q, err);
}

static enum rb_status write_parts(struct rb_store *s, int64_t seq, const struct rb_job_change *c,
                                  struct rb_error *err)
{
    enum rb_status status = RB_OK;
    if (c->summary != NULL)
        status = write_summary(s, seq, c->summary, err);
    if (status == RB_OK && c->timings != NULL)
        status = write_timings(s, seq, c->timings, err);
    if (status == RB_OK && c->inputs != NULL)
        status = write_inputs(s, seq, c->inputs, c->input_count, err);
    for (size_t i = 0; status == RB_OK && i < c->artifact_count; i++)
        status = rb_artifact_put(s, seq, &c->artifacts[i], err);
    return status;
}

static enum rb_status write_status(struct rb_store *s, int64_t seq, enum rb_job_status from,
                                   const struct rb_job_change *c, struct rb_event_row *ret_event,
                                   struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(
        s,
        "UPDATE jobs SET status = ?1, phase = ?2, updated_ms = ?3, version = version + 1, "
        "attempt = attempt + ?4, run_attempts = max(run_attempts + ?4, 0), "
        "started_ms = CASE WHEN ?4 > 0 THEN coalesce(started_ms, ?3) ELSE started_ms END, "
        "finished_ms = ?5, peak_bytes = max(peak_bytes, ?6), "
        "error_code = coalesce(?7, error_code), error_detail = coalesce(?8, error_detail), "
        "environment = coalesce(?9, environment) WHERE seq = ?10" RETURNING,
        &q);
    bool failed = c->error != NULL && c->error->status != RB_OK;
    bool claimed = from == RB_JOB_QUEUED && c->to == RB_JOB_RUNNING;
    rb_bind_text(&q, rb_job_status_names[c->to]);
    rb_bind_text(&q, c->phase != RB_PHASE_NONE ? rb_phase_names[c->phase] : NULL);
    rb_bind_int(&q, c->at_ms);
    rb_bind_int(&q, claimed ? 1 : c->uncharged ? -1 : 0);
    rb_bind_time(&q, rb_job_status_terminal(c->to) ? c->at_ms : -1);
    rb_bind_uint(&q, c->peak_bytes);
    rb_bind_text(&q, failed ? rb_problem_code(c->error->status) : NULL);
    rb_bind_text(&q, failed ? c->error->detail : NULL);
    rb_bind_text(&q, c->environment);
    rb_bind_int(&q, seq);
    return finish_change(&q, c->at_ms, NULL, ret_event, err);
}

/* Whose job begins has the next turn after everybody else. */
static enum rb_status take_turn(struct rb_store *s, int64_t seq, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "INSERT OR REPLACE INTO turns SELECT submitted_by, "
                   "(SELECT coalesce(max(turn), 0) + 1 FROM turns) FROM jobs WHERE seq = ?",
                   &q);
    rb_bind_int(&q, seq);
    return rb_query_run(&q, err);
}

static enum rb_status check_transition(struct rb_store *s, int64_t seq, enum rb_job_status to,
                                       enum rb_job_status *ret_from, struct rb_error *err)
{
    uint64_t version;
    *ret_from = RB_JOB_QUEUED;
    enum rb_status status = get_status(s, seq, ret_from, &version, err);
    if (status == RB_OK && (next_statuses[*ret_from] & 1U << to) == 0)
        return rb_error_set(err, RB_ECONFLICT, "the job is %s and cannot become %s",
                            rb_job_status_names[*ret_from], rb_job_status_names[to]);
    return status;
}

enum rb_status rb_job_change(struct rb_store *s, int64_t seq, const struct rb_job_change *change,
                             struct rb_event_row *ret_event, struct rb_error *err)
{
    enum rb_job_status from;
    struct rb_event_row event = {0};
    assert((change->phase != RB_PHASE_NONE) == (change->to == RB_JOB_RUNNING));
    assert(!change->uncharged || change->to == RB_JOB_QUEUED);
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    status = check_transition(s, seq, change->to, &from, err);
    if (status == RB_OK)
        status = write_parts(s, seq, change, err);
    if (status == RB_OK && from == RB_JOB_QUEUED && change->to == RB_JOB_RUNNING)
        status = take_turn(s, seq, err);
    if (status == RB_OK)
        status = write_status(s, seq, from, change, &event, err);
    return rb_store_end_with_event(s, status, &event, ret_event, err);
}

enum rb_status rb_job_warn(struct rb_store *s, int64_t seq, const char *warning, int64_t at_ms,
                           struct rb_event_row *ret_event, struct rb_error *err)
{
    struct rb_query q;
    struct rb_event_row event = {0};
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    rb_query_start(s,
                   "UPDATE jobs SET warning = ?1, updated_ms = ?2, version = version + 1 WHERE seq "
                   "= ?3" RETURNING,
                   &q);
    rb_bind_text(&q, warning);
    rb_bind_int(&q, at_ms);
    rb_bind_int(&q, seq);
    status = finish_change(&q, at_ms, NULL, &event, err);
    return rb_store_end_with_event(s, status, &event, ret_event, err);
}

enum rb_status rb_job_progressed(struct rb_store *s, int64_t job, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, "UPDATE jobs SET run_attempts = 1 WHERE seq = ? AND run_attempts > 1", &q);
    rb_bind_int(&q, job);
    return rb_query_run(&q, err);
}

/* ---- editing ---- */

static enum rb_status write_edit(struct rb_store *s, int64_t seq, const struct rb_job_patch *patch,
                                 int64_t at_ms, struct rb_event_row *ret_event,
                                 struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "UPDATE jobs SET name = CASE WHEN ?1 THEN ?2 ELSE name END, "
                   "rank = CASE WHEN ?3 THEN ?4 ELSE rank END, updated_ms = ?5, "
                   "version = version + 1 WHERE seq = ?6" RETURNING,
                   &q);
    rb_bind_int(&q, (patch->given & RB_PATCH_NAME) != 0);
    rb_bind_text(&q, patch->name);
    rb_bind_int(&q, (patch->given & RB_PATCH_PRIORITY) != 0);
    rb_bind_int(&q, -(int64_t)patch->priority);
    rb_bind_int(&q, at_ms);
    rb_bind_int(&q, seq);
    return finish_change(&q, at_ms, NULL, ret_event, err);
}

static enum rb_status check_version(struct rb_store *s, int64_t seq, uint64_t if_version,
                                    struct rb_error *err)
{
    enum rb_job_status ignored;
    uint64_t version = 0;
    enum rb_status status = get_status(s, seq, &ignored, &version, err);
    if (status == RB_OK && if_version != 0 && version != if_version)
        return rb_error_set(err, RB_EPRECOND, "the job has version %llu, the request is for %llu",
                            (unsigned long long)version, (unsigned long long)if_version);
    return status;
}

enum rb_status rb_job_edit(struct rb_store *s, int64_t seq, const struct rb_job_patch *patch,
                           uint64_t if_version, int64_t at_ms, struct rb_event_row *ret_event,
                           struct rb_error *err)
{
    struct rb_event_row event = {0};
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    status = check_version(s, seq, if_version, err);
    if (status == RB_OK && (patch->given & RB_PATCH_LABELS) != 0) {
        status = rb_terms_clear_labels(s, seq, err);
        if (status == RB_OK)
            status = rb_terms_add_labels(s, seq, &patch->labels, err);
        if (status == RB_OK)
            status = rb_terms_mark(s, seq, err);
    }
    if (status == RB_OK)
        status = write_edit(s, seq, patch, at_ms, &event, err);
    return rb_store_end_with_event(s, status, &event, ret_event, err);
}

/* ---- deleting ---- */

static enum rb_status delete_row(struct rb_store *s, int64_t seq, struct rb_error *err)
{
    struct rb_query q;
    enum rb_job_status now = RB_JOB_QUEUED;
    uint64_t version;
    enum rb_status status = get_status(s, seq, &now, &version, err);
    if (status == RB_OK && !rb_job_status_terminal(now))
        status = rb_error_set(err, RB_EINUSE, "the job is %s: cancel it first",
                              rb_job_status_names[now]);
    if (status != RB_OK)
        return status;
    rb_query_start(s, "DELETE FROM jobs WHERE seq = ?", &q);
    rb_bind_int(&q, seq);
    return rb_query_run(&q, err);
}

enum rb_status rb_job_delete(struct rb_store *s, int64_t seq, struct rb_error *err)
{
    enum rb_status status = rb_store_begin(s, err);
    return status == RB_OK ? rb_store_end(s, delete_row(s, seq, err), err) : status;
}
