/* A job's run. Its states, all on the loop thread; `stage` is the place in the executor's table.
 *
 *     rb_run_start
 *          |
 *      first_enter       the spec is decoded
 *          |
 *   .--> enter           the phase is stored; then the stage's own `enter` starts what computes
 *   |      |
 *   |   in_stage         items run on the pool; rb_run_stop sets `stop` and `why`
 *   |      |
 *   |   rb_run_stage_done
 *   |      |--- stopped ----------------------------------------------------> end
 *   |      |--- failed, may pass by itself: waits, then enters the same stage again
 *   |      |--- failed, or has waited RB_RUN_PATIENCE_S in all -------------> end
 *   |      |--- done: on to the next stage that is needed
 *   '------'    none is left -----------------------------------------------> end
 *
 *     end --> finish     the final status is stored; if the store refuses, again later
 *               |
 *            run_close   both timers close; then `ended` is called and the run is freed
 *
 * It waits RB_RUN_WAIT_MS at a time.
 * The final status: canceled or queued again if it was stopped (`why`), else succeeded or failed.
 */
#include "core/merge/barrier.h"
#include "server/work/run_state.h"
#include "server/work/run.h"
#include "server/work/executor.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/store/jobs_read.h"
#include "core/merge/refine.h"
#include "server/store/results.h"
#include "server/work/rates_kept.h"
#include "server/work/run_progress.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* NULL before the spec is decoded, and when all stages are over. */
static const struct rb_stage *present(const struct rb_run *run)
{
    return run->executor != NULL ? run->executor->stages[run->stage] : NULL;
}

/* ---- facts ---- */

bool rb_run_moves(const struct rb_run *run)
{
    return run->spec.align.from_job != NULL || run->spec.align.options.components != 0;
}

bool rb_run_has_control(const struct rb_run *run)
{
    const struct rb_evaluate_options *o = &run->spec.evaluate.options;
    if (!run->spec.has_evaluate)
        return false;
    bool grid = run->spec.points != RB_POINTS_AUTO && !(o->precision > 0);
    return o->control || (rb_run_is_near(run) && !grid);
}

bool rb_run_is_near(const struct rb_run *run)
{
    return rb_align_is_near(run->alignment != NULL ? &run->alignment->options
                                                   : &run->spec.align.options);
}

bool rb_run_wants_control(const struct rb_run *run, size_t index)
{
    return rb_run_has_control(run) ||
           (run->spec.has_evaluate && rb_run_is_near(run) && index + 1 == run->spec.lambdas.count);
}

bool rb_run_has_folded(const struct rb_run *run)
{
    const struct rb_align_options *o =
        run->alignment != NULL ? &run->alignment->options : &run->spec.align.options;
    return run->spec.has_evaluate && o->components != 0 && rb_align_folds(o) &&
           rb_run_has_control(run) && !rb_run_several(run);
}

size_t rb_run_folded_left(const struct rb_run *run, const bool *members)
{
    size_t left = 0;
    for (size_t i = 0; rb_run_has_folded(run) && i < run->spec.lambdas.count; i++)
        left += members[i] && !run->curves[RB_CURVE_FOLDED].known[i];
    return left;
}

bool rb_run_shares_folded(const struct rb_run *run, size_t index)
{
    return (index == 0 || index + 1 == run->spec.lambdas.count) && rb_run_has_folded(run);
}

bool rb_run_members(const struct rb_run *run, bool *members)
{
    size_t n = run->spec.lambdas.count, curves = rb_run_has_control(run) ? 2 : 1;
    bool whole = true;
    if (run->spec.points == RB_POINTS_AUTO) {
        double losses[2][RB_REFINE_POINTS];
        const struct rb_refine_curve known[] = {{losses[0], run->curves[0].known},
                                                {losses[1], run->curves[1].known}};
        for (size_t c = 0; c < curves; c++)
            for (size_t i = 0; i < n; i++)
                losses[c][i] = run->curves[c].points[i].loss;
        return rb_refine(run->spec.lambdas.values, n, known, curves, members);
    }
    for (size_t i = 0; i < n; i++) {
        members[i] = true;
        whole = whole && run->curves[RB_CURVE_ALIGNED].known[i];
        whole = whole && (!rb_run_wants_control(run, i) || run->curves[RB_CURVE_CONTROL].known[i]);
    }
    return whole;
}

size_t rb_run_models(const struct rb_run *run)
{
    return rb_job_spec_models(&run->spec);
}

bool rb_run_several(const struct rb_run *run)
{
    return rb_job_spec_several(&run->spec);
}

struct rb_alignment *rb_run_alignment(const struct rb_run *run, size_t model)
{
    return model == 1 ? run->alignment : run->more[model - 2].alignment;
}

