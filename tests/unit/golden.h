/* tests/unit/golden.h: runs the option sets of a golden file through core, on two threads, and
 * compares every figure with what the independent implementation found.
 *
 * All options at all lambdas are ten minutes of one core. With RB_TEST_WHOLE in the environment
 * that is what runs; without, every lambda and the barrier for one option of each file, and 0, 0.5
 * and 1 for the others (tests/e2e/test_job.py has whole curves of two more); built with a sanitizer
 * (5 to 15 times slower) these for all. Permutations, scores and certificates are always compared.
 */
#ifndef RB_TESTS_GOLDEN_H
#define RB_TESTS_GOLDEN_H

#include "unit/part.h"
#include "unit/threads.h"

#include "core/align/alignment.h"
#include "core/align/certify.h"
#include "core/align/collect.h"
#include "core/align/solve.h"
#include "core/merge/barrier.h"
#include "core/merge/curve.h"
#include "core/merge/evaluate.h"
#include "core/text/packing.h"
#include "core/text/tokenizer_open.h"

#include <cblas.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { GOLDEN_THREADS = 2, GOLDEN_MOST_LAMBDAS = 64 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { GOLDEN_SANITIZED = 1 };
#else
enum { GOLDEN_SANITIZED = 0 };
#endif

struct golden_text {
    char *data;
    size_t bytes;
};

/* Models and results of families that share all their code with those of the tree are not in the
 * tree: $RB_MORE_FIXTURES names a folder that has them too. path: room for 512. The test is
 * skipped where neither has the file. */
static void golden_path(const char *name, char *path)
{
    const char *roots[] = {RB_FIXTURES, getenv("RB_MORE_FIXTURES")};
    for (size_t i = 0; i < COUNT(roots) && roots[i] != NULL; i++) {
        (void)snprintf(path, 512, "%s/%s", roots[i], name);
        if (access(path, R_OK) == 0)
            return;
    }
    print_message("%s is not in the tree: RB_MORE_FIXTURES may name a folder that has it\n", name);
    skip();
}

/* A model's folder, by its weights. */
static void golden_model(const char *model, char *path)
{
    char name[128];
    (void)snprintf(name, sizeof name, "models/%s/model.safetensors", model);
    golden_path(name, path);
    *strrchr(path, '/') = '\0';
}

static struct golden_text golden_read(const char *name)
{
    char path[512];
    golden_path(name, path);
    FILE *f = fopen(path, "rb");
    struct golden_text t = {0};
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    t.bytes = (size_t)ftell(f);
    rewind(f);
    t.data = malloc(t.bytes + 1);
    assert_int_equal(fread(t.data, 1, t.bytes, f), t.bytes);
    (void)fclose(f);
    return t;
}

/* What one golden file is about. */
struct golden {
    const char *file, *a, *b;
    size_t align_length;
    size_t examples, longest; /* of classification and regression; 0: 500 and 128 */
    enum rb_task task;
    struct rb_model model_a, model_b;
    struct rb_sequences align, eval;
    struct rb_evaluate_options evaluate;
    json_t *json;
    struct rb_moments *moments[RB_POOL_MAX + 1][2]; /* of all taps: by pooling, special tokens */
    struct rb_error err;
};

#define OK(call) MUST(call, &g->err)

