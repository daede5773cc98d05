#include "core/align/shape.h"

void rb_align_shape_of(const struct rb_config *c, enum rb_head head, struct rb_align_shape *ret)
{
    *ret = (struct rb_align_shape){
        .layers = c->num_hidden_layers,
        .hidden_size = c->hidden_size,
        .inner_size = c->mlp.inner_size,
        .embedding_size = c->embedding_size,
        .heads = c->attention.heads,
        .kv_heads = c->attention.kv_heads,
        .head_dim = c->attention.head_dim,
        .rotary_dims = c->attention.rope.dims,
        .residual_taps = (c->parallel_residual ? 1 : 2) * c->num_hidden_layers + 1,
        .gated = c->mlp.gated,
        .rms = c->norm_kind == RB_NORM_RMS,
        .norm_before = c->norm_place == RB_NORM_BEFORE,
        .norm_after = c->norm_place == RB_NORM_AFTER_ADDITION,
        .query_key_norm = c->attention.query_key_norm,
        .head = head,
    };
}

static bool grouped(const struct rb_align_shape *s)
{
    return s->kv_heads != s->heads;
}

static bool own_qk_order(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return o->separate_qk && s->rotary_dims > 0;
}

static bool own_qk_groups(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return o->separate_qk && s->rotary_dims == 0 && grouped(s);
}

static bool ignores_rotary(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return (o->components & RB_COMPONENT_MHA) && o->heads == RB_HEADS_IGNORE &&
           (s->rotary_dims > 0 || grouped(s));
}

static bool no_embedding(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return (o->components & RB_COMPONENT_EMBEDDING) && s->embedding_size == s->hidden_size;
}

static bool no_signs(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return o->signed_units && !s->gated && !s->rms;
}

static bool separate_side_by_side(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return (o->components & RB_COMPONENT_RESIDUAL) && o->residual == RB_RESIDUAL_SEPARATE &&
           s->residual_taps == s->layers + 1;
}

static bool no_fold(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return rb_align_folds(o) && !s->norm_before;
}

static bool turns_gains(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return rb_align_turns_stream(o) && !s->norm_before && !rb_align_is_near(o);
}

static bool near_though_exact(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return o->equivalence == RB_EQUIVALENCE_NEAR && s->norm_before;
}

static bool near_after_sublayer(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return o->equivalence == RB_EQUIVALENCE_NEAR && !s->norm_before && !s->norm_after;
}

static bool near_without_head(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return o->equivalence == RB_EQUIVALENCE_NEAR && s->head == RB_HEAD_NONE;
}

bool rb_align_has_hidden(const struct rb_align_shape *s)
{
    return s->head == RB_HEAD_MLM || s->head == RB_HEAD_CLASSIFIER;
}

static bool output_head_lacks(const struct rb_align_shape *s, const struct rb_align_options *o)
{
    return o->output_head && !rb_align_is_near(o) && !rb_align_has_hidden(s);
}

/* What a model does not admit: the option that asks for it, and why not. */
static const struct rule {
    const char *option, *why;
    bool (*broken)(const struct rb_align_shape *s, const struct rb_align_options *o);
} rules[] = {
    {"separate_qk",
     "rotary positions bind each query and key unit to its place: they have no order of their own",
     own_qk_order},
    {"separate_qk", "queries and keys have different numbers of heads here: no order fits both",
     own_qk_groups},
    {"heads", "\"ignore\" needs plain attention: without rotary positions, a key for every query",
     ignores_rotary},
    {"components", "\"embedding\" is for models whose embeddings are narrower than the stream",
     no_embedding},
    {"signed", "units can change sign only in a gated MLP or, with RMSNorm, in the stream",
     no_signs},
    {"residual",
     "\"separate\" needs a tap between attention and MLP: here they stand side by side (parallel "
     "residual), read the stream in one basis and write it in one",
     separate_side_by_side},
    {"residual_map",
     "no norm stands before each sublayer here: its gains lie on the stream's way, and only "
     "permutations keep the function (equivalence \"near\" gives up keeping it exactly)",
     turns_gains},
    {"equivalence",
     "a norm stands before each sublayer here: an orthogonal residual_map keeps the function "
     "exactly, and nothing need be \"near\"",
     near_though_exact},
    {"equivalence",
     "\"near\" is for norms after the additions: here one stands after each sublayer, where only "
     "permutations and signs are known to do",
     near_after_sublayer},
    {"equivalence", "how near is measured on predictions, and the model has no head",
     near_without_head},
    {"fold", "norms can be folded only where one stands before each sublayer", no_fold},
    {"output_head", "the model has no head whose hidden layer could be matched", output_head_lacks},
};

enum rb_status rb_align_check(const struct rb_align_shape *s, const struct rb_align_options *o,
                              struct rb_error *err)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].broken(s, o))
            return rb_error_at(err, RB_EINPUT, rules[i].option, "align: \"%s\": %s",
                               rules[i].option, rules[i].why);
    return RB_OK;
}
