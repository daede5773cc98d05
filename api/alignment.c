#include "api/alignment.h"
#include "api/correlations.h"
#include "api/permutations.h"
#include "core/align/angles.h"

const char *rb_group_kind_name(const struct rb_group *g)
{
    if (g->rotation_inverse != NULL || g->value_inverse != NULL || g->scales != NULL)
        return "invertible";
    if (g->rotation != NULL || g->value_rotation != NULL || g->matrix != NULL)
        return "orthogonal";
    return g->signs != NULL ? "signed_permutation" : "permutation";
}

/* What solving made as large as it can be, and how large that was. */
static void encode_objective(struct rb_json *w, const struct rb_alignment *a,
                             const struct rb_group *g)
{
    rb_json_object(w, "objective");
    rb_json_string(w, "name",
                   g->matrix != NULL ? "trace" : rb_similarity_names[a->options.similarity]);
    rb_json_number(w, "value", g->score);
    rb_json_end(w);
}

static void encode_summary(struct rb_json *w, const struct rb_alignment *a,
                           const struct rb_group *g)
{
    rb_json_object(w, NULL);
    rb_json_string(w, "name", g->name);
    rb_json_uint(w, "size", g->size);
    rb_json_string(w, "kind", rb_group_kind_name(g));
    encode_objective(w, a, g);
    rb_json_object(w, "correlation");
    rb_json_number(w, "before", g->correlations.identity.mean);
    rb_json_number(w, "after", g->mean_correlation);
    rb_json_number(w, "moved", rb_correlation_moved(g));
    rb_json_end(w);
    rb_json_end(w);
}

static void encode_learned(struct rb_json *w, const struct rb_learned_facts *f)
{
    if (f->steps == 0) {
        rb_json_null(w, "learned");
        return;
    }
    rb_json_object(w, "learned");
    rb_json_uint(w, "steps", f->steps);
    rb_json_uint(w, "best_step", f->best_step);
    rb_json_number(w, "held_before", f->held_before);
    rb_json_number(w, "held_after", f->held_after);
    rb_json_end(w);
}

void rb_alignment_encode(struct rb_json *w, const char *job, const struct rb_alignment *a)
{
    const struct rb_align_options *o = &a->options;
    rb_json_object(w, NULL);
    rb_json_string(w, "job", job);
    rb_json_string(w, "residual_map", rb_residual_map_names[o->residual_map]);
    rb_json_string(w, "head_map", rb_head_map_names[rb_align_head_map(o)]);
    rb_json_string(w, "match", rb_match_names[o->match]);
    rb_json_string(w, "equivalence", rb_equivalence_names[o->equivalence]);
    rb_json_bool(w, "folded", rb_align_folds(o));
    rb_json_uint(w, "tokens", a->tokens);
    rb_json_array(w, "groups");
    for (size_t i = 0; i < a->group_count; i++)
        encode_summary(w, a, &a->groups[i]);
    rb_json_end(w);
    rb_rounds_encode(w, a);
    encode_learned(w, &a->learned);
    rb_certificate_encode(w, &a->certificate);
    rb_json_end(w);
}

/* ---- one group ---- */

static enum rb_status encode_turns(struct rb_json *w, const char *key, const float *matrices,
                                   size_t count, size_t n, struct rb_error *err)
{
    struct rb_turns t = rb_turns_none();
    enum rb_status s = RB_OK;
    if (matrices == NULL || n > RB_ANGLES_MOST) {
        rb_json_null(w, key);
        return RB_OK;
    }
    for (size_t i = 0; i < count && s == RB_OK; i++)
        s = rb_turns_add(&t, matrices + i * n * n, n, err);
    if (s != RB_OK)
        return s;
    rb_json_object(w, key);
    rb_json_uint(w, "count", t.count);
    rb_json_number(w, "mean", t.mean);
    rb_json_number(w, "most", t.most);
    rb_json_number(w, "condition", t.condition);
    rb_json_array(w, "histogram");
    for (int i = 0; i < RB_ANGLE_BINS; i++)
        rb_json_uint(w, NULL, t.histogram[i]);
    rb_json_end(w);
    rb_json_end(w);
    return RB_OK;
}

enum rb_status rb_alignment_group_encode(struct rb_json *w, const char *job,
                                         const struct rb_group *g, bool matrices,
                                         struct rb_error *err)
{
    size_t heads = g->kv_count, width = g->head_count > 0 ? g->size / g->head_count : 0;
    rb_json_object(w, NULL);
    rb_json_string(w, "job", job);
    rb_json_string(w, "kind", rb_group_kind_name(g));
    rb_permutation_members_encode(w, g, matrices);
    rb_json_number(w, "correlation_before", g->correlations.identity.mean);
    rb_json_number(w, "correlation_moved", rb_correlation_moved(g));
    rb_json_object(w, "angles");
    enum rb_status s = encode_turns(w, "stream", g->matrix, 1, g->size, err);
    if (s == RB_OK)
        s = encode_turns(w, "queries_keys", g->rotation, heads, width, err);
    if (s == RB_OK)
        s = encode_turns(w, "values", g->value_rotation, heads, width, err);
    rb_json_end(w);
    rb_json_end(w);
    return s;
}
