#include "api/barrier.h"

#include "api/job.h"
#include "core/merge/barrier.h"
#include "core/merge/evaluate.h"
#include "core/merge/refine.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rb_barrier_view rb_barrier_view_make(const char *job, const struct rb_job_spec *spec,
                                            bool near, const struct rb_point *points,
                                            const size_t counts[RB_CURVE_COUNT])
{
    bool shown = spec->evaluate.options.control;
    size_t aligned = counts[RB_CURVE_ALIGNED], control = counts[RB_CURVE_CONTROL];
    const struct rb_point *last = control > 0 ? &points[aligned + control - 1] : NULL;
    return (struct rb_barrier_view){
        .job = job,
        .task = spec->evaluate.options.task,
        .lambdas = spec->lambdas.values,
        .lambda_count = spec->lambdas.count,
        .models = rb_job_spec_models(spec),
        .weights = rb_job_spec_several(spec) ? spec->weights.values : NULL,
        .spec = spec,
        .adaptive = spec->points == RB_POINTS_AUTO,
        .aligned = {points, aligned},
        .has_control = shown,
        .control = {points + aligned, shown ? control : 0},
        .folded = {points + aligned + control, shown ? counts[RB_CURVE_FOLDED] : 0},
        .near = near,
        .original = near && last != NULL && last->lambda >= 1 ? last : NULL,
    };
}

static const struct rb_curve_points *curve_of(const struct rb_barrier_view *v,
                                              enum rb_curve_name curve)
{
    return curve == RB_CURVE_ALIGNED   ? &v->aligned
           : curve == RB_CURVE_CONTROL ? &v->control
                                       : &v->folded;
}

/* How many of them there are: the names before that one. */
static size_t curve_count(const struct rb_barrier_view *v)
{
    return !v->has_control ? 1 : v->folded.count == 0 ? 2 : RB_CURVE_COUNT;
}

/* The index of a curve's point in the grid. */
static size_t index_of(const struct rb_barrier_view *v, const struct rb_point *point)
{
    size_t i = 0;
    while (i < v->lambda_count && v->lambdas[i] != point->lambda)
        i++;
    assert(i < v->lambda_count);
    return i;
}

/* Is nothing left that rb_refine would ask for? */
static bool is_refined(const struct rb_barrier_view *v)
{
    double losses[2][RB_REFINE_POINTS];
    bool known[2][RB_REFINE_POINTS] = {{false}}, members[RB_REFINE_POINTS];
    const struct rb_curve_points *points[] = {&v->aligned, &v->control};
    const struct rb_refine_curve curves[] = {{losses[0], known[0]}, {losses[1], known[1]}};
    assert(v->lambda_count == RB_REFINE_POINTS);
    for (size_t c = 0; c < (v->has_control ? 2 : 1); c++)
        for (size_t i = 0; i < points[c]->count; i++) {
            size_t at = index_of(v, &points[c]->points[i]);
            losses[c][at] = points[c]->points[i].loss;
            known[c][at] = true;
        }
    return rb_refine(v->lambdas, RB_REFINE_POINTS, curves, v->has_control ? 2 : 1, members);
}

static bool is_whole(const struct rb_barrier_view *v, const struct rb_curve_points *curve)
{
    if (!v->adaptive)
        return curve->count == v->lambda_count;
    return is_refined(v) && (curve != &v->folded || curve->count == v->control.count);
}

/* Of several models: every point's barrier in ret_barriers (points), room for all; without memory
 * there is none. */
static bool several_barrier(const struct rb_barrier_view *v, const struct rb_curve_points *curve,
                            struct rb_barrier *ret)
{
    double *barriers = calloc(curve->count + 1, sizeof *barriers);
    if (barriers == NULL)
        return false;
    size_t at = rb_simplex_barriers(curve->points, curve->count, v->weights, v->models, barriers);
    *ret = (struct rb_barrier){.chord = barriers[at],
                               .chord_lambda = curve->points[at].lambda,
                               .chord_at = at,
                               .mean = NAN,
                               .mean_lambda = NAN,
                               .shape = RB_SHAPE_FLAT};
    free(barriers);
    return true;
}

