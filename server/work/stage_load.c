/* The loading stage: finds what is on disk from before a restart, checks that the inputs are still
 * those of the submission, opens models and texts, plans the work.
 *
 * Its steps by thread: look up (loop), list the inputs' files (pool), recall digests (loop), hash
 * what is not known, each input by itself and in pieces, and beside that open, read and plan (pool,
 * in the lane of what reads files whole), take over (loop). What is opened from a file that turns
 * out to be another is thrown away. */
#include "api/artifact.h"
#include "core/align/alignment_file.h"
#include "server/work/digests.h"
#include "server/work/stage_joint.h"
#include "server/work/imports.h"
#include "server/work/stage_load.h"
#include "server/base/log.h"
#include "server/store/results.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGN_TEXT = RB_MODELS_MAX, EVALUATE_TEXT, LEARN_TEXT, MERGE_TEXT, INPUTS };

/* Texts by their input; before them the models. */
static const struct {
    const char *role;
    size_t place; /* in rb_places */
} texts[INPUTS] = {
    [ALIGN_TEXT] = {"align_dataset", offsetof(struct rb_places, align)},
    [EVALUATE_TEXT] = {"evaluate_dataset", offsetof(struct rb_places, evaluate)},
    [LEARN_TEXT] = {"learn_dataset", offsetof(struct rb_places, learn)},
    [MERGE_TEXT] = {"merge_dataset", offsetof(struct rb_places, merge)},
};

struct hashing {
    struct rb_async async;
    struct load *load;
    int input;
    enum rb_status status;
    struct rb_error error;
};

struct load {
    struct rb_async async;
    struct hashing hashing[INPUTS];
    unsigned under_way; /* asyncs of the last step but one */
    struct rb_run *run; /* the pool thread reads: places, spec, row, work->options */
    struct rb_digests digests[INPUTS];
    struct rb_subject subject;
    struct rb_plan plan;
    struct rb_alignment *alignments[RB_MODELS_MAX]; /* of models 1 …; all or none */
    char *reference;
    struct rb_fold fold[RB_MODELS_MAX]; /* of the subject's models, where the alignment folds */
    bool folds, look_for_alignment;
    enum rb_status status;
    struct rb_error error;
};

static bool is_model(int input)
{
    return input < ALIGN_TEXT;
}

static void role_of(int input, char ret[24])
{
    if (is_model(input))
        rb_job_model_role((size_t)input, ret);
    else
        (void)snprintf(ret, 24, "%s", texts[input].role);
}

static const struct rb_text_place *text_of(const struct rb_places *p, int input)
{
    return (const struct rb_text_place *)((const char *)p + texts[input].place);
}

static const char *path_of(const struct rb_places *p, int input)
{
    return is_model(input) ? p->path[input] : text_of(p, input)->path;
}

static const char *name_of(const struct rb_places *p, int input)
{
    return is_model(input) ? p->name[input] : text_of(p, input)->name;
}

static void load_free(struct rb_run *run, void *data)
{
    struct load *l = data;
    (void)run;
    for (int i = 0; i < INPUTS; i++)
        rb_digests_deinit(&l->digests[i]);
    for (size_t i = 0; i < RB_MODELS_MAX; i++) {
        rb_fold_deinit(&l->fold[i]);
        rb_alignment_free(l->alignments[i]);
    }
    rb_subject_deinit(&l->subject);
    free(l->reference);
    free(l);
}

/* ---- pool: which files ---- */

static void scan(struct rb_async *a)
{
    struct load *l = a->data;
    const struct rb_work_options *o = &l->run->work->options;
    for (int i = 0; i < INPUTS && l->status == RB_OK; i++) {
        const char *path = path_of(&l->run->places, i);
        char *real = NULL;
        if (path == NULL)
            continue;
        const struct rb_strings *roots = rb_import_roots_for(o->import_roots, o->data_dir, path);
        l->status = rb_import_resolve(roots, path, &real, &l->error);
        free(real);
        if (l->status == RB_OK)
            l->status = is_model(i)
                            ? rb_digests_scan_folder(path, false, roots, &l->digests[i], &l->error)
                            : rb_digests_scan_file(path, &l->digests[i], &l->error);
    }
}

