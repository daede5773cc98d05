// LINK: core_merge core_text
/* Near-equivalent maps of post-LN models (METHOD 10): a turned stream, its gains moved by squares,
 * and readers corrected for that. */
#include "unit/golden.h"
#include "unit/odd_shapes.h"
#include "unit/pair.h"

#include "core/align/certify.h"
#include "core/align/polar.h"
#include "core/align/procrustes.h"
#include "core/align/shape.h"

#include <cblas.h>
#include <math.h>

static struct rb_align_options near_options(void)
{
    struct rb_align_options o;
    rb_align_options_default(&o);
    o.components |= RB_COMPONENT_RESIDUAL;
    o.residual = RB_RESIDUAL_ALL;
    o.residual_map = RB_RESIDUAL_MAP_ORTHOGONAL;
    o.equivalence = RB_EQUIVALENCE_NEAR;
    o.head_map = RB_HEAD_MAP_ORTHOGONAL;
    o.output_head = true;
    o.decoder = RB_DECODER_UNTIED;
    return o;
}

struct path {
    struct golden *g;
    const struct rb_motion *motion; /* B's, but for the last point: B as it is */
    double lambda[4];
    struct rb_point points[4];
};

static enum rb_status evaluate(void *context, size_t piece, struct rb_worker *w,
                               struct rb_error *err)
{
    struct path *c = context;
    const struct rb_blend blend = rb_blend_pair(&c->g->model_a, &c->g->model_b,
                                                piece < 3 ? c->motion : NULL, c->lambda[piece]);
    return golden_evaluate(c->g, &blend, &c->points[piece], w, err);
}

/* bert-a and bert-b, one shot, within what the reference implementation says of the pair: barrier
 * 1.69 over the chord to the original B, KL 0.03, B's loss +0.02 (fixtures/README.md). */
static void test_bert(void **state)
{
    (void)state;
    struct golden g = {.file = "golden/mlm.json",
                       .a = "bert-a",
                       .b = "bert-b",
                       .align_length = 48,
                       .task = RB_TASK_MLM};
    golden_open(&g);
    struct rb_align_options o = near_options();
    o.match = RB_MATCH_BOTH;
    const struct rb_blend_term ends[2] = {{&g.model_a, NULL, 0}, {&g.model_b, NULL, 0}};
    struct rb_alignment *a = golden_solve(&g, golden_moments(&g, &o), &o, ends);
    golden_certify(&g, a);
    struct rb_motion motion;
    MUST(rb_alignment_motion(a, &g.model_b, &motion, &g.err), &g.err);
    assert_true(motion.decoder_untied);
    struct path c = {.g = &g, .motion = &motion, .lambda = {0, 0.5, 1, 1}};
    run_pieces(evaluate, &c, 4, GOLDEN_THREADS);
    double from = c.points[0].loss, to = c.points[3].loss, moved = c.points[2].loss;
    const struct rb_certificate *k = &a->certificate;
    double excess = c.points[1].loss - (from + to) / 2;
    print_message(
        "at 1/2 %.4f over the chord; B's loss %.4f, moved %.4f; KL %.4f, first choice the "
        "same %.3f\n",
        excess, to, moved, k->kl, k->top1_agreement);
    assert_near("barrier", excess, 1.69, 0.05);
    assert_true(k->present && k->near && !k->equivalent && !k->expected);
    assert_int_equal(rb_certificate_kind(k), RB_KIND_NEAR);
    assert_true(k->kl > 0.005 && k->kl < 0.05);
    assert_true(k->top1_agreement > 0.7 && k->top1_agreement < 1);
    assert_true(fabs(moved - to) < 0.04);
    rb_motion_deinit(&motion);
    rb_alignment_free(a);
    golden_close(&g);
}

/* ---- what holds by construction, over odd shapes ---- */

/* Random orthogonal, with O 1 = 1. */
static float *random_turn(size_t d, uint64_t seed)
{
    double *m = calloc(d * d, sizeof *m);
    float *o = rb_malloc_aligned(d * d, sizeof *o);
    struct rb_error err;
    for (size_t i = 0; i < d * d; i++)
        m[i] = random_normal(&seed);
    rb_procrustes_keep_ones(m, d);
    MUST(rb_polar(m, d, m, &err), &err);
    for (size_t i = 0; i < d * d; i++)
        o[i] = (float)m[i];
    free(m);
    return o;
}

