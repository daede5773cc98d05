#include "server/work/rounds.h"

#include "core/merge/barrier.h"
#include "core/merge/refine.h"
#include "core/merge/simplex.h"
#include "server/work/run_state.h"
#include "server/store/results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t place_of(const struct rb_rounds *r, int curve, size_t index)
{
    return (size_t)curve * r->lambdas + index;
}

void rb_rounds_free(struct rb_rounds *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; r->sums != NULL && i < RB_CURVE_COUNT * r->lambdas; i++)
        free(r->sums[i]);
    free(r->sums);
    free(r->have);
    free(r);
}

enum rb_status rb_rounds_new(const struct rb_run *run, struct rb_rounds **ret, struct rb_error *err)
{
    size_t n = run->spec.lambdas.count;
    struct rb_rounds *r = calloc(1, sizeof *r);
    if (r != NULL) {
        *r = (struct rb_rounds){.lambdas = n, .total = run->subject.evaluate.count};
        r->sums = calloc(RB_CURVE_COUNT * n, sizeof(struct rb_block *));
        r->have = calloc(RB_CURVE_COUNT * n, sizeof *r->have);
    }
    enum rb_status status = r == NULL || r->sums == NULL || r->have == NULL
                                ? rb_error_set(err, RB_ENOMEM, "no memory for a job's blocks")
                                : RB_OK;
    for (size_t i = 0; status == RB_OK && i < RB_CURVE_COUNT * n; i++)
        status = rb_blocks_read(run->work->store, run->row.seq, (enum rb_curve_name)(i / n),
                                (uint32_t)(i % n), &r->sums[i], &r->have[i], err);
    if (status == RB_OK)
        *ret = r;
    else
        rb_rounds_free(r);
    return status;
}

/* ---- what a round says ---- */

static double loss_of(const struct rb_rounds *r, size_t place)
{
    double sum = 0, count = 0;
    for (size_t s = 0; s < r->blocks; s++) {
        sum += r->sums[place][s].sum;
        count += r->sums[place][s].count;
    }
    return sum / count;
}

static bool has_round(const struct rb_rounds *r, size_t place)
{
    return r->have[place] >= r->blocks;
}

/* The round's members; true if all of them have its blocks. */
static bool members_of(const struct rb_rounds *r, const struct rb_run *run, bool *members)
{
    size_t n = r->lambdas, curves = rb_run_has_control(run) ? 2 : 1;
    bool whole = true;
    if (run->spec.points == RB_POINTS_AUTO) {
        double losses[2][RB_REFINE_POINTS];
        bool known[2][RB_REFINE_POINTS];
        const struct rb_refine_curve views[] = {{losses[0], known[0]}, {losses[1], known[1]}};
        for (size_t c = 0; c < curves; c++)
            for (size_t i = 0; i < n; i++) {
                known[c][i] = has_round(r, c * n + i);
                losses[c][i] = known[c][i] ? loss_of(r, c * n + i) : 0;
            }
        return rb_refine(run->spec.lambdas.values, n, views, curves, members);
    }
    for (size_t i = 0; i < n; i++) {
        members[i] = true;
        for (size_t c = 0; c < curves; c++)
            whole = whole && has_round(r, c * n + i);
    }
    return whole;
}

/* Of three models or more: over the vertices, which are the first points. */
static double error_of_several(const struct rb_rounds *r, const struct rb_run *run)
{
    struct rb_point points[RB_POINTS_MAX];
    double barriers[RB_POINTS_MAX];
    size_t models = rb_run_models(run);
    const double *weights = run->spec.weights.values;
    for (size_t i = 0; i < r->lambdas; i++)
        points[i] = (struct rb_point){.lambda = (double)i, .loss = loss_of(r, i)};
    size_t at = rb_simplex_barriers(points, r->lambdas, weights, models, barriers);
    struct rb_excess e = {.at = r->sums[at], .end_count = models};
    for (size_t m = 0; m < models; m++) {
        e.ends[m] = r->sums[m];
        e.weights[m] = weights[at * models + m];
    }
    return rb_excess_error(&e, r->blocks);
}

