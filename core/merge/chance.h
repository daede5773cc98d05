/* core/merge/chance.h: what somebody would lose who has never seen a model and knows only how often
 * each answer comes (METHOD 13): the line below which a merge begins to be one. */
#ifndef RB_CORE_MERGE_CHANCE_H
#define RB_CORE_MERGE_CHANCE_H

#include "core/merge/options.h"
#include "core/sequences.h"
#include "core/status.h"

struct rb_chance {
    double loss;     /* in the unit of the task's loss; NaN where nothing is evaluated */
    double accuracy; /* classification: share of the commonest class; else NaN */
};

/* What nobody has computed yet. */
struct rb_chance rb_chance_unknown(void);

/* Of the sequences that a task is evaluated on.
 *   mlm, clm         entropy, in nats, of the tokens to predict
 *   classification   entropy of the classes; and the share of the commonest
 *   regression       variance of the labels: the squared error of always saying their mean
 * RB_ENOMEM. Any thread. */
enum rb_status rb_chance_compute(enum rb_task task, const struct rb_sequences *s,
                                 struct rb_chance *ret, struct rb_error *err) RB_MUST_CHECK;

#endif