/* An alignment that turns the stream and nothing else. */
static struct rb_alignment *turned(uint32_t d, uint64_t seed)
{
    struct rb_alignment *a;
    struct rb_error err;
    const struct rb_align_options o = near_options();
    MUST(rb_alignment_empty(&o, &a, &err), &err);
    a->groups = calloc(1, sizeof *a->groups);
    a->group_count = 1;
    struct rb_group *g = &a->groups[0];
    (void)snprintf(g->name, sizeof g->name, "residual");
    g->axis = RB_AXIS_RES_FIRST;
    g->size = d;
    g->index = calloc(d, sizeof *g->index);
    for (uint32_t i = 0; i < d; i++)
        g->index[i] = i;
    g->matrix = random_turn(d, seed);
    return a;
}

static bool is_norm(const struct random_tensor *t)
{
    return strstr(t->row->name, "LayerNorm.weight") != NULL &&
           strstr(t->row->name, "transform") == NULL;
}

/* Where all gains of a norm are equal nothing is lost: moved B is B to rounding, however near its
 * certificate calls it. */
static void test_equal_gains(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(odd_shapes); i++) {
        const struct random_shape *shape = &odd_shapes[i];
        struct pair p;
        if (shape->head == RB_HEAD_NONE || shape->dtype != RB_F32)
            continue;
        pair_init(&p, shape, PAIR_INDEPENDENT, 300 + i);
        for (size_t t = 0; t < p.random_b.count; t++)
            for (size_t k = 0; k < p.random_b.tensors[t].rows && is_norm(&p.random_b.tensors[t]);
                 k++)
                p.random_b.tensors[t].values[k] = 1.25;
        pair_open(&p);
        struct rb_alignment *a = turned(shape->hidden, 400 + i);
        const struct rb_certificate c = pair_certify(&p, a);
        print_message("%s: %.3g <= %.3g\n", shape->name, c.max_abs_logit_difference, c.tolerance);
        assert_true(c.max_abs_logit_difference <= c.tolerance);
        assert_true(c.near && !c.equivalent);
        if (shape->head == RB_HEAD_MLM) {
            assert_true(fabs(c.kl) < 1e-5);
            assert_true(c.top1_agreement > 0.99);
        }
        rb_alignment_free(a);
        pair_deinit(&p);
    }
}

static const struct {
    enum rb_slot weight, gain;
    bool next; /* the gain of the layer before */
} readers[] = {
    {RB_QUERY_WEIGHT, RB_MLP_NORM_WEIGHT, true},
    {RB_KEY_WEIGHT, RB_MLP_NORM_WEIGHT, true},
    {RB_VALUE_WEIGHT, RB_MLP_NORM_WEIGHT, true},
    {RB_UP_WEIGHT, RB_ATTENTION_NORM_WEIGHT, false},
    {RB_TRANSFORM_WEIGHT, RB_MLP_NORM_WEIGHT, true},
    {RB_POOLER_WEIGHT, RB_MLP_NORM_WEIGHT, true},
};

static float *rows_of(const struct rb_blend *b, enum rb_slot slot, uint32_t layer, size_t rows,
                      size_t columns, struct rb_scratch *scratch)
{
    struct rb_error err;
    float *x = rb_malloc_aligned(rows * columns, sizeof *x);
    MUST(rb_blend_rows(b, slot, layer, 0, rows, x, scratch, &err), &err);
    return x;
}

/* y = W (n g + b) + c, in F64. */
static void read_stream(const struct rb_blend *b, size_t reader, uint32_t layer, const double *n,
                        size_t rows, size_t d, double *y, struct rb_scratch *scratch)
{
    enum rb_slot weight = readers[reader].weight, gain = readers[reader].gain;
    uint32_t at = layer, of = layer;
    if (readers[reader].next && weight < RB_ATTENTION_OUTPUT_WEIGHT) {
        of = layer > 0 ? layer - 1 : 0;
        gain = layer > 0 ? gain : RB_EMBEDDINGS_NORM_WEIGHT;
    }
    if (weight >= RB_POOLER_WEIGHT)
        at = 0;
    float *w = rows_of(b, weight, at, rows, d, scratch);
    float *c = rows_of(b, weight + 1, at, rows, 1, scratch);
    float *g = rows_of(b, gain, of, d, 1, scratch), *s = rows_of(b, gain + 1, of, d, 1, scratch);
    for (size_t i = 0; i < rows; i++) {
        y[i] = (double)c[i];
        for (size_t j = 0; j < d; j++)
            y[i] += (double)w[i * d + j] * (n[j] * (double)g[j] + (double)s[j]);
    }
    free(w);
    free(c);
    free(g);
    free(s);
}