bool rb_curve_barrier(const struct rb_barrier_view *v, const struct rb_curve_points *curve,
                      struct rb_barrier *ret)
{
    bool to_original = v->near && curve == &v->aligned;
    if (!is_whole(v, curve) || curve->count < 2 || (to_original && v->original == NULL))
        return false;
    if (v->weights != NULL)
        return several_barrier(v, curve, ret);
    if (to_original)
        rb_barrier_compute_to(curve->points, curve->count, v->original->loss, ret);
    else
        rb_barrier_compute(curve->points, curve->count, ret);
    return true;
}

/* Those that the task has, also where none has a value (a correlation with labels that are all the
 * same), and whatever else has one; as a bit set of enum rb_metric. */
static unsigned metrics_of(const struct rb_barrier_view *v)
{
    unsigned metrics = rb_task_metrics(v->task, 0);
    for (size_t c = 0; c < (v->has_control ? 2 : 1); c++) {
        const struct rb_curve_points *curve = curve_of(v, (enum rb_curve_name)c);
        for (size_t i = 0; i < curve->count; i++)
            for (int m = 0; m < RB_METRIC_COUNT; m++)
                if (!isnan(curve->points[i].metrics[m]))
                    metrics |= 1U << m;
    }
    return metrics;
}

/* ---- errors ---- */

static const struct rb_barrier_errors no_errors = {.chord = {NAN, NAN, NAN},
                                                   .mean = {NAN, NAN, NAN},
                                                   .reduction_chord = NAN,
                                                   .reduction_mean = NAN,
                                                   .parent = {NAN, NAN}};

enum place { AT_FIRST, AT_LAST, AT_CHORD, AT_MEAN, AT_BEST, PLACES };

/* One curve's blocks at the points that its barriers need. */
struct curve_blocks {
    struct rb_barrier barrier;
    struct rb_block *at[PLACES];
    size_t count;
    bool known;
};

static enum rb_status read_blocks(const struct rb_barrier_view *v, enum rb_curve_name curve,
                                  rb_blocks_reader *read, void *data, struct curve_blocks *c,
                                  struct rb_error *err)
{
    const struct rb_curve_points *points = curve_of(v, curve);
    if (!rb_curve_barrier(v, points, &c->barrier))
        return RB_OK;
    const size_t places[PLACES] = {[AT_FIRST] = 0,
                                   [AT_LAST] = points->count - 1,
                                   [AT_CHORD] = c->barrier.chord_at,
                                   [AT_MEAN] = c->barrier.mean_at,
                                   [AT_BEST] = rb_merge_best(points->points, points->count)};
    c->known = true;
    for (int i = 0; i < PLACES; i++) {
        size_t count = 0;
        size_t at = index_of(v, &points->points[places[i]]);
        bool original = v->near && curve == RB_CURVE_ALIGNED && i == AT_LAST;
        enum rb_status status =
            read(data, original ? RB_CURVE_CONTROL : curve, at, &c->at[i], &count, err);
        if (status != RB_OK)
            return status;
        c->known = c->known && count > 0 && (i == 0 || count == c->count);
        c->count = count;
    }
    return RB_OK;
}

static struct rb_excess over_chord(const struct curve_blocks *c)
{
    double l = c->barrier.chord_lambda;
    return rb_excess_pair(c->at[AT_CHORD], c->at[AT_FIRST], c->at[AT_LAST], 1 - l, l);
}

static struct rb_excess over_mean(const struct curve_blocks *c)
{
    return rb_excess_pair(c->at[AT_MEAN], c->at[AT_FIRST], c->at[AT_LAST], 0.5, 0.5);
}

/* Of the best point over one end. */
static struct rb_excess over_end(const struct curve_blocks *c, int end)
{
    return rb_excess_pair(c->at[AT_BEST], c->at[AT_FIRST], c->at[AT_LAST], end == 0, end == 1);
}

/* ---- errors, of several models ---- */

struct several_blocks {
    struct rb_excess excess;
    struct rb_block *at, *ends[RB_MODELS_MAX];
    size_t count;
    bool known;
};

