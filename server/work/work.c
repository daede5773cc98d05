#include "server/work/work.h"
#include "core/input.h"
#include "server/base/clock.h"
#include "server/base/fsutil.h"
#include "server/base/layout.h"
#include "server/base/log.h"
#include "server/store/jobs.h"
#include "server/store/jobs_read.h"
#include "server/work/inspect.h"
#include "server/work/queue.h"
#include "server/work/rates_kept.h"
#include "server/work/run.h"
#include "server/work/slurm.h"
#include "server/work/sweep.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { DRAIN_LOOK_MS = 20 };

static void time_machine(struct rb_async *a)
{
    double *rate = a->data;
    *rate = rb_rates_time_machine();
}

static void machine_timed(struct rb_async *a)
{
    struct rb_work *w = (struct rb_work *)((char *)a - offsetof(struct rb_work, timing));
    rb_rates_settle(&w->rates, w->timed);
    rb_log_debug("machine", RB_D("gflop_per_core_second", w->timed * 1e-9));
}

enum rb_status rb_work_init(struct rb_work *w, uv_loop_t *loop, struct rb_store *store,
                            struct rb_metrics *metrics, const struct rb_work_options *options,
                            struct rb_error *err)
{
    *w = (struct rb_work){.loop = loop,
                          .store = store,
                          .metrics = metrics,
                          .options = *options,
                          .merged_looked_ms = -1};
    enum rb_status status = rb_pool_new(loop, options->workers, &w->pool, err);
    if (status != RB_OK)
        return status;
    w->inputs = (struct rb_import_rules){options->import_roots, options->data_dir};
    rb_input_open_by(rb_import_open, &w->inputs);
    rb_hub_init(&w->hub);
    if (!options->one_shot)
        rb_rates_recall(store, &w->rates);
    uv_idle_init(loop, &w->look);
    uv_timer_init(loop, &w->later);
    w->look.data = w->later.data = w;
    w->timing = (struct rb_async){.work = time_machine, .done = machine_timed, .data = &w->timed};
    rb_async_start(w->pool, &w->timing);
    return RB_OK;
}

enum rb_status rb_work_start(struct rb_work *w, struct rb_error *err)
{
    /* First of all: on a full disk the queue may need the room. */
    enum rb_status status = rb_remove_beneath(w->options.data_fd, RB_LAYOUT_TEMPORARY, err);
    if (status == RB_OK)
        status = rb_queue_recover(w, err);
    if (status == RB_OK)
        status = rb_sweep_start(w, err);
    if (status != RB_OK)
        return status;
    w->started = true;
    rb_queue_wake(w);
    return RB_OK;
}

enum rb_status rb_work_cancel(struct rb_work *w, const char *job_id, enum rb_job_status *ret,
                              struct rb_error *err)
{
    struct rb_job_row row;
    struct rb_job_change c = {.at_ms = rb_clock_realtime_ms()};
    enum rb_status status = rb_job_get(w->store, job_id, &row, err);
    if (status != RB_OK)
        return status;
    enum rb_job_status is = row.job.status;
    if (is == RB_JOB_SUCCEEDED || is == RB_JOB_FAILED) {
        status = rb_error_set(err, RB_ECONFLICT, "job %s has %s already", job_id,
                              rb_job_status_names[is]);
    } else if (is == RB_JOB_CANCELED || is == RB_JOB_CANCELING) {
        c.to = is;
    } else {
        c.to = is == RB_JOB_QUEUED ? RB_JOB_CANCELED : RB_JOB_CANCELING;
        status = rb_hub_job_change(&w->hub, w->store, row.seq, &c, err);
    }
    rb_job_row_deinit(&row);
    if (status != RB_OK)
        return status;
    struct rb_run *run = rb_run_find(w, job_id);
    if (run != NULL && c.to == RB_JOB_CANCELING)
        rb_run_stop(run, RB_RUN_CANCEL);
    if (is != c.to)
        rb_log_info("job", RB_S("job", job_id), RB_S("status", rb_job_status_names[c.to]));
    *ret = c.to;
    return RB_OK;
}

static const struct rb_job_input *input_of(const struct rb_job *job, const char *role)
{
    for (size_t i = 0; i < job->input_count; i++)
        if (strcmp(job->inputs[i].role, role) == 0)
            return &job->inputs[i];
    return NULL;
}

/* Maps that fit by their shapes are taken from any job: whose units they match, the client should
 * know. */
