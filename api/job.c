#include "api/job.h"
#include "api/job_spec_encode.h"
#include "api/links.h"
#include "core/align/alignment.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *const rb_job_status_names[] = {
    "queued", "running", "canceling", "succeeded", "failed", "canceled", NULL,
};
const char *const rb_phase_names[] = {
    "none",       "loading",    "aligning", "solving", "learning",
    "certifying", "evaluating", "merging",  "writing", NULL,
};
_Static_assert(sizeof rb_job_status_names / sizeof *rb_job_status_names == RB_JOB_STATUS_COUNT + 1,
               "a name for each status");
_Static_assert(sizeof rb_phase_names / sizeof *rb_phase_names == RB_PHASE_COUNT + 1,
               "a name for each phase");

struct rb_job_summary rb_job_summary_none(void)
{
    return (struct rb_job_summary){NAN,
                                   NAN,
                                   NAN,
                                   NAN,
                                   NAN,
                                   NAN,
                                   .equivalent = -1,
                                   .kind = -1,
                                   .kl = NAN,
                                   .top1_agreement = NAN,
                                   .loss_before = NAN,
                                   .loss_after = NAN,
                                   .verdict = rb_merge_verdict_none()};
}

void rb_job_model_role(size_t i, char ret[24])
{
    if (i < 2)
        (void)snprintf(ret, 24, "model_%c", i == 0 ? 'a' : 'b');
    else
        (void)snprintf(ret, 24, "model_%u", (unsigned)i + 1);
}

void rb_job_init(struct rb_job *j)
{
    *j = (struct rb_job){
        .progress.eta_seconds = NAN,
        .created_ms = -1,
        .started_ms = -1,
        .finished_ms = -1,
        .updated_ms = -1,
        .summary = rb_job_summary_none(),
    };
    for (int p = 0; p < RB_PHASE_COUNT; p++)
        j->timings[p] = NAN;
}

void rb_job_deinit(struct rb_job *j)
{
    free(j->name);
    rb_labels_deinit(&j->labels);
    free(j->spec_json);
    free(j->environment_json);
    free(j->artifacts);
    rb_job_init(j);
}

double rb_reduction(double aligned, double control)
{
    return control > 0 ? 1 - aligned / control : NAN;
}

/* ---- the parts of the resource ---- */

static void encode_progress(struct rb_json *w, const struct rb_progress *p)
{
    rb_json_object(w, "progress");
    rb_progress_encode(w, p);
    rb_json_end(w);
}

void rb_progress_encode(struct rb_json *w, const struct rb_progress *p)
{
    double fraction = p->total > 0 ? p->done / p->total : 0;
    rb_json_number(w, "done", p->done);
    rb_json_number(w, "total", p->total);
    rb_json_string(w, "unit", p->unit);
    rb_json_number(w, "fraction", fraction < 1 ? fraction : 1);
    rb_json_number(w, "eta_seconds", p->eta_seconds);
    const struct rb_progress_tasks *t = &p->tasks;
    if (t->total == 0)
        return;
    rb_json_object(w, "tasks");
    rb_json_string(w, "unit", t->unit);
    rb_json_uint(w, "total", t->total);
    rb_json_uint(w, "pending", t->pending);
    rb_json_uint(w, "running", t->running);
    rb_json_string(w, "reason", t->reason[0] != '\0' ? t->reason : NULL);
    rb_json_end(w);
}

void rb_phase_encode(struct rb_json *w, const char *key, enum rb_phase phase)
{
    rb_json_string(w, key, phase == RB_PHASE_NONE ? NULL : rb_phase_names[phase]);
}

static void encode_inputs(struct rb_json *w, const struct rb_job *j)
{
    rb_json_array(w, "inputs");
    for (size_t i = 0; i < j->input_count; i++) {
        rb_json_object(w, NULL);
        rb_json_string(w, "role", j->inputs[i].role);
        rb_json_string(w, "name", j->inputs[i].name);
        rb_json_text_or_null(w, "sha256", j->inputs[i].sha256);
        rb_json_end(w);
    }
    rb_json_end(w);
}