static enum rb_status read_several(const struct rb_barrier_view *v, enum rb_curve_name curve,
                                   rb_blocks_reader *read, void *data, struct several_blocks *c,
                                   struct rb_error *err)
{
    const struct rb_curve_points *points = curve_of(v, curve);
    struct rb_barrier b;
    if (!rb_curve_barrier(v, points, &b))
        return RB_OK;
    enum rb_status status = read(data, curve, b.chord_at, &c->at, &c->count, err);
    c->known = c->count > 0;
    for (size_t m = 0; m < v->models && status == RB_OK; m++) {
        size_t count = 0;
        status = read(data, curve, m, &c->ends[m], &count, err);
        c->known = c->known && count == c->count;
        c->excess.ends[m] = c->ends[m];
        c->excess.weights[m] = v->weights[b.chord_at * v->models + m];
    }
    c->excess.at = c->at;
    c->excess.end_count = v->models;
    return status;
}

/* Of each point's barrier; the models' own is 0 by what it is. */
static enum rb_status point_errors(const struct rb_barrier_view *v, enum rb_curve_name curve,
                                   rb_blocks_reader *read, void *data,
                                   const struct several_blocks *c, struct rb_barrier_errors *e,
                                   struct rb_error *err)
{
    size_t known = curve == RB_CURVE_ALIGNED ? v->aligned.count : v->control.count;
    enum rb_status status = RB_OK;
    if (known > RB_BARRIER_ERRORS_MAX)
        known = RB_BARRIER_ERRORS_MAX;
    for (size_t i = 0; i < known && status == RB_OK; i++) {
        struct rb_excess excess = c->excess;
        struct rb_block *at = NULL;
        size_t count = 0;
        e->point[curve][i] = i < v->models ? 0 : (double)NAN;
        if (i < v->models)
            continue;
        status = read(data, curve, i, &at, &count, err);
        excess.at = at;
        memcpy(excess.weights, v->weights + i * v->models, v->models * sizeof *v->weights);
        if (status == RB_OK && count == c->count)
            e->point[curve][i] = rb_excess_error(&excess, count);
        free(at);
    }
    e->point_count[curve] = status == RB_OK ? known : 0;
    return status;
}

/* Of the best point's loss over each model's, from the aligned curve's blocks. */
static enum rb_status parent_errors(const struct rb_barrier_view *v, rb_blocks_reader *read,
                                    void *data, const struct several_blocks *c,
                                    struct rb_barrier_errors *e, struct rb_error *err)
{
    struct rb_block *best = NULL;
    size_t count = 0, at = rb_merge_best_of(v->aligned.points, v->aligned.count, v->models);
    enum rb_status status = read(data, RB_CURVE_ALIGNED, at, &best, &count, err);
    for (size_t m = 0; m < v->models && status == RB_OK && count == c->count; m++) {
        struct rb_excess excess = rb_excess_pair(best, c->ends[m], c->ends[m], 1, 0);
        e->parent[m] = rb_excess_error(&excess, count);
    }
    free(best);
    return status;
}

static enum rb_status several_errors(const struct rb_barrier_view *v, rb_blocks_reader *read,
                                     void *data, struct rb_barrier_errors *ret,
                                     struct rb_error *err)
{
    struct several_blocks curves[2] = {{.count = 0}, {.count = 0}};
    struct rb_barrier_errors e = no_errors;
    enum rb_status status = RB_OK;
    for (int c = 0; c < (v->has_control ? 2 : 1) && status == RB_OK; c++) {
        status = read_several(v, (enum rb_curve_name)c, read, data, &curves[c], err);
        if (status != RB_OK || !curves[c].known)
            continue;
        e.chord[c] = rb_excess_error(&curves[c].excess, curves[c].count);
        status = point_errors(v, (enum rb_curve_name)c, read, data, &curves[c], &e, err);
    }
    for (size_t m = 0; m < RB_MODELS_MAX; m++)
        e.parent[m] = (double)NAN;
    if (curves[0].known)
        e.blocks = curves[0].count;
    if (status == RB_OK && curves[0].known)
        status = parent_errors(v, read, data, &curves[0], &e, err);
    if (status == RB_OK && curves[0].known && curves[1].known && curves[0].count == curves[1].count)
        e.reduction_chord =
            rb_excess_reduction_error(&curves[0].excess, &curves[1].excess, curves[0].count);
    for (int c = 0; c < 2; c++) {
        free(curves[c].at);
        for (size_t m = 0; m < RB_MODELS_MAX; m++)
            free(curves[c].ends[m]);
    }
    if (status == RB_OK)
        *ret = e;
    return status;
}

