#include "core/learn/learn_apply.h"
#include "core/learn/learn_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is put into a group, made before anything of the alignment is touched. */
struct change {
    struct rb_group *group;
    float *rotation, *value_rotation, *matrix; /* NULL: not changed */
    float *rotation_inverse, *value_inverse;   /* NULL: orthogonal */
    uint32_t *index;                           /* of FF, with its signs and factors, if any */
    float *signs, *scales;
};

static float *copy(const float *from, size_t floats)
{
    float *to = rb_malloc_aligned(floats, sizeof *to);
    if (to != NULL)
        memcpy(to, from, floats * sizeof *to);
    return to;
}

/* M = P S F of a group that had an order and signs, as one dense matrix. */
static float *dense(const struct rb_group *g, const float *f)
{
    size_t d = g->size;
    float *m = rb_calloc_aligned(d * d, sizeof *m);
    for (size_t i = 0; m != NULL && i < d; i++) {
        float sign = g->signs != NULL ? g->signs[i] : 1;
        for (size_t j = 0; j < d; j++)
            m[g->index[i] * d + j] = sign * f[i * d + j];
    }
    return m;
}

static struct rb_group *find(struct rb_alignment *a, const char *format, uint32_t layer)
{
    char name[sizeof a->groups[0].name];
    (void)snprintf(name, sizeof name, "layer.%u.%s", layer, format);
    for (size_t i = 0; i < a->group_count; i++)
        if (strcmp(a->groups[i].name, name) == 0)
            return &a->groups[i];
    return NULL;
}

static bool list_units(const struct rb_learn_maps *m, struct rb_alignment *a, uint32_t layer,
                       struct change *ret)
{
    const struct rb_learn_units *u = &m->units;
    size_t at = layer * u->n;
    *ret = (struct change){.group = find(a, "ff", layer)};
    if (ret->group == NULL)
        return true;
    ret->index = malloc(u->n * sizeof *ret->index);
    if (ret->index != NULL)
        memcpy(ret->index, u->index + at, u->n * sizeof *ret->index);
    if (u->signs != NULL)
        ret->signs = copy(u->signs + at, u->n);
    if (u->scales)
        ret->scales = copy(u->forward + at, u->n);
    return ret->index != NULL && (u->signs == NULL || ret->signs != NULL) &&
           (!u->scales || ret->scales != NULL);
}

/* Heads into the order that was learned: whole ones, and the units inside. room: a group's size. */
static void order_heads(const struct rb_learn_maps *m, struct rb_alignment *a, uint32_t *room)
{
    const struct rb_learn_head_order *o = &m->heads_order;
    for (size_t i = 0; i < a->group_count && o->parameters > 0; i++) {
        struct rb_group *g = &a->groups[i];
        const struct {
            uint32_t *v;
            size_t count;
        } all[] = {{g->index, g->size},
                   {g->heads, g->head_count},
                   {g->kv_heads, g->kv_count},
                   {g->values, g->kv_count * o->head_dim}};
        for (size_t k = 0; g->head_count > 0 && k < sizeof all / sizeof all[0]; k++)
            if (all[k].v != NULL)
                rb_learn_head_order_apply(o, g->layer, all[k].v, all[k].count, room);
    }
}

/* The changes that the maps ask for; false when out of memory. */
static bool list_changes(const struct rb_learn_maps *m, struct rb_alignment *a,
                         struct change *changes, size_t *ret_count)
{
    size_t n = 0, floats = (size_t)m->kv_heads * m->head_dim * m->head_dim;
    bool ok = true;
    for (size_t i = 0; m->residual && i < a->group_count; i++)
        if (strcmp(a->groups[i].name, "residual") == 0) {
            float *matrix = dense(&a->groups[i], m->stream);
            changes[n++] = (struct change){.group = &a->groups[i], .matrix = matrix};
            ok = ok && matrix != NULL;
        }
    for (uint32_t l = 0; l < m->layers; l++) {
        struct rb_group *mha = find(a, "mha", l), *qk = find(a, "qk", l);
        if (m->kinds[RB_LEARN_VALUE] && mha != NULL) {
            struct change *c = &changes[n++];
            *c = (struct change){.group = mha, .value_rotation = copy(m->value[l], floats)};
            if (m->stretches)
                c->value_inverse = copy(m->value_inverse[l], floats);
            ok = ok && c->value_rotation != NULL && (!m->stretches || c->value_inverse != NULL);
        }
        struct rb_group *keys = qk != NULL ? qk : mha;
        if (m->kinds[RB_LEARN_QUERY_KEY] && keys != NULL) {
            struct change *c = &changes[n++]; /* keys move by the inverse of what queries do */
            *c = (struct change){.group = keys, .rotation = copy(m->key_inverse[l], floats)};
            if (m->stretches)
                c->rotation_inverse = copy(m->key[l], floats);
            ok = ok && c->rotation != NULL && (!m->stretches || c->rotation_inverse != NULL);
        }
        if (m->units.parameters > 0)
            ok = list_units(m, a, l, &changes[n++]) && ok;
    }
    *ret_count = n;
    return ok;
}

static void replace(float **at, float *with)
{
    if (with == NULL)
        return;
    free(*at);
    *at = with;
}

static void apply(struct change *c)
{
    struct rb_group *g = c->group;
    g->correlations.moved_known = false; /* of what was there before */
    if (c->rotation != NULL) {
        free(g->rotation_inverse);
        g->rotation_inverse = c->rotation_inverse;
    }
    if (c->value_rotation != NULL) {
        free(g->value_inverse);
        g->value_inverse = c->value_inverse;
    }
    if (c->matrix != NULL) {
        free(g->signs);
        g->signs = NULL;
        for (uint32_t i = 0; i < g->size; i++)
            g->index[i] = i;
    }
    if (c->index != NULL) {
        free(g->index);
        g->index = c->index;
    }
    replace(&g->signs, c->signs);
    replace(&g->scales, c->scales);
    replace(&g->rotation, c->rotation);
    replace(&g->value_rotation, c->value_rotation);
    replace(&g->matrix, c->matrix);
}

enum rb_status rb_learn_apply(const struct rb_program *p, struct rb_alignment *a,
                              struct rb_error *err)
{
    const struct rb_learn *c = (const struct rb_learn *)p;
    size_t count = 0;
    struct change *changes = calloc(3 * (size_t)c->maps.layers + 2, sizeof *changes);
    uint32_t *room = malloc((size_t)c->maps.heads * c->maps.head_dim * sizeof *room);
    bool ok = changes != NULL && room != NULL && list_changes(&c->maps, a, changes, &count);
    for (size_t i = 0; i < count; i++) {
        if (ok) {
            apply(&changes[i]);
            continue;
        }
        free(changes[i].rotation);
        free(changes[i].rotation_inverse);
        free(changes[i].value_inverse);
        free(changes[i].value_rotation);
        free(changes[i].matrix);
        free(changes[i].index);
        free(changes[i].signs);
        free(changes[i].scales);
    }
    free(changes);
    if (ok)
        order_heads(&c->maps, a, room);
    free(room);
    if (!ok)
        return rb_error_set(err, RB_ENOMEM, "no memory for the learned maps");
    a->learned = (struct rb_learned_facts){
        .steps = c->step,
        .best_step = c->best_step,
        .held_before = c->look_count > 0 ? c->looks[0].held_loss : NAN,
        .held_after = c->best_held,
    };
    a->certificate = (struct rb_certificate){0};
    return RB_OK;
}
