#include "server/work/slurm_unit.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/store/results.h"
#include "server/work/slurm_environment.h"
#include "server/work/slurm_files.h"
#include "server/work/slurm_look.h"
#include "server/work/slurm_note.h"
#include "server/work/slurm_queue.h"
#include "server/work/stage_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t PATIENCE_NS = RB_RUN_PATIENCE_S * UINT64_C(1000000000);

static void make(struct rb_slurm_unit *u);
static void submit(struct rb_slurm_unit *u);

/* ---- to the end ---- */

static void unlink_unit(struct rb_slurm_unit *u)
{
    struct rb_slurm_unit **at = &u->slurm->units;
    while (*at != NULL && *at != u)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = u->next;
    u->slurm->unit_count--;
}

void rb_slurm_unit_free(struct rb_slurm_unit *u)
{
    if (u == NULL)
        return;
    unlink_unit(u);
    rb_slurm_look_forget(u);
    rb_slurm_forget(u->slurm, u);
    for (size_t i = 0; i < u->point_count; i++)
        rb_product_point_deinit(&u->points[i]);
    rb_bundle_deinit(&u->bundle);
    rb_alignment_free(u->alignment);
    free(u->wanted);
    free(u);
}

static void done(struct rb_slurm_unit *u, enum rb_status status, const struct rb_error *err)
{
    struct rb_error copy = {.status = status};
    if (err != NULL)
        copy = *err;
    rb_run_stage_done(u->run, status, &copy);
}

void rb_slurm_unit_stop(struct rb_slurm_unit *u)
{
    u->leaving = true;
    if (!u->busy)
        done(u, RB_ECANCELED, NULL);
}

/* A pool job has come back. false: the stage has ended with it. */
static bool back(struct rb_slurm_unit *u)
{
    u->busy = false;
    if (!u->leaving)
        return true;
    done(u, RB_ECANCELED, NULL);
    return false;
}

static void start(struct rb_slurm_unit *u, enum rb_slurm_step step, void (*work)(struct rb_async *),
                  void (*come_back)(struct rb_async *))
{
    u->step = step;
    u->busy = true;
    u->async = (struct rb_async){.work = work, .done = come_back, .data = u, .lane = RB_LANE_READ};
    rb_async_start(u->run->work->pool, &u->async);
}

/* ---- what is asked for ---- */

size_t rb_slurm_points_left(const struct rb_run *run, bool *to)
{
    bool members[RB_POINTS_MAX];
    size_t left = 0, n = run->spec.lambdas.count;
    bool whole = run->spec.points != RB_POINTS_AUTO; /* those of the folded control are known */
    memset(to, 0, (size_t)RB_CURVE_COUNT * RB_POINTS_MAX * sizeof *to);
    if (!run->spec.has_evaluate)
        return 0;
    if (run->spec.evaluate.options.precision > 0) {
        for (size_t i = 0; i < n; i++)
            members[i] = true;
        whole = true; /* its node finds them */
    } else {
        whole = rb_run_members(run, members) || whole;
    }
    for (size_t i = 0; i < n; i++) {
        if (!members[i])
            continue;
        bool aligned = !run->curves[RB_CURVE_ALIGNED].known[i];
        /* What both curves share comes with the aligned one's. */
        bool control = rb_run_wants_control(run, i) && !run->curves[RB_CURVE_CONTROL].known[i] &&
                       !(aligned && rb_run_shares(run, i));
        bool folded = whole && rb_run_has_folded(run) && !run->curves[RB_CURVE_FOLDED].known[i] &&
                      (run->curves[RB_CURVE_CONTROL].known[i] || !rb_run_shares_folded(run, i));
        to[i] = aligned;
        to[RB_POINTS_MAX + i] = control;
        to[RB_CURVE_FOLDED * RB_POINTS_MAX + i] = folded;
        left += (size_t)aligned + control + folded;
    }
    return left;
}

