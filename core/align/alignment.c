#include "core/align/alignment.h"
#include "core/align/shape.h"

#include <stdlib.h>
#include <string.h>

const char *const rb_certificate_kind_names[] = {"different", "near", "exact", NULL};

enum rb_certificate_kind rb_certificate_kind(const struct rb_certificate *c)
{
    return c->near ? RB_KIND_NEAR : c->equivalent ? RB_KIND_EXACT : RB_KIND_DIFFERENT;
}

enum rb_status rb_alignment_empty(const struct rb_align_options *o, struct rb_alignment **ret,
                                  struct rb_error *err)
{
    struct rb_alignment *a = calloc(1, sizeof *a);
    if (a == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for an alignment");
    a->options = *o;
    *ret = a;
    return RB_OK;
}

enum rb_map_kind rb_group_kind(const struct rb_group *g)
{
    if (g->matrix != NULL)
        return RB_MAP_DENSE;
    bool blocks = g->rotation != NULL || g->value_rotation != NULL || g->scales != NULL;
    return blocks ? RB_MAP_BLOCKS : RB_MAP_INDEX;
}

void rb_group_deinit(struct rb_group *g)
{
    free(g->index);
    free(g->signs);
    free(g->scales);
    free(g->heads);
    free(g->kv_heads);
    free(g->values);
    free(g->rotation);
    free(g->rotation_inverse);
    free(g->value_rotation);
    free(g->value_inverse);
    free(g->matrix);
    free(g->correlations.heatmap_before);
    free(g->correlations.heatmap_after);
    *g = (struct rb_group){0};
}

void rb_alignment_free(struct rb_alignment *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i < a->group_count; i++)
        rb_group_deinit(&a->groups[i]);
    free(a->groups);
    free(a->rounds);
    free(a);
}

