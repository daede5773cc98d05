#include "core/align/options.h"

const char *const rb_component_names[] = {"ff", "mha", "residual", NULL};
const char *const rb_heads_names[] = {"permute", "monotonic", "ignore", NULL};
const char *const rb_residual_names[] = {"first", "last", "all", "separate", NULL};
const char *const rb_decoder_names[] = {"tied", "untied", NULL};
const char *const rb_similarity_names[] = {"correlation", "covariance", "dot", NULL};
const char *const rb_pooling_names[] = {"token", "cls", "mean", "max", NULL};

void rb_align_options_default(struct rb_align_options *o)
{
    *o = (struct rb_align_options){
        .components = RB_COMPONENT_FF | RB_COMPONENT_MHA,
        .heads = RB_HEADS_PERMUTE,
        .residual = RB_RESIDUAL_LAST,
        .decoder = RB_DECODER_TIED,
        .similarity = RB_CORRELATION,
        .pooling = RB_POOL_TOKEN,
        .special_tokens = true,
    };
}
