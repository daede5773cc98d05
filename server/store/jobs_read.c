/* A job's row, put together from its tables. */
#include "server/store/jobs_internal.h"
#include "server/store/jobs_read.h"

#include "server/store/results.h"
#include "server/store/terms.h"

void rb_job_row_deinit(struct rb_job_row *row)
{
    rb_job_deinit(&row->job);
    *row = (struct rb_job_row){.job = row->job};
}

#define JOB_COLUMNS                                                                                \
    "seq, run_attempts, id, status, phase, name, rank, spec, attempt, created_ms, started_ms, "    \
    "finished_ms, updated_ms, version, retry_of, peak_bytes, error_code, error_detail, "           \
    "barrier_chord, barrier_mean, control_barrier_chord, control_barrier_mean, reduction, "        \
    "equivalent, loading_seconds, aligning_seconds, solving_seconds, learning_seconds, "           \
    "certifying_seconds, "                                                                         \
    "evaluating_seconds, merging_seconds, writing_seconds, environment, reduction_error, "         \
    "verdict, moved_nearly, best_lambda, best_loss, best_metric, loss_a, loss_b, metric_a, "       \
    "metric_b, metric, chance_loss, chance_accuracy, position, submitted_by, "                     \
    "(SELECT id FROM groups WHERE groups.seq = jobs.group_seq), kind, kl, top1_agreement, "        \
    "loss_before, loss_after, midpoint_loss, written, warning"

static void read_error(struct rb_query *q, int column, struct rb_job_error *ret)
{
    const char *code = rb_column_text(q, column);
    ret->status = code != NULL ? rb_problem_status(code) : RB_OK;
    rb_column_string(q, column + 1, ret->detail, sizeof ret->detail);
}

static void read_summary(const struct rb_query *q, int column, struct rb_job_summary *ret)
{
    ret->barrier_chord = rb_column_double(q, column);
    ret->barrier_mean = rb_column_double(q, column + 1);
    ret->control_barrier_chord = rb_column_double(q, column + 2);
    ret->control_barrier_mean = rb_column_double(q, column + 3);
    ret->reduction = rb_column_double(q, column + 4);
    ret->equivalent = (int)rb_column_time(q, column + 5); /* -1 for NULL, as for times */
}

static void read_verdict(struct rb_query *q, int column, struct rb_merge_verdict *ret)
{
    if (rb_column_text(q, column) == NULL)
        return;
    ret->kind = (enum rb_merge_verdict_kind)rb_column_enum(q, column, rb_merge_verdict_names);
    ret->near = rb_column_int(q, column + 1) != 0;
    ret->lambda = rb_column_double(q, column + 2);
    ret->loss = rb_column_double(q, column + 3);
    ret->metric = rb_column_double(q, column + 4);
    for (int i = 0; i < 2; i++) {
        ret->parent_loss[i] = rb_column_double(q, column + 5 + i);
        ret->parent_metric[i] = rb_column_double(q, column + 7 + i);
    }
    ret->metric_name = (enum rb_metric)rb_column_enum(q, column + 9, rb_metric_names);
    ret->chance.loss = rb_column_double(q, column + 10);
    ret->chance.accuracy = rb_column_double(q, column + 11);
}

static void read_columns(struct rb_query *q, struct rb_job_row *ret)
{
    struct rb_job *j = &ret->job;
    ret->seq = rb_column_int(q, 0);
    ret->run_attempts = (uint32_t)rb_column_int(q, 1);
    rb_column_string(q, 2, j->id, sizeof j->id);
    j->status = (enum rb_job_status)rb_column_enum(q, 3, rb_job_status_names);
    if (rb_column_text(q, 4) != NULL)
        j->phase = (enum rb_phase)rb_column_enum(q, 4, rb_phase_names);
    j->name = rb_column_copy(q, 5);
    j->priority = (int32_t)-rb_column_int(q, 6);
    j->spec_json = rb_column_copy(q, 7);
    j->attempt = (uint32_t)rb_column_int(q, 8);
    j->created_ms = rb_column_time(q, 9);
    j->started_ms = rb_column_time(q, 10);
    j->finished_ms = rb_column_time(q, 11);
    j->updated_ms = rb_column_time(q, 12);
    j->version = rb_column_uint(q, 13);
    rb_column_string(q, 14, j->retry_of, sizeof j->retry_of);
    j->peak_bytes = rb_column_uint(q, 15);
    read_error(q, 16, &j->error);
    read_summary(q, 18, &j->summary);
    for (int p = RB_PHASE_LOADING; p < RB_PHASE_COUNT; p++)
        j->timings[p] = rb_column_double(q, 24 + p - RB_PHASE_LOADING);
    int rest = 24 + RB_PHASE_COUNT - RB_PHASE_LOADING;
    j->environment_json = rb_column_copy(q, rest);
    j->summary.reduction_error = rb_column_double(q, rest + 1);
    read_verdict(q, rest + 2, &j->summary.verdict);
    j->position = (uint32_t)rb_column_uint(q, rest + 14);
    rb_column_string(q, rest + 15, j->submitted_by, sizeof j->submitted_by);
    rb_column_string(q, rest + 16, j->group, sizeof j->group);
    j->summary.kind = (int)rb_column_time(q, rest + 17);
    j->summary.kl = rb_column_double(q, rest + 18);
    j->summary.top1_agreement = rb_column_double(q, rest + 19);
    j->summary.loss_before = rb_column_double(q, rest + 20);
    j->summary.loss_after = rb_column_double(q, rest + 21);
    j->summary.verdict.midpoint_loss = rb_column_double(q, rest + 22);
    if (rb_column_text(q, rest + 23) != NULL)
        j->summary.verdict.written =
            (enum rb_written)rb_column_enum(q, rest + 23, rb_written_names);
    rb_column_string(q, rest + 24, j->kept_warning, sizeof j->kept_warning);
}

