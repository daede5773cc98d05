// LINK: core_merge core_text
/* golden/three.json (METHOD 13): gpt2-a, -b and -c aligned to the anchor and to each other: how far
 * pairwise maps agree around the triangle, the objective of every round, maps, and the losses and
 * barriers at all weights, within 2e-4 of the independent implementation's. gpt2-c is not in the
 * tree: RB_MORE_FIXTURES says where it is. */
#include "unit/golden.h"

#include "core/align/joint.h"

#include <cblas.h>

enum { MODELS = 3, PAIRS = 3 };

struct three {
    struct golden g; /* a, b, texts, json */
    struct rb_model c;
    const struct rb_model *models[MODELS];
    struct rb_moments *moments[PAIRS];
    struct rb_error err;
};

static const struct rb_pair pairs[PAIRS] = {{0, 1}, {0, 2}, {1, 2}};

static struct rb_align_options options(void)
{
    struct rb_align_options o;
    rb_align_options_default(&o);
    o.components |= RB_COMPONENT_RESIDUAL;
    o.residual = RB_RESIDUAL_ALL;
    return o;
}

static void three_open(struct three *t)
{
    char path[512];
    struct rb_program *p;
    const struct rb_align_options o = options();
    memset(t, 0, sizeof *t);
    golden_model("gpt2-c", path); /* skips where it is not */
    MUST(rb_model_open(path, &t->c, &t->err), &t->err);
    t->g = (struct golden){.file = "golden/three.json",
                           .a = "gpt2-a",
                           .b = "gpt2-b",
                           .align_length = 128,
                           .task = RB_TASK_CLM};
    golden_open(&t->g);
    t->models[0] = &t->g.model_a;
    t->models[1] = &t->g.model_b;
    t->models[2] = &t->c;
    MUST(rb_collect_many_new(t->models, MODELS, pairs, PAIRS, &t->g.align, rb_taps_needed(&o), &o,
                             &p, &t->err),
         &t->err);
    run_program(p, GOLDEN_THREADS, IN_ORDER, 1);
    for (size_t i = 0; i < PAIRS; i++)
        t->moments[i] = rb_collect_take_pair(p, i);
    rb_program_free(p);
}

static void three_close(struct three *t)
{
    for (size_t i = 0; i < PAIRS; i++)
        rb_moments_free(t->moments[i]);
    rb_model_deinit(&t->c);
    golden_close(&t->g);
}

static void align(struct three *t, enum rb_reference reference, struct rb_alignment **ret,
                  struct rb_joint_facts *facts)
{
    const struct rb_align_options o = options();
    struct rb_program *p;
    const struct rb_joint_input in = {.config = &t->g.model_a.config,
                                      .head = t->g.model_a.head,
                                      .reference = reference,
                                      .cycles = true,
                                      .count = MODELS,
                                      .moments = (const struct rb_moments *const *)t->moments};
    MUST(rb_joint_new(&in, &o, &p, &t->err), &t->err);
    run_program(p, GOLDEN_THREADS, IN_ORDER, 1);
    for (size_t m = 1; m < MODELS; m++)
        ret[m - 1] = rb_joint_take(p, m);
    rb_joint_take_facts(p, facts);
    rb_program_free(p);
}

static const json_t *run_of(const struct three *t, const char *name)
{
    return json_object_get(json_object_get(t->g.json, "runs"), name);
}

static void check_objective(const struct three *t, const struct rb_objective *o)
{
    const json_t *rounds = json_object_get(run_of(t, "universe"), "objective_by_round");
    assert_int_equal(o->rounds + 1, json_array_size(rounds));
    for (uint32_t r = 0; r <= o->rounds; r++) {
        double expected = golden_at(rounds, r);
        print_message("  round %u: objective %.6f (golden %.6f)\n", r, o->values[r], expected);
        assert_true(fabs(o->values[r] - expected) < 1e-4 * expected);
        assert_true(r == 0 || o->values[r] >= o->values[r - 1]);
    }
    assert_true(fabs(o->values[0] -
                     json_number_value(json_object_get(run_of(t, "anchor"), "objective"))) < 0.05);
}

