// LINK: rb_api
/* What a job finds out, on the wire: curves, permutations, correlations, events. */
#include "tests/api/api_support.h"

#include "api/barrier.h"
#include "api/barrier_kept.h"
#include "api/correlations.h"
#include "api/event.h"
#include "api/permutations.h"
#include "core/merge/barrier.h"

#include <math.h>

#define ID "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"

static struct rb_point point(double lambda, double loss)
{
    struct rb_point p = {.lambda = lambda, .loss = loss, .standard_error = 0.25};
    for (int m = 0; m < RB_METRIC_COUNT; m++)
        p.metrics[m] = NAN;
    p.metrics[RB_PSEUDO_PERPLEXITY] = loss + 1;
    return p;
}

static const double grid[] = {0, 0.25, 0.5, 0.75, 1};
enum { GRID = 5 };

static struct rb_barrier_view view_of(const struct rb_point *aligned, size_t aligned_count,
                                      const struct rb_point *control, size_t control_count)
{
    return (struct rb_barrier_view){.job = ID,
                                    .task = RB_TASK_MLM,
                                    .lambdas = grid,
                                    .lambda_count = GRID,
                                    .aligned = {aligned, aligned_count},
                                    .has_control = control != NULL,
                                    .control = {control, control_count}};
}

static json_t *encode(const struct rb_barrier_view *v)
{
    struct rb_json w;
    rb_json_init(&w);
    rb_barrier_encode(&w, NULL, v);
    return tree_of(&w);
}

static void assert_member(const json_t *json, const char *member, const char *expected)
{
    const json_t *value = json_object_get(json, member);
    assert_non_null(value);
    assert_tree(json_incref((json_t *)(uintptr_t)value), expected);
}

static void assert_same_bits(const double *x, const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isnan(x[i]) != isnan(y[i]) || (!isnan(x[i]) && memcmp(&x[i], &y[i], sizeof *x) != 0))
            fail_msg("number %zu is %.17g, expected %.17g", i, y[i], x[i]);
}

/* Errors kept with a result are read as they were, to the bit; what is no such text says nothing.
 */
static void test_errors_are_kept(void **state)
{
    (void)state;
    enum { MODELS = 3, POINTS = 7 };
    struct rb_barrier_errors e = {.chord = {0.1, 1.0 / 3, 0.7},
                                  .mean = {NAN, 1e-300, NAN},
                                  .reduction_chord = 2.0 / 7,
                                  .reduction_mean = NAN,
                                  .parent = {0, 0.7, NAN},
                                  .blocks = 256};
    struct rb_barrier_errors read = {.blocks = 0};
    struct rb_error err;
    bool known = false;
    char *text;
    for (size_t i = 0; i < POINTS; i++)
        e.point[RB_CURVE_ALIGNED][i] = i < MODELS ? 0 : 1.0 / (double)(i + 10);
    e.point_count[RB_CURVE_ALIGNED] = POINTS;
    assert_int_equal(rb_barrier_kept_print(&e, MODELS, &text, &err), RB_OK);
    assert_int_equal(rb_barrier_kept_decode(text, &known, &read, &err), RB_OK);
    assert_true(known);
    assert_same_bits(e.chord, read.chord, RB_CURVE_COUNT);
    assert_same_bits(e.mean, read.mean, RB_CURVE_COUNT);
    assert_same_bits(&e.reduction_chord, &read.reduction_chord, 1);
    assert_same_bits(&e.reduction_mean, &read.reduction_mean, 1);
    assert_same_bits(e.parent, read.parent, MODELS);
    assert_true(isnan(read.parent[MODELS]));
    assert_same_bits(e.point[0], read.point[0], POINTS);
    assert_int_equal(read.point_count[0], POINTS);
    assert_int_equal(read.point_count[1], 0);
    assert_int_equal(read.blocks, 256);
    free(text);
    static const char *const others[] = {
        "{}",
        "{\"barrier_errors\":7}",
        "{\"barrier_errors\":{\"blocks\":0,\"chord\":[1,1,1],\"mean\":[1,1,1],\"reduction\":[1,1],"
        "\"parents\":[],\"points\":[[],[]]}}",
        "{\"barrier_errors\":{\"blocks\":2,\"chord\":[1,1],\"mean\":[1,1,1],\"reduction\":[1,1],"
        "\"parents\":[],\"points\":[[],[]]}}",
        "{\"barrier_errors\":{\"blocks\":2,\"chord\":[1,1,1],\"mean\":[1,1,1],\"reduction\":[1,1],"
        "\"parents\":[\"x\"],\"points\":[[],[]]}}",
        "{\"barrier_errors\":{\"blocks\":2,\"chord\":[1,1,1],\"mean\":[1,1,1],\"reduction\":[1,1],"
        "\"parents\":[],\"points\":[[]]}}",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(rb_barrier_kept_decode(others[i], &known, &read, &err), RB_OK);
        assert_false(known);
        assert_int_equal(read.blocks, 256);
    }
    assert_int_equal(rb_barrier_kept_decode("{", &known, &read, &err), RB_EJSON);
}

