#include "api/sweep_table.h"
#include "api/links.h"
#include "api/matrix.h"
#include "api/sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- ranks ---- */

static bool has_rank(const struct rb_job *j)
{
    return j->status == RB_JOB_SUCCEEDED && rb_merge_verdict_ranks(&j->summary.verdict) &&
           isfinite(j->summary.verdict.loss);
}

/* Losses of other texts or tasks are no better and no worse. */
static bool varies_evaluation(const json_t *grid)
{
    const char *key;
    json_t *values;
    json_object_foreach((json_t *)(uintptr_t)grid, key, values)
    {
        if (json_array_size(values) > 1 && strncmp(key, "evaluate", 8) == 0)
            return true;
    }
    return false;
}

void rb_sweep_rank(struct rb_sweep_row *rows, size_t count, const json_t *grid)
{
    bool none = varies_evaluation(grid);
    for (size_t i = 0; i < count; i++) {
        rows[i].rank = none || !has_rank(rows[i].job) ? 0 : 1;
        for (size_t k = 0; k < count && rows[i].rank > 0; k++)
            rows[i].rank += has_rank(rows[k].job) &&
                            rows[k].job->summary.verdict.loss < rows[i].job->summary.verdict.loss;
    }
}

/* ---- how far ---- */

static void count_statuses(const struct rb_sweep_view *v, size_t ret[RB_JOB_STATUS_COUNT])
{
    memset(ret, 0, RB_JOB_STATUS_COUNT * sizeof *ret);
    for (size_t i = 0; i < v->count; i++)
        ret[v->rows[i].job->status]++;
}

const char *rb_sweep_status(const struct rb_sweep_view *v)
{
    size_t n[RB_JOB_STATUS_COUNT];
    count_statuses(v, n);
    enum rb_job_status status = RB_JOB_SUCCEEDED;
    if (n[RB_JOB_QUEUED] > 0 && n[RB_JOB_QUEUED] == v->count)
        status = RB_JOB_QUEUED;
    else if (n[RB_JOB_QUEUED] + n[RB_JOB_RUNNING] + n[RB_JOB_CANCELING] > 0)
        status = RB_JOB_RUNNING;
    else if (n[RB_JOB_FAILED] > 0)
        status = RB_JOB_FAILED;
    else if (n[RB_JOB_CANCELED] > 0)
        status = RB_JOB_CANCELED;
    return rb_job_status_names[status];
}

double rb_sweep_fraction(const struct rb_sweep_view *v)
{
    double done = 0;
    for (size_t i = 0; i < v->count; i++) {
        const struct rb_job *j = v->rows[i].job;
        double fraction = j->progress.total > 0 ? j->progress.done / j->progress.total : 0;
        done += rb_job_status_terminal(j->status) ? 1 : fraction < 1 ? fraction : 1;
    }
    return v->count > 0 ? done / (double)v->count : 1;
}

static void encode_progress(struct rb_json *w, const struct rb_sweep_view *v)
{
    size_t n[RB_JOB_STATUS_COUNT];
    count_statuses(v, n);
    rb_json_object(w, "progress");
    for (int i = 0; i < RB_JOB_STATUS_COUNT; i++)
        rb_json_uint(w, rb_job_status_names[i], n[i]);
    rb_json_number(w, "fraction", rb_sweep_fraction(v));
    rb_json_number(w, "eta_seconds", v->eta_seconds);
    rb_json_end(w);
}

/* ---- the table ---- */

static double seconds_of(const struct rb_job *j)
{
    return j->started_ms >= 0 && j->finished_ms >= 0
               ? (double)(j->finished_ms - j->started_ms) * 1e-3
               : (double)NAN;
}

static void encode_row(struct rb_json *w, const struct rb_sweep_view *v,
                       const struct rb_sweep_row *row)
{
    const struct rb_job *j = row->job;
    const struct rb_job_summary *s = &j->summary;
    rb_json_object(w, NULL);
    rb_json_string(w, "job", j->id);
    rb_json_string(w, "name", j->name);
    rb_json_string(w, "status", rb_job_status_names[j->status]);
    rb_sweep_settings(w, "settings", v->grid, row->position);
    if (rb_matrix_is(v->kind))
        rb_matrix_pair_encode(w, "models", v->grid, row->position);
    if (row->rank > 0)
        rb_json_uint(w, "rank", row->rank);
    else
        rb_json_null(w, "rank");
    rb_job_figures_encode(w, s);
    rb_merge_verdict_encode(w, "verdict", &s->verdict, NULL); /* of pairs */
    rb_json_number(w, "seconds", seconds_of(j));
    rb_job_error_encode(w, "error", &j->error);
    rb_json_end(w);
}

