/* core/merge/barrier.h: the barriers of a curve, their standard errors, and its shape. */
#ifndef RB_CORE_MERGE_BARRIER_H
#define RB_CORE_MERGE_BARRIER_H

#include "core/merge/curve.h"
#include "core/model/blend.h"

enum rb_shape { RB_SHAPE_FLAT, RB_SHAPE_HUMP, RB_SHAPE_M, RB_SHAPE_VALLEY, RB_SHAPE_MONOTONE };
extern const char *const rb_shape_names[]; /* "flat", "hump", "m", "valley", "monotone" */

enum { RB_MAX_PEAKS = 4 };

/* METHOD 6: both barriers and where they are. Diagnosis: the shape, peaks and lowest point. */
struct rb_barrier {
    double chord, chord_lambda;
    double mean, mean_lambda;
    size_t chord_at, mean_at; /* indices of those two points */
    enum rb_shape shape;
    uint32_t peak_count;
    double
        peaks[RB_MAX_PEAKS]; /* lambda of the highest point of each hump, ascending; flat: none */
    double lowest_lambda;
};

/* points: (count) by ascending lambda, the first at 0, the last at 1; count >= 2. */
void rb_barrier_compute(const struct rb_point *points, size_t count, struct rb_barrier *ret);
/* The same over the chord and mean to another loss at lambda 1 than the curve's own: the original
 * B's, where moved B is another function (METHOD 10, near-equivalent). */
void rb_barrier_compute_to(const struct rb_point *points, size_t count, double last_loss,
                           struct rb_barrier *ret);

/* A barrier by blocks: the losses of the same blocks where it is and at the ends, and the ends'
 * weights (over the chord 1 - lambda and lambda, over the mean a half each; of several models the
 * weights of the blend). Borrowed. */
struct rb_excess {
    const struct rb_block *at;                  /* (count each) */
    const struct rb_block *ends[RB_BLEND_MOST]; /* (end_count) */
    double weights[RB_BLEND_MOST];
    size_t end_count;
};
/* Of two ends. */
struct rb_excess rb_excess_pair(const struct rb_block *at, const struct rb_block *first,
                                const struct rb_block *last, double first_weight,
                                double last_weight);
/* METHOD 13: the standard error of a barrier, and that of the reduction 1 - aligned / control, each
 * paired by blocks, the lambda taken as given. NaN below two blocks, or where there is nothing to
 * reduce. */
double rb_excess_error(const struct rb_excess *e, size_t blocks);
double rb_excess_reduction_error(const struct rb_excess *aligned, const struct rb_excess *control,
                                 size_t blocks);

#endif
