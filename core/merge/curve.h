/* core/merge/curve.h: the loss at one lambda, the curve over all of them, and its barriers. */
#ifndef RB_CORE_MERGE_CURVE_H
#define RB_CORE_MERGE_CURVE_H

#include "core/merge/options.h"
#include "core/model/blend.h"
#include "core/program.h"
#include "core/sequences.h"

/* One point of a curve. */
struct rb_point {
    double lambda;
    double loss;
    double standard_error;
    double metrics[RB_METRIC_COUNT]; /* NaN where the task has no such metric */
};

/* Checks that head and labels fit the task: RB_EHEAD (regression on a 4-label head, MLM without an
 * MLM head), RB_EDATASET (label outside the head's range, or tokens outside the model's tables,
 * with the line). s may be NULL: then only the head is looked at. */
enum rb_status rb_evaluate_check(const struct rb_model *m, const struct rb_evaluate_options *o,
                                 const struct rb_sequences *s, struct rb_error *err) RB_MUST_CHECK;

/* A program that evaluates the blend (a, b, motion, lambda) on the sequences, which have passed
 * rb_evaluate_check. Borrows all. */
enum rb_status rb_evaluate_new(const struct rb_blend *blend, const struct rb_evaluate_options *o,
                               const struct rb_sequences *s, struct rb_program **ret,
                               struct rb_error *err) RB_MUST_CHECK;
/* After it has finished. RB_ENUMERIC when the loss is not finite (named, never hidden). */
enum rb_status rb_evaluate_result(const struct rb_program *p, struct rb_point *ret,
                                  struct rb_error *err) RB_MUST_CHECK;
/* METHOD 13's precision: the first round's blocks; each round has twice as many as the last. */
enum { RB_ROUNDS_FIRST = 16 };

/* One block's losses (a row's, for classification and regression): their sum and that of their
 * squares, over how many predictions. */
struct rb_block {
    double sum, square, count;
};
/* After it has finished: ret is (s->count) of the sequences, in their order. */
void rb_evaluate_blocks(const struct rb_program *p, struct rb_block *ret);
void rb_evaluate_estimate(const struct rb_model *m, const struct rb_evaluate_options *o,
                          uint64_t tokens, uint64_t predicted, uint64_t *ret_buffer_bytes,
                          double *ret_cost);

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

/* A barrier by blocks: the losses of the same blocks at its lambda and at both ends, and the ends'
 * weights (over the chord 1 - lambda and lambda, over the mean a half each). Borrowed. */
struct rb_excess {
    const struct rb_block *at, *first, *last; /* (count each) */
    double first_weight, last_weight;
};
/* METHOD 13: the standard error of a barrier, and that of the reduction 1 - aligned / control, each
 * paired by blocks, the lambda taken as given. NaN below two blocks, or where there is nothing to
 * reduce. */
double rb_excess_error(const struct rb_excess *e, size_t blocks);
double rb_excess_reduction_error(const struct rb_excess *aligned, const struct rb_excess *control,
                                 size_t blocks);

/* Which metrics a task has: fills names of those that are not NaN. Bit set by enum rb_metric. */
unsigned rb_task_metrics(enum rb_task task, uint32_t num_labels);

#endif