const struct rb_motion *rb_run_motion(const struct rb_run *run, size_t model)
{
    return model == 1 ? &run->motion : &run->more[model - 2].motion;
}

/* The i-th model in a blend, moved or not. */
static struct rb_blend_term term_of(const struct rb_run *run, size_t model, bool moved)
{
    const struct rb_motion *motion = NULL;
    if (moved && model > 0)
        motion = rb_run_motion(run, model);
    else if (moved && run->folds)
        motion = &run->folded[0];
    return (struct rb_blend_term){&run->subject.model[model], motion, 0};
}

/* called: what stands for its lambda. */
static struct rb_blend weighted(const struct rb_run *run, bool moved, const double *weights,
                                double called)
{
    struct rb_blend blend = {.count = rb_run_models(run), .lambda = called};
    for (size_t m = 0; m < blend.count; m++) {
        blend.terms[m] = term_of(run, m, moved);
        blend.terms[m].weight = weights[m];
    }
    return blend;
}

struct rb_blend rb_run_blend(const struct rb_run *run, enum rb_curve_name curve, double lambda)
{
    assert(run->has_motion || !rb_run_moves(run));
    bool moved = curve == RB_CURVE_ALIGNED && run->has_motion;
    if (rb_run_several(run))
        return weighted(run, moved, run->spec.weights.values + (size_t)lambda * rb_run_models(run),
                        lambda);
    struct rb_blend_term a = term_of(run, 0, moved), b = term_of(run, 1, moved);
    if (curve == RB_CURVE_FOLDED) {
        assert(run->folds);
        a.motion = &run->folded[0];
        b.motion = &run->folded[1];
    }
    if (run->folds && (moved || curve == RB_CURVE_FOLDED))
        return rb_blend_path(&a, &b, lambda);
    return rb_blend_pair(a.model, b.model, b.motion, lambda);
}

struct rb_blend rb_run_merged_blend(const struct rb_run *run, size_t index)
{
    double lambda = run->spec.merged.values[index];
    if (!rb_run_several(run))
        return rb_run_blend(run, RB_CURVE_ALIGNED, lambda);
    return weighted(run, run->has_motion,
                    run->spec.merged_weights.values + index * rb_run_models(run), lambda);
}

bool rb_run_has_artifact(const struct rb_run *run, const char *name)
{
    for (size_t i = 0; i < run->artifact_count; i++)
        if (strcmp(run->artifacts[i].name, name) == 0)
            return true;
    return false;
}

size_t rb_run_merged_left(const struct rb_run *run)
{
    size_t left = 0;
    for (size_t i = 0; i < run->spec.merged.count; i++) {
        char name[RB_ARTIFACT_NAME_SIZE];
        rb_artifact_merged_name(run->spec.merged.values[i], name);
        left += !rb_run_has_artifact(run, name);
    }
    return left;
}

/* ---- programs ---- */

static const struct rb_pool_task **task_place(struct rb_run *run, const struct rb_pool_task *task)
{
    for (size_t i = 0; i < sizeof run->tasks / sizeof run->tasks[0]; i++)
        if (run->tasks[i] == task)
            return &run->tasks[i];
    return NULL;
}

void rb_run_program(struct rb_run *run, struct rb_pool_task *task, struct rb_program *program,
                    void (*done)(struct rb_pool_task *task, enum rb_status status,
                                 const struct rb_error *err),
                    void *data)
{
    const struct rb_pool_task **place = task_place(run, NULL);
    assert(place != NULL);
    *place = task;
    *task = (struct rb_pool_task){
        .program = program,
        .priority = run->row.job.priority,
        .order = (uint64_t)run->row.seq,
        .stop = &run->stop,
        .done = done,
        .data = data,
    };
    rb_pool_start(run->work->pool, task);
}

void rb_run_phase_program(struct rb_run *run, enum rb_phase phase, struct rb_pool_task *task,
                          struct rb_program *program,
                          void (*done)(struct rb_pool_task *task, enum rb_status status,
                                       const struct rb_error *err),
                          void *data)
{
    run->phases[phase].total = program->total_cost;
    run->phases[phase].done = 0;
    rb_run_program(run, task, program, done, data);
}

void rb_run_program_ended(struct rb_run *run, struct rb_pool_task *task)
{
    enum rb_phase phase = present(run)->phase;
    struct rb_run_phase *p = &run->phases[phase];
    *task_place(run, task) = NULL;
    p->done += task->cost_done;
    p->busy_seconds += task->busy_seconds;
    p->fresh_cost += task->cost_done;
    p->fresh_busy += task->busy_seconds;
}

enum rb_status rb_run_models_used(struct rb_run *run, struct rb_pool_task *task,
                                  enum rb_status status, const struct rb_error *err,
                                  struct rb_error *ret_err)
{
    rb_run_program_ended(run, task);
    if (status == RB_OK)
        return rb_subject_verify(&run->subject, &run->places, ret_err);
    *ret_err = *err;
    return status;
}

