// LINK: core_merge
/* Alignments on disk: the same bits back, and every damaged file refused. */
#include "core/align/alignment_file.h"
#include "core/align/certify.h"
#include "unit/odd_shapes.h"
#include "unit/pair.h"
#include "unit/rewrite.h"

#include <cblas.h>

struct fixture {
    struct pair pair;
    struct rb_alignment *alignment;
    char path[600], other[600];
};

static void open_fixture(struct fixture *f)
{
    struct rb_align_options o;
    memset(f, 0, sizeof *f);
    rb_align_options_default(&o);
    o.components = RB_COMPONENT_FF | RB_COMPONENT_MHA | RB_COMPONENT_RESIDUAL;
    o.separate_qk = o.rotate_heads = o.output_head = o.absolute = true;
    o.residual = RB_RESIDUAL_ALL;
    o.decoder = RB_DECODER_UNTIED;
    o.special_tokens = false;
    pair_init(&f->pair, &odd_shapes[4], PAIR_INDEPENDENT, 111);
    pair_open(&f->pair);
    f->alignment = pair_align(&f->pair, &o);
    (void)snprintf(f->path, sizeof f->path, "%s/alignment", f->pair.dir.path);
    (void)snprintf(f->other, sizeof f->other, "%s/other", f->pair.dir.path);
    MUST(rb_alignment_save(f->alignment, f->path, &f->pair.err), &f->pair.err);
}

static void close_fixture(struct fixture *f)
{
    rb_alignment_free(f->alignment);
    pair_deinit(&f->pair);
}

static void same_if_any(const void *x, const void *y, size_t bytes)
{
    assert_int_equal(x != NULL, y != NULL);
    if (x != NULL)
        assert_memory_equal(x, y, bytes);
}

static void same_group(const struct rb_group *g, const struct rb_group *h)
{
    const struct rb_correlations *r = &g->correlations, *s = &h->correlations;
    size_t dh = g->head_count > 0 ? g->size / g->head_count : 0;
    size_t map = (size_t)r->heatmap_size * r->heatmap_size * sizeof(float);
    assert_string_equal(g->name, h->name);
    assert_int_equal(g->axis, h->axis);
    assert_int_equal(g->layer, h->layer);
    assert_int_equal(g->size, h->size);
    assert_int_equal(g->head_count, h->head_count);
    assert_memory_equal(g->index, h->index, g->size * sizeof *g->index);
    same_if_any(g->heads, h->heads, g->head_count * sizeof *g->heads);
    assert_int_equal(rb_group_kind(g), rb_group_kind(h));
    assert_int_equal(g->kv_count, h->kv_count);
    same_if_any(g->signs, h->signs, g->size * sizeof *g->signs);
    same_if_any(g->kv_heads, h->kv_heads, g->kv_count * sizeof *g->kv_heads);
    same_if_any(g->values, h->values, g->kv_count * dh * sizeof *g->values);
    same_if_any(g->matrix, h->matrix, (size_t)g->size * g->size * sizeof(float));
    same_if_any(g->rotation_inverse, h->rotation_inverse, g->kv_count * dh * dh * sizeof(float));
    same_if_any(g->value_inverse, h->value_inverse, g->kv_count * dh * dh * sizeof(float));
    same_if_any(g->rotation, h->rotation, g->kv_count * dh * dh * sizeof(float));
    same_if_any(g->value_rotation, h->value_rotation, g->kv_count * dh * dh * sizeof(float));
    assert_memory_equal(&g->score, &h->score, sizeof g->score);
    assert_memory_equal(&g->mean_correlation, &h->mean_correlation, sizeof(double));
    assert_memory_equal(&r->matched, &s->matched, sizeof r->matched);
    assert_memory_equal(&r->identity, &s->identity, sizeof r->identity);
    assert_memory_equal(&r->best_unmatched, &s->best_unmatched, sizeof r->best_unmatched);
    assert_memory_equal(&r->weak_share, &s->weak_share, sizeof r->weak_share);
    assert_int_equal(r->verdict, s->verdict);
    assert_int_equal(r->heatmap_size, s->heatmap_size);
    assert_memory_equal(r->heatmap_before, s->heatmap_before, map);
    assert_memory_equal(r->heatmap_after, s->heatmap_after, map);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct fixture f;
    struct rb_alignment *b;
    open_fixture(&f);
    const struct rb_alignment *a = f.alignment;
    MUST(rb_alignment_load(f.path, &b, &f.pair.err), &f.pair.err);
    const struct rb_align_options *o = &a->options, *p = &b->options;
    assert_int_equal(p->components, o->components);
    assert_int_equal(p->heads, o->heads);
    assert_int_equal(p->separate_qk, o->separate_qk);
    assert_int_equal(p->rotate_heads, o->rotate_heads);
    assert_int_equal(p->residual, o->residual);
    assert_int_equal(p->decoder, o->decoder);
    assert_int_equal(p->output_head, o->output_head);
    assert_int_equal(p->similarity, o->similarity);
    assert_int_equal(p->absolute, o->absolute);
    assert_int_equal(p->pooling, o->pooling);
    assert_int_equal(p->special_tokens, o->special_tokens);
    assert_int_equal(b->tokens, a->tokens);
    const struct rb_certificate *c = &a->certificate, *d = &b->certificate;
    assert_int_equal(d->present, c->present);
    assert_int_equal(d->equivalent, c->equivalent);
    assert_int_equal(d->expected, c->expected);
    assert_int_equal(d->sequences, c->sequences);
    assert_memory_equal(&d->tolerance, &c->tolerance, sizeof c->tolerance);
    assert_memory_equal(&d->max_abs_logit_difference, &c->max_abs_logit_difference, sizeof(double));
    assert_int_equal(b->group_count, a->group_count);
    for (size_t i = 0; i < a->group_count; i++)
        same_group(&a->groups[i], &b->groups[i]);
    rb_alignment_free(b);
    close_fixture(&f);
}