/* ---- pool: everything that takes long ---- */

static enum rb_status compare(const struct load *l, int input, struct rb_error *err)
{
    const struct rb_job *job = &l->run->row.job;
    const char *name = name_of(&l->run->places, input);
    char hex[RB_SHA256_HEX], role[24];
    role_of(input, role);
    (is_model(input) ? rb_digests_model_hex : rb_digests_file_hex)(&l->digests[input], hex);
    for (size_t i = 0; i < job->input_count; i++)
        if (strcmp(job->inputs[i].role, role) == 0 && strcmp(job->inputs[i].sha256, hex) != 0)
            return rb_error_set(err, RB_ECONFLICT,
                                "%s '%s' has changed since it was registered: its SHA-256 is %s, "
                                "expected %s",
                                is_model(input) ? "model" : "dataset", name, hex,
                                job->inputs[i].sha256);
    return RB_OK;
}

static enum rb_status find_alignments(struct load *l, struct rb_error *err)
{
    struct rb_run *run = l->run;
    char below[RB_PATH_SIZE], name[RB_FILE_NAME_SIZE];
    enum rb_status status = RB_OK;
    for (size_t m = 1; m < rb_run_models(run) && status == RB_OK && l->look_for_alignment; m++) {
        rb_artifact_of_model(RB_FILE_ALIGNMENT, m, name);
        char *path = rb_layout_absolute(run->work->options.data_dir,
                                        rb_layout_job(run->row.job.id, name, below));
        if (path == NULL)
            return rb_error_set(err, RB_ENOMEM, "no memory to load an alignment");
        status = rb_alignment_load(path, &l->alignments[m], err);
        free(path);
    }
    if (status == RB_OK && rb_run_several(run) && l->look_for_alignment)
        status = rb_joint_reference_read(run, &l->reference, err);
    return status;
}

static void hash(struct rb_async *a)
{
    struct hashing *h = a->data;
    struct load *l = h->load;
    h->status = rb_digests_step(&l->digests[h->input], &l->run->stop, &a->again, &h->error);
    if (a->again && h->status == RB_OK)
        return;
    a->again = false;
    if (h->status == RB_OK)
        h->status = compare(l, h->input, &h->error);
}

/* Folded norms need sums over what is written to the stream: found here, off the loop. */
static enum rb_status fold_models(struct load *l, struct rb_error *err)
{
    const struct rb_align_options *o =
        l->alignments[1] != NULL ? &l->alignments[1]->options : &l->run->spec.align.options;
    enum rb_status status = RB_OK;
    l->folds = o->components != 0 && rb_align_folds(o);
    for (size_t i = 0; i < l->subject.models && l->folds && status == RB_OK; i++)
        status = rb_fold_init(&l->fold[i], &l->subject.model[i], err);
    return status;
}

static void open_all(struct rb_async *a)
{
    struct load *l = a->data;
    struct rb_run *run = l->run;
    if (l->status == RB_OK)
        l->status = rb_subject_open_models(&l->subject, &run->places, &l->error);
    if (l->status == RB_OK && !run->executor->elsewhere)
        l->status = rb_subject_check_finite(&l->subject, &run->places, &run->stop, &l->error);
    if (l->status == RB_OK) /* a file that shrank under the check reads as zeros */
        l->status = rb_subject_verify(&l->subject, &run->places, &l->error);
    if (l->status == RB_OK)
        l->status = rb_subject_read_texts(&l->subject, &run->places, &run->spec, RB_SUBJECT_WHOLE,
                                          &l->error);
    if (l->status == RB_OK)
        l->status = find_alignments(l, &l->error);
    if (l->status == RB_OK)
        l->status = fold_models(l, &l->error);
    if (l->status != RB_OK)
        return;
    struct rb_plan_sizes sizes = rb_plan_sizes_of(&l->subject);
    const struct rb_plan_machine machine = {run->work->options.workers,
                                            run->work->options.memory_limit};
    rb_plan_make(&l->subject, &run->spec, &sizes, &machine, &l->plan);
}