/* ---- what is written as it happens ---- */

enum rb_status rb_run_progressed(struct rb_run *run, struct rb_error *err)
{
    struct rb_store *store = run->work->store;
    enum rb_status status = rb_store_begin(store, err);
    if (status != RB_OK)
        return status;
    return rb_store_end(store, rb_job_progressed(store, run->row.seq, err), err);
}

enum rb_status rb_run_record(struct rb_run *run, enum rb_phase phase, const char *product,
                             struct rb_error *err)
{
    if (run->recorded[phase])
        return RB_OK;
    char *text = strdup(product), *name = strdup(rb_phase_names[phase]);
    enum rb_status status = RB_ENOMEM;
    if (text == NULL || name == NULL) {
        status = rb_error_set(err, RB_ENOMEM, "no memory to record a stage");
    } else {
        struct rb_stage_row row = {
            .stage = name,
            .product = text,
            .seconds = (double)(rb_clock_monotonic_ns() - run->entered_ns) * 1e-9,
            .finished_ms = rb_clock_realtime_ms(),
        };
        status = rb_stage_add(run->work->store, run->row.seq, &row, err);
        run->recorded[phase] = status == RB_OK;
    }
    free(text);
    free(name);
    return status;
}

enum rb_status rb_run_record_files(struct rb_run *run, enum rb_phase phase, const char *product,
                                   const struct rb_artifact *files, size_t count,
                                   struct rb_error *err)
{
    struct rb_store *store = run->work->store;
    bool before = run->recorded[phase];
    enum rb_status status = rb_store_begin(store, err);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; i < count && status == RB_OK; i++)
        status = rb_artifact_put(store, run->row.seq, &files[i], err);
    if (status == RB_OK && product != NULL)
        status = rb_run_record(run, phase, product, err);
    status = rb_store_end(store, status, err);
    if (status != RB_OK)
        run->recorded[phase] = before; /* rolled back */
    return status;
}

bool rb_run_shares(const struct rb_run *run, size_t index)
{
    if (!rb_run_has_control(run))
        return false;
    if (!rb_run_moves(run) || index == 0)
        return true;
    if (rb_run_several(run))
        return index < rb_run_models(run) && run->alignment != NULL &&
               rb_run_alignment(run, index)->certificate.equivalent;
    return index + 1 == run->spec.lambdas.count && run->alignment != NULL &&
           run->alignment->certificate.equivalent;
}

/* known and points are as if it were committed. */
static enum rb_status add_point(struct rb_run *run, enum rb_curve_name curve,
                                const struct rb_run_point *p, struct rb_event_row *event,
                                struct rb_error *err)
{
    bool rounds = run->spec.evaluate.options.precision > 0;
    struct rb_point_row row = {.task = run->spec.evaluate.options.task,
                               .curve = curve,
                               .index = (uint32_t)p->index,
                               .point = *p->point,
                               .blocks = rounds ? NULL : p->blocks,
                               .block_count = rounds ? 0 : p->block_count};
    enum rb_status status = RB_OK;
    if (run->curves[curve].known[p->index])
        return RB_OK;
    if (rounds && p->block_count > 0)
        status = rb_blocks_append(run->work->store, run->row.seq, curve, (uint32_t)p->index,
                                  p->blocks, p->block_count, err);
    if (status == RB_OK)
        status =
            rb_point_add(run->work->store, run->row.seq, &row, rb_clock_realtime_ms(), event, err);
    if (status != RB_OK)
        return status;
    run->curves[curve].points[p->index] = *p->point;
    run->curves[curve].known[p->index] = true;
    return RB_OK;
}

enum rb_curve_name rb_run_last_same(const struct rb_run *run, enum rb_curve_name curve,
                                    size_t index)
{
    if (curve == RB_CURVE_ALIGNED && rb_run_shares(run, index))
        curve = RB_CURVE_CONTROL;
    if (curve == RB_CURVE_CONTROL && rb_run_shares_folded(run, index))
        curve = RB_CURVE_FOLDED;
    return curve;
}

/* One point, and the other curves' where they are the same; events: one for each. */
static enum rb_status add_given(struct rb_run *run, const struct rb_run_point *p,
                                struct rb_event_row events[RB_CURVE_COUNT], struct rb_error *err)
{
    enum rb_status status = RB_OK;
    for (int c = (int)p->curve; c <= (int)rb_run_last_same(run, p->curve, p->index); c++)
        if (status == RB_OK)
            status = add_point(run, (enum rb_curve_name)c, p, &events[c], err);
    return status;
}