static void assert_refused(const char *what, const char *path)
{
    struct rb_alignment *a = NULL;
    struct rb_error err;
    enum rb_status s = rb_alignment_load(path, &a, &err);
    if (s != RB_ESAFETENSORS)
        fail_msg("%s: %s", what, rb_status_code(s));
    assert_null(a);
    assert_text_has(err.detail, path);
}

/* Groups of every kind: signs, grouped heads, inverses, a dense matrix. */
static void test_every_kind(void **state)
{
    (void)state;
    struct fixture f;
    struct rb_alignment *b;
    open_fixture(&f);
    struct rb_group *ff = &f.alignment->groups[0], *mha = &f.alignment->groups[1];
    struct rb_group *stream =
        (struct rb_group *)(uintptr_t)rb_alignment_find(f.alignment, "residual");
    size_t dh = mha->size / mha->head_count;
    ff->signs = must_alloc(ff->size, sizeof *ff->signs);
    for (size_t i = 0; i < ff->size; i++)
        ff->signs[i] = i % 3 == 0 ? -1.0f : 1.0f;
    mha->kv_count = 1; /* both heads share one */
    mha->kv_heads = must_alloc(1, sizeof *mha->kv_heads);
    mha->values = must_alloc(dh, sizeof *mha->values);
    for (uint32_t i = 0; i < dh; i++)
        mha->values[i] = (i + 1) % (uint32_t)dh;
    mha->value_inverse = must_alloc(dh * dh, sizeof(float));
    for (size_t i = 0; i < dh * dh; i++)
        mha->value_inverse[i] = (float)i;
    stream->matrix = must_alloc((size_t)stream->size * stream->size, sizeof(float));
    for (size_t i = 0; i < (size_t)stream->size * stream->size; i++)
        stream->matrix[i] = (float)i;
    f.alignment->options.signed_units = f.alignment->options.fold = true;
    f.alignment->options.match = RB_MATCH_BOTH;
    f.alignment->options.rounds = 2;
    const struct rb_alignment_round rounds[2] = {{0.5, NAN, 0}, {0.625, 0.25, 7}};
    for (size_t i = 0; i < 2; i++)
        MUST(rb_alignment_add_round(f.alignment, &rounds[i], &f.pair.err), &f.pair.err);
    MUST(rb_alignment_save(f.alignment, f.other, &f.pair.err), &f.pair.err);
    MUST(rb_alignment_load(f.other, &b, &f.pair.err), &f.pair.err);
    for (size_t i = 0; i < b->group_count; i++)
        same_group(&f.alignment->groups[i], &b->groups[i]);
    assert_int_equal(rb_group_kind(&b->groups[0]), RB_MAP_INDEX);
    assert_int_equal(rb_group_kind(&b->groups[1]), RB_MAP_BLOCKS);
    assert_int_equal(rb_group_kind(rb_alignment_find(b, "residual")), RB_MAP_DENSE);
    assert_true(b->options.signed_units && b->options.fold);
    assert_int_equal(b->options.match, RB_MATCH_BOTH);
    assert_int_equal(b->options.rounds, 2);
    assert_int_equal(b->round_count, 2);
    assert_true(isnan(b->rounds[0].weights));
    assert_near("activations", b->rounds[1].activations, 0.625, 0);
    assert_near("weights", b->rounds[1].weights, 0.25, 0);
    assert_int_equal(b->rounds[1].moved, 7);
    rb_alignment_free(b);
    ff->signs[4] = 0.5f;
    MUST(rb_alignment_save(f.alignment, f.other, &f.pair.err), &f.pair.err);
    assert_refused("a sign", f.other);
    close_fixture(&f);
}