void rb_job_figures_encode(struct rb_json *w, const struct rb_job_summary *s)
{
    rb_json_number(w, "barrier_chord", s->barrier_chord);
    rb_json_number(w, "barrier_mean", s->barrier_mean);
    rb_json_number(w, "control_barrier_chord", s->control_barrier_chord);
    rb_json_number(w, "control_barrier_mean", s->control_barrier_mean);
    rb_json_number(w, "reduction", s->reduction);
    rb_json_number(w, "reduction_standard_error", s->reduction_error);
    if (s->equivalent < 0)
        rb_json_null(w, "equivalent");
    else
        rb_json_bool(w, "equivalent", s->equivalent > 0);
}

/* The spec is needed for the weights of three models or more: without it they are told by number.
 */
static void encode_verdict(struct rb_json *w, const struct rb_job *j)
{
    struct rb_job_spec spec;
    struct rb_error ignored;
    bool several = j->summary.verdict.lambda > 1 && j->spec_json != NULL;
    bool known = several && rb_job_spec_restore_points(j->spec_json, &spec, &ignored) == RB_OK;
    rb_merge_verdict_encode(w, "verdict", &j->summary.verdict, known ? &spec : NULL);
    if (known)
        rb_job_spec_deinit(&spec);
}

static void encode_summary(struct rb_json *w, const struct rb_job *j)
{
    const struct rb_job_summary *s = &j->summary;
    rb_json_object(w, "summary");
    rb_job_figures_encode(w, s);
    rb_json_string(w, "kind", s->kind < 0 ? NULL : rb_certificate_kind_names[s->kind]);
    if (s->kind == RB_KIND_NEAR) {
        rb_json_number(w, "kl", s->kl);
        rb_json_number(w, "top1_agreement", s->top1_agreement);
        rb_json_number(w, "loss_before", s->loss_before);
        rb_json_number(w, "loss_after", s->loss_after);
    }
    encode_verdict(w, j);
    rb_json_end(w);
}

static void encode_timings(struct rb_json *w, const struct rb_job *j)
{
    rb_json_object(w, "timings");
    for (int p = RB_PHASE_LOADING; p < RB_PHASE_COUNT; p++)
        if (isfinite(j->timings[p]))
            rb_json_number(w, rb_phase_names[p], j->timings[p]);
    rb_json_end(w);
}

void rb_environment_encode(struct rb_json *w, const char *key, const struct rb_environment *e)
{
    rb_json_object(w, key);
    rb_json_string(w, "cpu", e->cpu);
    rb_json_string(w, "blas_kernel", e->blas_kernel);
    rb_json_string(w, "instruction_set", e->instruction_set);
    rb_json_number(w, "gflops_per_core", e->rate > 0 ? e->rate * 1e-9 : NAN);
    rb_json_uint(w, "threads", e->threads);
    rb_json_string(w, "executor", e->executor);
    rb_json_uint(w, "nodes", e->nodes);
    rb_json_end(w);
}

void rb_job_error_encode(struct rb_json *w, const char *key, const struct rb_job_error *e)
{
    if (e->status == RB_OK) {
        rb_json_null(w, key);
        return;
    }
    rb_json_object(w, key);
    rb_json_string(w, "code", rb_problem_code(e->status));
    rb_json_string(w, "title", rb_problem_title(e->status));
    rb_json_string(w, "detail", e->detail);
    rb_json_bool(w, "retryable", rb_problem_retryable(e->status));
    rb_json_string(w, "remedy", rb_problem_remedy(e->status));
    rb_json_end(w);
}

static void encode_artifacts(struct rb_json *w, const struct rb_job *j)
{
    rb_json_array(w, "artifacts");
    for (size_t i = 0; i < j->artifact_count; i++)
        rb_artifact_encode(w, NULL, &j->artifacts[i]);
    rb_json_end(w);
}

static void encode_links(struct rb_json *w, const struct rb_job *j)
{
    static const char *const parts[] = {"events",       "barrier",      "alignment",
                                        "permutations", "correlations", "artifacts"};
    rb_json_object(w, "links");
    rb_links_encode(w, "self", "/v1/jobs/%s", j->id);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        rb_links_encode(w, parts[i], "/v1/jobs/%s/%s", j->id, parts[i]);
    rb_json_end(w);
}

