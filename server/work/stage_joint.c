#include "server/work/stage_joint.h"
#include "api/artifact.h"
#include "api/permutations.h"
#include "api/reference.h"
#include "core/align/alignment_file.h"
#include "core/align/certify.h"
#include "core/align/collect.h"
#include "core/align/joint.h"
#include "server/base/beneath.h"
#include "server/base/file.h"
#include "server/base/fsutil.h"
#include "server/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REFERENCE_BYTES_MOST = 1 << 20, FILES_MOST = 2 * RB_MODELS_MAX + 1 };

struct joint {
    struct rb_run *run;
    struct rb_async async;
    struct rb_pool_task task;
    struct rb_program *program;
    struct rb_blend_term terms[RB_MODELS_MAX];
    struct rb_program *certificates[RB_MODELS_MAX]; /* by model; in the program, which is a chain */
    char *permutations[RB_MODELS_MAX];              /* JSON, by model */
    size_t permutations_bytes[RB_MODELS_MAX];
    struct rb_artifact artifacts[FILES_MOST];
    size_t artifact_count;
    enum rb_status status;
    struct rb_error error;
};

void rb_joint_leave(void *data)
{
    struct joint *j = data;
    rb_program_free(j->program);
    for (size_t m = 0; m < RB_MODELS_MAX; m++)
        free(j->permutations[m]);
    free(j);
}

static struct joint *begin(struct rb_run *run)
{
    struct joint *j = rb_run_stage_begin(run, sizeof *j);
    if (j != NULL)
        j->run = run;
    return j;
}

static void done(struct joint *j, enum rb_status status, const struct rb_error *err)
{
    struct rb_error copy = {.status = status};
    if (err != NULL)
        copy = *err;
    rb_run_stage_done(j->run, status, &copy);
}

static void start(struct joint *j, enum rb_phase phase,
                  void (*ended)(struct rb_pool_task *task, enum rb_status status,
                                const struct rb_error *err))
{
    rb_run_phase_program(j->run, phase, &j->task, j->program, ended, j);
}

/* On the pool; `then` in the loop. */
static void start_saving(struct joint *j, void (*work)(struct rb_async *a),
                         void (*then)(struct rb_async *a))
{
    j->async = (struct rb_async){.work = work, .done = then, .data = j};
    rb_async_start(j->run->work->pool, &j->async);
}

/* ---- files ---- */

enum rb_status rb_joint_reference_read(const struct rb_run *run, char **ret, struct rb_error *err)
{
    char below[RB_PATH_SIZE];
    size_t bytes;
    return rb_file_get(run->work->options.data_fd,
                       rb_layout_job(run->row.job.id, RB_FILE_REFERENCE, below),
                       REFERENCE_BYTES_MOST, ret, &bytes, err);
}

