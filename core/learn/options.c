#include "core/learn/options.h"

#include <stddef.h>

const char *const rb_learn_group_names[] = {"residual", "heads",      "ff",
                                            "scales",   "head_order", NULL};

void rb_learn_options_default(struct rb_learn_options *o)
{
    *o = (struct rb_learn_options){
        .steps = 300,
        .batch_tokens = 1024,
        .learning_rate = 3e-3,
        .lambda = {0.4, 0.6},
        .patience = 8,
        .residual = true,
        .query_keys = true,
        .values = true,
    };
}

void rb_finetune_options_default(struct rb_finetune_options *o)
{
    *o = (struct rb_finetune_options){.steps = 100, .tokens = 1024, .learning_rate = 1e-4};
}