/* Of a matrix: barriers over the chord by both models. */
static void encode_matrix(struct rb_json *w, const struct rb_sweep_view *v)
{
    double barriers[RB_MATRIX_MODELS_MAX * RB_MATRIX_MODELS_MAX / 2];
    for (size_t i = 0; i < v->jobs; i++)
        barriers[i] = (double)NAN;
    for (size_t i = 0; i < v->count; i++)
        if (v->rows[i].job->status == RB_JOB_SUCCEEDED)
            barriers[v->rows[i].position] = v->rows[i].job->summary.barrier_chord;
    rb_matrix_encode(w, "matrix", v->grid, barriers);
}

static void encode_members(struct rb_json *w, const json_t *grid)
{
    const char *key;
    json_t *values;
    rb_json_array(w, "members");
    json_object_foreach((json_t *)(uintptr_t)grid, key, values)
    {
        if (json_array_size(values) > 1)
            rb_json_string(w, NULL, key);
    }
    rb_json_end(w);
}

static void encode_best(struct rb_json *w, const struct rb_sweep_view *v)
{
    const char *best = NULL;
    for (size_t i = 0; i < v->count && best == NULL; i++)
        if (v->rows[i].rank == 1)
            best = v->rows[i].job->id;
    rb_json_string(w, "best", best);
}

static void encode_links(struct rb_json *w, const struct rb_sweep_view *v)
{
    rb_json_object(w, "links");
    rb_links_encode(w, "self", "/v1/sweeps/%s", v->id);
    rb_links_encode(w, "events", "/v1/sweeps/%s/events", v->id);
    rb_links_encode(w, "jobs", "/v1/jobs?group=%s", v->id);
    rb_json_end(w);
}

void rb_sweep_encode(struct rb_json *w, const char *key, const struct rb_sweep_view *v,
                     bool with_table)
{
    rb_json_object(w, key);
    rb_json_string(w, "id", v->id);
    rb_json_string(w, "kind", v->kind);
    rb_json_string(w, "name", v->name);
    rb_json_raw(w, "labels", v->labels);
    rb_json_string(w, "status", rb_sweep_status(v));
    rb_json_uint(w, "jobs", v->jobs);
    encode_progress(w, v);
    rb_json_raw(w, "spec", v->spec);
    rb_json_raw(w, "grid", v->grid_text);
    encode_members(w, v->grid);
    encode_best(w, v);
    rb_json_text_or_null(w, "submitted_by", v->submitted_by);
    rb_json_time(w, "created_at", v->created_ms);
    if (with_table && rb_matrix_is(v->kind))
        encode_matrix(w, v);
    if (with_table) {
        rb_json_array(w, "table");
        for (size_t i = 0; i < v->count; i++)
            encode_row(w, v, &v->rows[i]);
        rb_json_end(w);
    }
    encode_links(w, v);
    rb_json_end(w);
}

/* ---- CSV ---- */

/* ",text", in quotes where RFC 4180 wants them. NULL: an empty cell. */
static void print_text(FILE *out, const char *text)
{
    (void)fputc(',', out);
    if (text == NULL)
        return;
    if (strpbrk(text, ",\"\r\n") == NULL) {
        (void)fputs(text, out);
        return;
    }
    (void)fputc('"', out);
    for (; *text != '\0'; text++)
        (void)fprintf(out, "%s%c", *text == '"' ? "\"" : "", *text);
    (void)fputc('"', out);
}

static void print_number(FILE *out, double value)
{
    char text[RB_NUMBER_SIZE] = "";
    if (isfinite(value))
        (void)rb_number_format(value, text);
    (void)fprintf(out, ",%s", text);
}

static void print_pair(FILE *out, const struct rb_sweep_view *v, const struct rb_sweep_row *row)
{
    print_text(out, rb_matrix_model(v->grid, row->position, 0));
    print_text(out, rb_matrix_model(v->grid, row->position, 1));
}