/* Of the aligned barrier over the chord, by the round's blocks; NaN below two. */
static double error_of(const struct rb_rounds *r, const struct rb_run *run, const bool *members)
{
    struct rb_point points[RB_POINTS_MAX];
    struct rb_barrier b;
    size_t places[RB_POINTS_MAX], n = 0;
    if (rb_run_several(run))
        return error_of_several(r, run);
    for (size_t i = 0; i < r->lambdas; i++)
        if (members[i]) {
            places[n] = i;
            points[n++] =
                (struct rb_point){.lambda = run->spec.lambdas.values[i], .loss = loss_of(r, i)};
        }
    /* near-equivalent: over the chord to the original B, the control's end */
    size_t last = (rb_run_is_near(run) ? 2 : 1) * r->lambdas - 1;
    rb_barrier_compute_to(points, n, loss_of(r, last), &b);
    const struct rb_excess e = rb_excess_pair(r->sums[places[b.chord_at]], r->sums[0],
                                              r->sums[last], 1 - b.chord_lambda, b.chord_lambda);
    return rb_excess_error(&e, r->blocks);
}

bool rb_rounds_next(struct rb_rounds *r, const struct rb_run *run, bool *ret_members)
{
    double precision = run->spec.evaluate.options.precision;
    for (size_t blocks = RB_ROUNDS_FIRST;; blocks *= 2) {
        r->blocks = blocks < r->total ? blocks : r->total;
        if (!members_of(r, run, ret_members))
            return false;
        if (r->blocks == r->total || error_of(r, run, ret_members) <= precision)
            return true;
    }
}

size_t rb_rounds_have(const struct rb_rounds *r, int curve, size_t index)
{
    size_t have = r->have[place_of(r, curve, index)];
    return have < r->blocks ? have : r->blocks;
}

void rb_rounds_point(const struct rb_rounds *r, const struct rb_run *run, int curve, size_t index,
                     struct rb_point *ret)
{
    size_t place = place_of(r, curve, index);
    double square = 0, count = 0, loss = loss_of(r, place);
    for (size_t s = 0; s < r->blocks; s++) {
        square += r->sums[place][s].square;
        count += r->sums[place][s].count;
    }
    double variance = count > 1 ? (square - count * loss * loss) / (count - 1) : 0;
    *ret = (struct rb_point){
        .lambda = run->spec.lambdas.values[index],
        .loss = loss,
        .standard_error = variance > 0 ? sqrt(variance / count) : 0,
    };
    for (int m = 0; m < RB_METRIC_COUNT; m++)
        ret->metrics[m] = (double)NAN;
    bool mlm = run->spec.evaluate.options.task == RB_TASK_MLM;
    ret->metrics[mlm ? RB_PSEUDO_PERPLEXITY : RB_PERPLEXITY] = exp(loss);
}

/* ---- adding ---- */

static enum rb_status add_one(struct rb_rounds *r, size_t place, const struct rb_block *blocks,
                              size_t count, struct rb_error *err)
{
    struct rb_block *grown = realloc(r->sums[place], (r->have[place] + count) * sizeof *grown);
    if (grown == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a point's blocks");
    memcpy(grown + r->have[place], blocks, count * sizeof *grown);
    r->sums[place] = grown;
    r->have[place] += count;
    return RB_OK;
}

enum rb_status rb_rounds_add(struct rb_rounds *r, const struct rb_run *run, int curve, size_t index,
                             const struct rb_block *blocks, size_t count, struct rb_error *err)
{
    struct rb_store *store = run->work->store;
    int last = (int)rb_run_last_same(run, (enum rb_curve_name)curve, index);
    enum rb_status status = rb_store_begin(store, err);
    if (status != RB_OK)
        return status;
    for (int c = curve; c <= last && status == RB_OK; c++)
        status = rb_blocks_append(store, run->row.seq, (enum rb_curve_name)c, (uint32_t)index,
                                  blocks, count, err);
    status = rb_store_end(store, status, err);
    for (int c = curve; c <= last && status == RB_OK; c++)
        status = add_one(r, place_of(r, c, index), blocks, count, err);
    return status;
}