/* Loss 1 at A, 2 at B; the hump of the control is twice as high. */
static void test_whole_curves(void **state)
{
    (void)state;
    struct rb_point aligned[] = {point(0, 1), point(0.25, 1.5), point(0.5, 2.5), point(0.75, 2),
                                 point(1, 2)};
    struct rb_point control[] = {point(0, 1), point(0.25, 2), point(0.5, 3.5), point(0.75, 3),
                                 point(1, 2)};
    struct rb_barrier_view v = view_of(aligned, GRID, control, GRID);
    json_t *json = encode(&v);
    assert_member(json, "job", "'" ID "'");
    assert_member(json, "task", "'mlm'");
    assert_member(json, "complete", "true");
    assert_member(json, "lambdas", "[0,0.25,0.5,0.75,1]");
    assert_member(json, "reduction",
                  "{'chord':0.5,'mean':0.5,'chord_standard_error':null,"
                  "'mean_standard_error':null}");
    assert_member(json, "blocks", "null");
    json_t *curve = json_object_get(json, "aligned");
    assert_member(curve, "loss", "[1,1.5,2.5,2,2]");
    assert_member(curve, "standard_error", "[0.25,0.25,0.25,0.25,0.25]");
    assert_member(curve, "metrics", "{'pseudo_perplexity':[2,2.5,3.5,3,3]}");
    assert_member(curve, "barrier",
                  "{'chord':1,'chord_lambda':0.5,'mean':1,'mean_lambda':0.5,"
                  "'chord_standard_error':null,'mean_standard_error':null}");
    assert_member(curve, "shape", "'hump'");
    assert_member(curve, "peaks", "[0.5]");
    assert_member(curve, "lowest_lambda", "0");
    assert_member(json_object_get(json, "control"), "loss", "[1,2,3.5,3,2]");
    assert_null(json_object_get(json, "folded_control")); /* nothing folds */
    json_decref(json);
    /* A curve of its own, once it is whole. */
    struct rb_point folded[] = {point(0, 1), point(0.25, 1.75), point(0.5, 2.5), point(0.75, 2.75),
                                point(1, 2)};
    v.folded = (struct rb_curve_points){folded, GRID - 1};
    json = encode(&v);
    assert_null(json_object_get(json, "folded_control"));
    assert_member(json, "complete", "true");
    json_decref(json);
    v.folded.count = GRID;
    json = encode(&v);
    curve = json_object_get(json, "folded_control");
    assert_member(curve, "lambda", "0.5");
    assert_member(curve, "loss", "2.5");
    assert_member(curve, "standard_error", "0.25");
    assert_member(curve, "barrier", "1");
    curve = json_object_get(curve, "curve");
    assert_member(curve, "loss", "[1,1.75,2.5,2.75,2]");
    assert_member(curve, "barrier",
                  "{'chord':1,'chord_lambda':0.5,'mean':1.25,'mean_lambda':0.75,"
                  "'chord_standard_error':null,'mean_standard_error':null}");
    json_decref(json);
    /* Half way is told first, wherever the curve is highest. */
    folded[3].loss = 3.5;
    json = encode(&v);
    curve = json_object_get(json, "folded_control");
    assert_member(curve, "lambda", "0.5");
    assert_member(curve, "loss", "2.5");
    assert_member(curve, "barrier", "1");
    assert_member(json_object_get(curve, "curve"), "barrier",
                  "{'chord':1.75,'chord_lambda':0.75,'mean':2,'mean_lambda':0.75,"
                  "'chord_standard_error':null,'mean_standard_error':null}");
    json_decref(json);
    v.folded.count = 0;
    /* What an earlier version left: one point. */
    struct rb_folded_control again = rb_folded_control_none();
    struct rb_error err;
    v.folded_once = &again;
    json = encode(&v);
    assert_null(json_object_get(json, "folded_control")); /* not known yet */
    json_decref(json);
    static const char product[] = "{\"folded_control\":{\"loss\":3,\"standard_error\":0.125}}";
    assert_int_equal(rb_folded_control_decode(product, &again, &err), RB_OK);
    json = encode(&v);
    assert_member(json, "folded_control",
                  "{'lambda':0.5,'loss':3,'standard_error':0.125,'barrier':1.5}");
    json_decref(json);
    assert_int_equal(rb_folded_control_decode("{}", &again, &err), RB_OK);
    assert_false(rb_folded_control_known(&again));
    assert_int_equal(rb_folded_control_decode("{\"folded_control\":7}", &again, &err), RB_EINPUT);

    v.has_control = false;
    v.job = NULL;
    json = encode(&v);
    assert_member(json, "control", "null");
    assert_member(json, "reduction", "null");
    assert_member(json, "job", "null");
    assert_member(json, "complete", "true");
    json_decref(json);
}