/* Written by the first release: rotations inside heads of the pair bert-a, bert-b. */
static void test_version_1(void **state)
{
    (void)state;
    struct rb_alignment *a;
    struct rb_model model;
    struct rb_motion motion;
    struct rb_error err;
    MUST(rb_alignment_load(RB_FIXTURES "/alignments/version-1.safetensors", &a, &err), &err);
    assert_int_equal(a->group_count, 4);
    assert_int_equal(a->options.components, RB_COMPONENT_MHA);
    assert_true(a->options.rotate_heads && a->certificate.equivalent);
    assert_int_equal(a->options.match, RB_MATCH_ACTIVATIONS);
    for (size_t i = 0; i < a->group_count; i++) {
        assert_int_equal(rb_group_kind(&a->groups[i]), RB_MAP_BLOCKS);
        assert_int_equal(a->groups[i].axis, RB_AXIS_V);
        assert_int_equal(a->groups[i].kv_count, 4);
    }
    MUST(rb_model_open(RB_FIXTURES "/models/bert-b", &model, &err), &err);
    MUST(rb_alignment_motion(a, &model, &motion, &err), &err);
    const struct rb_map *q = rb_motion_map(&motion, RB_AXIS_Q, 2);
    const struct rb_map *o = rb_motion_map(&motion, RB_AXIS_O, 2);
    assert_ptr_equal(q->forward, a->groups[2].rotation);
    assert_ptr_equal(o->inverse, a->groups[2].value_rotation);
    assert_ptr_equal(o->index, a->groups[2].index);
    rb_motion_deinit(&motion);
    rb_model_deinit(&model);
    rb_alignment_free(a);
}

static void test_empty(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct rb_align_options o;
    struct rb_alignment *a, *b;
    struct rb_error err;
    tmpdir_init(&dir);
    rb_align_options_default(&o);
    o.components = 0;
    MUST(rb_alignment_empty(&o, &a, &err), &err);
    const char *path = tmpdir_path(&dir, "empty");
    MUST(rb_alignment_save(a, path, &err), &err);
    MUST(rb_alignment_load(path, &b, &err), &err);
    assert_int_equal(b->group_count, 0);
    assert_int_equal(b->options.components, 0);
    assert_false(b->certificate.present);
    rb_alignment_free(a);
    rb_alignment_free(b);
    tmpdir_deinit(&dir);
}

/* ---- damage ---- */