static void golden_open(struct golden *g)
{
    char path[512];
    struct rb_tokenizer *t;
    golden_model(g->a, path);
    OK(rb_model_open(path, &g->model_a, &g->err));
    OK(rb_tokenizer_open(path, &t, &g->err));
    golden_model(g->b, path);
    OK(rb_model_open(path, &g->model_b, &g->err));
    OK(rb_models_equal(&g->model_a, &g->model_b, &g->err));
    struct golden_text align = golden_read("data/align.txt");
    struct rb_dataset_view view = {.label = "align.txt", .data = align.data, .bytes = align.bytes};
    bool clm = g->task == RB_TASK_CLM;
    OK(rb_sequences_from_rows(t, &view, clm ? 500 : 1000, g->align_length, &g->align, &g->err));
    g->evaluate = (struct rb_evaluate_options){
        .task = g->task, .block_size = 48, .max_blocks = 256, .mask_probability = 0.15};
    struct golden_text eval;
    if (g->task == RB_TASK_MLM) {
        eval = golden_read("data/eval.txt");
        view =
            (struct rb_dataset_view){.label = "eval.txt", .data = eval.data, .bytes = eval.bytes};
        OK(rb_sequences_mlm(t, &view, 48, 256, 0.15, 0, &g->eval, &g->err));
    } else if (clm) {
        eval = golden_read("data/eval.txt");
        view =
            (struct rb_dataset_view){.label = "eval.txt", .data = eval.data, .bytes = eval.bytes};
        OK(rb_sequences_clm(t, &view, 128, 32, &g->eval, &g->err));
        g->evaluate = (struct rb_evaluate_options){.task = g->task, .block_size = 128};
    } else {
        bool pair = g->task == RB_TASK_REGRESSION;
        eval = golden_read(pair ? "data/overlap.jsonl" : "data/authors.jsonl");
        view = (struct rb_dataset_view){
            .label = "eval.jsonl",
            .format = RB_JSONL,
            .data = eval.data,
            .bytes = eval.bytes,
            .fields = {pair ? "sentence1" : "sentence", pair ? "sentence2" : NULL, "label"}};
        OK(rb_sequences_from_rows(t, &view, g->examples > 0 ? g->examples : 500,
                                  g->longest > 0 ? g->longest : 128, &g->eval, &g->err));
    }
    OK(rb_evaluate_check(&g->model_a, &g->evaluate, &g->eval, &g->err));
    free(align.data);
    free(eval.data);
    rb_tokenizer_free(t);
    struct golden_text json = golden_read(g->file);
    g->json = json_loadb(json.data, json.bytes, 0, NULL);
    assert_non_null(g->json);
    free(json.data);
}

static void golden_close(struct golden *g)
{
    rb_model_deinit(&g->model_a);
    rb_model_deinit(&g->model_b);
    rb_sequences_deinit(&g->align);
    rb_sequences_deinit(&g->eval);
    for (size_t i = 0; i < COUNT(g->moments); i++)
        for (size_t k = 0; k < 2; k++)
            rb_moments_free(g->moments[i][k]);
    json_decref(g->json);
}

static size_t golden_name(const json_t *v, const char *const *names)
{
    for (size_t i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], json_string_value(v)) == 0)
            return i;
    fail_msg("unknown golden option '%s'", json_string_value(v));
    return 0;
}

/* The golden files' own names for options. */
static struct rb_align_options golden_options(const json_t *o)
{
    struct rb_align_options a;
    rb_align_options_default(&a);
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        if (strcmp(key, "ff") == 0)
            a.components &= ~(unsigned)(json_is_false(v) ? RB_COMPONENT_FF : 0);
        else if (strcmp(key, "heads") == 0 && strcmp(json_string_value(v), "none") == 0)
            a.components &= ~(unsigned)RB_COMPONENT_MHA;
        else if (strcmp(key, "heads") == 0)
            a.heads = (enum rb_heads)golden_name(v, rb_heads_names);
        else if (strcmp(key, "qk") == 0)
            a.separate_qk = json_is_true(v);
        else if (strcmp(key, "res") == 0) {
            a.components |= RB_COMPONENT_RESIDUAL;
            a.residual = (enum rb_residual)golden_name(v, rb_residual_names);
        } else if (strcmp(key, "decoder") == 0)
            a.decoder = (enum rb_decoder)golden_name(v, rb_decoder_names);
        else if (strcmp(key, "output_head") == 0)
            a.output_head = json_is_true(v);
        else if (strcmp(key, "kind") == 0)
            a.similarity = (enum rb_similarity)golden_name(v, rb_similarity_names);
        else if (strcmp(key, "absolute") == 0)
            a.absolute = json_is_true(v);
        else if (strcmp(key, "pooling") == 0)
            a.pooling = (enum rb_pooling)golden_name(v, rb_pooling_names);
        else if (strcmp(key, "special") == 0)
            a.special_tokens = json_is_true(v);
        else if (strcmp(key, "rotate") == 0)
            a.rotate_heads = json_is_true(v);
        else if (strcmp(key, "embedding") == 0)
            a.components |= json_is_true(v) ? RB_COMPONENT_EMBEDDING : 0;
        else if (strcmp(key, "signed") == 0)
            a.signed_units = json_is_true(v);
        else
            fail_msg("golden option '%s' is not known to the test", key);
    }
    return a;
}