/* Two blocks of one prediction each; block 1 rises by 1 more than block 0 in the middle. */
static enum rb_status two_blocks(void *data, enum rb_curve_name curve, size_t index,
                                 struct rb_block **ret, size_t *ret_count, struct rb_error *err)
{
    (void)err;
    const struct rb_point *points = ((const struct rb_point *const *)data)[curve];
    struct rb_block *blocks = calloc(2, sizeof *blocks);
    double off = index == 2 ? 0.5 : 0;
    blocks[0] = (struct rb_block){.sum = points[index].loss - off, .count = 1};
    blocks[1] = (struct rb_block){.sum = points[index].loss + off, .count = 1};
    *ret = blocks;
    *ret_count = 2;
    return RB_OK;
}

static void test_errors(void **state)
{
    (void)state;
    struct rb_point aligned[] = {point(0, 1), point(0.25, 1.5), point(0.5, 2.5), point(0.75, 2),
                                 point(1, 2)};
    struct rb_point control[] = {point(0, 1), point(0.25, 2), point(0.5, 3.5), point(0.75, 3),
                                 point(1, 2)};
    const struct rb_point *both[] = {aligned, control};
    struct rb_barrier_view v = view_of(aligned, GRID, control, GRID);
    struct rb_barrier_errors errors;
    struct rb_error err;
    assert_int_equal(rb_barrier_errors_make(&v, two_blocks, both, &errors, &err), RB_OK);
    v.errors = &errors;
    /* d = 0.5, 1.5 about 1: sqrt(2 / 1 * (0.25 + 0.25)) / 2. r = 1 - d / c with c = 1.5, 2.5 about
     * 2: e = -0.5 (d - 1) + 0.25 (c - 2) = 0.125, -0.125. */
    json_t *json = encode(&v);
    assert_member(json, "blocks", "2");
    assert_member(json_object_get(json, "aligned"), "barrier",
                  "{'chord':1,'chord_lambda':0.5,'mean':1,'mean_lambda':0.5,"
                  "'chord_standard_error':0.5,'mean_standard_error':0.5}");
    assert_member(json_object_get(json, "control"), "barrier",
                  "{'chord':2,'chord_lambda':0.5,'mean':2,'mean_lambda':0.5,"
                  "'chord_standard_error':0.5,'mean_standard_error':0.5}");
    assert_member(json, "reduction",
                  "{'chord':0.5,'mean':0.5,'chord_standard_error':0.125,"
                  "'mean_standard_error':0.125}");
    json_decref(json);
    char *text;
    assert_int_equal(rb_barrier_csv(&v, &text, NULL, &err), RB_OK);
    assert_non_null(strstr(text, ",aligned_chord_standard_error,control_chord_standard_error,"
                                 "reduction_chord_standard_error\n"));
    assert_non_null(strstr(text, ",0.5,0.5,0.125\n"));
    assert_non_null(strstr(text, ",,,\n"));
    free(text);
    v = view_of(aligned, 2, control, 1); /* not whole: nothing is known */
    assert_int_equal(rb_barrier_errors_make(&v, two_blocks, both, &errors, &err), RB_OK);
    assert_true(isnan(errors.chord[0]) && isnan(errors.reduction_mean) && errors.blocks == 0);
}

