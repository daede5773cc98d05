/* The evaluating stage: the loss at each lambda of both curves, ascending, two at a time so that
 * the end of one leaves no core idle; then at the same lambdas the folded control's, where norms
 * are folded. Each is recorded before its place is given to the next. */
#include "core/merge/evaluate.h"
#include "server/work/bundle_dir.h"
#include "server/work/rounds.h"
#include "server/work/run_state.h"

#include <stdlib.h>
#include <string.h>

enum { LANES = 2 };

struct lane {
    struct evaluate *stage;
    struct rb_pool_task task;
    struct rb_program *program;
    struct rb_blend blend;
    enum rb_curve_name curve;
    size_t index;
    struct rb_sequences part; /* with rounds: the blocks that are evaluated; starts is ours */
};

struct evaluate {
    struct rb_run *run;
    struct rb_rounds *rounds; /* NULL without evaluate.precision */
    struct lane lanes[LANES];
    size_t next;  /* position in the order: lambda by lambda, aligned before control */
    bool folding; /* both are whole: the folded control's turn */
    const struct rb_bundle *only; /* what another process was asked for; NULL: all there is */
    bool members[RB_POINTS_MAX];  /* which indices of lambda, as far as that is known */
    unsigned busy;                /* lanes */
    enum rb_status status;
    struct rb_error error;
};

static void evaluate_leave(struct rb_run *run, void *data)
{
    struct evaluate *e = data;
    (void)run;
    for (int i = 0; i < LANES; i++) {
        rb_program_free(e->lanes[i].program);
        free(e->lanes[i].part.starts);
    }
    rb_rounds_free(e->rounds);
    free(e);
}

static bool in_flight(const struct evaluate *e, size_t index)
{
    for (int i = 0; i < LANES; i++)
        if (e->lanes[i].program != NULL && e->lanes[i].curve == RB_CURVE_ALIGNED &&
            e->lanes[i].index == index)
            return true;
    return false;
}

/* Its point will come with the aligned curve's, which is under way. */
static bool comes_along(const struct evaluate *e, size_t index)
{
    return rb_run_shares(e->run, index) && in_flight(e, index);
}

/* Is there nothing to evaluate at this point now? */
static bool is_done(const struct evaluate *e, enum rb_curve_name curve, size_t index)
{
    return e->rounds != NULL ? rb_rounds_have(e->rounds, (int)curve, index) == e->rounds->blocks
                             : e->run->curves[curve].known[index];
}

/* Is that point to be evaluated now, by this process? */
static bool is_wanted(const struct evaluate *e, enum rb_curve_name curve, size_t index)
{
    const struct rb_run *run = e->run;
    if (!e->members[index] || is_done(e, curve, index))
        return false;
    if (e->only != NULL &&
        !rb_bundle_wants_point(e->only, run->work->options.task, curve, (uint32_t)index))
        return false;
    if (curve == RB_CURVE_FOLDED)
        return rb_run_has_folded(run);
    return curve == RB_CURVE_ALIGNED ||
           (rb_run_wants_control(run, index) && !comes_along(e, index));
}

static bool take_next(struct evaluate *e, struct lane *lane)
{
    size_t curves = e->folding ? 1 : 2, n = e->run->spec.lambdas.count;
    while (e->next < curves * n) {
        lane->index = e->next / curves;
        lane->curve = e->folding         ? RB_CURVE_FOLDED
                      : e->next % 2 == 0 ? RB_CURVE_ALIGNED
                                         : RB_CURVE_CONTROL;
        e->next++;
        if (is_wanted(e, lane->curve, lane->index))
            return true;
    }
    return false;
}

static void lane_done(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err);

static enum rb_status lane_start(struct evaluate *e, struct lane *lane)
{
    struct rb_run *run = e->run;
    lane->stage = e;
    lane->blend = rb_run_blend(run, lane->curve, run->spec.lambdas.values[lane->index]);
    const struct rb_sequences *sequences = &run->subject.evaluate;
    if (e->rounds != NULL) {
        size_t have = rb_rounds_have(e->rounds, (int)lane->curve, lane->index);
        if (!rb_sequences_slice(sequences, have, e->rounds->blocks, &lane->part))
            return rb_error_set(&e->error, RB_ENOMEM, "no memory for a round of blocks");
        sequences = &lane->part;
    }
    enum rb_status status = rb_evaluate_new(&lane->blend, &run->spec.evaluate.options, sequences,
                                            &lane->program, &e->error);
    if (status != RB_OK)
        return status;
    e->busy++;
    rb_run_program(run, &lane->task, lane->program, lane_done, lane);
    return RB_OK;
}

/* The points, once their blocks suffice. */
static enum rb_status record_rounds(struct evaluate *e)
{
    struct rb_run *run = e->run;
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < run->spec.lambdas.count; i++)
        for (int c = 0; c < RB_CURVE_COUNT && status == RB_OK; c++) {
            struct rb_point point;
            bool there = c == RB_CURVE_ALIGNED ||
                         (c == RB_CURVE_CONTROL ? rb_run_has_control(run) : rb_run_has_folded(run));
            if (!there || !e->members[i] || run->curves[c].known[i])
                continue;
            rb_rounds_point(e->rounds, run, c, i, &point);
            status = rb_run_point(run, (enum rb_curve_name)c, i, &point, NULL, &e->error);
        }
    return status;
}

/* Where the work is next; true if there is none behind that. */
static bool look(struct evaluate *e)
{
    struct rb_run *run = e->run;
    e->next = 0;
    if (e->rounds != NULL)
        return rb_rounds_next(e->rounds, run, e->members);
    if (e->only == NULL)
        return rb_run_members(run, e->members);
    for (size_t i = 0; i < run->spec.lambdas.count; i++)
        e->members[i] = true;
    return true;
}

