/* work.h's functions: which job runs next, and what becomes of those that a dead process left. */
#include "server/work/work.h"
#include "core/input.h"
#include "server/base/clock.h"
#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/store/jobs.h"
#include "server/work/jobdir.h"
#include "server/work/run.h"
#include "server/work/sweep.h"

#include <assert.h>
#include <string.h>

enum { RETRY_MS = 1000, DRAIN_LOOK_MS = 20, LIST_LIMIT = 500 };

static void look_soon(struct rb_work *w);

void rb_work_publish(struct rb_work *w, struct rb_event_row *event)
{
    if (event->event.data_json != NULL)
        rb_hub_publish(&w->hub, &event->event);
    rb_event_row_deinit(event);
}

/* ---- claiming ---- */

static void run_ended(struct rb_work *w)
{
    look_soon(w);
}

static enum rb_status change(struct rb_work *w, const struct rb_job_row *row,
                             const struct rb_job_change *c, struct rb_error *err)
{
    struct rb_event_row event = {0};
    enum rb_status status = rb_job_change(w->store, row->seq, c, &event, err);
    if (status == RB_OK)
        rb_work_publish(w, &event);
    return status;
}

/* The claim is committed before anything of the job runs: a job that kills the process is counted.
 */
static enum rb_status claim(struct rb_work *w, struct rb_job_row *row, struct rb_error *err)
{
    struct rb_job_change c = {
        .to = RB_JOB_RUNNING, .phase = RB_PHASE_LOADING, .at_ms = rb_clock_realtime_ms()};
    enum rb_status status = change(w, row, &c, err);
    if (status != RB_OK)
        return status;
    row->job.status = RB_JOB_RUNNING;
    row->job.phase = RB_PHASE_LOADING;
    row->job.attempt++;
    status = rb_run_start(w, row, run_ended, err);
    if (status == RB_OK)
        return RB_OK;
    c = (struct rb_job_change){
        .to = RB_JOB_QUEUED, .at_ms = rb_clock_realtime_ms(), .uncharged = true};
    enum rb_status back = change(w, row, &c, NULL);
    (void)back; /* if that fails too the next process finds it running */
    return status;
}

/* A job over which a process died runs alone until it has something new on disk: if it is the one
 * that kills, the others are not charged with its crashes, nor do they end up as crash loops. */
static bool may_join(const struct rb_work *w, const struct rb_job_row *row)
{
    return w->run_count == 0 || (row->run_attempts == 0 && !w->alone);
}

static enum rb_status claim_next(struct rb_work *w, bool *ret_claimed, struct rb_error *err)
{
    struct rb_job_row row;
    bool found = false;
    *ret_claimed = false;
    enum rb_status status = rb_job_next(w->store, &found, &row, err);
    if (status != RB_OK || !found)
        return status;
    if (may_join(w, &row)) {
        w->alone = row.run_attempts > 0;
        status = claim(w, &row, err);
        *ret_claimed = status == RB_OK;
    }
    rb_job_row_deinit(&row);
    return status;
}

static void look_later(uv_timer_t *timer)
{
    look_soon(timer->data);
}

static void look(uv_idle_t *handle)
{
    struct rb_work *w = handle->data;
    struct rb_error err;
    bool claimed = true;
    uv_idle_stop(handle);
    w->looking = false;
    while (claimed && w->run_count < w->options.parallel_jobs)
        if (claim_next(w, &claimed, &err) != RB_OK) {
            rb_log_error("no job can be claimed", RB_ERROR_FIELDS(&err));
            uv_timer_start(&w->later, look_later, RETRY_MS, 0);
            return;
        }
}

static void look_soon(struct rb_work *w)
{
    if (w->started && !w->draining && !w->looking) {
        w->looking = true;
        uv_idle_start(&w->look, look);
    }
}

void rb_work_wake(struct rb_work *w)
{
    look_soon(w);
}

/* ---- what a dead process left ---- */