/* Collected once for all options that share them. */
static const struct rb_moments *golden_moments(struct golden *g, const struct rb_align_options *o)
{
    struct rb_moments **m = &g->moments[o->pooling][o->special_tokens];
    const unsigned all = (1U << RB_TAP_COUNT) - 1;
    if (*m == NULL) {
        struct rb_program *p;
        OK(rb_collect_new(&g->model_a, &g->model_b, &g->align, all, o, &p, &g->err));
        run_program(p, GOLDEN_THREADS, IN_ORDER, 1);
        *m = rb_collect_take(p);
        rb_program_free(p);
    }
    return *m;
}

/* ends: both models as they are to be read, for what is found from weights; may be NULL. */
static struct rb_alignment *golden_solve(struct golden *g, const struct rb_moments *m,
                                         const struct rb_align_options *o,
                                         const struct rb_blend_term *ends)
{
    struct rb_program *p;
    OK(rb_solve_new(&g->model_a.config, g->model_a.head, m, o, &p, &g->err));
    if (ends != NULL)
        rb_solve_models(p, &ends[0], &ends[1]);
    run_program(p, GOLDEN_THREADS, IN_ORDER, 1);
    struct rb_alignment *a = rb_solve_take(p);
    rb_program_free(p);
    return a;
}

static void golden_certify(struct golden *g, struct rb_alignment *a)
{
    struct rb_program *p;
    OK(rb_certify_new(&g->model_b, a, &p, &g->err));
    run_program(p, GOLDEN_THREADS, IN_ORDER, 1);
    a->certificate = rb_certify_result(p);
    rb_program_free(p);
}

static struct rb_alignment *golden_align(struct golden *g, const struct rb_align_options *o)
{
    struct rb_alignment *a = golden_solve(g, golden_moments(g, o), o, NULL);
    golden_certify(g, a);
    return a;
}

/* What only some groups have: key-value heads and their values, signs. */
static void golden_check_parts(const struct rb_group *x, const json_t *v, size_t *same, size_t *all)
{
    const json_t *kv = json_object_get(v, "kv_heads"), *values = json_object_get(v, "values");
    const json_t *signs = json_object_get(v, "signs");
    for (size_t h = 0; h < json_array_size(kv); h++)
        assert_int_equal(x->kv_heads[h], json_integer_value(json_array_get(kv, h)));
    for (size_t i = 0; i < json_array_size(values); i++)
        *same += (json_int_t)x->values[i] == json_integer_value(json_array_get(values, i));
    for (size_t i = 0; i < json_array_size(signs); i++)
        *same += (x->signs != NULL && x->signs[i] < 0) ==
                 (json_number_value(json_array_get(signs, i)) < 0);
    *all += json_array_size(values) + json_array_size(signs);
}

/* Tolerances of the issues: scores 1e-4 relative (where the file has them), 99.5 % of the indices,
 * heads exactly. */