static char *copy_of(const char *text, bool *failed)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    *failed |= text != NULL && copy == NULL;
    return copy;
}

static const char *path_of(const struct rb_places *p, const char *role,
                           const struct rb_text_place **ret_text)
{
    const struct {
        const char *role;
        const struct rb_text_place *text;
    } texts[] = {{"align_dataset", &p->align},
                 {"evaluate_dataset", &p->evaluate},
                 {"learn_dataset", &p->learn}};
    *ret_text = NULL;
    if (strcmp(role, "model_a") == 0)
        return p->path[0];
    if (strcmp(role, "model_b") == 0)
        return p->path[1];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(role, texts[i].role) == 0) {
            *ret_text = texts[i].text;
            return texts[i].text->path;
        }
    return NULL;
}

static bool fill_inputs(const struct rb_run *run, struct rb_bundle *b)
{
    bool failed = false;
    for (size_t i = 0; i < run->row.job.input_count; i++) {
        const struct rb_job_input *from = &run->row.job.inputs[i];
        struct rb_bundle_input *to = &b->inputs[b->input_count++];
        const struct rb_text_place *text;
        memcpy(to->role, from->role, sizeof to->role);
        memcpy(to->sha256, from->sha256, sizeof to->sha256);
        to->name = copy_of(from->name, &failed);
        to->path = copy_of(path_of(&run->places, from->role, &text), &failed);
        to->is_model = to->path != NULL && text == NULL;
        if (text == NULL)
            continue;
        to->format = text->format;
        if (text->format == RB_TEXT)
            continue;
        to->text = copy_of(text->text, &failed);
        to->text_pair = copy_of(text->text_pair, &failed);
        to->label = copy_of(text->label, &failed);
    }
    return !failed;
}

/* Neighbours go to different tasks, so that all tasks take as long. */
static bool fill_points(const struct rb_slurm_unit *u, struct rb_bundle *b)
{
    size_t left = 0, at = 0;
    b->tasks = 1;
    if (u->kind != RB_UNIT_POINTS || u->run->spec.evaluate.options.precision > 0)
        return true; /* rounds over all of the points are one node's */
    for (size_t i = 0; i < RB_CURVE_COUNT * RB_POINTS_MAX; i++)
        left += u->wanted[i];
    size_t each = u->slurm->options.points_per_task;
    b->tasks = (uint32_t)((left + each - 1) / each);
    b->points = calloc(left + 1, sizeof *b->points);
    if (b->points == NULL)
        return false;
    for (uint32_t i = 0; i < RB_CURVE_COUNT * RB_POINTS_MAX; i++)
        if (u->wanted[i]) {
            uint32_t task = (uint32_t)(at % b->tasks);
            b->points[at++] = (struct rb_bundle_point){task, i / RB_POINTS_MAX, i % RB_POINTS_MAX};
        }
    b->point_count = left;
    return true;
}

static bool fill_merged(const struct rb_slurm_unit *u, struct rb_bundle *b)
{
    const struct rb_numbers *all = &u->run->spec.merged;
    if (u->kind != RB_UNIT_WRITE)
        return true;
    b->merged.values = calloc(all->count + 1, sizeof *b->merged.values);
    if (b->merged.values == NULL)
        return false;
    for (size_t i = 0; i < all->count; i++) {
        char name[RB_ARTIFACT_NAME_SIZE];
        rb_artifact_merged_name(all->values[i], name);
        if (!rb_run_has_artifact(u->run, name))
            b->merged.values[b->merged.count++] = all->values[i];
    }
    return true;
}