/* Every reader of a turned stream gives what it gave, whatever gains and biases the norm before it
 * has: a plain reference of METHOD 10's step 4. */
static void check_readers(struct pair *p, const struct rb_motion *motion, const float *o,
                          struct rb_scratch *scratch)
{
    const struct rb_blend plain = rb_blend_single(&p->b, NULL),
                          moved = rb_blend_single(&p->b, motion);
    size_t d = p->b.config.hidden_size;
    double *n = calloc(2 * d, sizeof *n), *turn = n + d;
    uint64_t seed = 77;
    for (size_t j = 0; j < d; j++)
        n[j] = random_normal(&seed);
    for (size_t j = 0; j < d; j++)
        for (size_t i = 0; i < d; i++)
            turn[j] += n[i] * (double)o[i * d + j];
    for (size_t r = 0; r < COUNT(readers); r++)
        for (uint32_t l = 0; l < p->b.config.num_hidden_layers; l++) {
            size_t rows, columns;
            bool late = readers[r].weight >= RB_POOLER_WEIGHT;
            if (rb_model_tensor(&p->b, readers[r].weight, late ? 0 : l) == NULL ||
                (late && l + 1 < p->b.config.num_hidden_layers))
                continue;
            rb_model_size(&p->b, readers[r].weight, &rows, &columns);
            double *y = calloc(2 * rows, sizeof *y);
            read_stream(&plain, r, l, n, rows, d, y, scratch);
            read_stream(&moved, r, l, turn, rows, d, y + rows, scratch);
            for (size_t i = 0; i < rows; i++)
                assert_near("read", y[rows + i], y[i], 2e-4);
            free(y);
        }
    free(n);
}

static void test_readers(void **state)
{
    (void)state;
    struct rb_scratch scratch;
    rb_scratch_init(&scratch);
    for (size_t i = 0; i < COUNT(odd_shapes); i++) {
        struct pair p;
        struct rb_motion motion;
        if (odd_shapes[i].head == RB_HEAD_NONE)
            continue;
        pair_init(&p, &odd_shapes[i], PAIR_INDEPENDENT, 500 + i);
        pair_open(&p);
        struct rb_alignment *a = turned(odd_shapes[i].hidden, 600 + i);
        MUST(rb_alignment_motion(a, &p.b, &motion, &p.err), &p.err);
        check_readers(&p, &motion, a->groups[0].matrix, &scratch);
        rb_motion_deinit(&motion);
        rb_alignment_free(a);
        pair_deinit(&p);
    }
    rb_scratch_deinit(&scratch);
}

/* ---- where it is refused ---- */

static void refused(const struct rb_align_shape *shape, const struct rb_align_options *o,
                    const char *pointer, const char *words)
{
    struct rb_error err;
    assert_int_equal(rb_align_check(shape, o, &err), RB_EINPUT);
    assert_string_equal(err.pointer, pointer);
    assert_non_null(strstr(err.detail, words));
}

static void test_refused(void **state)
{
    (void)state;
    struct rb_align_options o = near_options();
    struct rb_error err;
    struct rb_align_shape shape = {.layers = 2,
                                   .hidden_size = 8,
                                   .inner_size = 8,
                                   .embedding_size = 8,
                                   .heads = 2,
                                   .kv_heads = 2,
                                   .head_dim = 4,
                                   .residual_taps = 5,
                                   .head = RB_HEAD_MLM,
                                   .norm_after = true};
    assert_int_equal(rb_align_check(&shape, &o, &err), RB_OK);
    o.equivalence = RB_EQUIVALENCE_EXACT;
    refused(&shape, &o, "residual_map", "only permutations keep the function");
    o.equivalence = RB_EQUIVALENCE_NEAR;
    shape.head = RB_HEAD_NONE;
    refused(&shape, &o, "equivalence", "the model has no head");
    shape.head = RB_HEAD_MLM;
    shape.norm_after = false;
    refused(&shape, &o, "equivalence", "one stands after each sublayer");
    shape.norm_before = true;
    refused(&shape, &o, "equivalence", "keeps the function exactly");
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_readers),
        cmocka_unit_test(test_equal_gains),
        cmocka_unit_test(test_bert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