/* Of three models: every point's barrier has its error, in JSON and in its row. */
static void test_errors_of_several(void **state)
{
    (void)state;
    static const double numbers[] = {0, 1, 2, 3, 4};
    static const double weights[] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0.5, 0, 0.5, 0.25, 0.25};
    char a[] = "a", b[] = "b", c[] = "c";
    struct rb_point points[] = {point(0, 1), point(1, 2), point(2, 3), point(3, 2.5), point(4, 5)};
    const struct rb_point *both[] = {points, points};
    struct rb_job_spec spec = {.model_a = a, .model_b = b, .more = {c}, .more_count = 1};
    struct rb_barrier_view v = {.task = RB_TASK_MLM,
                                .lambdas = numbers,
                                .lambda_count = 5,
                                .aligned = {points, 5},
                                .models = 3,
                                .weights = weights,
                                .spec = &spec};
    struct rb_barrier_errors errors;
    struct rb_error err;
    assert_int_equal(rb_barrier_errors_make(&v, two_blocks, both, &errors, &err), RB_OK);
    v.errors = &errors;
    /* only the third model's blocks differ, by 0.5 each way: weight 0 of it leaves no error, 0.25
     * a quarter of 0.5 */
    json_t *json = encode(&v);
    assert_member(json_object_get(json, "aligned"), "barriers_standard_error", "[0,0,0,0,0.125]");
    assert_member(json_object_get(json, "aligned"), "barriers", "[0,0,0,1,3.25]");
    json_decref(json);
    char *text;
    assert_int_equal(rb_barrier_csv(&v, &text, NULL, &err), RB_OK);
    assert_non_null(strstr(text, "\n0.5,0.5,0,2.5,0"));
    assert_non_null(strstr(text, ",0.125\n"));
    free(text);
    v.aligned.count = 4; /* not whole: nothing is known */
    assert_int_equal(rb_barrier_errors_make(&v, two_blocks, both, &errors, &err), RB_OK);
    json = encode(&v);
    assert_member(json_object_get(json, "aligned"), "barriers_standard_error",
                  "[null,null,null,null]");
    json_decref(json);
}

static void test_partial_curves(void **state)
{
    (void)state;
    struct rb_point aligned[] = {point(0, 1), point(0.5, 2.5)};
    struct rb_point control[] = {point(0.75, 3)};
    struct rb_barrier_view v = view_of(aligned, 2, control, 1);
    json_t *json = encode(&v);
    assert_member(json, "complete", "false");
    assert_member(json, "lambdas", "[0,0.5,0.75]");
    assert_member(json, "reduction", "null");
    json_t *curve = json_object_get(json, "aligned");
    assert_member(curve, "loss", "[1,2.5,null]");
    assert_member(curve, "metrics", "{'pseudo_perplexity':[2,3.5,null]}");
    assert_member(curve, "barrier", "null");
    assert_member(curve, "shape", "null");
    assert_member(json_object_get(json, "control"), "loss", "[null,null,3]");
    json_decref(json);

    v = view_of(NULL, 0, NULL, 0);
    json = encode(&v);
    assert_member(json, "lambdas", "[]");
    assert_member(json, "complete", "false");
    json_decref(json);
    struct rb_barrier barrier;
    assert_false(rb_curve_barrier(&v, &v.aligned, &barrier));
}

static void assert_csv(const struct rb_barrier_view *v, const char *expected)
{
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(rb_barrier_csv(v, &text, &bytes, NULL), RB_OK);
    assert_string_equal(text, expected);
    assert_int_equal(bytes, strlen(expected));
    free(text);
}