/* Tensors that are gone, or of another shape (rank 0: gone). */
static const struct {
    const char *name;
    enum rb_dtype dtype;
    uint32_t rank;
    uint64_t shape[3];
} tensors[] = {
    {"layer.0.ff", RB_I32, 0, {0}},
    {"layer.0.mha.heads", RB_I32, 0, {0}},
    {"residual.heatmap_before", RB_F32, 0, {0}},
    {"residual.heatmap_after", RB_F32, 0, {0}},
    {"layer.0.ff", RB_I32, 1, {47}},
    {"layer.0.ff", RB_I32, 1, {49}},
    {"layer.0.ff", RB_F32, 1, {48}},
    {"layer.0.ff", RB_I64, 1, {48}},
    {"layer.0.ff", RB_I32, 2, {48, 1}},
    {"layer.0.ff", RB_I32, 1, {48}}, /* all 0: no permutation */
    {"layer.0.mha.heads", RB_I32, 1, {2}},
    {"layer.0.mha.heads", RB_I32, 1, {3}},
    {"layer.0.mha.value_rotation", RB_F32, 3, {2, 16, 15}},
    {"layer.0.mha.value_rotation", RB_F32, 2, {2, 256}},
    {"layer.0.qk.rotation", RB_F32, 3, {1, 16, 16}},
    {"residual.heatmap_after", RB_F32, 2, {32, 31}},
    {"residual.heads", RB_I32, 1, {0}},          /* a group without heads has none */
    {"residual.rotation", RB_F32, 3, {0, 0, 0}}, /* and no rotation */
};

static void test_tensors(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    for (size_t i = 0; i < COUNT(tensors); i++) {
        struct rewrite r;
        rewrite_open(&r, f.path);
        if (tensors[i].rank == 0)
            rewrite_drop(&r, tensors[i].name);
        else
            rewrite_shape(&r, tensors[i].name, tensors[i].dtype, tensors[i].rank, tensors[i].shape);
        rewrite_close(&r, f.other);
        assert_refused(tensors[i].name, f.other);
    }
    close_fixture(&f);
}

/* One element of an index that makes it no permutation. */
static void test_index(void **state)
{
    (void)state;
    static const uint32_t bad[] = {48, 0x7fffffff, 0xffffffff};
    struct fixture f;
    open_fixture(&f);
    for (size_t at = 0; at < 48; at += 5)
        for (size_t k = 0; k <= COUNT(bad); k++) {
            struct rewrite r;
            rewrite_open(&r, f.path);
            uint32_t *index = r.data[rewrite_find(&r, "layer.0.ff")];
            index[at] = k < COUNT(bad) ? bad[k] : index[(at + 1) % 48]; /* the last: twice */
            rewrite_close(&r, f.other);
            assert_refused("index", f.other);
        }
    close_fixture(&f);
}

/* The metadata's JSON, changed in one place; value NULL: the member goes. group -1: of the whole.
 */
static const struct {
    int group; /* 0: layer.0.ff, 1: layer.0.mha */
    const char *key, *value;
} members[] = {
    {-1, "groups", NULL},
    {-1, "groups", "{}"},
    {-1, "groups", "[7]"},
    {-1, "heads", NULL},
    {-1, "heads", "3"},
    {-1, "heads", "-1"},
    {-1, "heads", "\"permute\""},
    {-1, "components", "16"},
    {-1, "version", "5"},
    {-1, "version", "0"},
    {-1, "version", "\"3\""},
    {-1, "fold", NULL},
    {-1, "fold", "1"},
    {-1, "match", "3"},
    {-1, "rounds", "21"},
    {-1, "rounds", NULL},
    {-1, "objective", NULL},
    {-1, "objective", "{}"},
    {-1, "objective", "[7]"},
    {-1, "objective", "[{\"activations\":1,\"weights\":null}]"},
    {-1, "objective", "[{\"activations\":\"x\",\"weights\":null,\"moved\":0}]"},
    {-1, "objective", "[{\"activations\":1,\"weights\":null,\"moved\":-1}]"},
    {-1, "residual_map", "2"},
    {-1, "head_map", "3"},
    {-1, "separate_qk", "1"},
    {-1, "tokens", "-5"},
    {-1, "tokens", "1.5"},
    {-1, "tolerance", "\"x\""},
    {-1, "certified", "null"},
    {-1, "sequences", "4294967312"},
    {0, "name", NULL},
    {0, "name", "7"},
    {0, "name", "\"a name that is longer than any group's name\""},
    {0, "name", "\"layer.9.ff\""},
    {0, "axis", "0"},
    {0, "axis", "5"},
    {0, "axis", "11"},
    {0, "axis", "-1"},
    {0, "axis", "2"},
    {0, "kind", NULL},
    {0, "kind", "\"blocks\""},
    {0, "kind", "\"dense\""},
    {0, "kv_count", "1"},
    {0, "layer", "-1"},
    {0, "size", "0"},
    {0, "size", "-48"},
    {0, "size", "47"},
    {0, "size", "4294967344"},
    {0, "size", "48.0"},
    {0, "head_count", "2"},
    {0, "head_count", "-1"},
    {0, "score", NULL},
    {0, "score", "null"},
    {0, "mean_correlation", "\"1\""},
    {0, "weak_share", NULL},
    {0, "verdict", "3"},
    {0, "verdict", "-1"},
    {0, "heatmap_size", "0"},
    {0, "heatmap_size", "129"},
    {0, "heatmap_size", "47"},
    {0, "matched", NULL},
    {0, "matched", "{}"},
    {0, "identity", "[]"},
    {0, "best_unmatched", "1"},
    {1, "kv_count", NULL},
    {1, "kv_count", "0"},
    {1, "kv_count", "1"}, /* grouped heads need an order of their own */
    {1, "kv_count", "4"},
    {1, "kind", "\"index\""},
    {1, "head_count", "0"},
    {1, "head_count", "3"},
    {1, "head_count", "4"},
    {1, "axis", "1"},
};

