#include "server/work/slurm_stages.h"
#include "core/align/alignment_file.h"
#include "server/work/slurm_unit.h"
#include "server/work/stage_load.h"

#include <stdlib.h>

/* ---- finding ---- */

struct finding {
    struct rb_async async;
    struct rb_run *run;
    struct rb_alignment *alignment;
    enum rb_status status;
    struct rb_error error;
};

static void finding_leave(struct rb_run *run, void *data)
{
    struct finding *f = data;
    (void)run;
    rb_alignment_free(f->alignment);
    free(f);
}

static void load_alignment(struct rb_async *a)
{
    struct finding *f = a->data;
    char below[RB_PATH_SIZE];
    const struct rb_run *run = f->run;
    char *path = rb_layout_absolute(run->work->options.data_dir,
                                    rb_layout_job(run->row.job.id, RB_FILE_ALIGNMENT, below));
    f->status = path != NULL ? rb_alignment_load(path, &f->alignment, &f->error)
                             : rb_error_set(&f->error, RB_ENOMEM, "no memory to load an alignment");
    free(path);
}

static void alignment_loaded(struct rb_async *a)
{
    struct finding *f = a->data;
    struct rb_error err = f->error;
    enum rb_status status = f->status;
    if (status == RB_OK) {
        rb_alignment_free(f->run->alignment);
        f->run->alignment = f->alignment;
        f->alignment = NULL;
    }
    rb_run_stage_done(f->run, status, &err);
}

static void finding_enter(struct rb_run *run)
{
    struct rb_error err;
    struct finding *f = calloc(1, sizeof *f);
    run->stage_data = f;
    enum rb_status status = f != NULL ? rb_run_look_up(run, &err)
                                      : rb_error_set(&err, RB_ENOMEM, "no memory to look up a job");
    if (status != RB_OK || (run->spec.align.from_job == NULL && !run->recorded[RB_PHASE_SOLVING])) {
        rb_run_stage_done(run, status, status == RB_OK ? NULL : &err);
        return;
    }
    f->run = run;
    f->async = (struct rb_async){
        .work = load_alignment, .done = alignment_loaded, .data = f, .lane = RB_LANE_READ};
    rb_async_start(run->work->pool, &f->async);
}

static bool always(const struct rb_run *run)
{
    (void)run;
    return true;
}

/* ---- units ---- */

static void unit_leave(struct rb_run *run, void *data)
{
    (void)run;
    rb_slurm_unit_free(data);
}

static bool is_certified(const struct rb_run *run)
{
    return run->alignment != NULL && run->alignment->certificate.present &&
           rb_run_has_artifact(run, RB_FILE_PERMUTATIONS);
}

static bool learns(const struct rb_run *run)
{
    return run->spec.align.has_learn && run->spec.align.from_job == NULL;
}

static bool align_needed(const struct rb_run *run)
{
    return rb_run_moves(run) && (learns(run) ? run->alignment == NULL : !is_certified(run));
}

static void align_enter(struct rb_run *run)
{
    rb_slurm_unit_enter(run, RB_UNIT_ALIGN);
}

static bool learn_needed(const struct rb_run *run)
{
    return learns(run) && !is_certified(run);
}

static void learn_enter(struct rb_run *run)
{
    rb_slurm_unit_enter(run, RB_UNIT_LEARN);
}

static bool points_needed(const struct rb_run *run)
{
    bool members[RB_POINTS_MAX];
    return run->spec.has_evaluate &&
           (!rb_run_members(run, members) || rb_run_folded_left(run, members) > 0);
}

static void points_enter(struct rb_run *run)
{
    rb_slurm_unit_enter(run, RB_UNIT_POINTS);
}

static bool write_needed(const struct rb_run *run)
{
    return rb_run_merged_left(run) > 0;
}

static void write_enter(struct rb_run *run)
{
    rb_slurm_unit_enter(run, RB_UNIT_WRITE);
}

/* ---- on this machine ---- */

static bool files_needed(const struct rb_run *run)
{
    return rb_stage_writing.needed(run);
}

/* The verdict needs the text's chance, a merged folder's config and card the models. */
static bool load_needed(const struct rb_run *run)
{
    return files_needed(run);
}

static void load_enter(struct rb_run *run)
{
    rb_alignment_free(run->alignment);
    run->alignment = NULL; /* comes again, with all that belongs to it */
    rb_stage_loading.enter(run);
}

static void load_leave(struct rb_run *run, void *data)
{
    rb_stage_loading.leave(run, data);
}

static void files_enter(struct rb_run *run)
{
    rb_stage_writing.enter(run);
}

static void files_leave(struct rb_run *run, void *data)
{
    rb_stage_writing.leave(run, data);
}

static const struct rb_stage finding = {RB_PHASE_LOADING, always, finding_enter, finding_leave};
static const struct rb_stage align = {RB_PHASE_ALIGNING, align_needed, align_enter, unit_leave};
static const struct rb_stage learn = {RB_PHASE_LEARNING, learn_needed, learn_enter, unit_leave};
static const struct rb_stage points = {RB_PHASE_EVALUATING, points_needed, points_enter,
                                       unit_leave};
static const struct rb_stage merged = {RB_PHASE_WRITING, write_needed, write_enter, unit_leave};
static const struct rb_stage load = {RB_PHASE_WRITING, load_needed, load_enter, load_leave};
static const struct rb_stage files = {RB_PHASE_WRITING, files_needed, files_enter, files_leave};

const struct rb_stage *const rb_slurm_stages[] = {&finding, &align, &learn, &points,
                                                  &merged,  &load,  &files, NULL};

bool rb_slurm_stage_is_unit(const struct rb_stage *stage)
{
    return stage->leave == unit_leave;
}
