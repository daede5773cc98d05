#include "server/work/run_state.h"
#include "server/base/clock.h"
#include "server/work/run_progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double SECONDS_UNPACED = 1; /* as much pace counts half */

static double seconds_here(const struct rb_run *run)
{
    return run->in_stage ? (double)(rb_clock_monotonic_ns() - run->entered_ns) * 1e-9 : 0;
}

/* Cost and thread seconds of the phase so far, programs under way included. */
static struct rb_run_phase phase_now(const struct rb_run *run, enum rb_phase phase)
{
    struct rb_run_phase p = run->phases[phase];
    if (run->row.job.phase != phase)
        return p;
    for (size_t i = 0; i < sizeof run->tasks / sizeof run->tasks[0]; i++)
        if (run->tasks[i] != NULL) {
            p.done += run->tasks[i]->cost_done;
            p.busy_seconds += run->tasks[i]->busy_seconds;
        }
    p.done = p.done < p.total ? p.done : p.total;
    p.wall_seconds += seconds_here(run);
    return p;
}

/* Seconds of wall time that a phase's cost was expected to take with every worker busy. */
static double expected(const struct rb_run *run, enum rb_phase phase, double cost)
{
    return cost / rb_rates_of(&run->work->rates, phase, run->plan.width) /
           run->work->options.workers;
}

/* What this job's phases have taken so far, against what was expected of them: whatever else the
 * machine does now, and where the rates are wrong, holds for the phases to come as well. */
static double pace(const struct rb_run *run, const struct rb_run_phase phases[RB_PHASE_COUNT])
{
    double taken = SECONDS_UNPACED, thought = SECONDS_UNPACED;
    for (int i = RB_PHASE_ALIGNING; i < RB_PHASE_COUNT; i++) {
        if (phases[i].done <= 0 || phases[i].wall_seconds <= 0)
            continue;
        taken += phases[i].wall_seconds;
        thought += expected(run, (enum rb_phase)i, phases[i].done);
    }
    return taken / thought;
}

/* The cost that is left is taken at the rates known and at this job's pace. The more of a phase is
 * done, the more its own pace so far counts instead; at a tenth of it they count the same. */
static double eta(const struct rb_run *run, const struct rb_run_phase phases[RB_PHASE_COUNT])
{
    double left = 0, all = pace(run, phases);
    for (int i = RB_PHASE_ALIGNING; i < RB_PHASE_COUNT; i++) {
        const struct rb_run_phase *p = &phases[i];
        double cost = p->total - p->done;
        if (cost <= p->total * 1e-9) /* what sums of parts leave of a phase that is done */
            continue;
        double thought = expected(run, (enum rb_phase)i, cost) * all;
        double measured = p->done > 0 ? cost * p->wall_seconds / p->done : 0;
        double weight = p->done / (p->done + p->total / 10);
        left += (1 - weight) * thought + weight * measured;
    }
    return left;
}

/* By the plan's weights, so that it never goes back, whatever a stage finds out about its cost. */
void rb_run_progress(const struct rb_run *run, struct rb_progress *ret)
{
    struct rb_run_phase phases[RB_PHASE_COUNT];
    *ret = (struct rb_progress){.unit = "gflop", .eta_seconds = NAN};
    for (int i = 0; i < RB_PHASE_COUNT; i++) {
        phases[i] = phase_now(run, (enum rb_phase)i);
        bool over = i < (int)run->row.job.phase;
        double part = over ? 1 : phases[i].total > 0 ? phases[i].done / phases[i].total : 0;
        ret->done += phases[i].weight * part * 1e-9;
        ret->total += phases[i].weight * 1e-9;
    }
    if (ret->total > 0)
        ret->eta_seconds = eta(run, phases);
}

void rb_run_progress_ring(struct rb_run *run)
{
    struct rb_progress progress;
    struct rb_json w;
    char *data = NULL;
    if (run->work->hub.count == 0)
        return;
    if (run->executor == NULL)
        return;
    run->executor->progress(run, &progress);
    rb_json_init(&w);
    rb_event_progress_data(&w, run->row.job.phase, &progress);
    if (rb_json_finish(&w, &data, NULL, NULL) != RB_OK)
        return; /* the next one will tell */
    struct rb_event event = {
        .type = RB_EVENT_PROGRESS,
        .created_ms = rb_clock_realtime_ms(),
        .data_json = data,
    };
    memcpy(event.job, run->row.job.id, sizeof event.job);
    rb_hub_publish(&run->work->hub, &event);
    free(data);
}

uint64_t rb_run_peak_bytes(void)
{
    unsigned long long kilobytes = 0;
    char line[128];
    FILE *f = fopen("/proc/self/status", "re");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "VmHWM: %llu kB", &kilobytes) == 1)
            break;
    fclose(f);
    return kilobytes * 1024;
}

/* Where the kernel or a sandbox forbids it the peak is that of the process. */
void rb_run_peak_reset(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (f != NULL) {
        (void)fputs("5\n", f);
        (void)fclose(f);
    }
}