static char *changed(const char *text, int group, const char *key, const char *value)
{
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    json_t *object =
        group < 0 ? root : json_array_get(json_object_get(root, "groups"), (size_t)group);
    if (value == NULL)
        assert_int_equal(json_object_del(object, key), 0);
    else
        assert_int_equal(json_object_set_new(object, key, json_loads(value, JSON_DECODE_ANY, NULL)),
                         0);
    char *out = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17));
    assert_non_null(out);
    json_decref(root);
    return out;
}

static void test_metadata(void **state)
{
    (void)state;
    static const char key[] = "rebasind.alignment";
    static const char *const whole[] = {NULL, "", "null", "[]", "{}", "{\"groups\":[]}", "{"};
    struct fixture f;
    open_fixture(&f);
    for (size_t i = 0; i < COUNT(members) + COUNT(whole); i++) {
        struct rewrite r;
        rewrite_open(&r, f.path);
        if (i < COUNT(members)) {
            char *text = changed(rb_safetensors_metadata(&r.file, key), members[i].group,
                                 members[i].key, members[i].value);
            rewrite_metadata(&r, key, text);
            free(text);
        } else {
            rewrite_metadata(&r, key, whole[i - COUNT(members)]);
        }
        rewrite_close(&r, f.other);
        assert_refused(i < COUNT(members) ? members[i].key : "whole", f.other);
    }
    close_fixture(&f);
}

static void test_cut(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    rewrite_cuts(&f.pair.dir, f.path, "other", assert_refused);
    close_fixture(&f);
}

/* It can be used, or its rotations are found not to be numbers. */
static void try_certify(struct pair *p, const struct rb_alignment *a)
{
    struct rb_program *program;
    MUST(rb_certify_new(&p->b, a, &program, &p->err), &p->err);
    enum rb_status s = rb_program_run(program, &p->worker, &p->err);
    assert_true(s == RB_OK || s == RB_ENUMERIC);
    if (s == RB_OK)
        assert_true(isfinite(rb_certify_result(program).tolerance));
    rb_program_free(program);
}

static void try_alignment(void *fixture)
{
    struct fixture *f = fixture;
    struct rb_alignment *a;
    struct rb_motion motion;
    if (rb_alignment_load(f->other, &a, &f->pair.err) != RB_OK)
        return;
    if (rb_alignment_motion(a, &f->pair.b, &motion, &f->pair.err) == RB_OK) {
        rb_motion_deinit(&motion);
        try_certify(&f->pair, a);
    }
    rb_alignment_free(a);
}

/* Bits turned anywhere: refused, or an alignment that can be used on the model or is refused there.
 */
static void test_turned_bits(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    rewrite_turned_bits(&f.pair.dir, f.path, "other", false, 112, try_alignment, &f);
    close_fixture(&f);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_version_1),   cmocka_unit_test(test_empty),
        cmocka_unit_test(test_tensors),     cmocka_unit_test(test_index),
        cmocka_unit_test(test_metadata),    cmocka_unit_test(test_cut),
        cmocka_unit_test(test_turned_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