static enum rb_status fill_bundle(struct rb_slurm_unit *u, struct rb_error *err)
{
    struct rb_run *run = u->run;
    struct rb_bundle b = {.unit = u->kind};
    bool failed = false;
    b.tries = u->bundle.tries;
    /* By the clock, so that no name is used twice, whatever was removed meanwhile. */
    uint32_t now = (uint32_t)(rb_clock_realtime_ms() / 1000 - 1700000000);
    b.attempt = now > u->slurm->last_attempt ? now : u->slurm->last_attempt + 1;
    u->slurm->last_attempt = b.attempt;
    b.job = copy_of(run->row.job.id, &failed);
    b.version = copy_of(RB_VERSION, &failed);
    b.spec_json = copy_of(run->row.job.spec_json, &failed);
    b.solved = run->alignment != NULL;
    b.learned = run->recorded[RB_PHASE_LEARNING];
    b.certified = b.solved && run->alignment->certificate.present &&
                  rb_run_has_artifact(run, RB_FILE_PERMUTATIONS);
    if (failed || !fill_inputs(run, &b) || !fill_points(u, &b) || !fill_merged(u, &b)) {
        rb_bundle_deinit(&b);
        return rb_error_set(err, RB_ENOMEM, "no memory for a bundle");
    }
    rb_bundle_deinit(&u->bundle);
    u->bundle = b;
    return RB_OK;
}

static void set_name(struct rb_slurm_unit *u)
{
    (void)snprintf(u->name, sizeof u->name, "rebasind-%s-%s.%u", u->run->row.job.id,
                   rb_unit_names[u->kind], u->bundle.attempt);
}

/* ---- making and submitting ---- */

static void made(struct rb_async *a)
{
    struct rb_slurm_unit *u = a->data;
    if (!back(u))
        return;
    u->previous[0] = '\0';
    if (u->status != RB_OK)
        done(u, u->status, &u->error);
    else
        submit(u);
}

static void make(struct rb_slurm_unit *u)
{
    struct rb_error err;
    enum rb_status status = fill_bundle(u, &err);
    if (status != RB_OK) {
        done(u, status, &err);
        return;
    }
    set_name(u);
    memcpy(u->previous, u->folder, sizeof u->previous);
    (void)rb_slurm_unit_folder(u->run->row.job.id, u->kind, u->bundle.attempt, u->folder);
    u->progressed = u->warned = false;
    u->warning[0] = '\0';
    u->ended = NULL;
    u->listed = false;
    u->standing = (struct rb_slurm_standing){0};
    u->seen_ns = 0;
    start(u, RB_SLURM_MAKE, rb_slurm_make_bundle, made);
}

static void submitted(void *data, uint32_t status, char *output, const char *words)
{
    struct rb_slurm_unit *u = data;
    u->step = RB_SLURM_WATCH;
    u->misses = 0;
    u->listed = false;
    u->submit_failed = status != 0;
    u->since = u->slurm->generation;
    if (status == 0) {
        u->patience_ns = 0;
        const struct rb_slurm_news news = {rb_unit_names[u->kind], .progressed = true};
        rb_slurm_tell(u->run, &news, "submitted as job %.*s of Slurm, %u tasks",
                      (int)strcspn(output, ";\n"), output, u->bundle.tasks);
        return;
    }
    /* It may have come through all the same: the queue will tell by the name. */
    if (u->patience_ns == 0) {
        u->patience_ns = rb_clock_monotonic_ns() + PATIENCE_NS;
        rb_slurm_note(u->run, rb_unit_names[u->kind], "sbatch does not take it: %s", words);
    }
    (void)rb_error_set(&u->error, RB_EIO, "Slurm does not take unit %s: %.300s",
                       rb_unit_names[u->kind], words);
    if (rb_clock_monotonic_ns() > u->patience_ns)
        done(u, RB_EIO, &u->error);
}

static void submit(struct rb_slurm_unit *u)
{
    char folder[4096 + RB_PATH_SIZE], tasks[16];
    struct rb_error err;
    (void)snprintf(folder, sizeof folder, "%s/%s", u->slurm->options.shared_dir, u->folder);
    (void)snprintf(tasks, sizeof tasks, "%u", u->bundle.tasks);
    const char *const fields[] = {u->name, folder, rb_unit_names[u->kind], tasks};
    u->step = RB_SLURM_SUBMIT;
    u->submitted_ns = rb_clock_monotonic_ns();
    u->ran = false;
    if (rb_slurm_ask(u->slurm, RB_BROKER_SUBMIT, fields, submitted, u) == NULL) {
        (void)rb_error_set(&err, RB_ENOMEM, "no memory to submit a unit");
        done(u, RB_ENOMEM, &err);
    }
}

