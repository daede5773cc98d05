#include "core/align/alignment.h"

#include <stdlib.h>
#include <string.h>

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

void rb_alignment_free(struct rb_alignment *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i < a->group_count; i++) {
        struct rb_group *g = &a->groups[i];
        free(g->index);
        free(g->heads);
        free(g->rotation);
        free(g->value_rotation);
        free(g->correlations.heatmap_before);
        free(g->correlations.heatmap_after);
    }
    free(a->groups);
    free(a);
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

/* A group's units with matrices inside its heads; borrowed. */
static struct rb_map map_of(const struct rb_group *g, float *matrices)
{
    return (struct rb_map){.size = g->size,
                           .index = g->index,
                           .blocks = matrices != NULL ? g->head_count : 0,
                           .forward = matrices,
                           .inverse = matrices};
}

/* One residual group: the whole stream, or tap k of it. */
static void move_residual(struct rb_motion *m, const struct rb_group *g, bool separate)
{
    static const enum rb_axis all[] = {RB_AXIS_RES_FIRST, RB_AXIS_RES_IN, RB_AXIS_RES_MID,
                                       RB_AXIS_RES_OUT, RB_AXIS_RES_LAST};
    uint32_t k = g->layer;
    struct rb_map map = map_of(g, NULL);
    for (size_t i = 0; i < sizeof all / sizeof all[0] && !separate; i++)
        set_axis(m, all[i], map);
    if (!separate)
        return;
    if (k == 0)
        set_axis(m, RB_AXIS_RES_FIRST, map);
    if (k == 2 * m->layers)
        set_axis(m, RB_AXIS_RES_LAST, map);
    else if (k % 2 == 0)
        set_layer(m, RB_AXIS_RES_IN, k / 2, map);
    if (k % 2 == 1)
        set_layer(m, RB_AXIS_RES_MID, k / 2, map);
    else if (k > 0)
        set_layer(m, RB_AXIS_RES_OUT, k / 2 - 1, map);
}

static void move_group(struct rb_motion *m, const struct rb_group *g, bool separate)
{
    switch (g->axis) {
    case RB_AXIS_FF:
        set_layer(m, RB_AXIS_FF, g->layer, map_of(g, NULL));
        set_layer(m, RB_AXIS_FF_GATE, g->layer, map_of(g, NULL));
        break;
    case RB_AXIS_V: /* queries and keys come along; a qk group after it has the last word */
        set_layer(m, RB_AXIS_V, g->layer, map_of(g, g->value_rotation));
        set_layer(m, RB_AXIS_O, g->layer, map_of(g, g->value_rotation));
        set_layer(m, RB_AXIS_Q, g->layer, map_of(g, g->rotation));
        set_layer(m, RB_AXIS_K, g->layer, map_of(g, g->rotation));
        break;
    case RB_AXIS_Q:
        set_layer(m, RB_AXIS_Q, g->layer, map_of(g, g->rotation));
        set_layer(m, RB_AXIS_K, g->layer, map_of(g, g->rotation));
        break;
    case RB_AXIS_RES_FIRST:
        move_residual(m, g, separate);
        break;
    default: /* the output heads */
        set_axis(m, g->axis, map_of(g, NULL));
        break;
    }
}

static enum rb_status check_fit(const struct rb_group *g, const struct rb_config *c,
                                struct rb_error *err)
{
    bool residual = g->axis == RB_AXIS_RES_FIRST;
    uint32_t size = g->axis == RB_AXIS_FF ? c->mlp.inner_size : c->hidden_size;
    uint32_t layers = residual ? 2 * c->num_hidden_layers + 1 : c->num_hidden_layers;
    if (g->size != size)
        return rb_error_set(err, RB_EMODELS, "group '%s' permutes %u units, the model has %u",
                            g->name, g->size, size);
    if (g->layer >= layers)
        return rb_error_set(err, RB_EMODELS, "group '%s' lies beyond the model's %u layers",
                            g->name, c->num_hidden_layers);
    if (g->head_count != 0 && g->head_count != c->attention.heads)
        return rb_error_set(err, RB_EMODELS, "group '%s' has %u heads, the model has %u", g->name,
                            g->head_count, c->attention.heads);
    return RB_OK;
}

enum rb_status rb_alignment_motion(const struct rb_alignment *a, const struct rb_model *b,
                                   struct rb_motion *ret, struct rb_error *err)
{
    const struct rb_align_options *o = &a->options;
    for (size_t i = 0; i < a->group_count; i++) {
        enum rb_status s = check_fit(&a->groups[i], &b->config, err);
        if (s != RB_OK)
            return s;
    }
    struct rb_motion m;
    enum rb_status s = rb_motion_init(&m, b->config.num_hidden_layers, err);
    if (s != RB_OK)
        return s;
    for (size_t i = 0; i < a->group_count; i++)
        move_group(&m, &a->groups[i],
                   (o->components & RB_COMPONENT_RESIDUAL) && o->residual == RB_RESIDUAL_SEPARATE);
    struct rb_map stream = *rb_motion_map(&m, RB_AXIS_RES_FIRST, 0);
    if (b->head == RB_HEAD_MLM && !o->output_head && o->decoder == RB_DECODER_TIED)
        set_axis(&m, RB_AXIS_TRANSFORM, stream); /* keeps the tie (METHOD 5) */
    m.decoder_untied = b->head == RB_HEAD_MLM && !b->unembedding_stored &&
                       rb_motion_map(&m, RB_AXIS_TRANSFORM, 0)->index != stream.index;
    *ret = m;
    return RB_OK;
}
