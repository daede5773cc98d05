/* api/learning.h: the training curve of a job that learns its maps (GET /v1/jobs/{id}/learning). */
#ifndef RB_API_LEARNING_H
#define RB_API_LEARNING_H

#include "api/encode.h"
#include "core/learn/learn.h"

/* {"job","complete","steps","steps_done","best_step","points":[{"step","train_loss","held_loss"}]}:
 * losses null where there was none. count looks, borrowed. */
void rb_learning_encode(struct rb_json *w, const char *job, bool complete, uint32_t steps,
                        uint32_t steps_done, uint32_t best_step, const struct rb_learn_look *looks,
                        size_t count);

#endif
