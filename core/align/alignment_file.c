/* alignment.safetensors: what an alignment is on disk.
 *
 * Version 2 says of each group which kind its map has, and holds signs, grouped heads, inverses and
 * dense matrices. Version 1 (no "version") knew index vectors and rotations inside heads; it is
 * read as what it meant. */
#include "core/align/alignment_file.h"

#include "core/json.h"
#include "core/tensor/safetensors_open.h"
#include "core/tensor/safetensors_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 64 };

static const char METADATA_KEY[] = "rebasind.alignment";

enum { VERSION = 4 };

/* The tensors of a group, by suffix of its name. */
enum part {
    PART_INDEX,
    PART_SIGNS,
    PART_SCALES,
    PART_HEADS,
    PART_KV_HEADS,
    PART_VALUES,
    PART_ROTATION,
    PART_ROTATION_INVERSE,
    PART_VALUE_ROTATION,
    PART_VALUE_INVERSE,
    PART_MATRIX,
    PART_BEFORE,
    PART_AFTER,
    PART_COUNT
};

/* Which groups have a part: all, those with heads, those whose queries are grouped; or it may be
 * there (inside heads, of FF, or of any group). */
enum part_of { OF_ALL, OF_HEADS, OF_GROUPED, MAYBE_IN_HEADS, MAYBE_IN_FF, MAYBE };

static const struct {
    const char *suffix;
    enum rb_dtype dtype;
    enum part_of of;
    size_t offset; /* of the pointer in struct rb_group */
} parts[PART_COUNT] = {
#define PART(suffix, dtype, of, member)                                                            \
    {                                                                                              \
        suffix, dtype, of, offsetof(struct rb_group, member)                                       \
    }
    [PART_INDEX] = PART("", RB_I32, OF_ALL, index),
    [PART_SIGNS] = PART(".signs", RB_F32, MAYBE, signs),
    [PART_SCALES] = PART(".scales", RB_F32, MAYBE_IN_FF, scales),
    [PART_HEADS] = PART(".heads", RB_I32, OF_HEADS, heads),
    [PART_KV_HEADS] = PART(".kv_heads", RB_I32, OF_GROUPED, kv_heads),
    [PART_VALUES] = PART(".values", RB_I32, OF_GROUPED, values),
    [PART_ROTATION] = PART(".rotation", RB_F32, MAYBE_IN_HEADS, rotation),
    [PART_ROTATION_INVERSE] = PART(".rotation_inverse", RB_F32, MAYBE_IN_HEADS, rotation_inverse),
    [PART_VALUE_ROTATION] = PART(".value_rotation", RB_F32, MAYBE_IN_HEADS, value_rotation),
    [PART_VALUE_INVERSE] = PART(".value_rotation_inverse", RB_F32, MAYBE_IN_HEADS, value_inverse),
    [PART_MATRIX] = PART(".matrix", RB_F32, MAYBE, matrix),
    [PART_BEFORE] = PART(".heatmap_before", RB_F32, OF_ALL, correlations.heatmap_before),
    [PART_AFTER] = PART(".heatmap_after", RB_F32, OF_ALL, correlations.heatmap_after),
#undef PART
};

/* The pointer that holds a part of a group, and the part's shape. Its type differs from part to
 * part, so it is read and written by get_pointer and set_pointer. */
static void *part_of(struct rb_group *g, enum part part, uint32_t *ret_rank, uint64_t *ret_shape)
{
    uint32_t dh = g->head_count > 0 ? g->size / g->head_count : 0;
    *ret_rank = 1;
    ret_shape[0] = g->size;
    ret_shape[1] = ret_shape[2] = dh;
    switch (part) {
    case PART_HEADS:
        ret_shape[0] = g->head_count;
        break;
    case PART_KV_HEADS:
        ret_shape[0] = g->kv_count;
        break;
    case PART_VALUES:
        ret_shape[0] = (uint64_t)g->kv_count * dh;
        break;
    case PART_ROTATION:
    case PART_ROTATION_INVERSE:
    case PART_VALUE_ROTATION:
    case PART_VALUE_INVERSE:
        *ret_rank = 3;
        ret_shape[0] = g->kv_count;
        break;
    case PART_MATRIX:
        *ret_rank = 2;
        ret_shape[1] = g->size;
        break;
    case PART_BEFORE:
    case PART_AFTER:
        *ret_rank = 2;
        ret_shape[0] = ret_shape[1] = g->correlations.heatmap_size;
        break;
    default:
        break;
    }
    return (char *)g + parts[part].offset;
}