enum rb_status rb_barrier_errors_make(const struct rb_barrier_view *v, rb_blocks_reader *read,
                                      void *data, struct rb_barrier_errors *ret,
                                      struct rb_error *err)
{
    if (v->weights != NULL)
        return several_errors(v, read, data, ret, err);
    struct curve_blocks curves[RB_CURVE_COUNT] = {{.count = 0}};
    struct rb_barrier_errors e = no_errors;
    enum rb_status status = RB_OK;
    for (size_t c = 0; c < curve_count(v) && status == RB_OK; c++)
        status = read_blocks(v, (enum rb_curve_name)c, read, data, &curves[c], err);
    struct rb_excess chord[RB_CURVE_COUNT], mean[RB_CURVE_COUNT];
    for (int c = 0; c < RB_CURVE_COUNT && status == RB_OK; c++) {
        if (!curves[c].known)
            continue;
        chord[c] = over_chord(&curves[c]);
        mean[c] = over_mean(&curves[c]);
        e.chord[c] = rb_excess_error(&chord[c], curves[c].count);
        e.mean[c] = rb_excess_error(&mean[c], curves[c].count);
    }
    for (int end = 0; end < 2 && status == RB_OK && curves[0].known; end++) {
        struct rb_excess excess = over_end(&curves[0], end);
        e.parent[end] = rb_excess_error(&excess, curves[0].count);
    }
    if (status == RB_OK && curves[0].known)
        e.blocks = curves[0].count;
    if (status == RB_OK && curves[0].known && curves[1].known &&
        curves[0].count == curves[1].count) {
        e.reduction_chord = rb_excess_reduction_error(&chord[0], &chord[1], curves[0].count);
        e.reduction_mean = rb_excess_reduction_error(&mean[0], &mean[1], curves[0].count);
    }
    for (int c = 0; c < RB_CURVE_COUNT; c++)
        for (int i = 0; i < PLACES; i++)
            free(curves[c].at[i]);
    if (status == RB_OK)
        *ret = e;
    return status;
}

/* ---- rows: the lambdas at which some curve is known ---- */

struct row {
    double lambda;
    const struct rb_point *at[RB_CURVE_COUNT]; /* NULL: not yet known */
};

/* The point at lambda if that is the curve's next one, which *next counts past. */
static const struct rb_point *take(const struct rb_curve_points *curve, double lambda, size_t *next)
{
    if (*next < curve->count && curve->points[*next].lambda == lambda)
        return &curve->points[(*next)++];
    return NULL;
}

/* An array of up to lambda_count rows, for the caller to free; NULL without memory. */
static struct row *rows_of(const struct rb_barrier_view *v, size_t *ret_count)
{
    struct row *rows = calloc(v->lambda_count + 1, sizeof *rows);
    size_t count = 0, next[RB_CURVE_COUNT] = {0}, curves = curve_count(v);
    for (size_t i = 0; rows != NULL && i < v->lambda_count; i++) {
        struct row row = {.lambda = v->lambdas[i]};
        bool known = false;
        for (size_t c = 0; c < curves; c++) {
            row.at[c] = take(curve_of(v, (enum rb_curve_name)c), row.lambda, &next[c]);
            known = known || row.at[c] != NULL;
        }
        if (known)
            rows[count++] = row;
    }
    for (size_t c = 0; rows != NULL && c < curves; c++)
        assert(next[c] == curve_of(v, (enum rb_curve_name)c)->count);
    *ret_count = count;
    return rows;
}

static const struct rb_point *point_of(const struct row *row, enum rb_curve_name curve)
{
    return row->at[curve];
}

/* ---- JSON ---- */

