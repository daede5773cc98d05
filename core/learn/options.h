/* core/learn/options.h: how maps are learned (METHOD 11), and the names of its choices on the wire.
 */
#ifndef RB_CORE_LEARN_OPTIONS_H
#define RB_CORE_LEARN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* What is learned; bits. */
enum rb_learn_group {
    RB_LEARN_RESIDUAL = 1,
    RB_LEARN_HEADS = 2,
    RB_LEARN_FF = 4,     /* which unit goes with which, straight through; only where it is named */
    RB_LEARN_SCALES = 8, /* factors of gated units; only where named, or with invertible maps */
    /* which head goes with which, straight through, and all that RB_LEARN_HEADS is; only where it
     * is named */
    RB_LEARN_HEAD_ORDER = 16
};
/* "residual", "heads", "ff", "scales", "head_order"; in bit order, NULL at the end */
extern const char *const rb_learn_group_names[];

struct rb_learn_options {
    uint32_t steps;        /* 1 … RB_LEARN_STEPS_MOST */
    uint32_t batch_tokens; /* of a step; at least one block */
    double learning_rate;
    double lambda[2];  /* drawn uniformly from here */
    uint32_t patience; /* looks without a lower held loss; 0: never ends early */
    uint64_t seed;
    bool residual;           /* an orthogonal map of the stream … */
    bool query_keys, values; /* … and matrices inside heads, … */
    bool stretches;          /* … which need be invertible only */
    bool orders, scales;     /* of FF units: permutations; factors of gated ones */
    bool head_orders;        /* which head goes with which; with values and query_keys alone */
};
enum {
    RB_LEARN_STEPS_MOST = 100000,
    RB_LEARN_BATCH_MOST = 65536, /* tokens */
    RB_LEARN_LOOK_EVERY = 25     /* steps */
};

/* How a merge is trained after it was made (METHOD 12). */
struct rb_finetune_options {
    uint32_t steps;  /* 1 … RB_LEARN_STEPS_MOST */
    uint32_t tokens; /* of a step; at least one block */
    double learning_rate;
    uint64_t seed;
};
/* 100 steps of 1,024 tokens at 1e-4, seed 0. */
void rb_finetune_options_default(struct rb_finetune_options *o);

/* 300 steps of 1,024 tokens at 3e-3, lambda from 0.4 to 0.6, patience 8, seed 0, all maps. */
void rb_learn_options_default(struct rb_learn_options *o);

#endif