static void *get_pointer(const void *slot)
{
    void *p;
    memcpy(&p, slot, sizeof p);
    return p;
}

static void set_pointer(void *slot, void *p)
{
    memcpy(slot, &p, sizeof p);
}

static size_t elements(uint32_t rank, const uint64_t *shape)
{
    size_t n = 1;
    for (uint32_t i = 0; i < rank; i++)
        n *= (size_t)shape[i];
    return n;
}

/* ---- JSON of what is not an array ---- */

static json_t *distribution_json(const struct rb_distribution *d)
{
    json_t *q = json_array(), *h = json_array();
    for (size_t i = 0; i < 5; i++)
        json_array_append_new(q, json_real(d->quantiles[i]));
    for (size_t i = 0; i < RB_HISTOGRAM_BINS; i++)
        json_array_append_new(h, json_integer((json_int_t)d->histogram[i]));
    return json_pack("{s:f, s:o, s:o}", "mean", d->mean, "quantiles", q, "histogram", h);
}

static json_t *group_json(const struct rb_group *g)
{
    const struct rb_correlations *r = &g->correlations;
    return json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:i, s:i, s:o, s:o, s:o, s:o}", "name",
        g->name, "kind", rb_map_kind_names[rb_group_kind(g)], "axis", (int)g->axis, "layer",
        (int)g->layer, "size", (int)g->size, "head_count", (int)g->head_count, "kv_count",
        (int)g->kv_count, "score", g->score, "mean_correlation", g->mean_correlation, "weak_share",
        r->weak_share, "verdict", (int)r->verdict, "heatmap_size", (int)r->heatmap_size, "matched",
        distribution_json(&r->matched), "identity", distribution_json(&r->identity),
        "best_unmatched", distribution_json(&r->best_unmatched), "moved",
        r->moved_known ? distribution_json(&r->moved) : json_null());
}

/* Plain members of an alignment, one row each: read and written by the same table. */
enum member_type { MEMBER_INT, MEMBER_BOOL, MEMBER_REAL };