enum rb_status rb_alignment_add_round(struct rb_alignment *a, const struct rb_alignment_round *r,
                                      struct rb_error *err)
{
    struct rb_alignment_round *grown = realloc(a->rounds, (a->round_count + 1) * sizeof *grown);
    if (grown == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the rounds of an alignment");
    grown[a->round_count++] = *r;
    a->rounds = grown;
    return RB_OK;
}

const struct rb_group *rb_alignment_find(const struct rb_alignment *a, const char *name)
{
    for (size_t i = 0; i < a->group_count; i++)
        if (strcmp(a->groups[i].name, name) == 0)
            return &a->groups[i];
    return NULL;
}

bool rb_alignment_preserves(const struct rb_align_options *o)
{
    if ((o->components & RB_COMPONENT_MHA) && o->heads == RB_HEADS_IGNORE)
        return false;
    if (rb_align_is_near(o))
        return false;
    return !((o->components & RB_COMPONENT_RESIDUAL) && o->residual == RB_RESIDUAL_SEPARATE);
}

/* ---- motion ---- */

static void set_axis(struct rb_motion *m, enum rb_axis axis, struct rb_map map)
{
    for (uint32_t l = 0; l < m->layers; l++)
        *rb_motion_map(m, axis, l) = map;
}

static void set_layer(struct rb_motion *m, enum rb_axis axis, uint32_t layer, struct rb_map map)
{
    *rb_motion_map(m, axis, layer) = map;
}

/* A group's order of units, its signs, and the stream's matrix; borrowed. */
static struct rb_map order_of(const struct rb_group *g)
{
    return (struct rb_map){.size = g->size,
                           .index = g->matrix != NULL ? NULL : g->index,
                           .signs = g->signs,
                           .blocks = g->matrix != NULL,
                           .forward = g->matrix,
                           .inverse = g->matrix};
}

/* FF: up and down with signs and factors, the gate's units follow without; up alone is odd. */
static enum rb_status move_ff(struct rb_motion *m, const struct rb_group *g, struct rb_error *err)
{
    struct rb_map order = order_of(g);
    set_layer(m, RB_AXIS_FF_GATE, g->layer,
              (struct rb_map){.size = order.size, .index = order.index});
    enum rb_status s = RB_OK;
    if (g->scales != NULL) {
        order.blocks = g->size;
        order.forward = g->scales;
        order.inverse = rb_malloc_aligned(g->size, sizeof *order.inverse);
        for (size_t i = 0; order.inverse != NULL && i < g->size; i++)
            order.inverse[i] = 1 / g->scales[i];
        s = rb_motion_keep(m, order.inverse, err);
    }
    if (s == RB_OK)
        set_layer(m, RB_AXIS_FF, g->layer, order);
    return s;
}

/* One residual group: the whole stream, or tap k of it; `per_layer` taps lie in each layer. */
static void move_residual(struct rb_motion *m, const struct rb_group *g, uint32_t per_layer,
                          bool separate)
{
    static const enum rb_axis all[] = {RB_AXIS_RES_FIRST, RB_AXIS_RES_IN, RB_AXIS_RES_MID,
                                       RB_AXIS_RES_OUT, RB_AXIS_RES_LAST};
    uint32_t layer = g->layer / per_layer, inside = g->layer % per_layer;
    struct rb_map map = order_of(g);
    for (size_t i = 0; i < sizeof all / sizeof all[0] && !separate; i++)
        set_axis(m, all[i], map);
    if (!separate)
        return;
    if (inside > 0) {
        set_layer(m, RB_AXIS_RES_MID, layer, map);
        return;
    }
    if (layer == 0)
        set_axis(m, RB_AXIS_RES_FIRST, map);
    else
        set_layer(m, RB_AXIS_RES_OUT, layer - 1, map);
    if (layer == m->layers)
        set_axis(m, RB_AXIS_RES_LAST, map);
    else
        set_layer(m, RB_AXIS_RES_IN, layer, map);
}

/* ---- heads ---- */

/* An index vector that moves heads as wholes. */
static enum rb_status whole_heads(struct rb_motion *m, const uint32_t *heads, uint32_t count,
                                  uint32_t units, uint32_t **ret, struct rb_error *err)
{
    uint32_t *index = malloc((size_t)count * units * sizeof *index);
    for (size_t i = 0; index != NULL && i < (size_t)count * units; i++)
        index[i] = heads[i / units] * units + (uint32_t)(i % units);
    *ret = index;
    return rb_motion_keep(m, index, err);
}

/* The matrices of key-value heads, each as often as query heads share it; as they are with one. */
static enum rb_status spread(struct rb_motion *m, const struct rb_group *g, float *matrices,
                             float **ret, struct rb_error *err)
{
    size_t n = g->size / g->head_count, queries = g->head_count / g->kv_count, nn = n * n;
    *ret = matrices;
    if (matrices == NULL || queries == 1)
        return RB_OK;
    float *all = rb_malloc_aligned(g->head_count * nn, sizeof *all);
    for (size_t h = 0; all != NULL && h < g->head_count; h++)
        memcpy(all + h * nn, matrices + h / queries * nn, nn * sizeof *all);
    *ret = all;
    return rb_motion_keep(m, all, err);
}

/* Both axes that one basis inside heads moves: `wide` has all query heads (queries, the attention
 * output's columns), `narrow` the key-value heads (keys, values). dual: the narrow one moves by the
 * inverse transposed, as keys do beside queries. */
struct head_axes {
    enum rb_axis wide, narrow;
    uint32_t *wide_index, *narrow_index;
    float *forward, *inverse;
    bool dual;
};

static enum rb_status move_heads(struct rb_motion *m, const struct rb_group *g,
                                 const struct head_axes *a, struct rb_error *err)
{
    float *forward = a->forward, *inverse = a->inverse != NULL ? a->inverse : a->forward;
    struct rb_map narrow = {.size = g->kv_count * (g->size / g->head_count),
                            .index = a->narrow_index,
                            .blocks = forward != NULL ? g->kv_count : 0,
                            .forward = a->dual ? inverse : forward,
                            .inverse = a->dual ? forward : inverse};
    struct rb_map wide = {
        .size = g->size, .index = a->wide_index, .blocks = forward != NULL ? g->head_count : 0};
    enum rb_status s = spread(m, g, forward, &wide.forward, err);
    wide.inverse = wide.forward;
    if (s == RB_OK && inverse != forward)
        s = spread(m, g, inverse, &wide.inverse, err);
    set_layer(m, a->wide, g->layer, wide);
    set_layer(m, a->narrow, g->layer, narrow);
    return s;
}

/* Queries and keys: in the group's order, or, with rotary positions, in that of the heads alone. */
static enum rb_status move_queries(struct rb_motion *m, const struct rb_group *g,
                                   const struct rb_align_shape *shape, struct rb_error *err)
{
    struct head_axes a = {.wide = RB_AXIS_Q,
                          .narrow = RB_AXIS_K,
                          .wide_index = g->index,
                          .narrow_index = g->values != NULL ? g->values : g->index,
                          .forward = g->rotation,
                          .inverse = g->rotation_inverse,
                          .dual = true};
    enum rb_status s = RB_OK;
    if (shape->rotary_dims > 0) {
        s = whole_heads(m, g->heads, g->head_count, shape->head_dim, &a.wide_index, err);
        a.narrow_index = a.wide_index;
    }
    if (s == RB_OK && shape->rotary_dims > 0 && g->kv_heads != NULL)
        s = whole_heads(m, g->kv_heads, g->kv_count, shape->head_dim, &a.narrow_index, err);
    return s == RB_OK ? move_heads(m, g, &a, err) : s;
}

static enum rb_status move_values(struct rb_motion *m, const struct rb_group *g,
                                  struct rb_error *err)
{
    const struct head_axes a = {.wide = RB_AXIS_O,
                                .narrow = RB_AXIS_V,
                                .wide_index = g->index,
                                .narrow_index = g->values != NULL ? g->values : g->index,
                                .forward = g->value_rotation,
                                .inverse = g->value_inverse,
                                .dual = false};
    return move_heads(m, g, &a, err);
}

static enum rb_status move_group(struct rb_motion *m, const struct rb_group *g,
                                 const struct rb_align_shape *shape, bool separate,
                                 struct rb_error *err)
{
    enum rb_status s = RB_OK;
    struct rb_map order = order_of(g);
    switch (g->axis) {
    case RB_AXIS_FF:
        return move_ff(m, g, err);
    case RB_AXIS_V: /* queries and keys come along; a qk group after it has the last word */
        s = move_values(m, g, err);
        return s == RB_OK ? move_queries(m, g, shape, err) : s;
    case RB_AXIS_Q:
        return move_queries(m, g, shape, err);
    case RB_AXIS_RES_FIRST:
        move_residual(m, g, (shape->residual_taps - 1) / shape->layers, separate);
        break;
    default: /* the output heads, the narrow basis of the embeddings */
        set_axis(m, g->axis, order);
        break;
    }
    return s;
}

/* ---- the whole ---- */

static enum rb_status wrong_size(const struct rb_group *g, uint32_t size, struct rb_error *err)
{
    return rb_error_set(err, RB_EMODELS, "group '%s' permutes %u units, the model has %u", g->name,
                        g->size, size);
}

static uint32_t size_in(const struct rb_align_shape *s, enum rb_axis axis)
{
    switch (axis) {
    case RB_AXIS_FF:
        return s->inner_size;
    case RB_AXIS_V:
    case RB_AXIS_Q:
        return s->heads * s->head_dim;
    case RB_AXIS_EMBEDDING:
    case RB_AXIS_TRANSFORM:
        return s->embedding_size;
    default:
        return s->hidden_size;
    }
}

static enum rb_status check_fit(const struct rb_group *g, const struct rb_align_shape *c,
                                struct rb_error *err)
{
    bool residual = g->axis == RB_AXIS_RES_FIRST;
    uint32_t size = size_in(c, g->axis), layers = residual ? c->residual_taps : c->layers;
    if (g->size != size)
        return wrong_size(g, size, err);
    if (g->layer >= layers)
        return rb_error_set(err, RB_EMODELS, "group '%s' lies beyond the model's %u layers",
                            g->name, c->layers);
    if (g->head_count != 0 && (g->head_count != c->heads || g->kv_count != c->kv_heads))
        return rb_error_set(err, RB_EMODELS,
                            "group '%s' has %u heads over %u key-value heads, the model has %u "
                            "over %u",
                            g->name, g->head_count, g->kv_count, c->heads, c->kv_heads);
    return RB_OK;
}

static bool same_map(const struct rb_map *x, const struct rb_map *y)
{
    return x->index == y->index && x->signs == y->signs && x->forward == y->forward;
}

/* What moves the columns of the word embeddings. */
static enum rb_axis embeddings_axis(const struct rb_align_shape *s)
{
    return s->embedding_size != s->hidden_size ? RB_AXIS_EMBEDDING : RB_AXIS_RES_FIRST;
}

/* What reads the head's basis where it is the embeddings', moved along (METHOD 5). */
static void move_tied(struct rb_motion *m, const struct rb_align_options *o,
                      const struct rb_align_shape *shape)
{
    enum rb_axis narrow = embeddings_axis(shape);
    if (narrow == RB_AXIS_RES_FIRST) /* one basis: tables that say either are moved by its map */
        set_axis(m, RB_AXIS_EMBEDDING, *rb_motion_map(m, RB_AXIS_RES_FIRST, 0));
    bool tied = narrow == RB_AXIS_EMBEDDING || (o->decoder == RB_DECODER_TIED &&
                                                !rb_align_is_near(o)); /* no turn passes its norm */
    if (shape->head == RB_HEAD_MLM && !o->output_head && tied)
        set_axis(m, RB_AXIS_TRANSFORM, *rb_motion_map(m, narrow, 0));
}

/* Near-equivalent: what reads the stream, once it turns. */
static enum rb_status correct_readers(struct rb_motion *m, const struct rb_model *b,
                                      struct rb_error *err)
{
    const struct rb_map *stream = rb_motion_map(m, RB_AXIS_RES_FIRST, 0);
    if (stream->blocks != 1) /* not matched yet */
        return RB_OK;
    m->correction = calloc(1, sizeof *m->correction);
    if (m->correction == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to correct what reads the stream");
    return rb_correction_init(m->correction, b, stream, err);
}

enum rb_status rb_alignment_motion(const struct rb_alignment *a, const struct rb_model *b,
                                   struct rb_motion *ret, struct rb_error *err)
{
    const struct rb_align_options *o = &a->options;
    struct rb_align_shape shape;
    rb_align_shape_of(&b->config, b->head, &shape);
    for (size_t i = 0; i < a->group_count; i++) {
        enum rb_status s = check_fit(&a->groups[i], &shape, err);
        if (s != RB_OK)
            return s;
    }
    struct rb_motion m;
    enum rb_status s = rb_motion_init(&m, shape.layers, err);
    bool separate = (o->components & RB_COMPONENT_RESIDUAL) && o->residual == RB_RESIDUAL_SEPARATE;
    if (s != RB_OK)
        return s;
    for (size_t i = 0; i < a->group_count && s == RB_OK; i++)
        s = move_group(&m, &a->groups[i], &shape, separate, err);
    if (s != RB_OK) {
        rb_motion_deinit(&m);
        return s;
    }
    if (rb_align_is_near(o))
        s = correct_readers(&m, b, err);
    if (s != RB_OK) {
        rb_motion_deinit(&m);
        return s;
    }
    move_tied(&m, o, &shape);
    bool unembeds = shape.head == RB_HEAD_MLM || shape.head == RB_HEAD_CAUSAL;
    enum rb_axis reads = shape.head == RB_HEAD_MLM ? RB_AXIS_TRANSFORM : RB_AXIS_RES_LAST;
    m.decoder_untied =
        unembeds && !b->unembedding_stored &&
        !same_map(rb_motion_map(&m, reads, 0), rb_motion_map(&m, embeddings_axis(&shape), 0));
    *ret = m;
    return RB_OK;
}

bool rb_alignment_unties(const struct rb_model *b, const struct rb_align_options *o)
{
    bool stream_alone = (o->components & RB_COMPONENT_RESIDUAL) != 0 &&
                        (o->decoder == RB_DECODER_UNTIED || rb_align_is_near(o));
    return b->head == RB_HEAD_MLM && !b->unembedding_stored && (stream_alone || o->output_head);
}
