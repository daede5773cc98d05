/* api/barrier.h: the curves of a job, whole or as far as they are known, as JSON and CSV. */
#ifndef RB_API_BARRIER_H
#define RB_API_BARRIER_H

#include "api/encode.h"
#include "api/event.h"
#include "api/job_spec.h"
#include "api/verdict.h"
#include "core/merge/barrier.h"
#include "api/folded.h"
#include "core/merge/curve.h"

/* The points known of one curve: ascending lambda, each equal to one of the grid's; borrowed. */
struct rb_curve_points {
    const struct rb_point *points;
    size_t count;
};

/* Points whose own errors are known; a larger grid has the highest barrier's beyond them. */
enum { RB_BARRIER_ERRORS_MAX = 256 };

/* Standard errors by blocks (METHOD 13); NaN where not known. */
struct rb_barrier_errors {
    double chord[RB_CURVE_COUNT], mean[RB_CURVE_COUNT]; /* by enum rb_curve_name */
    double reduction_chord, reduction_mean;
    /* Of the loss at the best point between the ends less that at the first and at the last; of
     * three models or more less that of each. */
    double parent[RB_MODELS_MAX];
    /* Of three models or more: of each point's barrier, by enum rb_curve_name, of a whole curve's
     * first point_count points; 0: not known. */
    double point[2][RB_BARRIER_ERRORS_MAX];
    size_t point_count[2];
    size_t blocks; /* that the points were evaluated on; rows, for classification; 0: not known */
};
struct rb_barrier_view {
    const char *job; /* its id; borrowed; NULL: null */
    enum rb_task task;
    const double *lambdas; /* the job's grid: (lambda_count) ascending from 0 to 1; borrowed */
    size_t lambda_count;
    struct rb_curve_points aligned;
    bool has_control;
    struct rb_curve_points control;
    /* Moved B is another function than B: the aligned barriers are over the chord and mean to the
     * original B, whose loss is the control's last point, there even without a control. */
    bool near;
    const struct rb_point *original; /* borrowed; NULL: not known yet */
    /* Three models or more: lambdas are the points' numbers, and these their weights (lambda_count,
     * models), the vertices first; else models is 2 and weights NULL. spec names the models. */
    size_t models;
    const double *weights;
    const struct rb_job_spec *spec;
    bool adaptive; /* of lambdas only what rb_refine asks for makes the curves whole */
    const struct rb_barrier_errors *errors; /* borrowed; NULL: not known */
    const struct rb_merge_verdict *verdict; /* borrowed; NULL: not known yet */
    /* Where norms are folded and there is a control: the same of the folded models, its ends the
     * control's; no points elsewhere. folded_once: what a job of an earlier version has; NULL. */
    struct rb_curve_points folded;
    const struct rb_folded_control *folded_once; /* borrowed */
};

/* The view of a job's curves. spec: with `evaluate`; borrowed. near: B moves by near-equivalent
 * maps. points: by curve, in the order of enum rb_curve_name, counts of them as many as are known
 * of each; borrowed. */
struct rb_barrier_view rb_barrier_view_make(const char *job, const struct rb_job_spec *spec,
                                            bool near, const struct rb_point *points,
                                            const size_t counts[RB_CURVE_COUNT]);

/* The answer of GET /v1/jobs/{id}/barrier. "lambdas" are those at which some curve is known, a
 * loss that is not is null. A curve's barrier, shape, peaks and lowest_lambda are null until its
 * last point is there. Three models or more: "models" and "weights" instead of "lambdas"; each
 * point's barrier under "barriers", its error under "barriers_standard_error"; chord is the
 * highest, at chord_weights. complete says that both curves are whole; reduction is 1 -
 * aligned/control for both barriers (null without a control or where the control has no barrier);
 * verdict is null until it is known; "folded_control" is there once it is whole. Standard errors
 * are null where v has none. Metrics that have no value at any point are left out. */
void rb_barrier_encode(struct rb_json *w, const char *key, const struct rb_barrier_view *v);

/* Where the folded control is highest over the chord, or the one point that there is; none until
 * the curve is whole. */
struct rb_folded_control rb_barrier_folded(const struct rb_barrier_view *v);

/* text/csv: lambda, aligned_loss, aligned_standard_error, aligned_<metric>…, then control_… the
 * same; where errors are known, aligned_chord_standard_error, control_… and reduction_… follow,
 * each in the row where that barrier is (of three models or more the curves' in each point's row,
 * of its own barrier); where the verdict is known, verdict and chance_loss, in the row of the best
 * lambda; where the folded control is known, its loss and standard error, as far as it has a point
 * there. Empty cells where not known; lines end in LF. New, free() it. RB_ENOMEM. */
enum rb_status rb_barrier_csv(const struct rb_barrier_view *v, char **ret, size_t *ret_bytes,
                              struct rb_error *err) RB_MUST_CHECK;

/* The blocks of one point: (count), new: free(). NULL and 0 where they are not known. */
typedef enum rb_status rb_blocks_reader(void *data, enum rb_curve_name curve, size_t index,
                                        struct rb_block **ret, size_t *ret_count,
                                        struct rb_error *err);
/* The errors of v's barriers, as far as both ends and the barriers' points have the same number of
 * blocks. The reader's failures. */
enum rb_status rb_barrier_errors_make(const struct rb_barrier_view *v, rb_blocks_reader *read,
                                      void *data, struct rb_barrier_errors *ret,
                                      struct rb_error *err) RB_MUST_CHECK;

/* For the summary: false until the curve is whole (or it has no points). Three models or more:
 * chord is the highest barrier (METHOD 13), chord_lambda its point's number; mean is NaN. */
bool rb_curve_barrier(const struct rb_barrier_view *v, const struct rb_curve_points *curve,
                      struct rb_barrier *ret);

#endif