/* ---- finding ---- */

static void found(struct rb_async *a)
{
    struct rb_slurm_unit *u = a->data;
    if (!back(u))
        return;
    if (!u->found) {
        make(u);
        return;
    }
    if (u->bundle.attempt > u->slurm->last_attempt)
        u->slurm->last_attempt = u->bundle.attempt;
    set_name(u);
    u->submitted_ns = rb_clock_monotonic_ns();
    u->step = RB_SLURM_WATCH;
    u->since = u->slurm->generation;
    for (size_t i = 0; i < u->bundle.point_count; i++) {
        const struct rb_bundle_point *p = &u->bundle.points[i];
        u->progressed |= !u->wanted[(size_t)p->curve * RB_POINTS_MAX + p->index];
    }
    const struct rb_slurm_news news = {rb_unit_names[u->kind], .progressed = true};
    rb_slurm_tell(u->run, &news, "found again, attempt %u", u->bundle.attempt);
    rb_slurm_look(u);
}

void rb_slurm_unit_enter(struct rb_run *run, enum rb_unit kind)
{
    struct rb_error err;
    struct rb_slurm *s = run->work->slurm;
    struct rb_slurm_unit *u = calloc(1, sizeof *u);
    bool *wanted = calloc((size_t)RB_CURVE_COUNT * RB_POINTS_MAX, sizeof *wanted);
    run->stage_data = u;
    if (u == NULL || wanted == NULL) {
        free(wanted);
        free(u);
        run->stage_data = NULL;
        (void)rb_error_set(&err, RB_ENOMEM, "no memory for a unit");
        rb_run_stage_done(run, RB_ENOMEM, &err);
        return;
    }
    *u = (struct rb_slurm_unit){
        .slurm = s, .run = run, .kind = kind, .wanted = wanted, .next = s->units};
    s->units = u;
    s->unit_count++;
    (void)rb_slurm_points_left(run, u->wanted);
    start(u, RB_SLURM_FIND, rb_slurm_find_bundle, found);
}

/* ---- products ---- */

static enum rb_status take_points(struct rb_slurm_unit *u, struct rb_error *err)
{
    struct rb_run *run = u->run;
    struct rb_run_point points[RB_SLURM_POINTS_AT_ONCE];
    size_t count = 0;
    for (size_t i = 0; i < u->point_count; i++) {
        const struct rb_product_point *p = &u->points[i];
        enum rb_curve_name curve = (enum rb_curve_name)p->curve;
        if (p->index < run->spec.lambdas.count && !run->curves[curve].known[p->index])
            points[count++] =
                (struct rb_run_point){curve, p->index, &p->point, p->blocks, p->block_count};
    }
    enum rb_status status = count > 0 ? rb_run_points_with(run, points, count, err) : RB_OK;
    for (size_t i = 0; i < u->point_count; i++) {
        const struct rb_product_point *p = &u->points[i];
        if (status == RB_OK) {
            u->wanted[(size_t)p->curve * RB_POINTS_MAX + p->index] = false;
            rb_slurm_environment_add(run, &u->seals[i]);
        }
        rb_product_point_deinit(&u->points[i]);
    }
    u->progressed |= status == RB_OK && count > 0;
    u->point_count = 0;
    return status;
}