static void fill_lanes(struct evaluate *e)
{
    for (int i = 0; i < LANES && e->status == RB_OK; i++)
        if (e->lanes[i].program == NULL && take_next(e, &e->lanes[i]))
            e->status = lane_start(e, &e->lanes[i]);
}

/* Fills free lanes; ends the stage once nothing runs and nothing is left to run. */
static void fill(struct evaluate *e)
{
    struct rb_run *run = e->run;
    bool whole = e->folding;
    do {
        if (e->busy == 0 && !e->folding) /* what is next depends on all that was asked for before */
            whole = look(e);
        fill_lanes(e);
        if (e->busy == 0 && whole && !e->folding) {
            e->folding = true; /* on the blocks that sufficed */
            e->next = 0;
            fill_lanes(e);
        }
    } while (e->busy == 0 && e->status == RB_OK && !whole);
    if (e->busy > 0)
        return;
    if (e->status == RB_OK && e->rounds != NULL)
        e->status = record_rounds(e);
    enum rb_status status = e->status;
    struct rb_error err = e->error;
    rb_run_stage_done(run, status, &err);
}

static enum rb_status record(struct evaluate *e, struct lane *lane, struct rb_error *err)
{
    struct rb_run *run = e->run;
    struct rb_point point;
    enum rb_status status = rb_room_check(run->work->options.room, err);
    if (status != RB_OK)
        return status; /* what is left is for deletions */
    status = rb_evaluate_result(lane->program, &point, err);
    if (status != RB_OK)
        return rb_error_prefix(err, "%s curve at lambda %g: ", rb_curve_names[lane->curve],
                               lane->blend.lambda);
    const struct rb_sequences *evaluated = e->rounds != NULL ? &lane->part : &run->subject.evaluate;
    struct rb_block *blocks = calloc(evaluated->count + 1, sizeof *blocks);
    if (blocks == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a point's blocks");
    rb_evaluate_blocks(lane->program, blocks);
    status = rb_subject_verify(&run->subject, &run->places, err);
    if (status == RB_OK && e->rounds != NULL)
        status = rb_rounds_add(e->rounds, run, (int)lane->curve, lane->index, blocks,
                               evaluated->count, err);
    else if (status == RB_OK)
        status = rb_run_point(run, lane->curve, lane->index, &point, blocks, err);
    free(blocks);
    if (status == RB_OK)
        rb_metrics_add(run->work->metrics, RB_METER_TOKENS, (double)rb_sequences_tokens(evaluated),
                       "evaluating", NULL);
    return status;
}

static void lane_done(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct lane *lane = task->data;
    struct evaluate *e = lane->stage;
    struct rb_error error = {.status = status};
    rb_run_program_ended(e->run, task);
    if (err != NULL)
        error = *err;
    if (status == RB_OK)
        status = record(e, lane, &error);
    rb_program_free(lane->program);
    lane->program = NULL;
    free(lane->part.starts);
    lane->part = (struct rb_sequences){0};
    e->busy--;
    if (status != RB_OK && e->status == RB_OK) {
        e->status = status;
        e->error = error;
    }
    fill(e);
}

/* What the phase still costs, now that it is known which points both curves share. Where the curves
 * lead to points of their own the plan's guess of how many it takes stays. */
static void set_cost(struct evaluate *e)
{
    struct rb_run *run = e->run;
    size_t known = 0, unknown = 0, all = run->plan.evaluations;
    double one = all > 0 ? run->plan.cost[RB_PHASE_EVALUATING] / (double)all : 0;
    for (size_t i = 0; i < run->spec.lambdas.count; i++) {
        bool control = rb_run_wants_control(run, i) && !rb_run_shares(run, i);
        known += run->curves[RB_CURVE_ALIGNED].known[i];
        unknown += !run->curves[RB_CURVE_ALIGNED].known[i];
        known += control && run->curves[RB_CURVE_CONTROL].known[i];
        unknown += control && !run->curves[RB_CURVE_CONTROL].known[i];
        bool folded = rb_run_has_folded(run) && !rb_run_shares_folded(run, i);
        known += folded && run->curves[RB_CURVE_FOLDED].known[i];
        unknown += folded && !run->curves[RB_CURVE_FOLDED].known[i];
    }
    if (run->spec.points == RB_POINTS_AUTO)
        unknown = known < all ? all - known : 1;
    run->phases[RB_PHASE_EVALUATING].total =
        run->phases[RB_PHASE_EVALUATING].done + one * (double)unknown;
}

static void evaluate_enter(struct rb_run *run)
{
    struct rb_error err;
    struct evaluate *e = rb_run_stage_begin(run, sizeof *e);
    if (e == NULL)
        return;
    e->run = run;
    const struct rb_bundle *bundle = run->work->options.bundle;
    e->only = bundle != NULL && bundle->point_count > 0 ? bundle : NULL;
    if (run->spec.evaluate.options.precision > 0) {
        enum rb_status status = rb_rounds_new(run, &e->rounds, &err);
        if (status != RB_OK) {
            rb_run_stage_done(run, status, &err);
            return;
        }
    }
    set_cost(e);
    fill(e);
}

static bool evaluate_needed(const struct rb_run *run)
{
    bool members[RB_POINTS_MAX];
    return run->spec.has_evaluate &&
           (!rb_run_members(run, members) || rb_run_folded_left(run, members) > 0);
}

const struct rb_stage rb_stage_evaluating = {RB_PHASE_EVALUATING, evaluate_needed, evaluate_enter,
                                             evaluate_leave};