static void encode_diagnosis(struct rb_json *w, const struct rb_barrier *b,
                             const struct rb_barrier_errors *errors, enum rb_curve_name curve)
{
    if (b == NULL) {
        rb_json_null(w, "barrier");
        rb_json_null(w, "shape");
        rb_json_null(w, "peaks");
        rb_json_null(w, "lowest_lambda");
        return;
    }
    rb_json_object(w, "barrier");
    rb_json_number(w, "chord", b->chord);
    rb_json_number(w, "chord_lambda", b->chord_lambda);
    rb_json_number(w, "mean", b->mean);
    rb_json_number(w, "mean_lambda", b->mean_lambda);
    rb_json_number(w, "chord_standard_error", errors->chord[curve]);
    rb_json_number(w, "mean_standard_error", errors->mean[curve]);
    rb_json_end(w);
    rb_json_string(w, "shape", rb_shape_names[b->shape]);
    rb_json_array(w, "peaks");
    for (uint32_t i = 0; i < b->peak_count; i++)
        rb_json_number(w, NULL, b->peaks[i]);
    rb_json_end(w);
    rb_json_number(w, "lowest_lambda", b->lowest_lambda);
}

static void encode_weights(struct rb_json *w, const char *key, const struct rb_barrier_view *v,
                           double point)
{
    const double *weights = v->weights + (size_t)point * v->models;
    rb_json_array(w, key);
    for (size_t m = 0; m < v->models; m++)
        rb_json_number(w, NULL, weights[m]);
    rb_json_end(w);
}

/* Each point's, as far as it and the vertices are known: those come first. */
static void encode_barriers(struct rb_json *w, const struct rb_barrier_view *v,
                            const struct row *rows, size_t count, enum rb_curve_name curve)
{
    bool ends = count >= v->models;
    for (size_t m = 0; m < v->models && ends; m++)
        ends = (size_t)rows[m].lambda == m && point_of(&rows[m], curve) != NULL;
    rb_json_array(w, "barriers");
    for (size_t i = 0; i < count; i++) {
        const struct rb_point *p = point_of(&rows[i], curve);
        double barrier = p != NULL && ends ? p->loss : NAN;
        const double *weights = v->weights + (size_t)rows[i].lambda * v->models;
        for (size_t m = 0; m < v->models && ends; m++)
            barrier -= weights[m] * point_of(&rows[m], curve)->loss;
        rb_json_number(w, NULL, i < v->models && ends && p != NULL ? 0 : barrier);
    }
    rb_json_end(w);
}

static double point_error(const struct rb_barrier_errors *e, double point, enum rb_curve_name curve)
{
    return point < (double)e->point_count[curve] ? e->point[curve][(size_t)point] : (double)NAN;
}

static void encode_barrier_errors(struct rb_json *w, const struct row *rows, size_t count,
                                  const struct rb_barrier_errors *errors, enum rb_curve_name curve)
{
    rb_json_array(w, "barriers_standard_error");
    for (size_t i = 0; i < count; i++)
        rb_json_number(w, NULL, point_error(errors, rows[i].lambda, curve));
    rb_json_end(w);
}

static void encode_several(struct rb_json *w, const struct rb_barrier_view *v,
                           const struct row *rows, size_t count, enum rb_curve_name curve,
                           const struct rb_barrier *b, const struct rb_barrier_errors *errors)
{
    encode_barriers(w, v, rows, count, curve);
    encode_barrier_errors(w, rows, count, errors, curve);
    if (b == NULL) {
        rb_json_null(w, "barrier");
        return;
    }
    rb_json_object(w, "barrier");
    rb_json_number(w, "chord", b->chord);
    encode_weights(w, "chord_weights", v, b->chord_lambda);
    rb_json_number(w, "chord_standard_error", errors->chord[curve]);
    rb_json_end(w);
}

static void encode_curve(struct rb_json *w, const char *key, const struct rb_barrier_view *v,
                         const struct row *rows, size_t count, enum rb_curve_name curve,
                         unsigned metrics, const struct rb_barrier *barrier,
                         const struct rb_barrier_errors *errors)
{
    rb_json_object(w, key);
    rb_json_array(w, "loss");
    for (size_t i = 0; i < count; i++) {
        const struct rb_point *p = point_of(&rows[i], curve);
        rb_json_number(w, NULL, p != NULL ? p->loss : NAN);
    }
    rb_json_end(w);
    rb_json_array(w, "standard_error");
    for (size_t i = 0; i < count; i++) {
        const struct rb_point *p = point_of(&rows[i], curve);
        rb_json_number(w, NULL, p != NULL ? p->standard_error : NAN);
    }
    rb_json_end(w);
    rb_json_object(w, "metrics");
    for (int m = 0; m < RB_METRIC_COUNT; m++) {
        if ((metrics & 1U << m) == 0)
            continue;
        rb_json_array(w, rb_metric_names[m]);
        for (size_t i = 0; i < count; i++) {
            const struct rb_point *p = point_of(&rows[i], curve);
            rb_json_number(w, NULL, p != NULL ? p->metrics[m] : NAN);
        }
        rb_json_end(w);
    }
    rb_json_end(w);
    if (v->weights != NULL)
        encode_several(w, v, rows, count, curve, barrier, errors);
    else
        encode_diagnosis(w, barrier, errors, curve);
    rb_json_end(w);
}