static enum rb_status record_files(struct rb_slurm_unit *u, struct rb_error *err)
{
    struct rb_run *run = u->run;
    struct rb_store *store = run->work->store;
    bool certified = u->kind == RB_UNIT_LEARN || !run->spec.align.has_learn;
    enum rb_status status = rb_store_begin(store, err);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; i < u->artifact_count && status == RB_OK; i++)
        if (u->kind != RB_UNIT_ALIGN || certified) /* before learning it is no artifact yet */
            status = rb_artifact_put(store, run->row.seq, &u->artifacts[i], err);
    if (status == RB_OK && u->kind == RB_UNIT_ALIGN)
        status = rb_run_record(run, RB_PHASE_SOLVING, "{\"file\":\"" RB_FILE_ALIGNMENT "\"}", err);
    if (status == RB_OK && u->kind == RB_UNIT_LEARN)
        status = rb_run_record(run, RB_PHASE_LEARNING, "{}", err);
    if (status == RB_OK && u->kind != RB_UNIT_WRITE && certified)
        status = rb_run_record(run, RB_PHASE_CERTIFYING, "{}", err);
    return rb_store_end(store, status, err);
}

static enum rb_status take_files(struct rb_slurm_unit *u, struct rb_error *err)
{
    struct rb_run *run = u->run;
    bool before[RB_PHASE_COUNT];
    memcpy(before, run->recorded, sizeof before);
    enum rb_status status = record_files(u, err);
    if (status == RB_OK)
        status = rb_run_artifacts_read(run, err);
    if (status != RB_OK) {
        memcpy(run->recorded, before, sizeof before); /* rolled back */
        return status;
    }
    rb_slurm_environment_add(run, &u->seal);
    if (u->alignment != NULL) {
        rb_alignment_free(run->alignment);
        run->alignment = u->alignment;
        u->alignment = NULL;
    }
    return RB_OK;
}

/* All that this attempt was asked for has been taken. */
static bool is_whole(const struct rb_slurm_unit *u)
{
    if (u->kind != RB_UNIT_POINTS || u->bundle.point_count == 0)
        return u->done_well && !u->more;
    for (size_t i = 0; i < u->bundle.point_count; i++) {
        const struct rb_bundle_point *p = &u->bundle.points[i];
        if (u->wanted[(size_t)p->curve * RB_POINTS_MAX + p->index])
            return false;
    }
    return true;
}

/* The next of the points, where the curves lead to further ones, or the stage's end. */
static void finish(struct rb_slurm_unit *u)
{
    const struct rb_job_change change = rb_slurm_environment_change(u->run);
    const struct rb_slurm_news news = {rb_unit_names[u->kind], .change = &change};
    rb_slurm_tell(u->run, &news, "done");
    if (u->kind == RB_UNIT_POINTS && u->bundle.point_count > 0 &&
        rb_slurm_points_left(u->run, u->wanted) > 0) {
        u->bundle.tries = 0;
        make(u);
        return;
    }
    done(u, RB_OK, NULL);
}

static void again(struct rb_slurm_unit *u, const char *why)
{
    struct rb_error err;
    u->bundle.tries = u->progressed ? 1 : u->bundle.tries + 1;
    rb_metrics_add(u->run->work->metrics, RB_METER_UNIT_RETRIES, 1, rb_unit_names[u->kind], NULL);
    if (u->bundle.tries > RB_SLURM_TRIES) {
        rb_slurm_note(u->run, rb_unit_names[u->kind], "%s; given up after %d further tries", why,
                      RB_SLURM_TRIES);
        (void)rb_error_set(&err, RB_EIO, "unit %s failed on Slurm %d times, at last: %.300s",
                           rb_unit_names[u->kind], RB_SLURM_TRIES + 1, why);
        done(u, RB_EIO, &err);
        return;
    }
    rb_slurm_note(u->run, rb_unit_names[u->kind], "%s; what is left is submitted again (%u of %d)",
                  why, u->bundle.tries, RB_SLURM_TRIES);
    (void)rb_slurm_points_left(u->run, u->wanted);
    make(u);
}

