/* The aligning stage: moments of both models over the alignment text, from the cache or anew; of a
 * matrix for other jobs too (share.h), or by one of those. */
#include "core/align/collect.h"
#include "core/align/moments.h"
#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/work/moments_cache.h"
#include "server/work/run_state.h"
#include "server/work/share.h"
#include "server/work/stage_joint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct align {
    struct rb_run *run;
    struct rb_async async;
    struct rb_pool_task task;
    struct rb_program *program;
    struct rb_share *share;
    char key[RB_SHA256_HEX];
    char *path;
    struct rb_moments *moments;
    uint64_t bytes; /* of the file written; 0: none */
    enum rb_status status;
    struct rb_error error;
};

static void align_leave(struct rb_run *run, void *data)
{
    if (rb_run_several(run)) {
        rb_joint_leave(data);
        return;
    }
    struct align *s = data;
    rb_share_free(s->share);
    rb_program_free(s->program);
    rb_moments_free(s->moments);
    free(s->path);
    free(s);
}

static void done(struct align *s, enum rb_status status, const struct rb_error *err)
{
    struct rb_run *run = s->run;
    if (status == RB_OK) {
        rb_moments_free(run->moments);
        run->moments = s->moments;
        s->moments = NULL;
    }
    rb_run_stage_done(run, status, err);
}

/* ---- from the models ---- */

static void save(struct rb_async *a)
{
    struct align *s = a->data;
    s->status = rb_moments_write(s->run->work, s->key, s->moments, &s->bytes, &s->error);
}

static void record(struct align *s)
{
    struct rb_error err;
    char product[128];
    (void)snprintf(product, sizeof product, "{\"key\":\"%s\",\"tokens\":%llu}", s->key,
                   (unsigned long long)s->moments->tokens);
    enum rb_status status = rb_run_record(s->run, RB_PHASE_ALIGNING, product, &err);
    done(s, status, &err);
}

static void saved(struct rb_async *a)
{
    struct align *s = a->data;
    struct rb_run *run = s->run;
    if (s->status != RB_OK) {
        /* The job has what it needs in memory; only a restart would have to begin here again. */
        rb_log_warn("moments are not kept", RB_S("job", run->row.job.id),
                    RB_ERROR_FIELDS(&s->error));
        done(s, RB_OK, NULL);
        return;
    }
    rb_moments_keep(run->work, s->key, s->bytes);
    record(s);
}

static void collected(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct align *s = task->data;
    struct rb_run *run = s->run;
    status = rb_run_models_used(run, task, status, err, &s->error);
    if (status != RB_OK) {
        done(s, status, &s->error);
        return;
    }
    rb_metrics_add(run->work->metrics, RB_METER_TOKENS,
                   2.0 * (double)rb_sequences_tokens(&run->subject.align), "aligning", NULL);
    s->moments = rb_collect_take(s->program);
    rb_program_free(s->program);
    s->program = NULL;
    if (run->work->options.one_shot) {
        done(s, RB_OK, NULL);
        return;
    }
    s->async.work = save;
    s->async.done = saved;
    rb_async_start(run->work->pool, &s->async);
}

/* In groups of layers, where the plan says so: their moments go to the file as they are made. */
static enum rb_status split(struct align *s, struct rb_error *err)
{
    struct rb_run *run = s->run;
    const struct rb_collect_split *groups = &run->plan.split;
    if (groups->groups <= 1)
        return RB_OK;
    enum rb_status status = rb_mkdirs_beneath(run->work->options.data_fd, RB_LAYOUT_MOMENTS, err);
    if (status == RB_OK)
        status = rb_collect_in_groups(s->program, groups, s->path, err);
    if (status == RB_OK)
        rb_log_info("aligning in groups of layers", RB_S("job", run->row.job.id),
                    RB_U("groups", groups->groups), RB_D("feature_passes", groups->passes));
    return status;
}