static void test_csv(void **state)
{
    (void)state;
    struct rb_point aligned[] = {point(0, 1), point(0.25, 1.1)};
    struct rb_point control[] = {point(0.25, 2)};
    aligned[1].metrics[RB_ACCURACY] = 0.5;
    struct rb_barrier_view v = view_of(aligned, 2, control, 1);
    assert_csv(&v, "lambda,aligned_loss,aligned_standard_error,aligned_pseudo_perplexity,"
                   "aligned_accuracy,control_loss,control_standard_error,"
                   "control_pseudo_perplexity,control_accuracy\n"
                   "0,1,0.25,2,,,,,\n"
                   "0.25,1.1,0.25,2.1,0.5,2,0.25,3,\n");
    v = view_of(aligned, 1, NULL, 0);
    assert_csv(&v, "lambda,aligned_loss,aligned_standard_error,aligned_pseudo_perplexity\n"
                   "0,1,0.25,2\n");
    const struct rb_folded_control once = {.lambda = 0.5, .loss = 1.5, .standard_error = 0.125};
    struct rb_point three[] = {point(0, 1), point(0.5, 1.25), point(1, 1)};
    v = view_of(three, 3, NULL, 0);
    v.folded_once = &once;
    assert_csv(&v, "lambda,aligned_loss,aligned_standard_error,aligned_pseudo_perplexity,"
                   "folded_control_loss,folded_control_standard_error\n"
                   "0,1,0.25,2,,\n0.5,1.25,0.25,2.25,1.5,0.125\n1,1,0.25,2,,\n");
    v = view_of(three, 3, three, 1);
    v.folded = (struct rb_curve_points){three, 2};
    assert_csv(&v, "lambda,aligned_loss,aligned_standard_error,aligned_pseudo_perplexity,"
                   "control_loss,control_standard_error,control_pseudo_perplexity,"
                   "folded_control_loss,folded_control_standard_error\n"
                   "0,1,0.25,2,1,0.25,2,1,0.25\n0.5,1.25,0.25,2.25,,,,1.25,0.25\n"
                   "1,1,0.25,2,,,,,\n");
}

/* ---- alignment ---- */

static uint32_t ff_index[] = {1, 0};
static uint32_t mha_index[] = {2, 3, 1, 0};
static uint32_t mha_heads[] = {1, 0};
static float rotation[] = {0, 1, 1, 0, 1, 0, 0, 1};
static float before_map[] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0.5f, 0, 0, 0, 0, 0.1f};
static float after_map[16];

static struct rb_group ff_group(void)
{
    return (struct rb_group){.name = "layer.0.ff",
                             .axis = RB_AXIS_FF,
                             .size = 2,
                             .index = ff_index,
                             .score = 1.5,
                             .mean_correlation = 0.75};
}

static struct rb_group mha_group(void)
{
    struct rb_group g = {.name = "layer.0.mha",
                         .axis = RB_AXIS_V,
                         .size = 4,
                         .index = mha_index,
                         .head_count = 2,
                         .kv_count = 2,
                         .heads = mha_heads,
                         .score = 2,
                         .mean_correlation = 0.5};
    g.correlations.verdict = RB_VERDICT_WEAK;
    g.correlations.weak_share = 0.25;
    g.correlations.matched.mean = 0.5;
    g.correlations.matched.quantiles[2] = 0.125;
    g.correlations.matched.histogram[39] = 4;
    g.correlations.heatmap_size = 4;
    g.correlations.heatmap_before = before_map;
    g.correlations.heatmap_after = after_map;
    return g;
}

static void test_permutations(void **state)
{
    (void)state;
    struct rb_group groups[] = {ff_group(), mha_group()};
    struct rb_alignment a = {.groups = groups, .group_count = 2};
    struct rb_json w;
    rb_json_init(&w);
    rb_permutations_encode(&w, ID, &a);
    assert_tree(tree_of(&w),
                "{'job':'" ID "','groups':[{'name':'layer.0.ff','size':2,'index':[1,0],"
                "'score':1.5,'mean_correlation':0.75},{'name':'layer.0.mha','size':4,"
                "'heads':[1,0],'index':[2,3,1,0],'score':2,'mean_correlation':0.5,"
                "'rotated':false}],'certificate':null}");
    a.group_count = 0;
    a.certificate = (struct rb_certificate){.present = true,
                                            .equivalent = true,
                                            .expected = true,
                                            .max_abs_logit_difference = 2.5e-5,
                                            .tolerance = 1e-3,
                                            .sequences = 16};
    rb_permutations_encode(&w, NULL, &a);
    assert_tree(tree_of(&w), "{'job':null,'groups':[],'certificate':{'equivalent':true,"
                             "'expected':true,'max_abs_logit_difference':2.5e-5,"
                             "'tolerance':1e-3,'sequences':16,'kind':'exact'}}");
    a.certificate.equivalent = a.certificate.expected = false;
    rb_permutations_encode(&w, NULL, &a);
    assert_tree(tree_of(&w), "{'job':null,'groups':[],'certificate':{'equivalent':false,"
                             "'expected':false,'max_abs_logit_difference':2.5e-5,"
                             "'tolerance':1e-3,'sequences':16,'kind':'different'}}");
    a.certificate.near = true;
    a.certificate.kl = 0.25;
    a.certificate.top1_agreement = 0.75;
    a.certificate.loss_before = 2;
    a.certificate.loss_after = (double)NAN;
    rb_permutations_encode(&w, NULL, &a);
    assert_tree(tree_of(&w), "{'job':null,'groups':[],'certificate':{'equivalent':false,"
                             "'expected':false,'max_abs_logit_difference':2.5e-5,"
                             "'tolerance':1e-3,'sequences':16,'kind':'near','kl':0.25,"
                             "'top1_agreement':0.75,'loss_before':2,'loss_after':null}}");
}