static void encode_reduction(struct rb_json *w, const struct rb_barrier *aligned,
                             const struct rb_barrier *control,
                             const struct rb_barrier_errors *errors)
{
    if (aligned == NULL || control == NULL) {
        rb_json_null(w, "reduction");
        return;
    }
    rb_json_object(w, "reduction");
    rb_json_number(w, "chord", rb_reduction(aligned->chord, control->chord));
    if (isnan(aligned->mean)) { /* several models */
        rb_json_number(w, "chord_standard_error", errors->reduction_chord);
        rb_json_end(w);
        return;
    }
    rb_json_number(w, "mean", rb_reduction(aligned->mean, control->mean));
    rb_json_number(w, "chord_standard_error", errors->reduction_chord);
    rb_json_number(w, "mean_standard_error", errors->reduction_mean);
    rb_json_end(w);
}

/* Where the points are. */
static void encode_places(struct rb_json *w, const struct rb_barrier_view *v,
                          const struct row *rows, size_t count)
{
    if (v->weights != NULL) {
        rb_json_array(w, "models");
        for (size_t m = 0; m < v->models; m++)
            rb_json_string(w, NULL, rb_job_spec_model(v->spec, m));
        rb_json_end(w);
    }
    rb_json_array(w, v->weights != NULL ? "weights" : "lambdas");
    for (size_t i = 0; i < count; i++)
        if (v->weights != NULL)
            encode_weights(w, NULL, v, rows[i].lambda);
        else
            rb_json_number(w, NULL, rows[i].lambda);
    rb_json_end(w);
}

struct rb_folded_control rb_barrier_folded(const struct rb_barrier_view *v)
{
    const struct rb_curve_points *c = &v->control;
    struct rb_barrier b;
    if (v->folded.count > 0 && rb_curve_barrier(v, &v->folded, &b)) {
        const struct rb_point *p = &v->folded.points[b.chord_at];
        return (struct rb_folded_control){p->lambda, p->loss, p->standard_error, b.chord};
    }
    if (!rb_folded_control_known(v->folded_once))
        return rb_folded_control_none();
    struct rb_folded_control f = *v->folded_once;
    bool ends = c->count > 1 && c->points[0].lambda <= 0 && c->points[c->count - 1].lambda >= 1;
    if (ends)
        f.barrier = f.loss - (c->points[0].loss + c->points[c->count - 1].loss) / 2;
    return f;
}

/* What v1 has promised since there was one point of it: half way, or what is nearest to that. */
static struct rb_folded_control folded_half_way(const struct rb_barrier_view *v)
{
    const struct rb_curve_points *c = &v->folded;
    const struct rb_point *p = &c->points[0], *last = &c->points[c->count - 1];
    for (size_t i = 1; i < c->count; i++)
        if (fabs(c->points[i].lambda - 0.5) < fabs(p->lambda - 0.5))
            p = &c->points[i];
    double chord = (1 - p->lambda) * c->points[0].loss + p->lambda * last->loss;
    return (struct rb_folded_control){p->lambda, p->loss, p->standard_error, p->loss - chord};
}