static const struct member {
    const char *key;
    size_t offset, size;
    double most;
    enum member_type type;
    int since; /* the version of the file that has it; older ones mean the default */
} members[] = {
#define SINCE(version, key, type, path, most)                                                      \
    {                                                                                              \
        key, offsetof(struct rb_alignment, path), sizeof(((struct rb_alignment *)0)->path), most,  \
            type, version                                                                          \
    }
#define MEMBER(key, type, path, most) SINCE(1, key, type, path, most)
    MEMBER("components", MEMBER_INT, options.components, RB_COMPONENT_ALL),
    MEMBER("heads", MEMBER_INT, options.heads, RB_HEADS_IGNORE),
    MEMBER("separate_qk", MEMBER_BOOL, options.separate_qk, 1),
    MEMBER("rotate_heads", MEMBER_BOOL, options.rotate_heads, 1),
    MEMBER("residual", MEMBER_INT, options.residual, RB_RESIDUAL_SEPARATE),
    MEMBER("decoder", MEMBER_INT, options.decoder, RB_DECODER_UNTIED),
    MEMBER("output_head", MEMBER_BOOL, options.output_head, 1),
    MEMBER("similarity", MEMBER_INT, options.similarity, RB_DOT),
    MEMBER("absolute", MEMBER_BOOL, options.absolute, 1),
    MEMBER("pooling", MEMBER_INT, options.pooling, RB_POOL_MAX),
    MEMBER("special_tokens", MEMBER_BOOL, options.special_tokens, 1),
    MEMBER("tokens", MEMBER_INT, tokens, 9e15),
    MEMBER("certified", MEMBER_BOOL, certificate.present, 1),
    MEMBER("equivalent", MEMBER_BOOL, certificate.equivalent, 1),
    MEMBER("expected", MEMBER_BOOL, certificate.expected, 1),
    MEMBER("max_abs_logit_difference", MEMBER_REAL, certificate.max_abs_logit_difference, 0),
    MEMBER("tolerance", MEMBER_REAL, certificate.tolerance, 0),
    MEMBER("sequences", MEMBER_INT, certificate.sequences, 1e6),
    SINCE(2, "match", MEMBER_INT, options.match, RB_MATCH_BOTH),
    SINCE(2, "residual_map", MEMBER_INT, options.residual_map, RB_RESIDUAL_MAP_ORTHOGONAL),
    SINCE(2, "fold", MEMBER_BOOL, options.fold, 1),
    SINCE(2, "signed", MEMBER_BOOL, options.signed_units, 1),
    SINCE(2, "head_map", MEMBER_INT, options.head_map, RB_HEAD_MAP_INVERTIBLE),
    SINCE(2, "learned_steps", MEMBER_INT, learned.steps, 1e9),
    SINCE(2, "learned_best_step", MEMBER_INT, learned.best_step, 1e9),
    SINCE(2, "learned_held_before", MEMBER_REAL, learned.held_before, 0),
    SINCE(2, "learned_held_after", MEMBER_REAL, learned.held_after, 0),
    SINCE(3, "equivalence", MEMBER_INT, options.equivalence, RB_EQUIVALENCE_NEAR),
    SINCE(3, "near", MEMBER_BOOL, certificate.near, 1),
    SINCE(3, "kl", MEMBER_REAL, certificate.kl, 0),
    SINCE(3, "top1_agreement", MEMBER_REAL, certificate.top1_agreement, 0),
    SINCE(3, "loss_before", MEMBER_REAL, certificate.loss_before, 0),
    SINCE(3, "loss_after", MEMBER_REAL, certificate.loss_after, 0),
    SINCE(4, "rounds", MEMBER_INT, options.rounds, RB_ALIGN_ROUNDS_MOST),
#undef MEMBER
#undef SINCE
};

enum { MEMBERS = sizeof members / sizeof members[0] };

static uint64_t get_int(const void *p, size_t size)
{
    uint64_t wide = 0;
    uint32_t narrow;
    if (size == sizeof wide) {
        memcpy(&wide, p, sizeof wide);
        return wide;
    }
    memcpy(&narrow, p, sizeof narrow);
    return narrow;
}

static json_t *member_json(const struct rb_alignment *a, const struct member *m)
{
    const void *p = (const char *)a + m->offset;
    if (m->type == MEMBER_BOOL)
        return json_boolean(*(const bool *)p);
    if (m->type == MEMBER_REAL) {
        double v = *(const double *)p;
        return isfinite(v) ? json_real(v) : json_null();
    }
    return json_integer((json_int_t)get_int(p, m->size));
}

static bool read_member(struct rb_alignment *a, const struct member *m, const json_t *v)
{
    void *p = (char *)a + m->offset;
    if (m->type == MEMBER_BOOL) {
        *(bool *)p = json_is_true(v);
        return json_is_boolean(v);
    }
    if (m->type == MEMBER_REAL) {
        *(double *)p = json_is_null(v) ? (double)NAN : json_number_value(v);
        return json_is_number(v) || json_is_null(v);
    }
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 0 || (double)n > m->most)
        return false;
    uint64_t wide = (uint64_t)n;
    uint32_t narrow = (uint32_t)n;
    memcpy(p, m->size == sizeof wide ? (void *)&wide : (void *)&narrow, m->size);
    return true;
}

/* ---- rounds ---- */

