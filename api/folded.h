/* api/folded.h: the folded control (METHOD 10): what the straight average of both models loses once
 * their norms are folded and nothing is aligned. The control of a job is of the models as they are;
 * where the job folds, this tells beside it how much of the gain is folding's. */
#ifndef RB_API_FOLDED_H
#define RB_API_FOLDED_H

#include "api/encode.h"

#define RB_FOLDED_CONTROL_LAMBDA 0.5

/* At that lambda: folded models compute what they did, so the ends are the control's. */
struct rb_folded_control {
    double loss, standard_error; /* NaN: not known */
};

struct rb_folded_control rb_folded_control_none(void);
static inline bool rb_folded_control_known(const struct rb_folded_control *f)
{
    return f != NULL && f->loss >= 0;
}

/* As the product of the evaluating stage: {"folded_control":{…}}; size at least
 * RB_FOLDED_CONTROL_TEXT. */
enum { RB_FOLDED_CONTROL_TEXT = 160 };
void rb_folded_control_print(const struct rb_folded_control *f, char *buffer, size_t size);
/* From there; *ret is none where the product says nothing of it. RB_EJSON, RB_EINPUT, RB_ENOMEM. */
enum rb_status rb_folded_control_decode(const char *product, struct rb_folded_control *ret,
                                        struct rb_error *err) RB_MUST_CHECK;

#endif