void rb_job_encode_open(struct rb_json *w, const char *key, const struct rb_job *j)
{
    rb_json_object(w, key);
    rb_json_text_or_null(w, "id", j->id);
    rb_json_string(w, "status", rb_job_status_names[j->status]);
    rb_phase_encode(w, "phase", j->phase);
    encode_progress(w, &j->progress);
    rb_json_string(w, "name", j->name);
    rb_labels_encode(w, "labels", &j->labels);
    rb_json_int(w, "priority", j->priority);
    rb_json_raw(w, "spec", j->spec_json);
    encode_inputs(w, j);
    rb_json_uint(w, "attempt", j->attempt);
    rb_json_time(w, "created_at", j->created_ms);
    rb_json_time(w, "started_at", j->started_ms);
    rb_json_time(w, "finished_at", j->finished_ms);
    rb_json_time(w, "updated_at", j->updated_ms);
    rb_json_uint(w, "version", j->version);
    rb_json_text_or_null(w, "retry_of", j->retry_of);
    rb_json_text_or_null(w, "group", j->group);
    rb_json_text_or_null(w, "submitted_by", j->submitted_by);
    rb_json_array(w, "warnings");
    if (j->warning[0] != '\0')
        rb_json_string(w, NULL, j->warning);
    if (j->kept_warning[0] != '\0')
        rb_json_string(w, NULL, j->kept_warning);
    rb_json_end(w);
    encode_summary(w, j);
    encode_timings(w, j);
    if (j->peak_bytes > 0)
        rb_json_uint(w, "peak_bytes", j->peak_bytes);
    else
        rb_json_null(w, "peak_bytes");
    if (j->environment_json != NULL)
        rb_json_raw(w, "environment", j->environment_json);
    else
        rb_json_null(w, "environment");
    rb_job_error_encode(w, "error", &j->error);
    encode_artifacts(w, j);
    encode_links(w, j);
}

void rb_job_encode(struct rb_json *w, const char *key, const struct rb_job *j)
{
    rb_job_encode_open(w, key, j);
    rb_json_end(w);
}

/* ---- PATCH ---- */

static const struct rb_field patch_fields[] = {
    {.key = "name",
     .type = RB_FIELD_STRING,
     .offset = offsetof(struct rb_job_patch, name),
     .low = 1,
     .high = RB_JOB_NAME_MAX,
     .nullable = true,
     .given = RB_PATCH_NAME},
    {.key = "labels",
     .type = RB_FIELD_LABELS,
     .offset = offsetof(struct rb_job_patch, labels),
     .given = RB_PATCH_LABELS},
    {.key = "priority",
     .type = RB_FIELD_INT,
     .offset = offsetof(struct rb_job_patch, priority),
     .low = -RB_PRIORITY_MAX,
     .high = RB_PRIORITY_MAX,
     .given = RB_PATCH_PRIORITY},
};
static const struct rb_object patch_object = {
    .fields = patch_fields,
    .field_count = sizeof patch_fields / sizeof patch_fields[0],
    .given_offset = offsetof(struct rb_job_patch, given),
};

enum rb_status rb_job_patch_decode(const json_t *json, struct rb_job_patch *ret,
                                   struct rb_problems *problems, struct rb_error *err)
{
    struct rb_problems own = {0};
    struct rb_problems *list = problems != NULL ? problems : &own;
    struct rb_job_patch patch = {0};
    rb_object_decode(json, "", &patch_object, 0, &patch, list);
    if (list->count == 0 && patch.given == 0)
        rb_problems_add(list, "",
                        "expected at least one of name, labels, priority, found none of them");
    enum rb_status status = rb_problems_status(list, err);
    if (status == RB_OK)
        *ret = patch;
    else
        rb_job_patch_deinit(&patch);
    return status;
}

void rb_job_patch_deinit(struct rb_job_patch *p)
{
    free(p->name);
    rb_labels_deinit(&p->labels);
    *p = (struct rb_job_patch){0};
}