static void warn_of_other_models(const struct rb_work *w, struct rb_job *job)
{
    const struct rb_job_input *from = input_of(job, "from_job");
    struct rb_job_row row;
    if (from == NULL || rb_job_get(w->store, from->name, &row, NULL) != RB_OK)
        return;
    for (size_t i = 0; i < RB_MODELS_MAX && job->warning[0] == '\0'; i++) {
        char role[24];
        rb_job_model_role(i, role);
        const struct rb_job_input *here = input_of(job, role);
        const struct rb_job_input *there = input_of(&row.job, role);
        if (here != NULL && there != NULL && strcmp(here->sha256, there->sha256) != 0)
            (void)snprintf(job->warning, sizeof job->warning,
                           "align.from_job: %s matched other checkpoints (%s was '%s', here it is "
                           "'%s'): its maps fit by their shapes, which does not say that they "
                           "match these units",
                           from->name, role, there->name, here->name);
    }
    rb_job_row_deinit(&row);
}

/* Of three models or more the same one may be there twice; what follows from that is not news. */
static void warn_of_same_models(struct rb_job *job)
{
    const struct rb_job_input *models[RB_MODELS_MAX];
    size_t count = 0;
    for (char role[24]; count < RB_MODELS_MAX; count++) {
        rb_job_model_role(count, role);
        models[count] = input_of(job, role);
        if (models[count] == NULL)
            break;
    }
    for (size_t i = 0; count > 2 && i < count; i++)
        for (size_t k = 0; k < i && job->warning[0] == '\0'; k++)
            if (strcmp(models[i]->sha256, models[k]->sha256) == 0)
                (void)snprintf(job->warning, sizeof job->warning,
                               "models: '%s' and '%s' (%zu and %zu) are the same checkpoint: "
                               "between them there is no barrier, and a mean counts it twice",
                               models[k]->name, models[i]->name, k, i);
}

/* A retry reuses what its job has left only if that was of the same inputs. */
static void warn_of_changed_inputs(const struct rb_work *w, struct rb_job *job)
{
    struct rb_job_row row;
    if (job->retry_of[0] == '\0' || job->warning[0] != '\0' ||
        rb_job_get(w->store, job->retry_of, &row, NULL) != RB_OK)
        return;
    for (size_t i = 0; i < job->input_count && job->warning[0] == '\0'; i++) {
        const struct rb_job_input *here = &job->inputs[i];
        const struct rb_job_input *there = input_of(&row.job, here->role);
        if (there != NULL && strcmp(here->sha256, there->sha256) != 0)
            (void)snprintf(job->warning, sizeof job->warning,
                           "retry_of: %s (%s) is not what it was for %s: everything is computed "
                           "anew, what is learned too",
                           here->role, here->name, job->retry_of);
    }
    rb_job_row_deinit(&row);
}

void rb_work_overlay(const struct rb_work *w, struct rb_job *job)
{
    const struct rb_run *run = rb_run_find(w, job->id);
    if (run != NULL)
        rb_run_overlay(run, job);
    warn_of_other_models(w, job);
    if (job->warning[0] == '\0')
        warn_of_same_models(job);
    warn_of_changed_inputs(w, job);
}

/* Plain jobs (inspections, checks, the sweep) do not tell when they end, so this looks. */
static void drain_look(uv_timer_t *timer)
{
    struct rb_work *w = timer->data;
    if (w->run_count > 0 || rb_pool_has_asyncs(w->pool))
        uv_timer_start(timer, drain_look, DRAIN_LOOK_MS, 0);
    else
        w->drained(w->drained_data);
}

void rb_work_drain(struct rb_work *w, void (*done)(void *data), void *data)
{
    assert(done != NULL);
    w->draining = true;
    w->drained = done;
    w->drained_data = data;
    for (struct rb_run *run = w->runs; run != NULL; run = rb_run_next(run))
        rb_run_stop(run, RB_RUN_DRAIN);
    rb_inspections_drain(w);
    uv_timer_start(&w->later, drain_look, 0, 0);
}

void rb_work_deinit(struct rb_work *w)
{
    assert(w->run_count == 0);
    rb_slurm_close(w);
    rb_hub_deinit(&w->hub);
    rb_pool_close(w->pool);
    rb_input_open_by(NULL, NULL);
    uv_close((uv_handle_t *)&w->look, NULL);
    uv_close((uv_handle_t *)&w->later, NULL);
}