/* ---- loop ---- */

/* A phase that will be skipped costs nothing; evaluations that are recorded and checkpoints that
 * are written are done. */
static void set_costs(struct rb_run *run)
{
    bool solved = run->alignment != NULL;
    uint32_t known = 0, all = run->plan.evaluations;
    double evaluation = all > 0 ? run->plan.cost[RB_PHASE_EVALUATING] / all : 0;
    for (int p = 0; p < RB_PHASE_COUNT; p++)
        run->phases[p].total = run->plan.cost[p];
    if (solved)
        run->phases[RB_PHASE_ALIGNING].total = run->phases[RB_PHASE_SOLVING].total = 0;
    if (run->recorded[RB_PHASE_LEARNING])
        run->phases[RB_PHASE_LEARNING].total = 0;
    for (size_t i = 0; i < run->spec.lambdas.count; i++) {
        known += run->curves[RB_CURVE_ALIGNED].known[i];
        known += run->curves[RB_CURVE_CONTROL].known[i] && !rb_run_shares(run, i);
        known += run->curves[RB_CURVE_FOLDED].known[i] && !rb_run_shares_folded(run, i);
    }
    double left = known < all ? evaluation * (all - known) : 0;
    run->phases[RB_PHASE_EVALUATING].total = left;
    if (run->spec.merged.count > 0)
        for (int p = RB_PHASE_MERGING; p <= RB_PHASE_WRITING; p++)
            run->phases[p].total *=
                (double)rb_run_merged_left(run) / (double)run->spec.merged.count;
    for (int p = 0; p < RB_PHASE_COUNT; p++)
        run->phases[p].weight = run->phases[p].total;
}

static enum rb_status take_folds(struct rb_run *run, struct load *l, struct rb_error *err)
{
    run->folds = l->folds;
    for (size_t i = 0; i < run->subject.models && l->folds; i++) {
        enum rb_status status =
            rb_motion_init(&run->folded[i], run->subject.model[i].config.num_hidden_layers, err);
        if (status != RB_OK)
            return status;
        run->fold[i] = l->fold[i];
        run->fold[i].model = &run->subject.model[i]; /* it has moved */
        l->fold[i] = (struct rb_fold){0};
        rb_motion_fold(&run->folded[i], &run->fold[i]);
    }
    return RB_OK;
}

/* What the stage left in the run before it failed goes: it is entered again. */
static void give_back(struct rb_run *run, struct load *l)
{
    for (size_t i = 0; i < RB_MODELS_MAX; i++) {
        rb_motion_deinit(&run->folded[i]);
        rb_fold_deinit(&run->fold[i]);
    }
    rb_joint_drop(run);
    l->subject = run->subject;
    run->subject = (struct rb_subject){0};
}

static enum rb_status take_over(struct rb_run *run, struct load *l, struct rb_error *err)
{
    run->subject = l->subject;
    l->subject = (struct rb_subject){0};
    run->plan = l->plan;
    rb_joint_take_over(run, l->alignments);
    run->reference = l->reference;
    l->reference = NULL;
    set_costs(run);
    enum rb_status status = take_folds(run, l, err);
    if (status == RB_OK && run->alignment != NULL) {
        status = rb_joint_motions(run, err);
    }
    if (status != RB_OK)
        give_back(run, l);
    return status;
}

static void loaded(struct load *l)
{
    struct rb_run *run = l->run;
    for (int i = INPUTS - 1; i >= 0; i--) {
        rb_digests_remember(&l->digests[i], run->work->store);
        if (l->hashing[i].status != RB_OK) {
            l->status = l->hashing[i].status;
            l->error = l->hashing[i].error;
        }
    }
    if (l->status == RB_OK)
        l->status = take_over(run, l, &l->error);
    rb_run_stage_done(run, l->status, &l->error);
}

static void opened(struct rb_async *a)
{
    struct load *l = a->data;
    if (--l->under_way == 0)
        loaded(l);
}