static enum rb_status recover(struct rb_work *w, const struct rb_job_row *row, struct rb_error *err)
{
    static const struct rb_job_error crash_loop = {
        .status = RB_ECRASHLOOP,
        .detail = "the daemon ended three times while it ran this job, without anything new on "
                  "disk in between"};
    struct rb_job_change c = {.to = RB_JOB_QUEUED, .at_ms = rb_clock_realtime_ms()};
    if (row->job.status == RB_JOB_CANCELING) {
        c.to = RB_JOB_CANCELED;
    } else if (row->run_attempts >= RB_JOB_MAX_RUNS) {
        c.to = RB_JOB_FAILED;
        c.error = &crash_loop;
    }
    rb_log_warn("job was interrupted", RB_S("job", row->job.id),
                RB_S("status", rb_job_status_names[c.to]), RB_U("attempt", row->job.attempt));
    return change(w, row, &c, err);
}

static enum rb_status recover_all(struct rb_work *w, struct rb_error *err)
{
    struct rb_job_filter filter = {.statuses = 1U << RB_JOB_RUNNING | 1U << RB_JOB_CANCELING,
                                   .limit = LIST_LIMIT};
    enum rb_status status = RB_OK;
    do {
        struct rb_job_page page;
        status = rb_jobs_list(w->store, &filter, &page, err);
        if (status != RB_OK)
            return status;
        for (size_t i = 0; i < page.count && status == RB_OK; i++)
            status = recover(w, &page.rows[i], err);
        filter.after = page.next;
        rb_job_page_deinit(&page);
    } while (status == RB_OK && filter.after.present);
    return status;
}

/* ---- life ---- */

static void time_machine(struct rb_async *a)
{
    double *rate = a->data;
    *rate = rb_rates_time_machine();
}

static void machine_timed(struct rb_async *a)
{
    struct rb_work *w = (struct rb_work *)((char *)a - offsetof(struct rb_work, timing));
    w->rates.machine = w->timed;
    rb_log_debug("machine", RB_D("gflop_per_core_second", w->timed * 1e-9));
}

enum rb_status rb_work_init(struct rb_work *w, uv_loop_t *loop, struct rb_store *store,
                            struct rb_metrics *metrics, const struct rb_work_options *options,
                            struct rb_error *err)
{
    *w = (struct rb_work){.loop = loop, .store = store, .metrics = metrics, .options = *options};
    enum rb_status status = rb_pool_new(loop, options->workers, &w->pool, err);
    if (status != RB_OK)
        return status;
    w->inputs = (struct rb_import_rules){options->import_roots, options->data_dir};
    rb_input_open_by(rb_import_open, &w->inputs);
    rb_hub_init(&w->hub);
    uv_idle_init(loop, &w->look);
    uv_timer_init(loop, &w->later);
    w->look.data = w->later.data = w;
    w->timing = (struct rb_async){.work = time_machine, .done = machine_timed, .data = &w->timed};
    rb_async_start(w->pool, &w->timing);
    return RB_OK;
}

enum rb_status rb_work_start(struct rb_work *w, struct rb_error *err)
{
    enum rb_status status = recover_all(w, err);
    if (status == RB_OK)
        status = rb_remove_beneath(w->options.data_fd, RB_LAYOUT_TEMPORARY, err);
    if (status == RB_OK)
        status = rb_sweep_start(w, err);
    if (status != RB_OK)
        return status;
    w->started = true;
    look_soon(w);
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
        status = change(w, &row, &c, err);
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

void rb_work_overlay(const struct rb_work *w, struct rb_job *job)
{
    const struct rb_run *run = rb_run_find(w, job->id);
    if (run != NULL)
        rb_run_overlay(run, job);
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
    uv_timer_start(&w->later, drain_look, 0, 0);
}

void rb_work_deinit(struct rb_work *w)
{
    assert(w->run_count == 0);
    rb_hub_deinit(&w->hub);
    rb_pool_close(w->pool);
    rb_input_open_by(NULL, NULL);
    uv_close((uv_handle_t *)&w->look, NULL);
    uv_close((uv_handle_t *)&w->later, NULL);
}
