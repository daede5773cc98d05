/* The solving and the certifying stage. Both end with the alignment on disk: first as solved, so
 * that a restart need not solve again; then with its certificate, and as an artifact. */
#include "api/artifact.h"
#include "api/permutations.h"
#include "core/align/alignment_file.h"
#include "core/align/certify.h"
#include "core/align/solve.h"
#include "server/base/fsutil.h"
#include "server/base/hash.h"
#include "server/base/log.h"
#include "server/store/results.h"
#include "server/work/moments_cache.h"
#include "server/work/stage_joint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct solve {
    struct rb_run *run;
    struct rb_async async;
    struct rb_pool_task task;
    struct rb_program *program;
    char *permutations; /* JSON */
    size_t permutations_bytes;
    struct rb_artifact artifacts[2];
    enum rb_status status;
    struct rb_error error;
};

static void leave(struct rb_run *run, void *data)
{
    if (rb_run_several(run)) {
        rb_joint_leave(data);
        return;
    }
    struct solve *s = data;
    rb_program_free(s->program);
    free(s->permutations);
    free(s);
}

/* ---- pool: files ---- */

static void save(struct rb_async *a)
{
    struct solve *s = a->data;
    s->status = rb_joint_save_alignment(s->run, 1, &s->error);
}

static void save_certified(struct rb_async *a)
{
    struct solve *s = a->data;
    const struct rb_run *run = s->run;
    char below[RB_PATH_SIZE];
    s->status = rb_joint_save_alignment(s->run, 1, &s->error);
    if (s->status == RB_OK)
        s->status = rb_file_put(run->work->options.data_fd,
                                rb_layout_job(run->row.job.id, RB_FILE_PERMUTATIONS, below),
                                s->permutations, s->permutations_bytes, &s->error);
    static const char *const names[2] = {RB_FILE_ALIGNMENT, RB_FILE_PERMUTATIONS};
    for (int i = 0; i < 2 && s->status == RB_OK; i++)
        s->status = rb_job_describe_artifact(run->work, run->row.job.id, names[i], &s->artifacts[i],
                                             &s->error);
}

/* ---- solving ---- */

static void solve_saved(struct rb_async *a)
{
    struct solve *s = a->data;
    struct rb_run *run = s->run;
    if (s->status == RB_OK)
        s->status =
            rb_run_record(run, RB_PHASE_SOLVING, "{\"file\":\"" RB_FILE_ALIGNMENT "\"}", &s->error);
    if (s->status == RB_OK) {
        rb_moments_free(run->moments);
        run->moments = NULL;
        rb_moments_trim(run->work);
    }
    rb_run_stage_done(run, s->status, &s->error);
}

/* A similarity, or an output of the certificate's probes, is no number: of which models? */
static void fail(struct solve *s, enum rb_status status, const struct rb_error *err)
{
    struct rb_error named = {.status = status};
    const struct rb_places *places = &s->run->places;
    if (err != NULL)
        named = *err;
    if (status == RB_ENUMERIC)
        (void)rb_error_prefix(&named, "models '%s' (a) and '%s' (b): ", places->name[0],
                              places->name[1]);
    rb_run_stage_done(s->run, status, &named);
}

static void solved(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct solve *s = task->data;
    struct rb_run *run = s->run;
    rb_run_program_ended(run, task);
    if (status != RB_OK) {
        fail(s, status, err);
        return;
    }
    /* Both or none: an alignment whose motion is missing would be evaluated as if nothing moved. */
    struct rb_alignment *alignment = rb_solve_take(s->program);
    status = rb_alignment_motion(alignment, &run->subject.model[1], &run->motion, &s->error);
    if (status != RB_OK) {
        rb_alignment_free(alignment);
        rb_run_stage_done(s->run, status, &s->error);
        return;
    }
    if (run->folds)
        rb_motion_fold(&run->motion, &run->fold[1]);
    run->alignment = alignment;
    run->has_motion = true;
    s->async = (struct rb_async){.work = save, .done = solve_saved, .data = s};
    rb_async_start(run->work->pool, &s->async);
}