static json_t *real_json(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *rounds_json(const struct rb_alignment *a)
{
    json_t *list = json_array();
    for (size_t i = 0; i < a->round_count; i++)
        json_array_append_new(list, json_pack("{s:o, s:o, s:I}", "activations",
                                              real_json(a->rounds[i].activations), "weights",
                                              real_json(a->rounds[i].weights), "moved",
                                              (json_int_t)a->rounds[i].moved));
    return list;
}

/* A number, or null for one that is none. */
static bool read_maybe(const json_t *json, const char *key, double *ret)
{
    const json_t *v = json_object_get(json, key);
    *ret = json_is_null(v) ? (double)NAN : json_number_value(v);
    return json_is_number(v) || json_is_null(v);
}

static bool read_round(const json_t *json, struct rb_alignment_round *r)
{
    const json_t *moved = json_object_get(json, "moved");
    json_int_t n = json_integer_value(moved);
    r->moved = (uint32_t)n;
    return read_maybe(json, "activations", &r->activations) &&
           read_maybe(json, "weights", &r->weights) && json_is_integer(moved) && n >= 0 &&
           n <= INT32_MAX;
}

static bool read_rounds(const json_t *root, struct rb_alignment *a)
{
    const json_t *list = json_object_get(root, "objective");
    size_t count = json_array_size(list);
    bool ok = json_is_array(list) && count <= RB_ALIGN_ROUNDS_MOST;
    for (size_t i = 0; i < count && ok; i++) {
        struct rb_alignment_round r;
        ok =
            read_round(json_array_get(list, i), &r) && rb_alignment_add_round(a, &r, NULL) == RB_OK;
    }
    return ok;
}

/* ---- writing ---- */

static enum rb_status write_parts(struct rb_alignment *a, struct rb_st_writer *w,
                                  struct rb_error *err)
{
    size_t tensor = 0;
    enum rb_status s = RB_OK;
    for (size_t i = 0; i < a->group_count; i++)
        for (enum part p = 0; p < PART_COUNT && s == RB_OK; p++) {
            uint32_t rank;
            uint64_t shape[RB_ST_MAX_RANK] = {0};
            const void *data = get_pointer(part_of(&a->groups[i], p, &rank, shape));
            if (data != NULL)
                s = rb_st_writer_write(w, tensor++, 0, data, elements(rank, shape) * 4, err);
        }
    return s;
}

static size_t list_parts(struct rb_alignment *a, struct rb_st_spec *specs,
                         char (*names)[NAME_BYTES])
{
    size_t n = 0;
    for (size_t i = 0; i < a->group_count; i++)
        for (enum part p = 0; p < PART_COUNT; p++) {
            struct rb_st_spec spec = {.name = names[n], .dtype = parts[p].dtype};
            if (get_pointer(part_of(&a->groups[i], p, &spec.rank, spec.shape)) == NULL)
                continue;
            (void)snprintf(names[n], NAME_BYTES, "%s%s", a->groups[i].name, parts[p].suffix);
            specs[n++] = spec;
        }
    return n;
}

static char *metadata_text(const struct rb_alignment *a)
{
    json_t *root = json_object(), *groups = json_array();
    json_object_set_new(root, "version", json_integer(VERSION));
    for (size_t i = 0; i < MEMBERS; i++)
        json_object_set_new(root, members[i].key, member_json(a, &members[i]));
    int failed = json_object_set_new(root, "objective", rounds_json(a));
    for (size_t i = 0; i < a->group_count; i++)
        failed |= json_array_append_new(groups, group_json(&a->groups[i]));
    failed |= json_object_set_new(root, "groups", groups);
    char *text = failed == 0 ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    return text;
}

enum rb_status rb_alignment_save(const struct rb_alignment *alignment, const char *path,
                                 struct rb_error *err)
{
    struct rb_alignment *a = (struct rb_alignment *)(uintptr_t)alignment; /* only read */
    size_t most = a->group_count * PART_COUNT;
    struct rb_st_spec *specs = calloc(most + 1, sizeof *specs);
    char(*names)[NAME_BYTES] = calloc(most + 1, NAME_BYTES);
    char *text = metadata_text(a);
    enum rb_status s;
    if (specs == NULL || names == NULL || text == NULL) {
        s = rb_error_set(err, RB_ENOMEM, "no memory to save an alignment");
        goto err_after_alloc;
    }
    const struct rb_metadata metadata = {METADATA_KEY, text};
    struct rb_st_writer *w;
    s = rb_st_writer_open(path, specs, list_parts(a, specs, names), &metadata, 1, &w, err);
    if (s != RB_OK)
        goto err_after_alloc;
    s = rb_st_writer_end(w, write_parts(a, w, err), err);
err_after_alloc:
    free(specs);
    free(names);
    free(text);
    return s;
}

/* ---- reading ---- */

static bool read_real(const json_t *json, const char *key, double *ret)
{
    const json_t *v = json_object_get(json, key);
    *ret = json_number_value(v);
    return json_is_number(v);
}

/* An integer from least to most. */
static bool read_int(const json_t *json, const char *key, json_int_t least, json_int_t most,
                     uint32_t *ret)
{
    const json_t *v = json_object_get(json, key);
    json_int_t n = json_integer_value(v);
    *ret = (uint32_t)n;
    return json_is_integer(v) && n >= least && n <= most;
}

static bool read_distribution(const json_t *group, const char *key, struct rb_distribution *d)
{
    const json_t *json = json_object_get(group, key);
    const json_t *q = json_object_get(json, "quantiles"), *h = json_object_get(json, "histogram");
    bool ok = read_real(json, "mean", &d->mean) && json_array_size(q) == 5 &&
              json_array_size(h) == RB_HISTOGRAM_BINS;
    for (size_t i = 0; i < 5 && ok; i++) {
        d->quantiles[i] = json_number_value(json_array_get(q, i));
        ok = json_is_number(json_array_get(q, i));
    }
    for (size_t i = 0; i < RB_HISTOGRAM_BINS && ok; i++) {
        json_int_t n = json_integer_value(json_array_get(h, i));
        d->histogram[i] = (uint64_t)n;
        ok = json_is_integer(json_array_get(h, i)) && n >= 0;
    }
    return ok;
}

/* The axes that groups have (alignment.h), and whether those come in heads. */
static bool is_group_axis(uint32_t axis, uint32_t heads)
{
    if (axis == RB_AXIS_V || axis == RB_AXIS_Q)
        return heads > 0;
    return heads == 0 &&
           (axis == RB_AXIS_FF || axis == RB_AXIS_RES_FIRST || axis == RB_AXIS_TRANSFORM ||
            axis == RB_AXIS_POOLER || axis == RB_AXIS_EMBEDDING);
}

/* Heads, and how many of them are key-value heads: all in version 1. */
static bool read_heads(const json_t *json, int version, struct rb_group *g)
{
    g->kv_count = g->head_count;
    if (version >= 2 && !read_int(json, "kv_count", 0, g->head_count, &g->kv_count))
        return false;
    if (g->head_count == 0)
        return true;
    return g->kv_count > 0 && g->head_count % g->kv_count == 0 && g->size % g->head_count == 0;
}

static bool read_group(const json_t *json, int version, struct rb_group *g)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    uint32_t axis, verdict;
    struct rb_correlations *r = &g->correlations;
    if (name == NULL || strlen(name) >= sizeof g->name ||
        !read_int(json, "axis", 0, RB_AXIS_COUNT - 1, &axis) ||
        !read_int(json, "layer", 0, INT32_MAX, &g->layer) ||
        !read_int(json, "size", 1, INT32_MAX, &g->size) ||
        !read_int(json, "head_count", 0, g->size, &g->head_count) ||
        !read_int(json, "verdict", 0, RB_VERDICT_NONE, &verdict) ||
        !read_int(json, "heatmap_size", 1, RB_HEATMAP_SIZE, &r->heatmap_size) ||
        !is_group_axis(axis, g->head_count) || !read_heads(json, version, g))
        return false;
    memcpy(g->name, name, strlen(name) + 1);
    g->axis = (enum rb_axis)axis;
    r->verdict = (enum rb_verdict)verdict;
    r->moved_known = json_is_object(json_object_get(json, "moved")); /* else not known */
    if (r->moved_known && !read_distribution(json, "moved", &r->moved))
        return false;
    return read_real(json, "score", &g->score) &&
           read_real(json, "mean_correlation", &g->mean_correlation) &&
           read_real(json, "weak_share", &r->weak_share) &&
           read_distribution(json, "matched", &r->matched) &&
           read_distribution(json, "identity", &r->identity) &&
           read_distribution(json, "best_unmatched", &r->best_unmatched);
}