static void encode_folded(struct rb_json *w, const struct rb_barrier_view *v,
                          const struct row *rows, size_t count, unsigned metrics,
                          const struct rb_barrier_errors *errors)
{
    struct rb_folded_control f = rb_barrier_folded(v);
    struct rb_barrier b;
    if (!rb_folded_control_known(&f))
        return;
    bool whole = v->folded.count > 0 && rb_curve_barrier(v, &v->folded, &b);
    if (whole)
        f = folded_half_way(v);
    rb_json_object(w, "folded_control");
    rb_json_number(w, "lambda", f.lambda);
    rb_json_number(w, "loss", f.loss);
    rb_json_number(w, "standard_error", f.standard_error);
    rb_json_number(w, "barrier", f.barrier);
    if (whole)
        encode_curve(w, "curve", v, rows, count, RB_CURVE_FOLDED, metrics, &b, errors);
    rb_json_end(w);
}

void rb_barrier_encode(struct rb_json *w, const char *key, const struct rb_barrier_view *v)
{
    size_t count = 0;
    struct row *rows = rows_of(v, &count);
    if (rows == NULL) {
        w->failed = true;
        return;
    }
    struct rb_barrier barriers[2];
    bool known[2] = {
        rb_curve_barrier(v, &v->aligned, &barriers[0]),
        v->has_control && rb_curve_barrier(v, &v->control, &barriers[1]),
    };
    const struct rb_barrier *aligned = known[0] ? &barriers[0] : NULL;
    const struct rb_barrier *control = known[1] ? &barriers[1] : NULL;
    unsigned metrics = metrics_of(v);
    const struct rb_barrier_errors *errors = v->errors != NULL ? v->errors : &no_errors;

    rb_json_object(w, key);
    rb_json_string(w, "job", v->job);
    rb_json_string(w, "task", rb_task_names[v->task]);
    rb_json_bool(w, "complete",
                 is_whole(v, &v->aligned) && (!v->has_control || is_whole(v, &v->control)));
    encode_places(w, v, rows, count);
    if (errors->blocks > 0)
        rb_json_uint(w, "blocks", errors->blocks);
    else
        rb_json_null(w, "blocks");
    encode_curve(w, "aligned", v, rows, count, RB_CURVE_ALIGNED, metrics, aligned, errors);
    if (v->has_control)
        encode_curve(w, "control", v, rows, count, RB_CURVE_CONTROL, metrics, control, errors);
    else
        rb_json_null(w, "control");
    encode_reduction(w, aligned, control, errors);
    encode_folded(w, v, rows, count, metrics, errors);
    if (v->verdict != NULL)
        rb_merge_verdict_encode(w, "verdict", v->verdict, v->spec);
    else
        rb_json_null(w, "verdict");
    rb_json_end(w);
    free(rows);
}

/* ---- CSV ---- */

static bool has_verdict(const struct rb_barrier_view *v)
{
    return v->verdict != NULL && v->verdict->kind != RB_MERGE_NONE;
}

static bool shows_folded(const struct rb_barrier_view *v)
{
    return v->folded.count > 0 || rb_folded_control_known(v->folded_once);
}

static void print_header(FILE *out, const struct rb_barrier_view *v, unsigned metrics)
{
    static const char *const curves[] = {"aligned", "control"};
    if (v->weights == NULL)
        (void)fprintf(out, "lambda");
    for (size_t m = 0; m < v->models && v->weights != NULL; m++)
        (void)fprintf(out, "%sweight_%zu", m > 0 ? "," : "", m);
    for (size_t c = 0; c < (v->has_control ? 2 : 1); c++) {
        (void)fprintf(out, ",%s_loss,%s_standard_error", curves[c], curves[c]);
        for (int m = 0; m < RB_METRIC_COUNT; m++)
            if ((metrics & 1U << m) != 0)
                (void)fprintf(out, ",%s_%s", curves[c], rb_metric_names[m]);
    }
    if (v->errors != NULL)
        (void)fprintf(out, ",aligned_chord_standard_error%s",
                      v->has_control ? ",control_chord_standard_error,"
                                       "reduction_chord_standard_error"
                                     : "");
    if (has_verdict(v))
        (void)fprintf(out, ",verdict,chance_loss");
    if (shows_folded(v))
        (void)fprintf(out, ",folded_control_loss,folded_control_standard_error");
    (void)fprintf(out, "\n");
}

/* ",value", or an empty cell. */
static void print_cell(FILE *out, double value)
{
    char text[RB_NUMBER_SIZE] = "";
    if (isfinite(value))
        (void)rb_number_format(value, text);
    (void)fprintf(out, ",%s", text);
}