static void check_cycles(const struct three *t, const struct rb_joint_facts *f)
{
    const json_t *expected = json_object_get(t->g.json, "cycle_consistency_of_pairwise");
    assert_int_equal(f->cycle_count, json_object_size(expected));
    for (size_t i = 0; i < f->cycle_count; i++) {
        const json_t *v = json_object_get(expected, f->cycles[i].group);
        assert_non_null(v);
        if (fabs(f->cycles[i].share - json_number_value(v)) > 0.01)
            fail_msg("%s: pairwise maps agree in %.4f, golden %.4f", f->cycles[i].group,
                     f->cycles[i].share, json_number_value(v));
    }
}

struct losses {
    const struct three *t;
    const json_t *weights;
    const struct rb_motion *motions; /* (MODELS - 1), NULL: the control */
    struct rb_point points[16];
};

static enum rb_status evaluate_one(void *context, size_t piece, struct rb_worker *w,
                                   struct rb_error *err)
{
    struct losses *l = context;
    struct rb_blend blend = {.count = MODELS};
    for (size_t m = 0; m < MODELS; m++)
        blend.terms[m] = (struct rb_blend_term){
            l->t->models[m], m > 0 && l->motions != NULL ? &l->motions[m - 1] : NULL,
            golden_at(json_array_get(l->weights, piece), m)};
    return golden_evaluate(&l->t->g, &blend, &l->points[piece], w, err);
}

static void check_losses(const struct three *t, const char *name, const struct rb_motion *motions)
{
    struct losses l = {.t = t, .weights = json_object_get(t->g.json, "weights")};
    const json_t *run = run_of(t, name);
    size_t n = json_array_size(l.weights);
    l.motions = motions;
    assert_true(n > MODELS && n <= COUNT(l.points));
    run_pieces(evaluate_one, &l, n, GOLDEN_THREADS);
    for (size_t i = 0; i < n; i++) {
        double barrier = l.points[i].loss;
        for (size_t m = 0; m < MODELS; m++)
            barrier -= golden_at(json_array_get(l.weights, i), m) * l.points[m].loss;
        golden_near("loss", (double)i, l.points[i].loss, golden_at(json_object_get(run, "loss"), i),
                    2e-4);
        golden_near("standard error", (double)i, l.points[i].standard_error,
                    golden_at(json_object_get(run, "standard_error"), i),
                    0.01 * l.points[i].standard_error);
        golden_near("barrier", (double)i, barrier, golden_at(json_object_get(run, "barrier"), i),
                    1e-3);
        if (i + 1 == n)
            print_message("  %s: barrier at the centroid %.6f\n", name, barrier);
    }
}

static void check_reference(struct three *t, enum rb_reference reference)
{
    struct rb_alignment *a[MODELS - 1];
    struct rb_motion motions[MODELS - 1];
    struct rb_joint_facts facts;
    const char *name = rb_reference_names[reference];
    align(t, reference, a, &facts);
    print_message("%s\n", name);
    for (size_t m = 1; m < MODELS; m++) {
        golden_check_groups(
            a[m - 1], json_array_get(json_object_get(run_of(t, name), "permutations"), m - 1));
        MUST(rb_alignment_motion(a[m - 1], t->models[m], &motions[m - 1], &t->err), &t->err);
    }
    check_cycles(t, &facts); /* of the same pairs, whatever comes after */
    if (reference == RB_REFERENCE_UNIVERSE)
        check_objective(t, &facts.objective);
    check_losses(t, name, motions);
    for (size_t m = 1; m < MODELS; m++) {
        rb_motion_deinit(&motions[m - 1]);
        rb_alignment_free(a[m - 1]);
    }
    rb_joint_facts_deinit(&facts);
}

static void test_anchor_and_universe(void **state)
{
    (void)state;
    static struct three t;
    three_open(&t);
    check_losses(&t, "control", NULL);
    check_reference(&t, RB_REFERENCE_ANCHOR);
    check_reference(&t, RB_REFERENCE_UNIVERSE);
    three_close(&t);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_anchor_and_universe)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
