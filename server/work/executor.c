#include "server/work/executor.h"
#include "api/bundle.h"
#include "server/work/run_progress.h"

static const struct rb_stage *const whole[] = {
    &rb_stage_loading,  &rb_stage_aligning,   &rb_stage_solving,
    &rb_stage_learning, &rb_stage_certifying, &rb_stage_evaluating,
    &rb_stage_merging,  &rb_stage_writing,    NULL,
};

static void stop(struct rb_run *run)
{
    rb_pool_stopping(run->work->pool);
}

#define LOCAL(table)                                                                               \
    {                                                                                              \
        .name = "local", .stages = (table), .stop = stop, .progress = rb_run_progress              \
    }

const struct rb_executor rb_executor_local = LOCAL(whole);

/* ---- parts of it ---- */

static const struct rb_stage *const align_whole[] = {&rb_stage_loading, &rb_stage_aligning,
                                                     &rb_stage_solving, &rb_stage_certifying, NULL};
static const struct rb_stage *const align_before_learning[] = {
    &rb_stage_loading, &rb_stage_aligning, &rb_stage_solving, NULL};
static const struct rb_stage *const learn_alone[] = {&rb_stage_loading, &rb_stage_learning,
                                                     &rb_stage_certifying, NULL};
static const struct rb_stage *const points_alone[] = {&rb_stage_loading, &rb_stage_evaluating,
                                                      NULL};
static const struct rb_stage *const write_alone[] = {&rb_stage_loading, &rb_stage_writing, NULL};

static const struct rb_executor units[RB_UNIT_COUNT] = {
    [RB_UNIT_ALIGN] = LOCAL(align_whole),
    [RB_UNIT_LEARN] = LOCAL(learn_alone),
    [RB_UNIT_POINTS] = LOCAL(points_alone),
    [RB_UNIT_WRITE] = LOCAL(write_alone),
};
static const struct rb_executor before_learning = LOCAL(align_before_learning);

const struct rb_executor *rb_executor_of_unit(enum rb_unit unit, bool learns)
{
    return unit == RB_UNIT_ALIGN && learns ? &before_learning : &units[unit];
}

const struct rb_executor *rb_executor_for(const struct rb_work *w, const struct rb_job_spec *spec)
{
    if (w->options.bundle != NULL)
        return rb_executor_of_unit(w->options.bundle->unit, spec->align.has_learn);
    bool elsewhere = spec->executor == RB_SPEC_EXECUTOR_SLURM;
    return elsewhere && w->elsewhere != NULL ? w->elsewhere : &rb_executor_local;
}