static void golden_check_groups(const struct rb_alignment *a, const json_t *expected)
{
    size_t same = 0, all = 0;
    const char *name;
    json_t *v;
    assert_int_equal(a->group_count, json_object_size(expected));
    json_object_foreach((json_t *)(uintptr_t)expected, name, v)
    {
        const struct rb_group *x = rb_alignment_find(a, name);
        if (x == NULL)
            fail_msg("group '%s' is missing", name);
        const json_t *known = json_object_get(v, "score");
        double score = json_number_value(known);
        if (known != NULL && fabs(x->score - score) > 1e-4 * fabs(score))
            fail_msg("%s: score %.9g, golden %.9g", name, x->score, score);
        const json_t *index = json_object_get(v, "index"), *heads = json_object_get(v, "heads");
        assert_int_equal(x->size, json_array_size(index));
        for (size_t i = 0; i < x->size; i++)
            same += (json_int_t)x->index[i] == json_integer_value(json_array_get(index, i));
        all += x->size;
        for (size_t h = 0; h < json_array_size(heads); h++)
            assert_int_equal(x->heads[h], json_integer_value(json_array_get(heads, h)));
        golden_check_parts(x, v, &same, &all);
    }
    if ((double)same < 0.995 * (double)all)
        fail_msg("%zu of %zu indices are as in the golden file", same, all);
}

static double golden_at(const json_t *list, size_t i)
{
    return json_number_value(json_array_get(list, i));
}

static void golden_near(const char *what, double lambda, double found, double expected,
                        double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%s at lambda %g: %.9g, golden %.9g", what, lambda, found, expected);
}

/* The blend's loss and metrics, on one thread. */
static enum rb_status golden_evaluate(const struct golden *g, const struct rb_blend *blend,
                                      struct rb_point *ret, struct rb_worker *w,
                                      struct rb_error *err)
{
    struct rb_program *p;
    enum rb_status s = rb_evaluate_new(blend, &g->evaluate, &g->eval, &p, err);
    if (s != RB_OK)
        return s;
    s = rb_program_run(p, w, err);
    if (s == RB_OK)
        s = rb_evaluate_result(p, ret, err);
    rb_program_free(p);
    return s;
}

struct golden_curve {
    struct golden *golden;
    struct rb_motion motion;
    size_t count;
    struct rb_point points[GOLDEN_MOST_LAMBDAS]; /* lambda is filled in beforehand */
    bool whole;                                  /* every lambda of the file is there */
};

static enum rb_status golden_point(void *context, size_t piece, struct rb_worker *w,
                                   struct rb_error *err)
{
    struct golden_curve *c = context;
    const struct golden *g = c->golden;
    const struct rb_blend blend =
        rb_blend_pair(&g->model_a, &g->model_b, &c->motion, c->points[piece].lambda);
    return golden_evaluate(g, &blend, &c->points[piece], w, err);
}

/* Every how many-th lambda of a run is evaluated. */
static size_t golden_step(const char *name)
{
    if (getenv("RB_TEST_WHOLE") != NULL)
        return 1;
    bool whole = !GOLDEN_SANITIZED && strcmp(name, "ff+mha+residual.last") == 0;
    return whole ? 1 : GOLDEN_MOST_LAMBDAS;
}

static void golden_curve_init(struct golden_curve *c, struct golden *g, const char *name,
                              const struct rb_alignment *a)
{
    const json_t *lambdas = json_object_get(g->json, "lambdas");
    *c = (struct golden_curve){.golden = g};
    size_t step = golden_step(name);
    c->whole = step == 1;
    for (size_t i = 0; i < json_array_size(lambdas); i++) {
        double l = golden_at(lambdas, i);
        if (i % step == 0 || fabs(l - 0.5) < 1e-9 || i + 1 == json_array_size(lambdas))
            c->points[c->count++].lambda = l;
    }
    OK(rb_alignment_motion(a, &g->model_b, &c->motion, &g->err));
}

static size_t golden_lambda(const struct golden *g, double lambda)
{
    const json_t *lambdas = json_object_get(g->json, "lambdas");
    size_t i = 0;
    while (fabs(golden_at(lambdas, i) - lambda) > 1e-9)
        i++;
    return i;
}