static void hashed(struct rb_async *a)
{
    const struct hashing *h = a->data;
    if (--h->load->under_way == 0)
        loaded(h->load);
}

static void scanned(struct rb_async *a)
{
    struct load *l = a->data;
    struct rb_pool *pool = l->run->work->pool;
    bool listed = l->status == RB_OK;
    l->under_way = 1;
    l->async.work = open_all;
    l->async.lane = RB_LANE_READ;
    l->async.done = opened;
    rb_async_start(pool, &l->async);
    for (int i = 0; i < INPUTS && listed; i++) {
        struct hashing *h = &l->hashing[i];
        if (path_of(&l->run->places, i) == NULL)
            continue;
        rb_digests_recall(&l->digests[i], l->run->work->store);
        *h = (struct hashing){.load = l, .input = i, .status = RB_OK};
        h->async = (struct rb_async){.work = hash, .done = hashed, .data = h, .lane = RB_LANE_READ};
        l->under_way++;
        rb_async_start(pool, &h->async);
    }
}

/* ---- what an earlier process left ---- */

static enum rb_status find_stages(struct rb_run *run, struct rb_error *err)
{
    struct rb_stage_row *rows = NULL;
    size_t count = 0;
    enum rb_status status = rb_stages_list(run->work->store, run->row.seq, &rows, &count, err);
    for (size_t i = 0; status == RB_OK && i < count; i++) {
        int phase = rb_enum_find(rb_phase_names, rows[i].stage);
        if (phase > 0)
            run->recorded[phase] = true;
    }
    rb_stages_free(rows, count);
    return status;
}

static enum rb_status find_points(struct rb_run *run, struct rb_error *err)
{
    struct rb_point_row *rows = NULL;
    size_t count = 0;
    enum rb_status status = rb_points_list(run->work->store, run->row.seq, &rows, &count, err);
    for (size_t i = 0; status == RB_OK && i < count; i++) {
        if (rows[i].index >= run->spec.lambdas.count)
            continue;
        run->curves[rows[i].curve].points[rows[i].index] = rows[i].point;
        run->curves[rows[i].curve].known[rows[i].index] = true;
    }
    free(rows);
    return status;
}

static enum rb_status find_inputs(struct rb_run *run, struct rb_error *err)
{
    struct rb_job_input inputs[RB_JOB_INPUTS_MAX];
    uint64_t versions[RB_JOB_INPUTS_MAX];
    size_t count;
    rb_places_deinit(&run->places);
    return rb_places_find(run->work, run->row.job.id, &run->spec, &run->places, inputs, versions,
                          &count, NULL, err);
}

enum rb_status rb_run_artifacts_read(struct rb_run *run, struct rb_error *err)
{
    free(run->artifacts);
    run->artifacts = NULL;
    run->artifact_count = 0;
    return rb_artifacts_list(run->work->store, run->row.seq, &run->artifacts, &run->artifact_count,
                             err);
}

enum rb_status rb_run_look_up(struct rb_run *run, struct rb_error *err)
{
    enum rb_status status = find_inputs(run, err);
    if (status == RB_OK)
        status = find_stages(run, err);
    if (status == RB_OK)
        status = find_points(run, err);
    return status == RB_OK ? rb_run_artifacts_read(run, err) : status;
}

static void load_enter(struct rb_run *run)
{
    struct rb_error err;
    struct load *l = rb_run_stage_begin(run, sizeof *l);
    if (l == NULL)
        return;
    enum rb_status status = rb_run_look_up(run, &err);
    if (status != RB_OK) {
        rb_run_stage_done(run, status, &err);
        return;
    }
    l->run = run;
    l->look_for_alignment = run->spec.align.from_job != NULL || run->recorded[RB_PHASE_SOLVING];
    l->async = (struct rb_async){.work = scan, .done = scanned, .data = l};
    rb_async_start(run->work->pool, &l->async);
}

static bool load_needed(const struct rb_run *run)
{
    (void)run;
    return true;
}

const struct rb_stage rb_stage_loading = {RB_PHASE_LOADING, load_needed, load_enter, load_free};
