/* core/merge/curve.h: the loss at one lambda, and the blocks that it is made of. */
#ifndef RB_CORE_MERGE_CURVE_H
#define RB_CORE_MERGE_CURVE_H

#include "core/merge/options.h"

/* One point of a curve. */
struct rb_point {
    double lambda;
    double loss;
    double standard_error;
    double metrics[RB_METRIC_COUNT]; /* NaN where the task has no such metric */
};

/* METHOD 13's precision: the first round's blocks; each round has twice as many as the last. */
enum { RB_ROUNDS_FIRST = 16 };

/* One block's losses (a row's, for classification and regression): their sum and that of their
 * squares, over how many predictions. */
struct rb_block {
    double sum, square, count;
};

#endif