/* Returns by how much the loss differs. */
static double golden_check_point(const struct golden *g, const struct rb_point *p,
                                 const json_t *run)
{
    const json_t *loss = json_object_get(run, "loss"), *se = json_object_get(run, "standard_error");
    const json_t *metrics = json_object_get(run, "metrics");
    size_t i = golden_lambda(g, p->lambda);
    golden_near("loss", p->lambda, p->loss, golden_at(loss, i), 2e-4);
    if (se != NULL)
        golden_near("standard error", p->lambda, p->standard_error, golden_at(se, i),
                    0.01 * golden_at(se, i));
    for (size_t m = 0; m < RB_METRIC_COUNT; m++)
        if (json_object_get(metrics, rb_metric_names[m]) != NULL)
            golden_near(rb_metric_names[m], p->lambda, p->metrics[m],
                        golden_at(json_object_get(metrics, rb_metric_names[m]), i),
                        m == RB_ACCURACY ? 0.0041 : 1e-3);
    return fabs(p->loss - golden_at(loss, i));
}

static void golden_check_barrier(const struct golden_curve *c, const json_t *run)
{
    const json_t *b = json_object_get(run, "barrier");
    struct rb_barrier barrier;
    rb_barrier_compute(c->points, c->count, &barrier);
    golden_near("chord", 0, barrier.chord, json_number_value(json_object_get(b, "chord")), 1e-3);
    golden_near("mean", 0, barrier.mean, json_number_value(json_object_get(b, "mean")), 1e-3);
    print_message("  chord %.6f (golden %.6f) at %g, %s\n", barrier.chord,
                  json_number_value(json_object_get(b, "chord")), barrier.chord_lambda,
                  rb_shape_names[barrier.shape]);
}

static void golden_check_curve(struct golden *g, const char *name, const struct rb_alignment *a,
                               const json_t *run)
{
    struct golden_curve c;
    double worst = 0;
    golden_curve_init(&c, g, name, a);
    run_pieces(golden_point, &c, c.count, GOLDEN_THREADS);
    for (size_t i = 0; i < c.count; i++)
        worst = fmax(worst, golden_check_point(g, &c.points[i], run));
    if (c.whole)
        golden_check_barrier(&c, run);
    print_message("  worst loss difference %.2g; certificate %.3g <= %.3g: %s\n", worst,
                  a->certificate.max_abs_logit_difference, a->certificate.tolerance,
                  a->certificate.equivalent ? "same" : "differs");
    rb_motion_deinit(&c.motion);
}

static void golden_run(struct golden *g, const char *name)
{
    const json_t *run = json_object_get(json_object_get(g->json, "runs"), name);
    assert_non_null(run);
    struct rb_align_options o = golden_options(json_object_get(run, "options"));
    print_message("%s %s\n", g->file, name);
    struct rb_alignment *a;
    if (o.components == 0) {
        OK(rb_alignment_empty(&o, &a, &g->err));
    } else {
        a = golden_align(g, &o);
        const json_t *tokens = json_object_get(run, "tokens");
        assert_int_equal(
            a->tokens,
            json_integer_value(tokens != NULL ? tokens : json_object_get(g->json, "tokens")));
        assert_int_equal(a->certificate.equivalent, rb_alignment_preserves(&o));
        assert_int_equal(a->certificate.expected, rb_alignment_preserves(&o));
    }
    golden_check_groups(a, json_object_get(run, "permutations"));
    golden_check_curve(g, name, a, run);
    rb_alignment_free(a);
}

/* All runs of a file. */
static inline void golden_run_all(struct golden *g)
{
    const char *name;
    json_t *run;
    size_t i = 0;
    json_object_foreach(json_object_get(g->json, "runs"), name, run)
    {
        bool is_fold = json_object_get(json_object_get(run, "options"), "fold") != NULL;
        if (!is_fold && part_has(i++)) /* METHOD 10's apart */
            golden_run(g, name);
    }
}

static void golden_test_all_options(void **state)
{
    struct golden *g = *state;
    golden_open(g);
    golden_run_all(g);
    golden_close(g);
}

/* The whole of a test whose file says only which golden it compares. */
static inline int golden_main(struct golden *g)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(golden_test_all_options, g)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
