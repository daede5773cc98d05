/* api/folded.h: the folded control (METHOD 10): what averages of both models lose once their norms
 * are folded and nothing is aligned. The control of a job is of the models as they are; where the
 * job folds, this tells beside it how much of the gain is folding's. It is a curve of its own
 * (RB_CURVE_FOLDED); jobs of earlier versions have one point of it. */
#ifndef RB_API_FOLDED_H
#define RB_API_FOLDED_H

#include "core/status.h"

/* One point of it: where it is highest over the chord, or at 0.5, where it was measured once. */
struct rb_folded_control {
    double lambda, loss, standard_error; /* NaN: not known */
    double barrier;                      /* the loss less the chord between its ends */
};

struct rb_folded_control rb_folded_control_none(void);
static inline bool rb_folded_control_known(const struct rb_folded_control *f)
{
    return f != NULL && f->loss >= 0;
}

/* From the product of the evaluating stage as earlier versions wrote it: {"folded_control":{"loss",
 * "standard_error"}}, at lambda 0.5; barrier stays NaN. *ret is none where the product says nothing
 * of it. RB_EJSON, RB_EINPUT, RB_ENOMEM. */
enum rb_status rb_folded_control_decode(const char *product, struct rb_folded_control *ret,
                                        struct rb_error *err) RB_MUST_CHECK;

#endif
