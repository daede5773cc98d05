#include "server/work/slurm.h"
#include "server/base/clock.h"
#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/work/jobdir.h"
#include "server/work/run.h"
#include "server/work/slurm_files.h"
#include "server/work/slurm_look.h"
#include "server/work/slurm_queue.h"
#include "server/work/slurm_stages.h"
#include "server/work/slurm_unit.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOTES_AT_ONCE = 2 };

/* ---- the queue's answer ---- */

struct rb_slurm_entry {
    char *name; /* borrowed from the answer */
    struct rb_slurm_standing standing;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct rb_slurm_entry *)a)->name,
                  ((const struct rb_slurm_entry *)b)->name);
}

static void add_line(struct rb_slurm_standing *s, const struct rb_slurm_line *line)
{
    if (line->active && line->running)
        s->running += line->tasks;
    else if (line->active)
        s->pending += line->tasks;
    if (line->active && !line->running && s->reason[0] == '\0')
        (void)snprintf(s->reason, sizeof s->reason, "%s", line->reason);
    if (line->ended != NULL)
        s->ended = line->ended;
}

/* Lines of one name follow each other, but need not. */
static struct rb_slurm_entry *read_answer(char *output, size_t *ret_count)
{
    size_t capacity = 64, count = 0;
    struct rb_slurm_entry *entries = malloc(capacity * sizeof *entries);
    for (char *line; entries != NULL && (line = strsep(&output, "\n")) != NULL;) {
        struct rb_slurm_line l;
        if (!rb_slurm_line_parse(line, &l))
            continue;
        if (count == 0 || strcmp(entries[count - 1].name, l.name) != 0) {
            if (count == capacity) {
                capacity *= 2;
                struct rb_slurm_entry *grown = realloc(entries, capacity * sizeof *entries);
                if (grown == NULL) {
                    free(entries);
                    return NULL;
                }
                entries = grown;
            }
            entries[count++] = (struct rb_slurm_entry){.name = (char *)(uintptr_t)l.name};
        }
        add_line(&entries[count - 1].standing, &l);
    }
    if (entries != NULL && count > 0)
        qsort(entries, count, sizeof *entries, by_name);
    *ret_count = count;
    return entries;
}

static void merge(struct rb_slurm_standing *to, const struct rb_slurm_standing *from)
{
    to->pending += from->pending;
    to->running += from->running;
    if (to->reason[0] == '\0')
        memcpy(to->reason, from->reason, sizeof to->reason);
    if (from->ended != NULL)
        to->ended = from->ended;
}

