#include "server/work/queue.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/store/jobs.h"
#include "server/store/jobs_list.h"
#include "server/store/jobs_read.h"
#include "server/work/run_state.h"
#include "server/work/run.h"
#include "server/work/executor.h"

#include <string.h>

enum { RETRY_MS = 1000, LIST_LIMIT = 500, ELSEWHERE_MAX = 1000, TURN_MS = 5 };

/* ---- claiming ---- */

/* The claim is committed before anything of the job runs: a job that kills the process is counted.
 */
static enum rb_status claim(struct rb_work *w, struct rb_job_row *row, struct rb_error *err)
{
    struct rb_job_change c = {.to = RB_JOB_RUNNING,
                              .phase = RB_PHASE_LOADING,
                              .at_ms = rb_clock_realtime_ms(),
                              .environment = w->options.environment};
    enum rb_status status = rb_hub_job_change(&w->hub, w->store, row->seq, &c, err);
    if (status != RB_OK)
        return status;
    row->job.status = RB_JOB_RUNNING;
    row->job.phase = RB_PHASE_LOADING;
    row->job.attempt++;
    status = rb_run_start(w, row, rb_queue_wake, err);
    if (status == RB_OK)
        return RB_OK;
    c = (struct rb_job_change){
        .to = RB_JOB_QUEUED, .at_ms = rb_clock_realtime_ms(), .uncharged = true};
    enum rb_status back = rb_hub_job_change(&w->hub, w->store, row->seq, &c, NULL);
    (void)back; /* if that fails too the next process finds it running */
    return status;
}

/* Is it another machine that computes that job? */
static bool runs_elsewhere(const struct rb_work *w, const struct rb_job_row *row)
{
    struct rb_job_spec spec;
    struct rb_error ignored; /* the run says what is wrong with it */
    if (w->elsewhere == NULL || rb_job_spec_restore(row->job.spec_json, &spec, &ignored) != RB_OK)
        return false;
    bool elsewhere = rb_executor_for(w, &spec) == w->elsewhere;
    rb_job_spec_deinit(&spec);
    return elsewhere;
}

static unsigned elsewhere_count(const struct rb_work *w)
{
    unsigned count = 0;
    for (const struct rb_run *run = w->runs; w->elsewhere != NULL && run != NULL;
         run = rb_run_next(run))
        count += run->executor == w->elsewhere;
    return count;
}

/* A job over which a process died runs alone until it has something new on disk: if it is the one
 * that kills, the others are not charged with its crashes, nor do they end up as crash loops. */
static bool may_join(const struct rb_work *w, const struct rb_job_row *row)
{
    if (runs_elsewhere(w, row)) /* it costs nothing here */
        return true;
    if (w->run_count - elsewhere_count(w) >= w->options.parallel_jobs)
        return false;
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
        w->alone = row.run_attempts > 0 && !runs_elsewhere(w, &row);
        status = claim(w, &row, err);
        *ret_claimed = status == RB_OK;
    }
    rb_job_row_deinit(&row);
    return status;
}

static void look_later(uv_timer_t *timer)
{
    rb_queue_wake(timer->data);
}

static unsigned most_runs(const struct rb_work *w)
{
    return w->elsewhere != NULL ? ELSEWHERE_MAX : w->options.parallel_jobs;
}

static void look(uv_idle_t *handle)
{
    struct rb_work *w = handle->data;
    struct rb_error err;
    bool claimed = true;
    uv_idle_stop(handle);
    w->looking = false;
    if (rb_room_check(w->options.room, &err) != RB_OK)
        return; /* whoever sees that there is room again wakes the queue */
    /* Each claim is a sync of the disk: of a thousand jobs some in each turn of the loop. */
    uint64_t until = rb_clock_monotonic_ns() + TURN_MS * UINT64_C(1000000);
    while (claimed && w->run_count < most_runs(w)) {
        if (rb_clock_monotonic_ns() >= until) {
            rb_queue_wake(w);
            return;
        }
        if (claim_next(w, &claimed, &err) != RB_OK) {
            rb_log_error("no job can be claimed", RB_ERROR_FIELDS(&err));
            uv_timer_start(&w->later, look_later, RETRY_MS, 0);
            return;
        }
    }
}

void rb_queue_wake(struct rb_work *w)
{
    if (w->started && !w->draining && !w->looking) {
        w->looking = true;
        uv_idle_start(&w->look, look);
    }
}

/* ---- what a dead process left ---- */

/* Units of a canceled job may still be in a queue: it is canceled once they are not. */
static enum rb_status cancel_elsewhere(struct rb_work *w, struct rb_job_row *row,
                                       struct rb_error *err)
{
    char id[RB_JOB_ID_SIZE];
    memcpy(id, row->job.id, sizeof id);
    enum rb_status status = rb_run_start(w, row, rb_queue_wake, err);
    if (status == RB_OK)
        rb_run_stop(rb_run_find(w, id), RB_RUN_CANCEL);
    return status;
}

static enum rb_status recover(struct rb_work *w, struct rb_job_row *row, struct rb_error *err)
{
    static const struct rb_job_error crash_loop = {
        .status = RB_ECRASHLOOP,
        .detail = "the daemon ended three times while it ran this job, without anything new on "
                  "disk in between"};
    struct rb_job_change c = {.to = RB_JOB_QUEUED, .at_ms = rb_clock_realtime_ms()};
    bool adopted = runs_elsewhere(w, row) && w->elsewhere->adopts(w, row->job.id);
    if (row->job.status == RB_JOB_CANCELING && adopted)
        return cancel_elsewhere(w, row, err);
    if (row->job.status == RB_JOB_CANCELING) {
        c.to = RB_JOB_CANCELED;
    } else if (adopted) {
        c.uncharged = true; /* whatever ended this process, it was not what others compute */
    } else if (row->run_attempts >= RB_JOB_MAX_RUNS) {
        c.to = RB_JOB_FAILED;
        c.error = &crash_loop;
    }
    rb_log_warn("job was interrupted", RB_S("job", row->job.id),
                RB_S("status", rb_job_status_names[c.to]), RB_U("attempt", row->job.attempt));
    return rb_hub_job_change(&w->hub, w->store, row->seq, &c, err);
}

enum rb_status rb_queue_recover(struct rb_work *w, struct rb_error *err)
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