static void print_settings(FILE *out, const struct rb_sweep_view *v, const struct rb_sweep_row *row)
{
    struct rb_json w;
    struct rb_error ignored;
    char *text = NULL;
    const char *key;
    json_t *value;
    rb_json_init(&w);
    rb_sweep_settings(&w, NULL, v->grid, row->position);
    if (rb_json_finish(&w, &text, NULL, &ignored) != RB_OK)
        return;
    json_t *settings = json_loads(text, 0, NULL);
    json_object_foreach(settings, key, value)
    {
        char *cell =
            json_is_string(value)
                ? NULL
                : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
        print_text(out, json_is_string(value) ? json_string_value(value) : cell);
        free(cell);
    }
    json_decref(settings);
    free(text);
}

static const struct {
    const char *name;
    size_t offset; /* of a double in rb_job_summary */
} figures[] = {
    {"barrier_chord", offsetof(struct rb_job_summary, barrier_chord)},
    {"barrier_mean", offsetof(struct rb_job_summary, barrier_mean)},
    {"control_barrier_chord", offsetof(struct rb_job_summary, control_barrier_chord)},
    {"control_barrier_mean", offsetof(struct rb_job_summary, control_barrier_mean)},
    {"reduction", offsetof(struct rb_job_summary, reduction)},
    {"reduction_standard_error", offsetof(struct rb_job_summary, reduction_error)},
    {"best_lambda", offsetof(struct rb_job_summary, verdict.lambda)},
    {"loss", offsetof(struct rb_job_summary, verdict.loss)},
    {"metric", offsetof(struct rb_job_summary, verdict.metric)},
    {"loss_a", offsetof(struct rb_job_summary, verdict.parent_loss[0])},
    {"loss_b", offsetof(struct rb_job_summary, verdict.parent_loss[1])},
    {"chance", offsetof(struct rb_job_summary, verdict.chance.loss)},
};
enum { FIGURES = sizeof figures / sizeof figures[0] };

static void print_row(FILE *out, const struct rb_sweep_view *v, const struct rb_sweep_row *row)
{
    const struct rb_job *j = row->job;
    enum rb_merge_verdict_kind kind = j->summary.verdict.kind;
    char label[RB_MERGE_LABEL_SIZE];
    (void)fputs(j->id, out);
    print_text(out, j->name);
    print_text(out, rb_job_status_names[j->status]);
    if (rb_matrix_is(v->kind))
        print_pair(out, v, row);
    else
        print_settings(out, v, row);
    print_number(out, row->rank > 0 ? row->rank : (double)NAN);
    for (size_t i = 0; i < FIGURES; i++)
        print_number(out, *(const double *)((const char *)&j->summary + figures[i].offset));
    print_text(out, kind != RB_MERGE_NONE ? rb_merge_verdict_names[kind] : NULL);
    print_number(out, seconds_of(j));
    print_text(out, j->error.status != RB_OK ? rb_problem_code(j->error.status) : NULL);
    print_number(out, j->summary.verdict.midpoint_loss);
    print_text(out,
               kind != RB_MERGE_NONE ? rb_merge_verdict_label(&j->summary.verdict, label) : NULL);
    (void)fputc('\n', out);
}

static void print_header(FILE *out, const struct rb_sweep_view *v)
{
    const char *key;
    json_t *values;
    bool matrix = rb_matrix_is(v->kind);
    (void)fputs(matrix ? "job,name,status,model_a,model_b" : "job,name,status", out);
    json_object_foreach((json_t *)(uintptr_t)v->grid, key, values)
    {
        if (!matrix && json_array_size(values) > 1)
            print_text(out, key);
    }
    (void)fputs(",rank", out);
    for (size_t i = 0; i < FIGURES; i++)
        print_text(out, figures[i].name);
    (void)fputs(",verdict,seconds,error,midpoint_loss,verdict_label\n", out);
}

enum rb_status rb_sweep_csv(const struct rb_sweep_view *v, char **ret, size_t *ret_bytes,
                            struct rb_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    bool failed = out == NULL;
    if (out != NULL) {
        print_header(out, v);
        for (size_t i = 0; i < v->count; i++)
            print_row(out, v, &v->rows[i]);
        failed = ferror(out) != 0;
        failed = fclose(out) != 0 || failed;
    }
    if (failed) {
        free(text);
        return rb_error_set(err, RB_ENOMEM, "not enough memory for a table of %zu jobs", v->count);
    }
    *ret = text;
    *ret_bytes = bytes;
    return RB_OK;
}
