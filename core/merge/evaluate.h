/* core/merge/evaluate.h: the loss and the metrics at one lambda. */
#ifndef RB_CORE_MERGE_EVALUATE_H
#define RB_CORE_MERGE_EVALUATE_H

#include "core/merge/curve.h"
#include "core/model/blend.h"
#include "core/program.h"
#include "core/sequences.h"

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
/* After it has finished: ret is (s->count) of the sequences, in their order. */
void rb_evaluate_blocks(const struct rb_program *p, struct rb_block *ret);
void rb_evaluate_estimate(const struct rb_model *m, const struct rb_evaluate_options *o,
                          uint64_t tokens, uint64_t predicted, uint64_t *ret_buffer_bytes,
                          double *ret_cost);

/* Which metrics a task has: fills names of those that are not NaN. Bit set by enum rb_metric. */
unsigned rb_task_metrics(enum rb_task task, uint32_t num_labels);

#endif
