#include "core/align/options.h"

const char *const rb_component_names[] = {"ff", "mha", "residual", "embedding", NULL};
const char *const rb_heads_names[] = {"permute", "monotonic", "ignore", NULL};
const char *const rb_residual_names[] = {"first", "last", "all", "separate", NULL};
const char *const rb_decoder_names[] = {"tied", "untied", NULL};
const char *const rb_similarity_names[] = {"correlation", "covariance", "dot", NULL};
const char *const rb_pooling_names[] = {"token", "cls", "mean", "max", NULL};
const char *const rb_match_names[] = {"activations", "weights", "both", NULL};
const char *const rb_residual_map_names[] = {"permutation", "orthogonal", NULL};
const char *const rb_equivalence_names[] = {"exact", "near", NULL};
const char *const rb_head_map_names[] = {"permutation", "orthogonal", "invertible", NULL};
const char *const rb_reference_names[] = {"anchor", "universe", NULL};

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
        .match = RB_MATCH_ACTIVATIONS,
        .residual_map = RB_RESIDUAL_MAP_PERMUTATION,
        .head_map = RB_HEAD_MAP_PERMUTATION,
        .equivalence = RB_EQUIVALENCE_EXACT,
        .rounds = 1,
    };
}

enum rb_head_map rb_align_head_map(const struct rb_align_options *o)
{
    if (o->rotate_heads && o->head_map == RB_HEAD_MAP_PERMUTATION)
        return RB_HEAD_MAP_ORTHOGONAL;
    return o->head_map;
}

bool rb_align_turns_stream(const struct rb_align_options *o)
{
    return (o->components & RB_COMPONENT_RESIDUAL) && o->residual_map == RB_RESIDUAL_MAP_ORTHOGONAL;
}

bool rb_align_is_near(const struct rb_align_options *o)
{
    return rb_align_turns_stream(o) && o->equivalence == RB_EQUIVALENCE_NEAR;
}

bool rb_align_folds(const struct rb_align_options *o)
{
    return o->fold || (rb_align_turns_stream(o) && !rb_align_is_near(o));
}
