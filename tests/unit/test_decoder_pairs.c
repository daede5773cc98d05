// LINK: core_merge
/* Pairs of decoders of odd shapes (METHOD 9). B is A with every group of units in a random order
 * that keeps the function: alignment finds those orders again, the moved B is A bit for bit, no
 * barrier is left, and the merged folder, fused and transposed again, tied as before, opens as the
 * family's with A's weights. B is unrelated to A: whatever is aligned leaves its function alone.
 * Tolerance. FLAT: two losses of the same function, sums in another order. */
#include "unit/decoder_shapes.h"

#include "core/align/alignment.h"
#include "core/align/certify.h"
#include "core/align/collect.h"
#include "core/align/shape.h"
#include "core/align/solve.h"
#include "core/merge/curve.h"
#include "core/merge/evaluate.h"
#include "core/merge/write.h"

#include <cblas.h>

static const double FLAT = 1e-5;

struct pair {
    struct tmpdir dir;
    const struct decoder_shape *shape;
    struct random_decoder random_a, random_b;
    struct decoder_moves moves;
    struct rb_model a, b;
    struct rb_sequences align, eval;
    struct rb_worker worker;
    struct rb_error err;
};

#define OK(call) MUST(call, &p->err)

/* moved: B is A in another order; else it is drawn on its own. */
static void pair_init(struct pair *p, const struct decoder_shape *shape, bool moved)
{
    uint64_t seed = 52;
    memset(p, 0, sizeof *p);
    p->shape = shape;
    tmpdir_init(&p->dir);
    rb_worker_init(&p->worker, NULL);
    random_decoder_init(&p->random_a, shape, 50);
    random_decoder_init(&p->random_b, shape, moved ? 50 : 51);
    decoder_moves_init(&p->moves, shape, &seed);
    if (moved)
        random_decoder_move(&p->random_b, &p->moves);
    random_decoder_open(&p->random_a, &p->dir, "a", &p->a);
    random_decoder_open(&p->random_b, &p->dir, "b", &p->b);
    OK(rb_models_equal(&p->a, &p->b, &p->err));
    p->align = decoder_sequences(shape, 70, 3, shape->positions, 53);
    p->eval = decoder_sequences(shape, 24, 3, shape->positions, 54);
}

static void pair_deinit(struct pair *p)
{
    random_decoder_deinit(&p->random_a);
    random_decoder_deinit(&p->random_b);
    decoder_moves_deinit(&p->moves);
    rb_model_deinit(&p->a);
    rb_model_deinit(&p->b);
    rb_sequences_deinit(&p->align);
    rb_sequences_deinit(&p->eval);
    rb_worker_deinit(&p->worker);
    tmpdir_deinit(&p->dir);
}

static void run(struct pair *p, struct rb_program *program)
{
    OK(rb_program_run(program, &p->worker, &p->err));
}

/* With its certificate. */
static struct rb_alignment *aligned(struct pair *p, const struct rb_align_options *o)
{
    struct rb_program *program;
    OK(rb_collect_new(&p->a, &p->b, &p->align, rb_taps_needed(o), o, &program, &p->err));
    run(p, program);
    struct rb_moments *m = rb_collect_take(program);
    rb_program_free(program);
    OK(rb_solve_new(&p->a.config, p->a.head, m, o, &program, &p->err));
    run(p, program);
    struct rb_alignment *a = rb_solve_take(program);
    rb_program_free(program);
    rb_moments_free(m);
    OK(rb_certify_new(&p->b, a, &program, &p->err));
    run(p, program);
    a->certificate = rb_certify_result(program);
    rb_program_free(program);
    return a;
}

static double loss_of(struct pair *p, const struct rb_blend *blend)
{
    const struct rb_evaluate_options o = {.task = p->shape->labels == 0   ? RB_TASK_CLM
                                                  : p->shape->labels == 1 ? RB_TASK_REGRESSION
                                                                          : RB_TASK_CLASSIFICATION};
    struct rb_program *program;
    struct rb_point point;
    OK(rb_evaluate_check(&p->a, &o, &p->eval, &p->err));
    OK(rb_evaluate_new(blend, &o, &p->eval, &program, &p->err));
    run(p, program);
    OK(rb_evaluate_result(program, &point, &p->err));
    rb_program_free(program);
    return point.loss;
}