/* Two query heads over one key-value head of two units: each says its order, and S is one matrix.
 */
static void test_grouped_queries(void **state)
{
    (void)state;
    static uint32_t kv_heads[] = {0}, values[] = {1, 0};
    static float signs[] = {1, -1, -1, 1};
    struct rb_group g = mha_group();
    struct rb_alignment a = {.groups = &g, .group_count = 1};
    struct rb_json w;
    rb_json_init(&w);
    g.kv_count = 1;
    g.kv_heads = kv_heads;
    g.values = values;
    g.signs = signs;
    g.value_rotation = rotation;
    rb_permutation_encode(&w, ID, &g, true);
    json_t *json = tree_of(&w);
    assert_member(json, "heads", "[1,0]");
    assert_member(json, "kv_heads", "[0]");
    assert_member(json, "values", "[1,0]");
    assert_member(json, "signs", "[1,-1,-1,1]");
    assert_member(json, "rotation", "null");
    assert_member(json, "value_rotation", "[[[0,1],[1,0]]]");
    json_decref(json);
    rb_permutations_encode(&w, ID, &a);
    json = tree_of(&w);
    assert_member(json_array_get(json_object_get(json, "groups"), 0), "kv_heads", "[0]");
    json_decref(json);
}

static void test_rotations(void **state)
{
    (void)state;
    struct rb_group g = mha_group();
    struct rb_json w;
    rb_json_init(&w);
    g.rotation = rotation;
    rb_permutation_encode(&w, ID, &g, true);
    json_t *json = tree_of(&w);
    assert_member(json, "rotated", "true");
    assert_member(json, "job", "'" ID "'");
    assert_member(json, "rotation", "[[[0,1],[1,0]],[[1,0],[0,1]]]");
    assert_member(json, "value_rotation", "null");
    json_decref(json);
    rb_permutation_encode(&w, ID, &g, false);
    json = tree_of(&w);
    assert_null(json_object_get(json, "rotation"));
    json_decref(json);
}

static void test_correlations(void **state)
{
    (void)state;
    struct rb_group g = mha_group();
    struct rb_alignment a = {.groups = &g, .group_count = 1, .tokens = 77};
    struct rb_json w;
    rb_json_init(&w);
    rb_correlations_encode(&w, ID, &a);
    json_t *json = tree_of(&w);
    assert_member(json, "tokens", "77");
    json_t *group = json_array_get(json_object_get(json, "groups"), 0);
    assert_member(group, "name", "'layer.0.mha'");
    assert_member(group, "verdict", "'weak'");
    assert_member(group, "weak_share", "0.25");
    assert_member(group, "after",
                  "{'mean':0.5,'quantiles':{'p5':0,'p25':0,'p50':0.125,'p75':0,'p95':0}}");
    assert_null(json_object_get(group, "histogram"));
    json_decref(json);

    rb_correlation_encode(&w, ID, &g, 2);
    json = tree_of(&w);
    json_t *histogram = json_object_get(json, "histogram");
    json_t *edges = json_object_get(histogram, "edges");
    assert_int_equal(json_array_size(edges), RB_HISTOGRAM_BINS + 1);
    assert_true(json_number_value(json_array_get(edges, 0)) == -1);
    assert_true(json_number_value(json_array_get(edges, 21)) == 0.05);
    assert_true(json_number_value(json_array_get(edges, 40)) == 1);
    assert_int_equal(json_array_size(json_object_get(histogram, "after")), RB_HISTOGRAM_BINS);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(histogram, "after"), 39)),
                     4);
    assert_member(json, "matrix", "{'size':2,'before':[[0.5,0],[0,0.15]],'after':[[0,0],[0,0]]}");
    json_decref(json);

    rb_correlation_encode(&w, ID, &g, 0);
    json = tree_of(&w);
    assert_null(json_object_get(json, "matrix"));
    json_decref(json);
}