static enum rb_status read_inputs(struct rb_store *s, struct rb_job_row *row, struct rb_error *err)
{
    struct rb_query q;
    bool more = true;
    struct rb_job *j = &row->job;
    rb_query_start(s, "SELECT role, name, sha256 FROM job_inputs WHERE job = ? ORDER BY position",
                   &q);
    enum rb_status status = RB_OK;
    rb_bind_int(&q, row->seq);
    while ((status = rb_query_step(&q, &more, err)) == RB_OK && more) {
        if (j->input_count == RB_JOB_INPUTS_MAX)
            break;
        struct rb_job_input *input = &j->inputs[j->input_count++];
        rb_column_string(&q, 0, input->role, sizeof input->role);
        rb_column_string(&q, 1, input->name, sizeof input->name);
        rb_column_hex_digest(&q, 2, input->sha256);
    }
    return rb_query_end(&q, status, err);
}

static enum rb_status read_parts(struct rb_store *s, struct rb_job_row *row, struct rb_error *err)
{
    struct rb_job *j = &row->job;
    enum rb_status status = rb_terms_get_labels(s, row->seq, &j->labels, err);
    if (status == RB_OK)
        status = read_inputs(s, row, err);
    if (status == RB_OK)
        status = rb_artifacts_list(s, row->seq, &j->artifacts, &j->artifact_count, err);
    return status;
}

/* The job that sql selects; its only parameter, if it has one, is id or else seq. *ret_found false
 * if there is none. */
static enum rb_status read_row(struct rb_store *s, const char *sql, const char *id, int64_t seq,
                               bool *ret_found, struct rb_job_row *row, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, sql, &q);
    if (id != NULL)
        rb_bind_text(&q, id);
    else if (seq != 0)
        rb_bind_int(&q, seq);
    enum rb_status status = rb_query_step(&q, ret_found, err);
    if (status == RB_OK && *ret_found)
        read_columns(&q, row);
    status = rb_query_end(&q, status, err);
    return status == RB_OK && *ret_found ? read_parts(s, row, err) : status;
}

static enum rb_status read_one(struct rb_store *s, const char *sql, const char *id, int64_t seq,
                               bool *ret_found, struct rb_job_row *ret, struct rb_error *err)
{
    struct rb_job_row row = {0};
    bool found = false;
    rb_job_init(&row.job);
    enum rb_status status = rb_store_begin_reading(s, err);
    if (status == RB_OK)
        status = rb_store_end_reading(s, read_row(s, sql, id, seq, &found, &row, err));
    if (status != RB_OK || !found)
        rb_job_row_deinit(&row);
    else
        *ret = row;
    if (status == RB_OK)
        *ret_found = found;
    return status;
}

enum rb_status rb_job_get(struct rb_store *s, const char *id, struct rb_job_row *ret,
                          struct rb_error *err)
{
    bool found;
    enum rb_status status =
        read_one(s, "SELECT " JOB_COLUMNS " FROM jobs WHERE id = ?", id, 0, &found, ret, err);
    if (status == RB_OK && !found)
        return rb_error_set(err, RB_ENOTFOUND, "there is no job %s", id);
    return status;
}

enum rb_status rb_job_get_seq(struct rb_store *s, int64_t seq, struct rb_job_row *ret,
                              struct rb_error *err)
{
    bool found;
    enum rb_status status =
        read_one(s, "SELECT " JOB_COLUMNS " FROM jobs WHERE seq = ?", NULL, seq, &found, ret, err);
    if (status == RB_OK && !found)
        return rb_error_set(err, RB_ENOTFOUND, "the job has been deleted");
    return status;
}