enum rb_status rb_run_points_with(struct rb_run *run, const struct rb_run_point *points,
                                  size_t count, struct rb_error *err)
{
    struct rb_store *store = run->work->store;
    struct rb_event_row events[RB_CURVE_COUNT * RB_RUN_POINTS_AT_ONCE] = {0};
    bool before[RB_CURVE_COUNT][RB_POINTS_MAX];
    size_t bytes = run->spec.lambdas.count * sizeof before[0][0];
    assert(count <= RB_RUN_POINTS_AT_ONCE);
    enum rb_status status = rb_store_begin(store, err);
    if (status != RB_OK)
        return status;
    for (int c = 0; c < RB_CURVE_COUNT; c++)
        memcpy(before[c], run->curves[c].known, bytes);
    for (size_t i = 0; i < count && status == RB_OK; i++)
        status = add_given(run, &points[i], events + RB_CURVE_COUNT * i, err);
    status = rb_store_end(store, status, err);
    rb_hub_ring_all(&run->work->hub, status, events, RB_CURVE_COUNT * count);
    for (int c = 0; c < RB_CURVE_COUNT && status != RB_OK; c++) /* rolled back */
        memcpy(run->curves[c].known, before[c], bytes);
    return status;
}

enum rb_status rb_run_point(struct rb_run *run, enum rb_curve_name curve, size_t index,
                            const struct rb_point *point, const struct rb_block *blocks,
                            struct rb_error *err)
{
    size_t count = blocks != NULL ? run->subject.evaluate.count : 0;
    const struct rb_run_point one = {curve, index, point, blocks, count};
    return rb_run_points_with(run, &one, 1, err);
}

static size_t known_points(const struct rb_run *run, enum rb_curve_name curve, struct rb_point *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < run->spec.lambdas.count; i++)
        if (run->curves[curve].known[i])
            ret[n++] = run->curves[curve].points[i];
    return n;
}

struct rb_barrier_view rb_run_barrier_view(const struct rb_run *run, struct rb_point *points)
{
    size_t counts[RB_CURVE_COUNT], known = 0;
    for (int c = 0; c < RB_CURVE_COUNT; c++)
        known += counts[c] = known_points(run, (enum rb_curve_name)c, points + known);
    return rb_barrier_view_make(run->row.job.id, &run->spec, rb_run_is_near(run), points, counts);
}

void rb_run_warn(struct rb_run *run, const char *unit, const char *format, ...)
{
    struct rb_store *store = run->work->store;
    struct rb_event_row rows[2] = {0};
    struct rb_error err;
    char text[RB_JOB_WARNING_SIZE];
    int64_t now = rb_clock_realtime_ms();
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    rb_log_warn("warning", RB_S("job", run->row.job.id), RB_S("unit", unit), RB_S("detail", text));
    enum rb_status status = rb_store_begin(store, &err);
    if (status == RB_OK) {
        status =
            rb_event_note(store, run->row.seq, run->row.job.id, unit, text, now, &rows[0], &err);
        if (status == RB_OK)
            status = rb_job_warn(store, run->row.seq, text, now, &rows[1], &err);
        status = rb_store_end(store, status, &err);
    }
    if (status != RB_OK)
        rb_log_warn("not noted", RB_S("job", run->row.job.id), RB_ERROR_FIELDS(&err));
    rb_hub_ring_all(&run->work->hub, status, rows, 2);
}

struct rb_certificate rb_run_certificate(const struct rb_run *run)
{
    struct rb_certificate c = run->alignment->certificate;
    size_t last = run->spec.lambdas.count - 1;
    if (!c.near || !run->spec.has_evaluate || !run->curves[RB_CURVE_CONTROL].known[last] ||
        !run->curves[RB_CURVE_ALIGNED].known[last])
        return c;
    c.loss_before = run->curves[RB_CURVE_CONTROL].points[last].loss;
    c.loss_after = run->curves[RB_CURVE_ALIGNED].points[last].loss;
    return c;
}

static enum rb_sameness sameness(const struct rb_run *run)
{
    if (!rb_run_moves(run) || run->alignment == NULL || !run->alignment->certificate.present)
        return RB_SAME_UNKNOWN;
    switch (rb_certificate_kind(&run->alignment->certificate)) {
    case RB_KIND_EXACT:
        return RB_SAME_EXACT;
    case RB_KIND_NEAR:
        return RB_SAME_NEAR;
    case RB_KIND_DIFFERENT:
        break;
    }
    return RB_SAME_DIFFERENT;
}

/* Of all moved models: one that is another function is enough. */
static enum rb_sameness several_sameness(const struct rb_run *run)
{
    for (size_t m = 1; m < rb_run_models(run); m++) {
        const struct rb_alignment *a = rb_run_moves(run) ? rb_run_alignment(run, m) : NULL;
        if (a == NULL || !a->certificate.present)
            return RB_SAME_UNKNOWN;
        if (rb_certificate_kind(&a->certificate) != RB_KIND_EXACT)
            return RB_SAME_DIFFERENT;
    }
    return RB_SAME_EXACT;
}