static void test_matrix_sizes(void **state)
{
    (void)state;
    struct rb_group g = mha_group();
    struct rb_error err = {0};
    uint32_t size = 0;
    g.correlations.heatmap_size = 96;
    assert_int_equal(rb_correlation_size_decode(&g, NULL, &size, &err), RB_OK);
    assert_int_equal(size, 96);
    assert_int_equal(rb_correlation_size_decode(&g, "32", &size, &err), RB_OK);
    assert_int_equal(size, 32);
    static const char *const wrong[] = {"0", "64", "97", "192", "-1", "", "x", "4294967328"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(rb_correlation_size_decode(&g, wrong[i], &size, &err), RB_EQUERY);
    assert_string_equal(err.pointer, "size");
    assert_non_null(strstr(err.detail, "1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96"));
    g.correlations.heatmap_before = NULL;
    assert_int_equal(rb_correlation_size_decode(&g, NULL, &size, &err), RB_ENOTFOUND);
}

/* ---- events ---- */

static void test_events(void **state)
{
    (void)state;
    struct rb_json w;
    rb_json_init(&w);
    struct rb_point p = point(0.05, 2);
    rb_event_point_data(&w, RB_CURVE_CONTROL, RB_TASK_MLM, &p);
    char *data = text_of(&w);
    struct rb_event event = {
        .id = 17, .type = RB_EVENT_POINT, .job = ID, .created_ms = 5, .data_json = data};
    char *frame = NULL;
    size_t bytes = 0;
    assert_int_equal(rb_event_frame(&event, &frame, &bytes, NULL), RB_OK);
    assert_string_equal(
        frame, "id: 17\nevent: point\ndata: {\"id\":17,\"type\":\"point\",\"job\":\"" ID
               "\",\"created_at\":\"1970-01-01T00:00:00.005Z\",\"data\":{\"curve\":\"control\","
               "\"lambda\":0.05,\"loss\":2,\"standard_error\":0.25,"
               "\"metrics\":{\"pseudo_perplexity\":3}}}\n\n");
    assert_int_equal(bytes, strlen(frame));
    free(frame);
    free(data);

    struct rb_progress progress = {1, 4, "points", NAN, {0}};
    rb_event_progress_data(&w, RB_PHASE_EVALUATING, &progress);
    data = text_of(&w);
    event = (struct rb_event){.type = RB_EVENT_PROGRESS, .job = ID, .data_json = data};
    assert_int_equal(rb_event_frame(&event, &frame, NULL, NULL), RB_OK);
    assert_memory_equal(frame, "event: progress\ndata: ", 22); /* no id: nothing to replay */
    free(frame);
    rb_event_encode(&w, NULL, &event);
    assert_tree(tree_of(&w),
                "{'id':null,'type':'progress','job':'" ID
                "','created_at':'1970-01-01T00:00:00.000Z','data':{'phase':'evaluating','done':1,"
                "'total':4,'unit':'points','fraction':0.25,'eta_seconds':null}}");
    free(data);

    struct rb_job job;
    rb_job_init(&job);
    job.status = RB_JOB_FAILED;
    job.error = (struct rb_job_error){RB_ECANCELED, "two\nlines"};
    rb_event_status_data(&w, &job);
    data = text_of(&w);
    event = (struct rb_event){.id = 1, .type = RB_EVENT_STATUS, .job = ID, .data_json = data};
    assert_int_equal(rb_event_frame(&event, &frame, NULL, NULL), RB_OK);
    /* A frame is three lines and a blank, whatever the text. */
    int lines = 0;
    for (const char *c = frame; *c != '\0'; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 4);
    free(frame);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_are_kept), cmocka_unit_test(test_whole_curves),
        cmocka_unit_test(test_errors),          cmocka_unit_test(test_errors_of_several),
        cmocka_unit_test(test_partial_curves),  cmocka_unit_test(test_csv),
        cmocka_unit_test(test_permutations),    cmocka_unit_test(test_grouped_queries),
        cmocka_unit_test(test_rotations),       cmocka_unit_test(test_correlations),
        cmocka_unit_test(test_matrix_sizes),    cmocka_unit_test(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