/* The pairs of rank and submitter that wait, each found from the last by one look into the index;
 * of each its oldest job, unless as many of theirs run as it allows; of those of least rank the one
 * whose turn is longest ago. */
#define NEXT                                                                                       \
    "WITH RECURSIVE pair (rank, who) AS ("                                                         \
    "SELECT rank, submitted_by FROM jobs WHERE seq = (SELECT seq FROM jobs INDEXED BY "            \
    "jobs_by_turn WHERE status = 'queued' ORDER BY rank, submitted_by, seq LIMIT 1) "              \
    "UNION ALL SELECT n.rank, n.submitted_by FROM pair p JOIN jobs n ON n.seq = ("                 \
    "SELECT seq FROM jobs INDEXED BY jobs_by_turn WHERE status = 'queued' "                        \
    "AND (rank, submitted_by) > (p.rank, p.who) ORDER BY rank, submitted_by, seq LIMIT 1)) "       \
    "SELECT j.seq FROM pair p JOIN jobs j ON j.seq = ("                                            \
    "SELECT min(seq) FROM jobs INDEXED BY jobs_by_turn WHERE status = 'queued' "                   \
    "AND rank = p.rank AND submitted_by = p.who) "                                                 \
    "LEFT JOIN turns t ON t.submitted_by = p.who "                                                 \
    "WHERE j.running_limit IS NULL OR j.running_limit > (SELECT count(*) FROM jobs "               \
    "INDEXED BY jobs_by_submitter WHERE submitted_by = p.who AND status IN ('running', "           \
    "'canceling')) ORDER BY p.rank, coalesce(t.turn, 0), j.seq LIMIT 1"

enum rb_status rb_job_next(struct rb_store *s, bool *ret_found, struct rb_job_row *ret,
                           struct rb_error *err)
{
    return read_one(s, "SELECT " JOB_COLUMNS " FROM jobs WHERE seq = (" NEXT ")", NULL, 0,
                    ret_found, ret, err);
}

/* ---- counts ---- */

enum rb_status rb_submitter_usage(struct rb_store *s, const char *who, struct rb_usage *ret,
                                  struct rb_error *err)
{
    struct rb_query q;
    bool row;
    rb_query_start(
        s,
        "SELECT (SELECT count(*) FROM jobs WHERE submitted_by = ?1 AND status = 'queued'), "
        "(SELECT count(*) FROM jobs WHERE submitted_by = ?1 AND status IN ('running', "
        "'canceling')), "
        "(SELECT coalesce(sum(bytes), 0) FROM models WHERE submitted_by = ?1 AND NOT imported) + "
        "(SELECT coalesce(sum(bytes), 0) FROM datasets WHERE submitted_by = ?1 AND NOT imported) + "
        "(SELECT coalesce(sum(a.bytes), 0) FROM jobs j JOIN artifacts a ON a.job = j.seq "
        "WHERE j.submitted_by = ?1)",
        &q);
    rb_bind_text(&q, who);
    enum rb_status status = rb_query_step(&q, &row, err);
    struct rb_usage usage = {rb_column_uint(&q, 0), rb_column_uint(&q, 1), rb_column_uint(&q, 2)};
    status = rb_query_end(&q, status, err);
    if (status == RB_OK)
        *ret = usage;
    return status;
}

enum rb_status rb_jobs_count(struct rb_store *s, uint64_t ret[RB_JOB_STATUS_COUNT],
                             struct rb_error *err)
{
    struct rb_query q;
    bool more = true;
    uint64_t counts[RB_JOB_STATUS_COUNT] = {0};
    rb_query_start(s, "SELECT status, jobs FROM job_counts", &q);
    enum rb_status status = RB_OK;
    while ((status = rb_query_step(&q, &more, err)) == RB_OK && more)
        counts[rb_column_enum(&q, 0, rb_job_status_names)] = rb_column_uint(&q, 1);
    status = rb_query_end(&q, status, err);
    for (size_t i = 0; status == RB_OK && i < RB_JOB_STATUS_COUNT; i++)
        ret[i] = counts[i];
    return status;
}

enum rb_status rb_jobs_oldest_queued(struct rb_store *s, int64_t *ret_created_ms,
                                     struct rb_error *err)
{
    struct rb_query q;
    bool found;
    rb_query_start(s,
                   "SELECT created_ms FROM jobs WHERE status = 'queued' "
                   "ORDER BY created_ms LIMIT 1",
                   &q);
    enum rb_status status = rb_query_step(&q, &found, err);
    int64_t oldest = status == RB_OK && found ? rb_column_int(&q, 0) : -1;
    status = rb_query_end(&q, status, err);
    if (status == RB_OK)
        *ret_created_ms = oldest;
    return status;
}