static void collect(struct align *s)
{
    struct rb_run *run = s->run;
    const struct rb_align_options *o = &run->spec.align.options;
    struct rb_error err;
    enum rb_status status =
        rb_collect_new(&run->subject.model[0], &run->subject.model[1], &run->subject.align,
                       rb_taps_needed(o), o, &s->program, &err);
    if (status == RB_OK)
        status = split(s, &err);
    if (status != RB_OK) {
        done(s, status, &err);
        return;
    }
    for (size_t i = 0; i < 2 && run->folds; i++)
        rb_collect_move(s->program, i, &run->folded[i]);
    rb_run_phase_program(run, RB_PHASE_ALIGNING, &s->task, s->program, collected, s);
}

/* ---- with other jobs of a matrix ---- */

static void shared(void *data, enum rb_status status, const struct rb_error *err,
                   struct rb_moments *own)
{
    struct align *s = data;
    s->moments = own;
    if (status != RB_OK)
        done(s, status, err);
    else
        record(s);
}

/* Together, if there is somebody; else alone. */
static void collect_some(struct align *s)
{
    struct rb_error err;
    enum rb_status status = RB_OK;
    if (!s->run->work->options.one_shot)
        status = rb_share_begin(s->run, s->key, shared, s, &s->share, &err);
    if (status != RB_OK)
        done(s, status, &err);
    else if (s->share == NULL)
        collect(s);
}

/* ---- from the cache ---- */

static void load(struct rb_async *a)
{
    struct align *s = a->data;
    s->status = rb_moments_load(s->path, &s->moments, &s->error);
}

static void loaded(struct rb_async *a)
{
    struct align *s = a->data;
    struct rb_run *run = s->run;
    if (s->status == RB_OK) {
        run->phases[RB_PHASE_ALIGNING].total = 0;
        done(s, RB_OK, NULL);
        return;
    }
    rb_log_warn("kept moments cannot be used", RB_S("job", run->row.job.id),
                RB_ERROR_FIELDS(&s->error));
    rb_moments_drop(run->work, s->key);
    collect(s);
}

static void look(struct align *s);

static void looked(uv_timer_t *timer)
{
    struct rb_run *run = timer->data;
    look(run->stage_data);
}

/* While another job collects for this one, or for a matrix, there is nothing to do. The run's timer
 * is the stage's as long as that is entered. */
static void look(struct align *s)
{
    enum { LOOK_MS = 100 };
    struct rb_run *run = s->run;
    bool alone = run->work->options.one_shot;
    struct rb_error err;
    if (run->why != RB_RUN_GOES_ON) {
        (void)rb_error_set(&err, RB_ECANCELED, "canceled");
        done(s, RB_ECANCELED, &err);
    } else if (!alone && rb_share_waits(run, s->key)) {
        uv_timer_start(&run->timer, looked, LOOK_MS, 0);
    } else if (!alone && rb_moments_known(run->work, s->key)) {
        rb_async_start(run->work->pool, &s->async);
    } else {
        collect_some(s);
    }
}

static void align_enter(struct rb_run *run)
{
    struct rb_error err;
    if (rb_run_several(run)) {
        rb_joint_align_enter(run);
        return;
    }
    struct align *s = rb_run_stage_begin(run, sizeof *s);
    if (s == NULL)
        return;
    s->run = run;
    rb_moments_key(run, s->key);
    s->path = rb_moments_path(run->work, s->key);
    if (s->path == NULL) {
        (void)rb_error_set(&err, RB_ENOMEM, "no memory to align");
        rb_run_stage_done(run, RB_ENOMEM, &err);
        return;
    }
    s->async = (struct rb_async){.work = load, .done = loaded, .data = s, .lane = RB_LANE_READ};
    look(s);
}

static bool align_needed(const struct rb_run *run)
{
    return rb_run_moves(run) && run->alignment == NULL;
}

const struct rb_stage rb_stage_aligning = {RB_PHASE_ALIGNING, align_needed, align_enter,
                                           align_leave};