void rb_run_verdict(const struct rb_run *run, const struct rb_barrier_view *v,
                    struct rb_merge_verdict *ret)
{
    const struct rb_evaluate_options *o = &run->spec.evaluate.options;
    struct rb_barrier ignored;
    bool whole = run->spec.has_evaluate && rb_curve_barrier(v, &v->aligned, &ignored);
    size_t count = whole ? v->aligned.count : 0;
    if (rb_run_several(run)) {
        rb_merge_verdict_several(v->aligned.points, count, rb_run_models(run), o->task, o->metric,
                                 run->spec.has_evaluate ? &run->subject.chance : NULL,
                                 v->errors != NULL ? v->errors->parent : NULL,
                                 several_sameness(run), ret);
        return;
    }
    struct rb_point points[RB_POINTS_MAX];
    for (size_t i = 0; i < count; i++)
        points[i] = v->aligned.points[i];
    if (count > 0 && v->original != NULL) /* near: B is the original one */
        points[count - 1] = *v->original;
    rb_merge_verdict_make(points, count, o->task, o->metric,
                          run->spec.has_evaluate ? &run->subject.chance : NULL,
                          v->errors != NULL ? v->errors->parent : NULL, sameness(run), ret);
    if (rb_job_spec_solves(&run->spec))
        ret->written = rb_job_spec_tunes(&run->spec) ? RB_WRITTEN_BOTH : RB_WRITTEN_SOLVED;
    else if (rb_job_spec_tunes(&run->spec))
        ret->written = RB_WRITTEN_TUNED;
}

/* ---- the end ---- */

static void run_free(struct rb_run *run)
{
    rb_job_row_deinit(&run->row);
    rb_job_spec_deinit(&run->spec);
    rb_places_deinit(&run->places);
    rb_subject_deinit(&run->subject);
    rb_moments_free(run->moments);
    if (run->has_motion)
        rb_motion_deinit(&run->motion);
    for (size_t i = 0; i < RB_MODELS_MAX; i++) {
        rb_motion_deinit(&run->folded[i]);
        rb_fold_deinit(&run->fold[i]);
    }
    rb_alignment_free(run->alignment);
    for (size_t i = 0; i < RB_MODELS_MAX - 2; i++) {
        rb_motion_deinit(&run->more[i].motion);
        rb_alignment_free(run->more[i].alignment);
    }
    for (size_t i = 0; i < run->pair_count; i++)
        rb_moments_free(run->pairs[i]);
    free(run->pairs);
    free(run->reference);
    for (int c = 0; c < RB_CURVE_COUNT; c++) {
        free(run->curves[c].points);
        free(run->curves[c].known);
    }
    free(run->artifacts);
    free(run);
}

static void closed(uv_handle_t *handle)
{
    struct rb_run *run = handle->data;
    struct rb_work *w = run->work;
    if (--run->closing > 0)
        return;
    struct rb_run **at = &w->runs;
    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
    w->run_count--;
    void (*ended)(struct rb_work *) = run->ended;
    run_free(run);
    ended(w);
}

static void run_close(struct rb_run *run)
{
    run->closing = 2;
    uv_close((uv_handle_t *)&run->timer, closed);
    uv_close((uv_handle_t *)&run->tick, closed);
}

static void timer_fired(uv_timer_t *timer)
{
    struct rb_run *run = timer->data;
    run->resume(run);
}

static void resume_after(struct rb_run *run, uint64_t ms, void (*resume)(struct rb_run *run))
{
    run->resume = resume;
    uv_timer_start(&run->timer, timer_fired, ms, 0);
}

static void summarize_certificate(struct rb_certificate c, struct rb_job_summary *s)
{
    s->equivalent = c.equivalent;
    s->kind = (int)rb_certificate_kind(&c);
    if (!c.near)
        return;
    s->kl = c.kl;
    s->top1_agreement = c.top1_agreement;
    s->loss_before = c.loss_before;
    s->loss_after = c.loss_after;
}

static void summarize_curves(const struct rb_barrier_view *v, struct rb_job_summary *s)
{
    struct rb_barrier aligned, control;
    bool has_aligned = rb_curve_barrier(v, &v->aligned, &aligned);
    bool has_control = v->has_control && rb_curve_barrier(v, &v->control, &control);
    bool ranks = rb_merge_verdict_ranks(&s->verdict);
    if (has_aligned) {
        s->barrier_chord = aligned.chord;
        s->barrier_mean = aligned.mean;
    }
    if (has_control) {
        s->control_barrier_chord = control.chord;
        s->control_barrier_mean = control.mean;
    }
    bool several = v->weights != NULL; /* then the chord is all there is */
    if (has_aligned && has_control && ranks)
        s->reduction = several ? rb_reduction(aligned.chord, control.chord)
                               : rb_reduction(aligned.mean, control.mean);
    if (v->errors != NULL && ranks)
        s->reduction_error = several ? v->errors->reduction_chord : v->errors->reduction_mean;
}