static void accounted(void *data, uint32_t status, char *output, const char *words)
{
    struct rb_slurm_unit *u = data;
    char why[256];
    const char *ended = status == 0 ? rb_slurm_account_parse(output) : NULL;
    if (ended != NULL)
        (void)snprintf(why, sizeof why, "%s", ended);
    else
        (void)snprintf(why, sizeof why,
                       "it has left the queue without a result, and why is not known%s%.120s",
                       status == 0 ? "" : ": ", status == 0 ? "" : words);
    again(u, why);
}

/* It is neither in the queue nor whole. */
static void gone(struct rb_slurm_unit *u)
{
    const char *const fields[] = {u->name};
    if (u->has_outcome)
        again(u, u->outcome.detail);
    else if (u->full)
        again(u, "the shared folder is full: its node could not even say so");
    else if (u->ended != NULL)
        again(u, u->ended);
    else if (rb_slurm_ask(u->slurm, RB_BROKER_ACCOUNT, fields, accounted, u) != NULL)
        u->step = RB_SLURM_ACCOUNT; /* the queue no longer knows, accounting may */
    else
        again(u, "it has left the queue without a result");
}

static void decide(struct rb_slurm_unit *u)
{
    struct rb_error err;
    if (is_whole(u)) {
        finish(u);
    } else if (u->job_failed) {
        rb_slurm_note(u->run, rb_unit_names[u->kind], "failed: %s", u->outcome.detail);
        (void)rb_error_set(&err, u->outcome.status, "%.400s", u->outcome.detail);
        done(u, u->outcome.status, &err);
    } else if (u->more) {
        rb_slurm_look(u);
    } else if ((u->all_ended && u->has_outcome) ||
               (u->scan_misses >= RB_SLURM_MISSES && !u->listed && !u->submit_failed)) {
        gone(u);
    }
}

void rb_slurm_unit_looked(struct rb_slurm_unit *u)
{
    struct rb_error err = u->error;
    if (!back(u))
        return;
    u->shown = u->fraction;
    if (u->warning[0] != '\0' && !u->warned) {
        rb_run_warn(u->run, rb_unit_names[u->kind], "%s", u->warning);
        u->warned = true;
    }
    enum rb_status status = u->status;
    if (status == RB_OK && u->kind == RB_UNIT_POINTS)
        status = take_points(u, &err);
    else if (status == RB_OK && u->done_well)
        status = take_files(u, &err);
    if (status != RB_OK) /* the store or the disk: run.h waits for those */
        done(u, status, &err);
    else
        decide(u);
}

void rb_slurm_unit_heard(struct rb_slurm_unit *u, const struct rb_slurm_standing *standing)
{
    if (u->step != RB_SLURM_WATCH)
        return;
    bool fewer = standing->running < u->standing.running;
    u->standing = *standing;
    if (standing->ended != NULL)
        u->ended = standing->ended;
    u->listed = standing->pending + standing->running > 0;
    if (!u->ran && standing->running > 0) {
        u->ran = true;
        rb_metrics_observe(u->run->work->metrics, RB_METER_UNIT_WAIT,
                           (double)(rb_clock_monotonic_ns() - u->submitted_ns) * 1e-9, NULL);
    }
    if (u->listed) {
        u->misses = 0;
        u->submit_failed = false;
        if (!u->ran && !u->told_waiting && u->slurm->notes_left > 0 &&
            standing->reason[0] != '\0' && strcmp(standing->reason, "None") != 0) {
            u->told_waiting = true;
            u->slurm->notes_left--;
            rb_slurm_note(u->run, rb_unit_names[u->kind], "waits in the queue: %s",
                          standing->reason);
        }
    } else if (u->slurm->generation <= u->since) {
        return;                    /* asked before it was submitted */
    } else if (u->submit_failed) { /* now it is known that it did not come through */
        if (!u->busy)
            submit(u);
    } else {
        u->misses++;
    }
    if (fewer || u->misses > 0)
        rb_slurm_look(u);
}
