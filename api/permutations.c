#include "api/permutations.h"

static void encode_indices(struct rb_json *w, const char *key, const uint32_t *indices,
                           uint32_t count)
{
    rb_json_array(w, key);
    for (uint32_t i = 0; i < count; i++)
        rb_json_uint(w, NULL, indices[i]);
    rb_json_end(w);
}

static void encode_signs(struct rb_json *w, const float *signs, uint32_t count)
{
    rb_json_array(w, "signs");
    for (uint32_t i = 0; i < count; i++)
        rb_json_int(w, NULL, signs[i] < 0 ? -1 : 1);
    rb_json_end(w);
}

static void encode_scales(struct rb_json *w, const float *scales, uint32_t count)
{
    rb_json_array(w, "scales");
    for (uint32_t i = 0; i < count; i++)
        rb_json_float(w, NULL, scales[i]);
    rb_json_end(w);
}

static bool has_heads(const struct rb_group *g)
{
    return g->axis == RB_AXIS_V || g->axis == RB_AXIS_Q;
}

static bool is_rotated(const struct rb_group *g)
{
    return g->rotation != NULL || g->value_rotation != NULL;
}

/* The members of a group, into the open object. */
static void encode_members(struct rb_json *w, const struct rb_group *g)
{
    rb_json_string(w, "name", g->name);
    rb_json_uint(w, "size", g->size);
    if (g->head_count > 0)
        encode_indices(w, "heads", g->heads, g->head_count);
    if (g->kv_heads != NULL)
        encode_indices(w, "kv_heads", g->kv_heads, g->kv_count);
    encode_indices(w, "index", g->index, g->size);
    if (g->values != NULL && g->head_count > 0)
        encode_indices(w, "values", g->values, g->kv_count * (g->size / g->head_count));
    if (g->signs != NULL)
        encode_signs(w, g->signs, g->size);
    if (g->scales != NULL)
        encode_scales(w, g->scales, g->size);
    rb_json_number(w, "score", g->score);
    rb_json_number(w, "mean_correlation", g->mean_correlation);
    if (has_heads(g))
        rb_json_bool(w, "rotated", is_rotated(g));
}

void rb_certificate_encode(struct rb_json *w, const struct rb_certificate *c)
{
    if (!c->present) {
        rb_json_null(w, "certificate");
        return;
    }
    rb_json_object(w, "certificate");
    rb_json_bool(w, "equivalent", c->equivalent);
    rb_json_bool(w, "expected", c->expected);
    rb_json_number(w, "max_abs_logit_difference", c->max_abs_logit_difference);
    rb_json_number(w, "tolerance", c->tolerance);
    rb_json_uint(w, "sequences", c->sequences);
    rb_certificate_encode_kind(w, c);
    rb_json_end(w);
}

void rb_certificate_encode_kind(struct rb_json *w, const struct rb_certificate *c)
{
    rb_json_string(w, "kind", rb_certificate_kind_names[rb_certificate_kind(c)]);
    if (!c->near)
        return;
    rb_json_number(w, "kl", c->kl);
    rb_json_number(w, "top1_agreement", c->top1_agreement);
    rb_json_number(w, "loss_before", c->loss_before);
    rb_json_number(w, "loss_after", c->loss_after);
}

void rb_rounds_encode(struct rb_json *w, const struct rb_alignment *a)
{
    if (a->round_count == 0)
        return;
    rb_json_array(w, "rounds");
    for (size_t i = 0; i < a->round_count; i++) {
        rb_json_object(w, NULL);
        rb_json_number(w, "activations", a->rounds[i].activations);
        rb_json_number(w, "weights", a->rounds[i].weights);
        rb_json_uint(w, "moved", a->rounds[i].moved);
        rb_json_end(w);
    }
    rb_json_end(w);
}

void rb_permutations_encode(struct rb_json *w, const char *job, const struct rb_alignment *a)
{
    rb_json_object(w, NULL);
    rb_json_string(w, "job", job);
    rb_json_array(w, "groups");
    for (size_t i = 0; i < a->group_count; i++) {
        rb_json_object(w, NULL);
        encode_members(w, &a->groups[i]);
        rb_json_end(w);
    }
    rb_json_end(w);
    rb_rounds_encode(w, a);
    rb_certificate_encode(w, &a->certificate);
    rb_json_end(w);
}

/* matrices: (kv_count, d_h, d_h). */
static void encode_rotation(struct rb_json *w, const char *key, const struct rb_group *g,
                            const float *matrices)
{
    if (matrices == NULL || g->head_count == 0) {
        rb_json_null(w, key);
        return;
    }
    uint32_t head_size = g->size / g->head_count;
    rb_json_array(w, key);
    for (uint32_t h = 0; h < g->kv_count; h++) {
        rb_json_array(w, NULL);
        for (uint32_t row = 0; row < head_size; row++) {
            rb_json_array(w, NULL);
            for (uint32_t column = 0; column < head_size; column++)
                rb_json_float(w, NULL, *matrices++);
            rb_json_end(w);
        }
        rb_json_end(w);
    }
    rb_json_end(w);
}

void rb_permutation_members_encode(struct rb_json *w, const struct rb_group *group, bool rotations)
{
    encode_members(w, group);
    if (!rotations)
        return;
    encode_rotation(w, "rotation", group, group->rotation);
    encode_rotation(w, "value_rotation", group, group->value_rotation);
}

void rb_permutation_encode(struct rb_json *w, const char *job, const struct rb_group *group,
                           bool rotations)
{
    rb_json_object(w, NULL);
    rb_json_string(w, "job", job);
    rb_permutation_members_encode(w, group, rotations);
    rb_json_end(w);
}