static void assert_certified(const struct pair *p, const struct rb_alignment *a, bool expected)
{
    const struct rb_certificate *c = &a->certificate;
    if (!c->present || c->expected != expected || c->equivalent != expected)
        fail_msg("%s: certificate: expected %d, equivalent %d (%.3g <= %.3g)", p->shape->name,
                 c->expected, c->equivalent, c->max_abs_logit_difference, c->tolerance);
}

/* ---- B is A in another order ---- */

/* Unit j of B is unit moves[j] of A: so unit moves[j] of A is matched to j. */
static void assert_matched(const struct pair *p, const char *what, const uint32_t *index,
                           const uint32_t *moves, size_t n)
{
    for (size_t j = 0; j < n; j++)
        if (index[moves[j]] != j)
            fail_msg("%s: %s: unit %u of A is matched to unit %u of B, not %zu", p->shape->name,
                     what, moves[j], index[moves[j]], j);
}

static const struct rb_group *group_of(const struct pair *p, const struct rb_alignment *a,
                                       const char *format, size_t layer)
{
    char name[32];
    (void)snprintf(name, sizeof name, "layer.%zu.%s", layer, format);
    const struct rb_group *g = rb_alignment_find(a, name);
    if (g == NULL)
        fail_msg("%s: group '%s' is missing", p->shape->name, name);
    return g;
}

static void assert_recovered(const struct pair *p, const struct rb_alignment *a)
{
    const struct decoder_shape *s = p->shape;
    size_t wide = decoder_size(s, 'Q'), narrow = decoder_size(s, 'K');
    for (size_t l = 0; l < s->layers; l++) {
        const struct rb_group *ff = group_of(p, a, "ff", l), *mha = group_of(p, a, "mha", l);
        assert_int_equal(ff->size, s->inner);
        assert_int_equal(mha->size, wide);
        assert_int_equal(mha->head_count, s->heads);
        assert_matched(p, "ff", ff->index, p->moves.ff + l * s->inner, s->inner);
        assert_matched(p, "mha", mha->index, p->moves.o + l * wide, wide);
        for (size_t h = 0; h < s->heads; h++) /* heads say what the index says */
            assert_int_equal(mha->heads[h], mha->index[h * s->head_dim] / s->head_dim);
        if (s->kv_heads == s->heads)
            continue;
        assert_int_equal(mha->kv_count, s->kv_heads);
        assert_matched(p, "values", mha->values, p->moves.v + l * narrow, narrow);
    }
    assert_matched(p, "residual", rb_alignment_find(a, "residual")->index, p->moves.residual,
                   s->hidden);
}

/* Every tensor of `found`, bit for bit A's. */
static void assert_is_a(struct pair *p, const struct rb_blend *found, const char *what)
{
    const struct rb_blend a = rb_blend_single(&p->a, NULL);
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++)
        for (uint32_t l = 0; l < p->shape->layers; l++) {
            size_t rows, columns;
            if (rb_model_tensor(&p->a, slot, l) == NULL)
                continue;
            rb_model_size(&p->a, slot, &rows, &columns);
            float *x = must_alloc(rows * columns, sizeof *x), *y = must_alloc(rows * columns, 4);
            rb_scratch_reset(&p->worker.scratch);
            OK(rb_blend_rows(&a, slot, l, 0, rows, x, &p->worker.scratch, &p->err));
            OK(rb_blend_rows(found, slot, l, 0, rows, y, &p->worker.scratch, &p->err));
            if (memcmp(x, y, rows * columns * sizeof *x) != 0)
                fail_msg("%s: %s: slot %d of layer %u is not A's", p->shape->name, what, (int)slot,
                         l);
            free(x);
            free(y);
        }
}

/* The folder of the merged model, opened again: of the same family, tied as before. */
static void assert_writes_a(struct pair *p, const struct rb_blend *blend)
{
    struct rb_program *program;
    struct rb_model merged;
    char path[600];
    const char *folder = tmpdir_path(&p->dir, "merged");
    assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    json_t *config = rb_write_config(blend, RB_OUT_SOURCE);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    OK(rb_write_new(blend, RB_OUT_SOURCE, path, NULL, 0, &program, &p->err));
    run(p, program);
    rb_program_free(program);
    OK(rb_model_open(folder, &merged, &p->err));
    OK(rb_models_equal(&p->a, &merged, &p->err));
    assert_int_equal(merged.checkpoint.tensor_count, p->a.checkpoint.tensor_count);
    assert_int_equal(merged.unembedding_stored, p->a.unembedding_stored);
    for (size_t i = 0; i < merged.checkpoint.tensor_count; i++) {
        const struct rb_tensor *t = p->a.checkpoint.tensors[i];
        const struct rb_tensor *w = rb_checkpoint_find(&merged.checkpoint, t->name);
        if (w == NULL || w->bytes != t->bytes || memcmp(w->data, t->data, t->bytes) != 0)
            fail_msg("%s: '%s' is not written as A has it", p->shape->name, t->name);
    }
    const struct rb_blend again = rb_blend_single(&merged, NULL);
    assert_is_a(p, &again, "merged");
    rb_model_deinit(&merged);
}