static size_t first_of(const struct rb_slurm_entry *entries, size_t count, const char *name)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(entries[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void tell_units(struct rb_slurm *s, const struct rb_slurm_entry *entries, size_t count)
{
    uint32_t pending = 0, running = 0;
    s->notes_left = NOTES_AT_ONCE; /* the others wait for the next answer, if they still do */
    for (struct rb_slurm_unit *u = s->units, *next; u != NULL; u = next) {
        struct rb_slurm_standing standing = {0};
        next = u->next;
        for (size_t i = first_of(entries, count, u->name);
             i < count && strcmp(entries[i].name, u->name) == 0; i++)
            merge(&standing, &entries[i].standing);
        pending += standing.pending;
        running += standing.running;
        rb_slurm_unit_heard(u, &standing);
    }
    rb_metrics_set(s->work->metrics, RB_METER_UNITS, pending, "pending", NULL);
    rb_metrics_set(s->work->metrics, RB_METER_UNITS, running, "running", NULL);
}

/* ---- runs that end ---- */

static void ending_over(struct rb_slurm_ending *e, bool whole)
{
    struct rb_slurm_ending **at = &e->slurm->endings;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    rb_slurm_forget(e->slurm, e);
    struct rb_run *run = e->run;
    void (*then)(struct rb_run *, bool) = e->then;
    free(e);
    then(run, whole);
}

static void remove_folder(struct rb_async *a)
{
    struct rb_slurm_ending *e = a->data;
    char folder[RB_PATH_SIZE];
    rb_data_remove(e->slurm->options.shared_fd, rb_slurm_job_folder(e->job, folder));
}

static void folder_removed(struct rb_async *a)
{
    ending_over(a->data, true);
}

static void ending_remove(struct rb_slurm_ending *e)
{
    e->removing = true;
    e->async = (struct rb_async){
        .work = remove_folder, .done = folder_removed, .data = e, .lane = RB_LANE_READ};
    rb_async_start(e->slurm->work->pool, &e->async);
}

static void cancel_answered(void *data, uint32_t status, char *output, const char *words)
{
    const struct rb_slurm_ending *e = data;
    (void)output;
    if (status != 0)
        rb_log_warn("scancel failed", RB_S("job", e->job), RB_S("detail", words));
}

static void tell_endings(struct rb_slurm *s, const struct rb_slurm_entry *entries, size_t count)
{
    for (struct rb_slurm_ending *e = s->endings, *next; e != NULL; e = next) {
        bool active = false;
        char prefix[RB_SLURM_NAME_SIZE];
        next = e->next;
        if (e->removing || s->generation <= e->generation)
            continue;
        size_t length = (size_t)snprintf(prefix, sizeof prefix, "rebasind-%s-", e->job);
        for (size_t i = first_of(entries, count, prefix);
             i < count && strncmp(entries[i].name, prefix, length) == 0; i++) {
            const char *const fields[] = {entries[i].name};
            const struct rb_slurm_standing *st = &entries[i].standing;
            if (st->pending + st->running == 0)
                continue;
            active = true;
            (void)rb_slurm_ask(s, RB_BROKER_CANCEL, fields, cancel_answered, e);
        }
        if (!active)
            ending_remove(e);
    }
}

static void conclude(struct rb_run *run, bool well, void (*then)(struct rb_run *run, bool whole))
{
    struct rb_slurm *s = run->work->slurm;
    struct rb_slurm_ending *e = calloc(1, sizeof *e);
    if (e == NULL) { /* what is left is found by the next start */
        then(run, true);
        return;
    }
    *e = (struct rb_slurm_ending){
        .next = s->endings, .slurm = s, .run = run, .then = then, .generation = s->generation};
    memcpy(e->job, run->row.job.id, sizeof e->job);
    s->endings = e;
    s->poll_due_ns = 0; /* cancel soon */
    if (well)
        ending_remove(e);
}

/* ---- asking ---- */

/* A large cluster's answer has ten thousands of lines: not read by the loop's thread. */
static void read_queue(struct rb_async *a)
{
    struct rb_slurm *s = a->data;
    s->entries = read_answer(s->answer, &s->entry_count);
}

static void queue_read(struct rb_async *a)
{
    struct rb_slurm *s = a->data;
    s->polling = false;
    if (s->entries != NULL) {
        tell_endings(s, s->entries, s->entry_count);
        tell_units(s, s->entries, s->entry_count);
    }
    free(s->entries);
    free(s->answer);
    s->entries = NULL;
    s->answer = NULL;
}

static void queue_answered(void *data, uint32_t status, char *output, const char *words)
{
    struct rb_slurm *s = data;
    uint64_t now = rb_clock_monotonic_ns();
    uint64_t took = now - s->requests_begun_ns;
    uint64_t wait = RB_SLURM_POLL_FACTOR * took, least = RB_SLURM_POLL_MS * UINT64_C(1000000);
    s->poll_due_ns = now + (wait > least ? wait : least);
    s->poll_least_ns = now + least;
    if (status != 0) { /* unknown is not gone */
        s->polling = false;
        rb_metrics_add(s->work->metrics, RB_METER_QUEUE_FAILURES, 1, NULL, NULL);
        if (!s->told_away)
            rb_log_warn("squeue failed: what runs there is not known", RB_S("detail", words));
        s->told_away = true;
        return;
    }
    s->told_away = false;
    bool asked_for = s->units != NULL || s->endings != NULL;
    s->answer = asked_for ? strdup(output) : NULL;
    if (s->answer == NULL) {
        s->polling = false;
        return;
    }
    s->reading =
        (struct rb_async){.work = read_queue, .done = queue_read, .data = s, .lane = RB_LANE_READ};
    rb_async_start(s->work->pool, &s->reading);
}

static void ask_queue(struct rb_slurm *s)
{
    s->requests_begun_ns = rb_clock_monotonic_ns();
    s->polling = rb_slurm_ask(s, RB_BROKER_QUEUE, NULL, queue_answered, s) != NULL;
    if (s->polling)
        s->generation++;
}

/* Uploads that were copied for nodes go once no job there is under way. */
static void remove_inputs(struct rb_async *a)
{
    const struct rb_slurm *s = a->data;
    rb_data_remove(s->options.shared_fd, "inputs");
}

static void inputs_removed(struct rb_async *a)
{
    struct rb_slurm *s = a->data;
    s->tidying = false;
}

static void tidy(struct rb_slurm *s)
{
    if (s->tidying || s->tidied || s->units != NULL || s->endings != NULL || s->work->run_count > 0)
        return;
    s->tidying = s->tidied = true;
    s->tidy = (struct rb_async){
        .work = remove_inputs, .done = inputs_removed, .data = s, .lane = RB_LANE_READ};
    rb_async_start(s->work->pool, &s->tidy);
}

/* A draining process does not wait for the queue. */
static void give_up_endings(struct rb_slurm *s)
{
    for (struct rb_slurm_ending *e = s->endings, *next; e != NULL; e = next) {
        next = e->next;
        if (!e->removing)
            ending_over(e, false);
    }
}

static void ticked(uv_timer_t *timer)
{
    struct rb_slurm *s = timer->data;
    uint64_t now = rb_clock_monotonic_ns();
    if (s->work->draining)
        give_up_endings(s);
    if (s->units == NULL && s->endings == NULL) {
        tidy(s);
        return;
    }
    s->tidied = false;
    rb_slurm_look_all(s, now);
    if (!s->polling && !s->dead && now >= s->poll_due_ns && now >= s->poll_least_ns)
        ask_queue(s);
}

/* ---- the executor ---- */

static void stop(struct rb_run *run)
{
    if (run->in_stage && run->executor->stages[run->stage]->leave != NULL &&
        rb_slurm_stage_is_unit(run->executor->stages[run->stage]) && run->stage_data != NULL)
        rb_slurm_unit_stop(run->stage_data);
    else
        rb_pool_stopping(run->work->pool);
}

static void tasks_of(const struct rb_slurm_unit *u, struct rb_progress_tasks *ret)
{
    const struct rb_slurm_standing *s = &u->standing;
    *ret = (struct rb_progress_tasks){rb_unit_names[u->kind], u->bundle.tasks, s->pending,
                                      s->running, ""};
    if (s->pending > 0)
        (void)snprintf(ret->reason, sizeof ret->reason, "%.63s", s->reason);
}

/* Parts as a job usually spends its time; they never go back. */
static void progress(const struct rb_run *run, struct rb_progress *ret)
{
    bool left[RB_CURVE_COUNT * RB_POINTS_MAX];
    double aligned = run->alignment != NULL ? 1 : 0, points = 0;
    struct rb_progress_tasks tasks = {0};
    if (run->in_stage && run->stage_data != NULL &&
        rb_slurm_stage_is_unit(run->executor->stages[run->stage])) {
        const struct rb_slurm_unit *u = run->stage_data;
        if (u->kind == RB_UNIT_ALIGN && aligned == 0)
            aligned = u->shown;
        if (u->listed)
            tasks_of(u, &tasks);
    }
    if (run->spec.has_evaluate) {
        size_t known = 0;
        for (size_t i = 0; i < run->spec.lambdas.count; i++)
            for (int c = 0; c < RB_CURVE_COUNT; c++)
                known += run->curves[c].known[i];
        size_t missing = rb_slurm_points_left(run, left);
        points = known + missing > 0 ? (double)known / (double)(known + missing) : 0;
    }
    *ret = (struct rb_progress){.done = 30 * aligned + 70 * points,
                                .total = 100,
                                .unit = "percent",
                                .eta_seconds = (double)NAN,
                                .tasks = tasks};
}

static bool adopts(const struct rb_work *w, const char *job)
{
    char folder[RB_PATH_SIZE];
    return faccessat(w->slurm->options.shared_fd, rb_slurm_job_folder(job, folder), F_OK, 0) == 0;
}

static const struct rb_executor executor = {
    .name = "slurm",
    .elsewhere = true,
    .stages = rb_slurm_stages,
    .stop = stop,
    .progress = progress,
    .conclude = conclude,
    .adopts = adopts,
};

/* ---- life ---- */

enum rb_status rb_slurm_open(struct rb_work *w, const struct rb_slurm_options *options,
                             struct rb_error *err)
{
    struct rb_slurm *s = calloc(1, sizeof *s);
    if (s == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the executor slurm");
    *s = (struct rb_slurm){.work = w, .options = *options};
    int result = uv_poll_init(w->loop, &s->socket, options->broker_fd);
    if (result != 0) {
        free(s);
        return rb_error_set(err, RB_EINTERNAL, "the broker's socket: %s", uv_strerror(result));
    }
    (void)uv_timer_init(w->loop, &s->tick);
    s->socket.data = s->tick.data = s;
    rb_slurm_look_open(s, rb_slurm_unit_looked);
    (void)uv_timer_start(&s->tick, ticked, RB_SLURM_TICK_MS, RB_SLURM_TICK_MS);
    (void)uv_poll_start(&s->socket, UV_READABLE, rb_slurm_socket_ready);
    w->slurm = s;
    w->elsewhere = &executor;
    w->elsewhere_is_default = options->is_default;
    return RB_OK;
}

static void closed(uv_handle_t *handle)
{
    struct rb_slurm *s = handle->data;
    if (--s->closing > 0)
        return;
    (void)close(s->options.broker_fd);
    free(s->body);
    free(s);
}

void rb_slurm_close(struct rb_work *w)
{
    struct rb_slurm *s = w->slurm;
    if (s == NULL)
        return;
    w->slurm = NULL;
    rb_slurm_questions_end(s);
    s->closing = 3;
    uv_close((uv_handle_t *)&s->socket, closed);
    uv_close((uv_handle_t *)&s->turn, closed);
    uv_close((uv_handle_t *)&s->tick, closed);
}
