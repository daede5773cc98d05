// LINK: core_merge core_text
/* The folded and orthogonal runs of golden/{gpt2,neox,llama}.json (METHOD 10): both models folded,
 * the stream turned, heads turned: losses within 2e-3 of the independent implementation's,
 * certificates, and how orthogonal the maps are. */
#include "unit/golden.h"

#include "core/align/certify.h"
#include "core/align/collect.h"
#include "core/align/procrustes.h"
#include "core/align/solve.h"
#include "core/merge/evaluate.h"

#include <cblas.h>

static const double TOLERANCE = 2e-3;

struct turned {
    struct golden g;
    struct rb_fold fold[2];
    struct rb_motion folded[2], motion;
    struct rb_moments *moments;
};

static void open_pair(struct turned *t, const struct golden *g)
{
    memset(t, 0, sizeof *t);
    t->g = *g;
    golden_open(&t->g);
    struct rb_error *err = &t->g.err;
    const struct rb_model *models[2] = {&t->g.model_a, &t->g.model_b};
    for (int i = 0; i < 2; i++) {
        MUST(rb_fold_init(&t->fold[i], models[i], err), err);
        MUST(rb_motion_init(&t->folded[i], models[i]->config.num_hidden_layers, err), err);
        rb_motion_fold(&t->folded[i], &t->fold[i]);
    }
    struct rb_align_options o;
    struct rb_program *p;
    rb_align_options_default(&o);
    MUST(rb_collect_new(models[0], models[1], &t->g.align, (1U << RB_TAP_COUNT) - 1, &o, &p, err),
         err);
    rb_collect_move(p, 0, &t->folded[0]);
    rb_collect_move(p, 1, &t->folded[1]);
    run_program(p, GOLDEN_THREADS, IN_ORDER, 1);
    t->moments = rb_collect_take(p);
    rb_program_free(p);
}

static void close_pair(struct turned *t)
{
    for (int i = 0; i < 2; i++) {
        rb_motion_deinit(&t->folded[i]);
        rb_fold_deinit(&t->fold[i]);
    }
    rb_moments_free(t->moments);
    golden_close(&t->g);
}

static struct rb_align_options options_of(const char *name, const json_t *options)
{
    struct rb_align_options o;
    rb_align_options_default(&o);
    o.fold = true;
    if (strcmp(name, "folded.control") == 0)
        o.components = 0;
    if (strncmp(name, "orthogonal", 10) != 0)
        return o;
    o.components |= RB_COMPONENT_RESIDUAL;
    o.residual_map = RB_RESIDUAL_MAP_ORTHOGONAL;
    o.signed_units = json_is_string(json_object_get(options, "ff"));
    if (json_is_string(json_object_get(options, "head_maps")))
        o.head_map = RB_HEAD_MAP_ORTHOGONAL;
    const char *from = json_string_value(json_object_get(options, "residual"));
    for (enum rb_match m = RB_MATCH_ACTIVATIONS; m <= RB_MATCH_BOTH; m++)
        if (strstr(from, rb_match_names[m]) != NULL)
            o.match = m;
    return o;
}

static void certify(struct turned *t, const struct rb_alignment *a)
{
    struct rb_program *p;
    MUST(rb_certify_new(&t->g.model_b, a, &p, &t->g.err), &t->g.err);
    MUST(rb_certify_fold(p, &t->g.model_a, &t->fold[0], &t->fold[1], &t->g.err), &t->g.err);
    run_program(p, GOLDEN_THREADS, IN_ORDER, 1);
    const struct rb_certificate c = rb_certify_result(p);
    print_message("  certificate %.3g <= %.3g\n", c.max_abs_logit_difference, c.tolerance);
    assert_true(c.present && c.expected && c.equivalent);
    rb_program_free(p);
}