enum rb_status rb_joint_save_alignment(const struct rb_run *run, size_t model, struct rb_error *err)
{
    char below[RB_PATH_SIZE], name[RB_FILE_NAME_SIZE];
    int data_fd = run->work->options.data_fd;
    enum rb_status status =
        rb_mkdirs_beneath(data_fd, rb_layout_job(run->row.job.id, NULL, below), err);
    if (status != RB_OK)
        return status;
    rb_artifact_of_model(RB_FILE_ALIGNMENT, model, name);
    rb_layout_job(run->row.job.id, name, below);
    char *path = rb_layout_absolute(run->work->options.data_dir, below);
    if (path == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to save an alignment");
    status = rb_alignment_save(rb_run_alignment(run, model), path, err);
    free(path);
    return status == RB_OK ? rb_sync_beneath(data_fd, below, err) : status;
}

static enum rb_status put(const struct rb_run *run, const char *file, const char *text,
                          size_t bytes, struct rb_error *err)
{
    char below[RB_PATH_SIZE];
    return rb_file_put(run->work->options.data_fd, rb_layout_job(run->row.job.id, file, below),
                       text, bytes, err);
}

static enum rb_status save_alignments(const struct rb_run *run, struct rb_error *err)
{
    enum rb_status status = RB_OK;
    for (size_t m = 1; m < rb_run_models(run) && status == RB_OK; m++)
        status = rb_joint_save_alignment(run, m, err);
    return status;
}

/* ---- alignments of the run ---- */

static struct rb_run_moved *moved_of(struct rb_run *run, size_t model)
{
    return &run->more[model - 2];
}

static void set_alignment(struct rb_run *run, size_t model, struct rb_alignment *a)
{
    if (model == 1)
        run->alignment = a;
    else
        moved_of(run, model)->alignment = a;
}

void rb_joint_take_over(struct rb_run *run, struct rb_alignment **alignments)
{
    for (size_t m = 1; m < rb_run_models(run); m++) {
        set_alignment(run, m, alignments[m]);
        alignments[m] = NULL;
    }
}

static void drop_motions(struct rb_run *run)
{
    rb_motion_deinit(&run->motion);
    for (size_t m = 2; m < rb_run_models(run); m++)
        rb_motion_deinit(&moved_of(run, m)->motion);
    run->has_motion = false;
}

void rb_joint_drop(struct rb_run *run)
{
    drop_motions(run);
    for (size_t m = 1; m < rb_run_models(run); m++) {
        rb_alignment_free(rb_run_alignment(run, m));
        set_alignment(run, m, NULL);
    }
}

struct rb_motion *rb_joint_motion(struct rb_run *run, size_t model)
{
    return model == 1 ? &run->motion : &moved_of(run, model)->motion;
}

/* Of one model, whose motion is none. */
static enum rb_status make_motion(struct rb_run *run, size_t model, struct rb_error *err)
{
    struct rb_motion *motion = rb_joint_motion(run, model);
    enum rb_status status =
        rb_alignment_motion(rb_run_alignment(run, model), &run->subject.model[model], motion, err);
    if (status == RB_OK && run->folds)
        rb_motion_fold(motion, &run->fold[model]);
    return status;
}

enum rb_status rb_joint_motions(struct rb_run *run, struct rb_error *err)
{
    enum rb_status status = RB_OK;
    for (size_t m = 1; m < rb_run_models(run) && status == RB_OK; m++)
        status = make_motion(run, m, err);
    run->has_motion = status == RB_OK;
    if (status != RB_OK)
        drop_motions(run);
    return status;
}

enum rb_status rb_joint_motion_again(struct rb_run *run, size_t model, struct rb_error *err)
{
    rb_motion_deinit(rb_joint_motion(run, model));
    enum rb_status status = make_motion(run, model, err);
    if (status != RB_OK)
        drop_motions(run);
    return status;
}

/* ---- aligning ---- */

static size_t pair_count(const struct rb_run *run)
{
    const struct rb_align_spec *a = &run->spec.align;
    return rb_joint_pairs(rb_run_models(run), a->reference, a->cycles);
}

static void collected(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct joint *j = task->data;
    struct rb_run *run = j->run;
    status = rb_run_models_used(run, task, status, err, &j->error);
    if (status == RB_OK) {
        run->pairs = calloc(pair_count(run), sizeof(struct rb_moments *));
        if (run->pairs == NULL)
            status = rb_error_set(&j->error, RB_ENOMEM, "no memory to keep moments");
    }
    if (status != RB_OK) {
        done(j, status, &j->error);
        return;
    }
    run->pair_count = pair_count(run);
    for (size_t i = 0; i < run->pair_count; i++)
        run->pairs[i] = rb_collect_take_pair(j->program, i);
    rb_metrics_add(run->work->metrics, RB_METER_TOKENS,
                   (double)rb_run_models(run) * (double)rb_sequences_tokens(&run->subject.align),
                   "aligning", NULL);
    done(j, RB_OK, NULL);
}

static enum rb_status collect(struct joint *j, struct rb_error *err)
{
    struct rb_run *run = j->run;
    const struct rb_align_options *o = &run->spec.align.options;
    const struct rb_model *models[RB_MODELS_MAX];
    size_t count = rb_run_models(run), pairs = pair_count(run);
    struct rb_pair *list = calloc(pairs, sizeof *list);
    if (list == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to align %zu models", count);
    for (size_t m = 0; m < count; m++)
        models[m] = &run->subject.model[m];
    for (size_t i = 0; i < pairs; i++)
        list[i] = rb_pair_at(count, i);
    enum rb_status status = rb_collect_many_new(models, count, list, pairs, &run->subject.align,
                                                rb_taps_needed(o), o, &j->program, err);
    free(list);
    for (size_t m = 0; m < count && run->folds && status == RB_OK; m++)
        rb_collect_move(j->program, m, &run->folded[m]);
    return status;
}

/* Is a model there twice? That is allowed, and said. */
static void say_twice(const struct rb_run *run)
{
    const struct rb_job_input *in = run->row.job.inputs;
    for (size_t i = 0; i < rb_run_models(run); i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(in[i].sha256, in[k].sha256) == 0)
                rb_log_warn("two models of the job are the same", RB_S("job", run->row.job.id),
                            RB_S("model", in[k].name), RB_S("other", in[i].name));
}

void rb_joint_align_enter(struct rb_run *run)
{
    struct rb_error err;
    struct joint *j = begin(run);
    if (j == NULL)
        return;
    say_twice(run);
    enum rb_status status = collect(j, &err);
    if (status == RB_OK)
        start(j, RB_PHASE_ALIGNING, collected);
    else
        done(j, status, &err);
}

/* ---- solving ---- */

static void save(struct rb_async *a)
{
    struct joint *j = a->data;
    const struct rb_run *run = j->run;
    j->status = save_alignments(run, &j->error);
    if (j->status == RB_OK)
        j->status = put(run, RB_FILE_REFERENCE, run->reference, strlen(run->reference), &j->error);
}

static void saved(struct rb_async *a)
{
    struct joint *j = a->data;
    struct rb_run *run = j->run;
    struct rb_error err = j->error;
    enum rb_status status = j->status;
    if (status == RB_OK)
        status = rb_run_record(run, RB_PHASE_SOLVING, "{\"file\":\"" RB_FILE_REFERENCE "\"}", &err);
    for (size_t i = 0; i < run->pair_count && status == RB_OK; i++) {
        rb_moments_free(run->pairs[i]);
        run->pairs[i] = NULL;
    }
    done(j, status, &err);
}

static enum rb_status encode_reference(struct joint *j, struct rb_error *err)
{
    struct rb_run *run = j->run;
    struct rb_joint_facts facts;
    struct rb_json w;
    rb_joint_take_facts(j->program, &facts);
    rb_json_init(&w);
    rb_reference_encode(&w, run->row.job.id, &run->spec, &facts);
    rb_joint_facts_deinit(&facts);
    free(run->reference);
    run->reference = NULL;
    return rb_json_finish(&w, &run->reference, NULL, err);
}

static void solved(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct joint *j = task->data;
    struct rb_run *run = j->run;
    rb_run_program_ended(run, task);
    if (status != RB_OK) {
        done(j, status, err);
        return;
    }
    for (size_t m = 1; m < rb_run_models(run); m++)
        set_alignment(run, m, rb_joint_take(j->program, m));
    status = encode_reference(j, &j->error);
    if (status == RB_OK)
        status = rb_joint_motions(run, &j->error);
    if (status != RB_OK) {
        rb_joint_drop(run);
        done(j, status, &j->error);
        return;
    }
    start_saving(j, save, saved);
}

void rb_joint_solve_enter(struct rb_run *run)
{
    struct rb_error err;
    struct joint *j = begin(run);
    if (j == NULL)
        return;
    if (run->alignment != NULL) { /* solved before, but the disk would not take it */
        start_saving(j, save, saved);
        return;
    }
    const struct rb_model *models = run->subject.model;
    for (size_t m = 0; m < rb_run_models(run); m++)
        j->terms[m] = (struct rb_blend_term){&models[m], run->folds ? &run->folded[m] : NULL, 0};
    const struct rb_joint_input in = {.config = &models[0].config,
                                      .head = models[0].head,
                                      .reference = run->spec.align.reference,
                                      .cycles = run->spec.align.cycles,
                                      .count = rb_run_models(run),
                                      .moments = (const struct rb_moments *const *)run->pairs,
                                      .terms = j->terms};
    enum rb_status status = rb_joint_new(&in, &run->spec.align.options, &j->program, &err);
    if (status == RB_OK)
        start(j, RB_PHASE_SOLVING, solved);
    else
        done(j, status, &err);
}

/* ---- certifying ---- */

static enum rb_status describe(struct joint *j, const char *file, struct rb_error *err)
{
    const struct rb_run *run = j->run;
    enum rb_status status = rb_job_describe_artifact(run->work, run->row.job.id, file,
                                                     &j->artifacts[j->artifact_count], err);
    j->artifact_count += status == RB_OK;
    return status;
}

static void save_certified(struct rb_async *a)
{
    struct joint *j = a->data;
    const struct rb_run *run = j->run;
    char name[RB_FILE_NAME_SIZE];
    j->status = save_alignments(run, &j->error);
    for (size_t m = 1; m < rb_run_models(run) && j->status == RB_OK; m++) {
        rb_artifact_of_model(RB_FILE_ALIGNMENT, m, name);
        j->status = describe(j, name, &j->error);
        rb_artifact_of_model(RB_FILE_PERMUTATIONS, m, name);
        if (j->status == RB_OK)
            j->status = put(run, name, j->permutations[m], j->permutations_bytes[m], &j->error);
        if (j->status == RB_OK)
            j->status = describe(j, name, &j->error);
    }
    if (j->status == RB_OK)
        j->status = describe(j, RB_FILE_REFERENCE, &j->error);
}

static enum rb_status record_certified(struct joint *j, struct rb_error *err)
{
    struct rb_run *run = j->run;
    double worst = 0;
    bool equivalent = true;
    char product[128];
    for (size_t m = 1; m < rb_run_models(run); m++) {
        const struct rb_certificate *c = &rb_run_alignment(run, m)->certificate;
        equivalent = equivalent && c->equivalent;
        worst = c->max_abs_logit_difference > worst ? c->max_abs_logit_difference : worst;
    }
    (void)snprintf(product, sizeof product, "{\"equivalent\":%s,\"max_abs_logit_difference\":%.9g}",
                   equivalent ? "true" : "false", worst);
    return rb_run_record_files(run, RB_PHASE_CERTIFYING, product, j->artifacts, j->artifact_count,
                               err);
}

static void certified_saved(struct rb_async *a)
{
    struct joint *j = a->data;
    struct rb_error err = j->error;
    enum rb_status status = j->status;
    if (status == RB_OK)
        status = record_certified(j, &err);
    done(j, status, &err);
}

static enum rb_status take_certificate(struct joint *j, size_t model, struct rb_error *err)
{
    struct rb_run *run = j->run;
    struct rb_alignment *a = rb_run_alignment(run, model);
    struct rb_json w;
    a->certificate = rb_certify_result(j->certificates[model]);
    if (a->certificate.expected && !a->certificate.equivalent)
        rb_log_warn("moved model differs", RB_S("job", run->row.job.id),
                    RB_S("model", run->places.name[model]),
                    RB_D("max_abs_logit_difference", a->certificate.max_abs_logit_difference),
                    RB_D("tolerance", a->certificate.tolerance));
    rb_json_init(&w);
    rb_permutations_encode(&w, run->row.job.id, a);
    return rb_json_finish(&w, &j->permutations[model], &j->permutations_bytes[model], err);
}

static void certified(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct joint *j = task->data;
    struct rb_run *run = j->run;
    status = rb_run_models_used(run, task, status, err, &j->error);
    for (size_t m = 1; m < rb_run_models(run) && status == RB_OK; m++)
        status = take_certificate(j, m, &j->error);
    if (status != RB_OK) {
        done(j, status, &j->error);
        return;
    }
    start_saving(j, save_certified, certified_saved);
}

void rb_joint_certify_enter(struct rb_run *run)
{
    struct rb_error err;
    struct joint *j = begin(run);
    size_t count = rb_run_models(run), made = 0;
    enum rb_status status = RB_OK;
    if (j == NULL)
        return;
    for (size_t m = 1; m < count && status == RB_OK; m++) {
        status = rb_certify_new(&run->subject.model[m], rb_run_alignment(run, m),
                                &j->certificates[m], &err);
        made += status == RB_OK;
        if (status == RB_OK && run->folds)
            status = rb_certify_fold(j->certificates[m], &run->subject.model[0], &run->fold[0],
                                     &run->fold[m], &err);
    }
    for (size_t m = 1; m <= made && status != RB_OK; m++)
        rb_program_free(j->certificates[m]);
    if (status == RB_OK)
        status = rb_program_chain_new(j->certificates + 1, count - 1, &j->program, &err);
    if (status == RB_OK)
        start(j, RB_PHASE_CERTIFYING, certified);
    else
        done(j, status, &err);
}
