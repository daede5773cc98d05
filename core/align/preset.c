#include "core/align/preset.h"

#include <string.h>

const char *const rb_preset_names[] = {"paper", "best", "learned", NULL};

enum { NEAR_ROUNDS = 3 };
enum {
    WHOLE = RB_COMPONENT_FF | RB_COMPONENT_MHA | RB_COMPONENT_RESIDUAL,
    WITH_EMBEDDING = WHOLE | RB_COMPONENT_EMBEDDING
};

/* The strongest of each family, by the barrier over the chord of its fixture pair. */
static const struct recipe {
    const char *family;
    unsigned components;
    enum rb_residual residual; /* of a permutation; an orthogonal map is of all taps */
    enum rb_residual_map residual_map;
    enum rb_match match;
    uint32_t rounds; /* in one shot; what learning starts at is measured with one */
    enum rb_head_map head_map, learned_head_map;
    bool signed_units;
} recipes[] = {
#define TURNED(family, match, rounds, head_map, signed_units)                                      \
    {                                                                                              \
        family, WHOLE, RB_RESIDUAL_LAST, RB_RESIDUAL_MAP_ORTHOGONAL, match, rounds, head_map,      \
            RB_HEAD_MAP_INVERTIBLE, signed_units                                                   \
    }
#define PERMUTED(family, components, signed_units)                                                 \
    {                                                                                              \
        family, components, RB_RESIDUAL_FIRST, RB_RESIDUAL_MAP_PERMUTATION, RB_MATCH_ACTIVATIONS,  \
            1, RB_HEAD_MAP_ORTHOGONAL, RB_HEAD_MAP_ORTHOGONAL, signed_units                        \
    }
    TURNED("gpt2", RB_MATCH_BOTH, 3, RB_HEAD_MAP_ORTHOGONAL, false),
    TURNED("gpt_neox", RB_MATCH_ACTIVATIONS, 1, RB_HEAD_MAP_ORTHOGONAL, false),
    TURNED("llama", RB_MATCH_ACTIVATIONS, 1, RB_HEAD_MAP_PERMUTATION, true),
    TURNED("qwen2", RB_MATCH_ACTIVATIONS, 1, RB_HEAD_MAP_PERMUTATION, true),
    PERMUTED("olmo2", WHOLE, true),
    PERMUTED("electra", WITH_EMBEDDING, false),
    PERMUTED("", WHOLE, false), /* all others: BERT and its kin */
};

static const struct recipe *recipe_of(const char *family)
{
    const struct recipe *r = recipes;
    while (r->family[0] != '\0' && strcmp(r->family, family) != 0)
        r++;
    return r;
}

void rb_preset_options(enum rb_preset preset, const char *family,
                       const struct rb_align_shape *shape, bool near, struct rb_align_options *ret)
{
    const struct recipe *r = recipe_of(family);
    rb_align_options_default(ret);
    if (preset == RB_PRESET_PAPER)
        return;
    ret->components = r->components;
    if (shape->embedding_size == shape->hidden_size)
        ret->components &= ~(unsigned)RB_COMPONENT_EMBEDDING;
    ret->residual = r->residual;
    ret->residual_map = r->residual_map;
    ret->match = r->match;
    ret->rounds = preset == RB_PRESET_BEST ? r->rounds : 1;
    ret->head_map = preset == RB_PRESET_LEARNED ? r->learned_head_map : r->head_map;
    ret->signed_units = r->signed_units;
    if (near && shape->norm_after) {
        ret->residual = RB_RESIDUAL_LAST;
        ret->residual_map = RB_RESIDUAL_MAP_ORTHOGONAL;
        ret->match = RB_MATCH_BOTH;
        ret->rounds = preset == RB_PRESET_BEST ? NEAR_ROUNDS : 1;
        ret->equivalence = RB_EQUIVALENCE_NEAR;
    }
    if (r->residual_map == RB_RESIDUAL_MAP_ORTHOGONAL && shape->head == RB_HEAD_NONE) {
        ret->residual_map = RB_RESIDUAL_MAP_PERMUTATION; /* nothing takes the last norm's gain */
        ret->residual = RB_RESIDUAL_ALL;
        ret->match = RB_MATCH_ACTIVATIONS;
        ret->rounds = 1;
    }
}