static bool all_equivalent(const struct rb_run *run)
{
    bool all = true;
    for (size_t m = 1; m < rb_run_models(run); m++)
        all = all && rb_run_alignment(run, m)->certificate.equivalent;
    return all;
}

static void summarize(const struct rb_run *run, struct rb_job_summary *s)
{
    size_t n = run->spec.lambdas.count;
    struct rb_point *points = calloc(RB_CURVE_COUNT * n + 2, sizeof *points);
    *s = rb_job_summary_none();
    if (rb_run_moves(run) && run->alignment != NULL && run->alignment->certificate.present)
        summarize_certificate(rb_run_certificate(run), s);
    if (s->equivalent >= 0 && rb_run_several(run))
        s->equivalent = all_equivalent(run);
    if (points == NULL)
        return;
    struct rb_barrier_view v = rb_run_barrier_view(run, points);
    struct rb_barrier_errors errors;
    if (run->spec.has_evaluate &&
        rb_barrier_errors_read(run->work->store, run->row.seq, &v, &errors, NULL) == RB_OK)
        v.errors = &errors;
    rb_run_verdict(run, &v, &s->verdict);
    if (run->spec.has_evaluate)
        summarize_curves(&v, s);
    free(points);
}

static enum rb_job_status final_job_status(const struct rb_run *run)
{
    switch (run->why) {
    case RB_RUN_CANCEL:
        return RB_JOB_CANCELED;
    case RB_RUN_DRAIN:
        return RB_JOB_QUEUED;
    case RB_RUN_GOES_ON:
        break;
    }
    return run->final_status == RB_OK ? RB_JOB_SUCCEEDED : RB_JOB_FAILED;
}

static void observe(const struct rb_run *run, enum rb_job_status status)
{
    struct rb_metrics *m = run->work->metrics;
    if (rb_job_status_terminal(status))
        rb_metrics_add(m, RB_METER_JOBS_FINISHED, 1, rb_job_status_names[status], NULL);
    for (int p = 0; p < RB_PHASE_COUNT; p++)
        if (!isnan(run->row.job.timings[p]))
            rb_metrics_observe(m, RB_METER_PHASE_SECONDS, run->row.job.timings[p],
                               rb_phase_names[p]);
}

static enum rb_status commit_end(struct rb_run *run, enum rb_job_status to, struct rb_error *err)
{
    struct rb_job_summary summary;
    struct rb_job_error error = {.status = run->final_status};
    struct rb_job_change change = {
        .to = to,
        .at_ms = rb_clock_realtime_ms(),
        .uncharged = to == RB_JOB_QUEUED,
        .timings = run->row.job.timings,
        .peak_bytes = rb_run_peak_bytes(),
    };
    if (to == RB_JOB_SUCCEEDED) {
        summarize(run, &summary);
        change.summary = &summary;
    }
    if (to == RB_JOB_FAILED) {
        memcpy(error.detail, run->error.detail, sizeof error.detail);
        change.error = &error;
    }
    return rb_hub_job_change(&run->work->hub, run->work->store, run->row.seq, &change, err);
}

static void finish(struct rb_run *run)
{
    enum rb_job_status to = final_job_status(run);
    struct rb_error err;
    if (commit_end(run, to, &err) != RB_OK) {
        rb_log_error("job's end cannot be stored", RB_S("job", run->row.job.id),
                     RB_S("status", rb_job_status_names[to]), RB_ERROR_FIELDS(&err));
        /* A drain cannot wait: the next process finds the job running and goes on from there. */
        if (run->why == RB_RUN_DRAIN || run->work->draining)
            run_close(run);
        else
            resume_after(run, RB_RUN_WAIT_MS, finish);
        return;
    }
    observe(run, to);
    if (to == RB_JOB_SUCCEEDED && !run->work->options.one_shot)
        rb_rates_keep(run->work->store, &run->work->rates);
    if (to == RB_JOB_FAILED)
        rb_log_error(
            "job", RB_S("job", run->row.job.id), RB_S("status", rb_job_status_names[to]),
            RB_S("phase", present(run) != NULL ? rb_phase_names[present(run)->phase] : NULL),
            RB_ERROR_FIELDS(&run->error));
    else
        rb_log_info("job", RB_S("job", run->row.job.id), RB_S("status", rb_job_status_names[to]));
    run_close(run);
}

/* ---- from stage to stage ---- */