static bool is_permutation(const uint32_t *index, size_t n)
{
    unsigned char *seen = calloc(n, 1);
    bool ok = seen != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        ok = index[i] < n && !seen[index[i]];
        if (ok)
            seen[index[i]] = 1;
    }
    free(seen);
    return ok;
}

static bool may_lack(const struct rb_group *g, enum part p)
{
    switch (parts[p].of) {
    case OF_ALL:
        return false;
    case OF_HEADS:
        return g->head_count == 0;
    case OF_GROUPED:
        return g->kv_count == g->head_count;
    default:
        return true;
    }
}

static bool may_have(const struct rb_group *g, enum part p)
{
    switch (parts[p].of) {
    case OF_HEADS:
    case MAYBE_IN_HEADS:
        return g->head_count > 0;
    case OF_GROUPED:
        return g->kv_count < g->head_count;
    case MAYBE_IN_FF:
        return g->axis == RB_AXIS_FF;
    default:
        return true;
    }
}

static bool are_signs(const float *signs, size_t n)
{
    for (size_t i = 0; signs != NULL && i < n; i++)
        if (!(signs[i] >= 1 && signs[i] <= 1) && !(signs[i] >= -1 && signs[i] <= -1))
            return false;
    return true;
}

static bool are_factors(const float *scales, size_t n)
{
    for (size_t i = 0; scales != NULL && i < n; i++)
        if (!(scales[i] > 0 && isfinite(scales[i]) && isfinite(1 / scales[i])))
            return false;
    return true;
}

