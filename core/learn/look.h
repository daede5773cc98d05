/* core/learn/look.h: the training curve. */
#ifndef RB_CORE_LEARN_LOOK_H
#define RB_CORE_LEARN_LOOK_H

#include <stdint.h>

/* One entry of the training curve. */
struct rb_learn_look {
    uint32_t step;
    double train_loss; /* mean over the steps since the last look; NaN before the first step */
    double held_loss;  /* at lambda = 1/2 on the held part; NaN where the text is too short */
};

#endif