/* May pass by itself: someone frees the disk, closes files, or gives back memory. */
static bool may_pass(enum rb_status status)
{
    return status == RB_EDISKFULL || status == RB_ESTORE || status == RB_EFILES ||
           status == RB_ENOMEM;
}

static void enter(struct rb_run *run);

static void concluded(struct rb_run *run, bool whole)
{
    if (whole)
        finish(run);
    else /* the next process finds the job running or canceling, and goes on with that */
        run_close(run);
}

static void end(struct rb_run *run, enum rb_status status, const struct rb_error *err)
{
    run->final_status = status;
    if (err != NULL)
        run->error = *err;
    enum rb_job_status to = final_job_status(run);
    run->concluding =
        run->executor != NULL && run->executor->conclude != NULL && to != RB_JOB_QUEUED;
    if (run->concluding)
        run->executor->conclude(run, to == RB_JOB_SUCCEEDED, concluded);
    else
        finish(run);
}

/* What may pass is waited for; on a node that somebody else waits for not as long. */
static double patience(const struct rb_run *run)
{
    return run->work->options.bundle != NULL ? RB_RUN_PATIENCE_UNIT_S : RB_RUN_PATIENCE_S;
}

static void wait_or_end(struct rb_run *run, enum rb_status status, const struct rb_error *err)
{
    if (!may_pass(status) || run->waited_seconds >= patience(run)) {
        end(run, status, err);
        return;
    }
    if (run->waited_seconds == 0)
        rb_log_warn("job waits", RB_S("job", run->row.job.id), RB_ERROR_FIELDS(err));
    run->waited_seconds += RB_RUN_WAIT_MS / 1000.0;
    resume_after(run, RB_RUN_WAIT_MS, enter);
}

static enum rb_status change_phase(struct rb_run *run, enum rb_phase phase, struct rb_error *err)
{
    struct rb_job_change change = {
        .to = RB_JOB_RUNNING,
        .phase = phase,
        .at_ms = rb_clock_realtime_ms(),
        .timings = run->row.job.timings,
        .peak_bytes = rb_run_peak_bytes(),
    };
    if (run->row.job.phase == phase)
        return RB_OK;
    enum rb_status status =
        rb_hub_job_change(&run->work->hub, run->work->store, run->row.seq, &change, err);
    if (status != RB_OK)
        return status;
    run->row.job.phase = phase;
    rb_log_info("job", RB_S("job", run->row.job.id), RB_S("status", "running"),
                RB_S("phase", rb_phase_names[phase]));
    return RB_OK;
}

static void enter(struct rb_run *run)
{
    struct rb_error err;
    if (run->why != RB_RUN_GOES_ON) {
        end(run, RB_ECANCELED, NULL);
        return;
    }
    enum rb_status status = rb_room_check(run->work->options.room, &err);
    if (status == RB_OK)
        status = change_phase(run, present(run)->phase, &err);
    if (status != RB_OK) {
        wait_or_end(run, status, &err);
        return;
    }
    run->in_stage = true;
    run->alone = run->work->run_count == 1;
    run->entered_ns = rb_clock_monotonic_ns();
    present(run)->enter(run);
}

/* A phase takes the workers' time on a core, and what they wait for one another and for the store:
 * where the job is alone, its wall time. Of jobs side by side nobody knows whose wait it was: they
 * teach the time on a core, until one was alone. */
static void learn_rate(struct rb_run *run, enum rb_phase phase, double wall)
{
    struct rb_work *work = run->work;
    struct rb_run_phase *p = &run->phases[phase];
    double seconds = run->alone ? wall * work->options.workers : p->fresh_busy;
    if (p->fresh_busy > 0 && (run->alone || work->rates.factor[phase] <= 0))
        rb_rates_learn(&work->rates, phase, run->plan.width, p->fresh_cost, seconds);
    p->fresh_cost = p->fresh_busy = 0;
}

static void add_timing(struct rb_run *run)
{
    enum rb_phase phase = present(run)->phase;
    double seconds = (double)(rb_clock_monotonic_ns() - run->entered_ns) * 1e-9;
    double *timing = &run->row.job.timings[phase];
    *timing = isnan(*timing) ? seconds : *timing + seconds;
    run->phases[phase].wall_seconds += seconds;
    learn_rate(run, phase, seconds);
    rb_log_debug("phase", RB_S("job", run->row.job.id), RB_S("phase", rb_phase_names[phase]),
                 RB_D("wall_seconds", seconds), RB_D("gflop", run->phases[phase].done * 1e-9),
                 RB_D("thread_seconds", run->phases[phase].busy_seconds));
}

void *rb_run_stage_begin(struct rb_run *run, size_t bytes)
{
    struct rb_error err;
    run->stage_data = calloc(1, bytes);
    if (run->stage_data == NULL) {
        (void)rb_error_set(&err, RB_ENOMEM, "no memory to begin the phase %s",
                           rb_phase_names[present(run)->phase]);
        rb_run_stage_done(run, RB_ENOMEM, &err);
    }
    return run->stage_data;
}