/* What the arrays of a group must hold, whatever their shapes. */
static enum rb_status check_parts(const struct rb_safetensors *st, const struct rb_group *g,
                                  const char *kind, struct rb_error *err)
{
    size_t values = g->values != NULL ? (size_t)g->kv_count * (g->size / g->head_count) : 0;
    if (!is_permutation(g->index, g->size) ||
        (g->heads != NULL && !is_permutation(g->heads, g->head_count)) ||
        (g->kv_heads != NULL && !is_permutation(g->kv_heads, g->kv_count)) ||
        (g->values != NULL && !is_permutation(g->values, values)))
        return rb_error_set(err, RB_ESAFETENSORS, "%s: '%s' is not a permutation", st->path,
                            g->name);
    if (!are_signs(g->signs, g->size))
        return rb_error_set(err, RB_ESAFETENSORS, "%s: a sign of '%s' is neither 1 nor -1",
                            st->path, g->name);
    if (!are_factors(g->scales, g->size))
        return rb_error_set(err, RB_ESAFETENSORS, "%s: a factor of '%s' is not above 0", st->path,
                            g->name);
    const char *found = rb_map_kind_names[rb_group_kind(g)];
    if (kind[0] != '\0' && strcmp(kind, found) != 0)
        return rb_error_set(err, RB_ESAFETENSORS, "%s: '%s' is said to be of kind '%s', found '%s'",
                            st->path, g->name, kind, found);
    return RB_OK;
}