static struct rb_align_options every_component(enum rb_residual residual)
{
    struct rb_align_options o;
    rb_align_options_default(&o);
    o.components = RB_COMPONENT_FF | RB_COMPONENT_MHA | RB_COMPONENT_RESIDUAL;
    o.residual = residual;
    return o;
}

static void check_recovery(struct pair *p, const struct rb_align_options *o)
{
    static const double lambdas[] = {0, 0.25, 0.5, 1};
    struct rb_motion motion;
    struct rb_alignment *a = aligned(p, o);
    assert_recovered(p, a);
    assert_certified(p, a, true);
    OK(rb_alignment_motion(a, &p->b, &motion, &p->err));
    const struct rb_blend moved = rb_blend_pair(&p->a, &p->b, &motion, 1);
    const struct rb_blend middle = rb_blend_pair(&p->a, &p->b, &motion, 0.5);
    assert_is_a(p, &moved, "moved B");
    assert_writes_a(p, &middle);
    double first = 0;
    for (size_t i = 0; i < COUNT(lambdas); i++) {
        const struct rb_blend blend = rb_blend_pair(&p->a, &p->b, &motion, lambdas[i]);
        double loss = loss_of(p, &blend);
        first = i == 0 ? loss : first;
        assert_near(p->shape->name, loss, first, FLAT);
    }
    rb_motion_deinit(&motion);
    rb_alignment_free(a);
}

static void test_orders_are_recovered(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++) {
        struct pair p;
        pair_init(&p, &decoder_shapes[i], true);
        for (enum rb_residual r = RB_RESIDUAL_FIRST; r <= RB_RESIDUAL_ALL; r++) {
            const struct rb_align_options o = every_component(r);
            check_recovery(&p, &o);
        }
        pair_deinit(&p);
    }
}

/* ---- an unrelated B ---- */

static void check_kept(struct pair *p, const struct rb_align_options *o)
{
    struct rb_align_shape shape;
    struct rb_motion motion;
    rb_align_shape_of(&p->a.config, p->a.head, &shape);
    OK(rb_align_check(&shape, o, &p->err));
    struct rb_alignment *a = aligned(p, o);
    assert_certified(p, a, true);
    OK(rb_alignment_motion(a, &p->b, &motion, &p->err));
    const struct rb_blend b = rb_blend_single(&p->b, NULL);
    const struct rb_blend moved = rb_blend_pair(&p->a, &p->b, &motion, 1);
    assert_near(p->shape->name, loss_of(p, &moved), loss_of(p, &b), FLAT);
    rb_motion_deinit(&motion);
    rb_alignment_free(a);
}

static void test_functions_are_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++) {
        const struct decoder_shape *s = &decoder_shapes[i];
        struct pair p;
        pair_init(&p, s, false);
        for (unsigned components = 1; components < 8; components++)
            for (int extra = 0; extra < 2; extra++) {
                struct rb_align_options o = every_component((enum rb_residual)(components % 3));
                o.components = components;
                o.heads = extra == 1 ? RB_HEADS_MONOTONIC : RB_HEADS_PERMUTE;
                o.signed_units = extra == 1 && decoder_gated(s);
                o.rotate_heads = extra == 1 && (components & RB_COMPONENT_MHA) != 0;
                check_kept(&p, &o);
            }
        pair_deinit(&p);
    }
}

/* A residual basis per tap is another function, and the certificate says so. */
static void test_separate_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++) {
        struct pair p;
        const struct rb_align_options o = every_component(RB_RESIDUAL_SEPARATE);
        pair_init(&p, &decoder_shapes[i], false);
        struct rb_alignment *a = aligned(&p, &o);
        assert_certified(&p, a, false);
        rb_alignment_free(a);
        pair_deinit(&p);
    }
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders_are_recovered),
        cmocka_unit_test(test_functions_are_kept),
        cmocka_unit_test(test_separate_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