static void solve_enter(struct rb_run *run)
{
    struct rb_error err;
    if (rb_run_several(run)) {
        rb_joint_solve_enter(run);
        return;
    }
    struct solve *s = rb_run_stage_begin(run, sizeof *s);
    if (s == NULL)
        return;
    s->run = run;
    if (run->alignment != NULL) { /* solved before, but the disk would not take it */
        s->async = (struct rb_async){.work = save, .done = solve_saved, .data = s};
        rb_async_start(run->work->pool, &s->async);
        return;
    }
    const struct rb_model *a = &run->subject.model[0];
    enum rb_status status = rb_solve_new(&a->config, a->head, run->moments,
                                         &run->spec.align.options, &s->program, &err);
    if (status != RB_OK) {
        rb_run_stage_done(s->run, status, &err);
        return;
    }
    const struct rb_blend_term ends[2] = {{a, run->folds ? &run->folded[0] : NULL, 0},
                                          {a + 1, run->folds ? &run->folded[1] : NULL, 0}};
    rb_solve_models(s->program, &ends[0], &ends[1]);
    rb_run_phase_program(run, RB_PHASE_SOLVING, &s->task, s->program, solved, s);
}

static bool solve_needed(const struct rb_run *run)
{
    return rb_run_moves(run) && run->alignment == NULL;
}

const struct rb_stage rb_stage_solving = {RB_PHASE_SOLVING, solve_needed, solve_enter, leave};

/* ---- certifying ---- */

static enum rb_status record_certified(struct solve *s, struct rb_error *err)
{
    const struct rb_certificate *c = &s->run->alignment->certificate;
    char product[128];
    (void)snprintf(product, sizeof product, "{\"equivalent\":%s,\"max_abs_logit_difference\":%.9g}",
                   c->equivalent ? "true" : "false", c->max_abs_logit_difference);
    return rb_run_record_files(s->run, RB_PHASE_CERTIFYING, product, s->artifacts, 2, err);
}

static void certified_saved(struct rb_async *a)
{
    struct solve *s = a->data;
    if (s->status == RB_OK)
        s->status = record_certified(s, &s->error);
    rb_run_stage_done(s->run, s->status, &s->error);
}

static void say(const struct rb_run *run)
{
    const struct rb_certificate *c = &run->alignment->certificate;
    if (c->expected && !c->equivalent)
        rb_log_warn("moved model differs", RB_S("job", run->row.job.id),
                    RB_D("max_abs_logit_difference", c->max_abs_logit_difference),
                    RB_D("tolerance", c->tolerance));
}

static void certified(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct solve *s = task->data;
    struct rb_run *run = s->run;
    struct rb_json w;
    status = rb_run_models_used(run, task, status, err, &s->error);
    if (status == RB_OK) {
        run->alignment->certificate = rb_certify_result(s->program);
        say(run);
        rb_json_init(&w);
        rb_permutations_encode(&w, run->row.job.id, run->alignment);
        status = rb_json_finish(&w, &s->permutations, &s->permutations_bytes, &s->error);
    }
    if (status != RB_OK) {
        fail(s, status, &s->error);
        return;
    }
    s->async = (struct rb_async){.work = save_certified, .done = certified_saved, .data = s};
    rb_async_start(run->work->pool, &s->async);
}

static void certify_enter(struct rb_run *run)
{
    struct rb_error err;
    if (rb_run_several(run)) {
        rb_joint_certify_enter(run);
        return;
    }
    struct solve *s = rb_run_stage_begin(run, sizeof *s);
    if (s == NULL)
        return;
    s->run = run;
    enum rb_status status =
        rb_certify_new(&run->subject.model[1], run->alignment, &s->program, &err);
    if (status == RB_OK && run->folds)
        status =
            rb_certify_fold(s->program, &run->subject.model[0], &run->fold[0], &run->fold[1], &err);
    if (status != RB_OK) {
        rb_run_stage_done(s->run, status, &err);
        return;
    }
    rb_run_phase_program(run, RB_PHASE_CERTIFYING, &s->task, s->program, certified, s);
}

static bool certify_needed(const struct rb_run *run)
{
    return rb_run_moves(run) &&
           !(run->alignment->certificate.present && rb_run_has_artifact(run, RB_FILE_PERMUTATIONS));
}

const struct rb_stage rb_stage_certifying = {RB_PHASE_CERTIFYING, certify_needed, certify_enter,
                                             leave};