static enum rb_status load_part(const struct rb_safetensors *st, struct rb_group *g, enum part p,
                                struct rb_error *err)
{
    char name[NAME_BYTES];
    uint32_t rank;
    uint64_t shape[RB_ST_MAX_RANK] = {0};
    void *slot = part_of(g, p, &rank, shape);
    (void)snprintf(name, sizeof name, "%s%s", g->name, parts[p].suffix);
    const struct rb_tensor *t = rb_safetensors_find(st, name);
    if (t == NULL && may_lack(g, p))
        return RB_OK;
    if (t == NULL || !may_have(g, p) || t->dtype != parts[p].dtype || t->rank != rank ||
        memcmp(t->shape, shape, rank * sizeof shape[0]) != 0)
        return rb_error_set(err, RB_ESAFETENSORS,
                            "%s: tensor '%s' is missing or does not fit its group", st->path, name);
    void *data = rb_malloc_aligned(t->bytes, 1);
    if (data == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory for '%s'", st->path, name);
    memcpy(data, t->data, t->bytes);
    set_pointer(slot, data);
    return RB_OK;
}

static enum rb_status load_parts(const struct rb_safetensors *st, struct rb_group *g,
                                 const char *kind, struct rb_error *err)
{
    for (enum part p = 0; p < PART_COUNT; p++) {
        enum rb_status s = load_part(st, g, p, err);
        if (s != RB_OK)
            return s;
    }
    return check_parts(st, g, kind, err);
}

/* Members and groups of the metadata; false when one is missing or out of range. */
static bool read_metadata(const json_t *root, struct rb_alignment *a, int version)
{
    const json_t *groups = json_object_get(root, "groups");
    bool ok = json_is_array(groups);
    struct rb_certificate *c = &a->certificate;
    c->kl = c->top1_agreement = c->loss_before = c->loss_after = NAN;
    for (size_t i = 0; i < MEMBERS && ok; i++)
        ok = members[i].since > version ||
             read_member(a, &members[i], json_object_get(root, members[i].key));
    ok = ok && (version < 4 || read_rounds(root, a));
    for (size_t i = 0; i < json_array_size(groups) && ok; i++)
        ok = read_group(json_array_get(groups, i), version, &a->groups[a->group_count++]);
    return ok;
}

/* The kind that the file says a group has; "" in version 1, which did not. */
static const char *kind_of(const json_t *root, size_t i, int version)
{
    const json_t *group = json_array_get(json_object_get(root, "groups"), i);
    const char *kind = json_string_value(json_object_get(group, "kind"));
    return version < 2 ? "" : kind != NULL ? kind : "nothing";
}

static enum rb_status load_root(const struct rb_safetensors *st, const json_t *root,
                                struct rb_alignment *a, struct rb_error *err)
{
    const json_t *version = json_object_get(root, "version");
    json_int_t v = version == NULL ? 1 : json_integer_value(version);
    if (root != NULL && v > VERSION)
        return rb_error_set(err, RB_ESAFETENSORS,
                            "%s: version %" JSON_INTEGER_FORMAT
                            " of the format; this program reads up to version %d",
                            st->path, v, VERSION);
    a->groups = calloc(json_array_size(json_object_get(root, "groups")) + 1, sizeof *a->groups);
    if (a->groups == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory", st->path);
    if (v < 1 || !read_metadata(root, a, (int)v))
        return rb_error_set(err, RB_ESAFETENSORS, "%s: metadata '%s' is missing or damaged",
                            st->path, METADATA_KEY);
    for (size_t i = 0; i < a->group_count; i++) {
        enum rb_status s = load_parts(st, &a->groups[i], kind_of(root, i, (int)v), err);
        if (s != RB_OK)
            return s;
    }
    return RB_OK;
}

static enum rb_status load(const struct rb_safetensors *st, struct rb_alignment *a,
                           struct rb_error *err)
{
    const char *text = rb_safetensors_metadata(st, METADATA_KEY);
    json_error_t why;
    bool no_memory = false;
    json_t *root = text != NULL
                       ? rb_json_load(text, strlen(text), JSON_REJECT_DUPLICATES, &why, &no_memory)
                       : NULL;
    enum rb_status s = no_memory ? rb_error_set(err, RB_ENOMEM, "%s: no memory", st->path)
                                 : load_root(st, root, a, err);
    json_decref(root);
    return s;
}

enum rb_status rb_alignment_load(const char *path, struct rb_alignment **ret, struct rb_error *err)
{
    struct rb_safetensors st;
    enum rb_status s = rb_safetensors_open(path, &st, err);
    if (s != RB_OK)
        return s;
    struct rb_align_options o;
    struct rb_alignment *a = NULL;
    rb_align_options_default(&o);
    s = rb_alignment_empty(&o, &a, err);
    if (s == RB_OK)
        s = load(&st, a, err);
    rb_safetensors_deinit(&st);
    if (s != RB_OK) {
        rb_alignment_free(a);
        return s;
    }
    *ret = a;
    return RB_OK;
}