void rb_run_stage_done(struct rb_run *run, enum rb_status status, const struct rb_error *err)
{
    assert(run->in_stage);
    const struct rb_error copy = status != RB_OK ? *err : (struct rb_error){0}; /* leave frees it */
    run->in_stage = false;
    add_timing(run);
    void *data = run->stage_data;
    run->stage_data = NULL;
    if (data != NULL && present(run)->leave != NULL)
        present(run)->leave(run, data);
    if (run->why != RB_RUN_GOES_ON) {
        end(run, RB_ECANCELED, NULL);
        return;
    }
    if (status != RB_OK) {
        wait_or_end(run, status, &copy);
        return;
    }
    run->waited_seconds = 0;
    do
        run->stage++;
    while (present(run) != NULL && !present(run)->needed(run));
    if (present(run) == NULL)
        end(run, RB_OK, NULL);
    else
        enter(run);
}

/* ---- beginning and stopping ---- */

static void ticked(uv_timer_t *timer)
{
    rb_run_progress_ring(timer->data);
}

static enum rb_status decode_spec(struct rb_run *run, struct rb_error *err)
{
    enum rb_status status = rb_job_spec_restore(run->row.job.spec_json, &run->spec, err);
    if (status == RB_OK)
        run->executor = rb_executor_for(run->work, &run->spec);
    for (int c = 0; c < RB_CURVE_COUNT && status == RB_OK; c++) {
        run->curves[c].points = calloc(run->spec.lambdas.count + 1, sizeof(struct rb_point));
        run->curves[c].known = calloc(run->spec.lambdas.count + 1, sizeof(bool));
        if (run->curves[c].points == NULL || run->curves[c].known == NULL)
            status = rb_error_set(err, RB_ENOMEM, "no memory for a job's curves");
    }
    return status;
}

static void first_enter(struct rb_run *run)
{
    enum rb_status status = decode_spec(run, &run->error);
    if (status != RB_OK) {
        end(run, status, NULL);
        return;
    }
    uv_timer_start(&run->tick, ticked, RB_RUN_PROGRESS_MS, RB_RUN_PROGRESS_MS);
    enter(run);
}

enum rb_status rb_run_start(struct rb_work *w, struct rb_job_row *row,
                            void (*ended)(struct rb_work *w), struct rb_error *err)
{
    struct rb_run *run = calloc(1, sizeof *run);
    if (run == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to run job %s", row->job.id);
    if (w->run_count == 0)
        rb_run_peak_reset();
    run->work = w;
    run->ended = ended;
    run->row = *row;
    *row = (struct rb_job_row){0};
    run->next = w->runs;
    w->runs = run;
    w->run_count++;
    for (struct rb_run *other = run->next; other != NULL; other = other->next)
        other->alone = false;
    atomic_init(&run->stop, false);
    uv_timer_init(w->loop, &run->timer);
    uv_timer_init(w->loop, &run->tick);
    run->timer.data = run->tick.data = run;
    rb_log_info("job", RB_S("job", run->row.job.id), RB_S("status", "running"),
                RB_U("attempt", run->row.job.attempt));
    resume_after(run, 0, first_enter);
    return RB_OK;
}

void rb_run_stop(struct rb_run *run, enum rb_run_stop why)
{
    if (why <= run->why || run->closing > 0 || run->concluding)
        return;
    run->why = why;
    atomic_store(&run->stop, true);
    bool waits = !run->in_stage; /* the stage may end in `stop` */
    if (run->executor != NULL)
        run->executor->stop(run);
    if (waits) /* it waits for the timer: what that calls sees `why` */
        uv_timer_start(&run->timer, timer_fired, 0, 0);
}

struct rb_run *rb_run_find(const struct rb_work *w, const char *job_id)
{
    struct rb_run *run = w->runs;
    while (run != NULL && strcmp(run->row.job.id, job_id) != 0)
        run = run->next;
    return run;
}

struct rb_run *rb_run_next(const struct rb_run *run)
{
    return run->next;
}

void rb_run_overlay(const struct rb_run *run, struct rb_job *job)
{
    if (run->executor != NULL)
        run->executor->progress(run, &job->progress);
    memcpy(job->timings, run->row.job.timings, sizeof job->timings);
    if (run->in_stage) {
        double seconds = (double)(rb_clock_monotonic_ns() - run->entered_ns) * 1e-9;
        double *timing = &job->timings[present(run)->phase];
        *timing = isnan(*timing) ? seconds : *timing + seconds;
    }
    uint64_t peak = rb_run_peak_bytes();
    job->peak_bytes = peak > job->peak_bytes ? peak : job->peak_bytes;
}
