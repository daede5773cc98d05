/* api/barrier.h: the curves of a job, whole or as far as they are known, as JSON and CSV. */
#ifndef RB_API_BARRIER_H
#define RB_API_BARRIER_H

#include "api/encode.h"
#include "api/job_spec.h"
#include "core/merge/curve.h"

/* The points known of one curve: ascending lambda, each equal to one of the grid's; borrowed. */
struct rb_curve_points {
    const struct rb_point *points;
    size_t count;
};

struct rb_barrier_view {
    const char *job; /* its id; borrowed; NULL: null */
    enum rb_task task;
    const double *lambdas; /* the job's grid: (lambda_count) ascending from 0 to 1; borrowed */
    size_t lambda_count;
    struct rb_curve_points aligned;
    bool has_control;
    struct rb_curve_points control;
};

/* The view of a job's curves. spec: with `evaluate`; borrowed. points: (aligned + control), as many
 * as are known of each curve, in this order; borrowed. */
struct rb_barrier_view rb_barrier_view_make(const char *job, const struct rb_job_spec *spec,
                                            const struct rb_point *points, size_t aligned,
                                            size_t control);

/* The answer of GET /v1/jobs/{id}/barrier. "lambdas" are those at which some curve is known, a
 * loss that is not is null. A curve's barrier, shape, peaks and lowest_lambda are null until its
 * last point is there; complete says that both curves are whole; reduction is 1 - aligned/control
 * for both barriers (null without a control or where the control has no barrier). Metrics that
 * have no value at any point are left out. */
void rb_barrier_encode(struct rb_json *w, const char *key, const struct rb_barrier_view *v);

/* text/csv: lambda, aligned_loss, aligned_standard_error, aligned_<metric>…, then control_… the
 * same; empty cells where not known; lines end in LF. New, free() it. RB_ENOMEM. */
enum rb_status rb_barrier_csv(const struct rb_barrier_view *v, char **ret, size_t *ret_bytes,
                              struct rb_error *err) RB_MUST_CHECK;

/* For the summary: false until the curve is whole (or it has no points). */
bool rb_curve_barrier(const struct rb_barrier_view *v, const struct rb_curve_points *curve,
                      struct rb_barrier *ret);

#endif