static void check_maps(const struct rb_alignment *a, const json_t *run)
{
    for (size_t i = 0; i < a->group_count; i++) {
        const struct rb_group *g = &a->groups[i];
        size_t n = g->head_count > 0 ? g->size / g->head_count : 0;
        for (size_t h = 0; h < g->kv_count && g->value_rotation != NULL; h++) {
            assert_true(rb_orthogonality(g->value_rotation + h * n * n, n) < 1e-6);
            assert_true(rb_orthogonality(g->rotation + h * n * n, n) < 1e-6);
        }
        if (g->matrix == NULL)
            continue;
        double trace = 0;
        for (size_t k = 0; k < g->size; k++)
            trace += (double)g->matrix[k * g->size + k];
        print_message("  O: off by %.2g, trace %.5f, score %.6f (golden %.5f, %.6f), correlation "
                      "%.3f\n",
                      rb_orthogonality(g->matrix, g->size), trace, g->score,
                      json_number_value(json_object_get(run, "trace_O")),
                      json_number_value(json_object_get(run, "score")), g->mean_correlation);
        assert_true(rb_orthogonality(g->matrix, g->size) < 1e-6);
        const json_t *golden = json_object_get(run, "score");
        if (golden != NULL)
            assert_near("score", g->score, json_number_value(golden), 1e-3);
        golden = json_object_get(run, "trace_O");
        if (golden != NULL)
            assert_near("trace", trace, json_number_value(golden), 1e-2);
    }
}

struct path {
    const struct turned *t;
    double lambda[3];
    struct rb_point points[3];
};

static enum rb_status evaluate(void *context, size_t piece, struct rb_worker *w,
                               struct rb_error *err)
{
    struct path *c = context;
    const struct turned *t = c->t;
    const struct rb_blend_term a = {&t->g.model_a, &t->folded[0], 0};
    const struct rb_blend_term b = {&t->g.model_b, &t->motion, 0};
    const struct rb_blend blend = rb_blend_path(&a, &b, c->lambda[piece]);
    return golden_evaluate(&t->g, &blend, &c->points[piece], w, err);
}

static void run_one(struct turned *t, const char *name, const json_t *run)
{
    struct rb_align_options o = options_of(name, json_object_get(run, "options"));
    const struct rb_blend_term ends[2] = {{&t->g.model_a, &t->folded[0], 1},
                                          {&t->g.model_b, &t->folded[1], 1}};
    struct rb_alignment *a = NULL;
    print_message("%s %s\n", t->g.file, name);
    if (o.components == 0)
        MUST(rb_alignment_empty(&o, &a, &t->g.err), &t->g.err);
    else
        a = golden_solve(&t->g, t->moments, &o, ends);
    certify(t, a);
    check_maps(a, run);
    MUST(rb_alignment_motion(a, &t->g.model_b, &t->motion, &t->g.err), &t->g.err);
    rb_motion_fold(&t->motion, &t->fold[1]);
    struct path c = {.t = t, .lambda = {0, 0.5, 1}};
    run_pieces(evaluate, &c, 3, GOLDEN_THREADS);
    const json_t *loss = json_object_get(run, "loss");
    for (size_t i = 0; i < 3; i++) {
        double expected = golden_at(loss, golden_lambda(&t->g, c.lambda[i]));
        print_message("  loss at %g: %.6f, golden %.6f\n", c.lambda[i], c.points[i].loss, expected);
        golden_near(name, c.lambda[i], c.points[i].loss, expected, TOLERANCE);
    }
    rb_motion_deinit(&t->motion);
    rb_alignment_free(a);
}

static void run_pair(const char *file, const char *a, const char *b)
{
    const struct golden g = {
        .file = file, .a = a, .b = b, .align_length = 128, .task = RB_TASK_CLM};
    struct turned t;
    const char *name;
    json_t *run;
    open_pair(&t, &g);
    json_object_foreach(json_object_get(t.g.json, "runs"), name,
                        run) if (strncmp(name, "folded", 6) == 0 ||
                                 strncmp(name, "orthogonal", 10) == 0) run_one(&t, name, run);
    close_pair(&t);
}

static void test_gpt2(void **state)
{
    (void)state;
    run_pair("golden/gpt2.json", "gpt2-a", "gpt2-b");
}

static void test_neox(void **state)
{
    (void)state;
    run_pair("golden/neox.json", "neox-a", "neox-b");
}

static void test_llama(void **state)
{
    (void)state;
    run_pair("golden/llama.json", "llama-a", "llama-b");
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2),
        cmocka_unit_test(test_neox),
        cmocka_unit_test(test_llama),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