/* Where both curves' barriers over the chord are, by enum rb_curve_name; NaN: there is none. */
static void find_chords(const struct rb_barrier_view *v, double at[2])
{
    struct rb_barrier b;
    at[RB_CURVE_ALIGNED] = rb_curve_barrier(v, &v->aligned, &b) ? b.chord_lambda : (double)NAN;
    at[RB_CURVE_CONTROL] = rb_curve_barrier(v, &v->control, &b) ? b.chord_lambda : (double)NAN;
}

/* A barrier's error stands where the barrier is: of three models or more in every row. */
static void print_errors(FILE *out, const struct rb_barrier_view *v, const double chords[2],
                         double lambda)
{
    bool here = chords[RB_CURVE_ALIGNED] == lambda, several = v->weights != NULL;
    print_cell(out, several ? point_error(v->errors, lambda, RB_CURVE_ALIGNED)
                    : here  ? v->errors->chord[RB_CURVE_ALIGNED]
                            : NAN);
    if (!v->has_control)
        return;
    double reduction = here ? v->errors->reduction_chord : NAN;
    here = chords[RB_CURVE_CONTROL] == lambda;
    print_cell(out, several ? point_error(v->errors, lambda, RB_CURVE_CONTROL)
                    : here  ? v->errors->chord[RB_CURVE_CONTROL]
                            : NAN);
    print_cell(out, reduction);
}

static void print_row(FILE *out, const struct rb_barrier_view *v, unsigned metrics,
                      const double chords[2], const struct row *row)
{
    char lambda[RB_NUMBER_SIZE];
    for (size_t m = 0; m < (v->weights != NULL ? v->models : 1); m++) {
        (void)rb_number_format(v->weights != NULL ? v->weights[(size_t)row->lambda * v->models + m]
                                                  : row->lambda,
                               lambda);
        (void)fprintf(out, "%s%s", m > 0 ? "," : "", lambda);
    }
    for (int c = 0; c < (v->has_control ? 2 : 1); c++) {
        const struct rb_point *p = point_of(row, (enum rb_curve_name)c);
        print_cell(out, p != NULL ? p->loss : NAN);
        print_cell(out, p != NULL ? p->standard_error : NAN);
        for (int m = 0; m < RB_METRIC_COUNT; m++)
            if ((metrics & 1U << m) != 0)
                print_cell(out, p != NULL ? p->metrics[m] : NAN);
    }
    if (v->errors != NULL)
        print_errors(out, v, chords, row->lambda);
    if (has_verdict(v)) {
        bool here = row->lambda == v->verdict->lambda;
        (void)fprintf(out, ",%s", here ? rb_merge_verdict_names[v->verdict->kind] : "");
        print_cell(out, here ? v->verdict->chance.loss : NAN);
    }
    if (shows_folded(v)) {
        const struct rb_point *p = point_of(row, RB_CURVE_FOLDED);
        const struct rb_folded_control *once = v->folded_once;
        bool here = p == NULL && rb_folded_control_known(once) && row->lambda == once->lambda;
        print_cell(out, p != NULL ? p->loss : here ? once->loss : NAN);
        print_cell(out, p != NULL ? p->standard_error : here ? once->standard_error : NAN);
    }
    (void)fprintf(out, "\n");
}

enum rb_status rb_barrier_csv(const struct rb_barrier_view *v, char **ret, size_t *ret_bytes,
                              struct rb_error *err)
{
    size_t count = 0;
    struct row *rows = rows_of(v, &count);
    if (rows == NULL)
        return rb_error_set(err, RB_ENOMEM, "not enough memory for %zu rows", v->lambda_count);
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        goto err_after_rows;
    unsigned metrics = metrics_of(v);
    double chords[2];
    find_chords(v, chords);
    print_header(out, v, metrics);
    for (size_t i = 0; i < count; i++)
        print_row(out, v, metrics, chords, &rows[i]);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed)
        goto err_after_rows;
    free(rows);
    *ret = text;
    if (ret_bytes != NULL)
        *ret_bytes = bytes;
    return RB_OK;

err_after_rows:
    free(text);
    free(rows);
    return rb_error_set(err, RB_ENOMEM, "not enough memory for a table of %zu rows", count);
}
