// LINK: rb_api
/* What a curve says about merging: each answer, at its borders, and on the wire. */
#include "tests/api/api_support.h"

#include "api/barrier.h"
#include "api/verdict.h"

#include <math.h>
#include <string.h>

static struct rb_point point(double lambda, double loss)
{
    struct rb_point p = {.lambda = lambda, .loss = loss};
    for (int m = 0; m < RB_METRIC_COUNT; m++)
        p.metrics[m] = NAN;
    p.metrics[RB_PSEUDO_PERPLEXITY] = 10 * loss;
    return p;
}

/* A loses 3, B 2, chance is 5, errors are 0.1. */
static struct rb_merge_verdict judge(double middle, enum rb_sameness same)
{
    struct rb_point points[] = {point(0, 3), point(0.25, 6), point(0.5, middle), point(1, 2)};
    struct rb_chance chance = {.loss = 5, .accuracy = NAN};
    const double errors[2] = {0.1, 0.1};
    struct rb_merge_verdict v;
    rb_merge_verdict_make(points, 4, RB_TASK_MLM, RB_ACCURACY, &chance, errors, same, &v);
    return v;
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        double loss;
        enum rb_sameness same;
        enum rb_merge_verdict_kind kind;
    } cases[] = {
        {1.7, RB_SAME_EXACT, RB_MERGE_BETTER},  {1.7, RB_SAME_UNKNOWN, RB_MERGE_BETTER},
        {1.7, RB_SAME_NEAR, RB_MERGE_BETTER},   {1.7, RB_SAME_DIFFERENT, RB_MERGE_DIFFERENT},
        {1.9, RB_SAME_EXACT, RB_MERGE_BETWEEN}, /* within two standard errors of B */
        {2.5, RB_SAME_EXACT, RB_MERGE_BETWEEN}, {3.15, RB_SAME_EXACT, RB_MERGE_BETWEEN},
        {3.25, RB_SAME_EXACT, RB_MERGE_WORSE},  {4.9, RB_SAME_EXACT, RB_MERGE_WORSE},
        {5, RB_SAME_EXACT, RB_MERGE_CHANCE},    {5.7, RB_SAME_DIFFERENT, RB_MERGE_DIFFERENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rb_merge_verdict v = judge(cases[i].loss, cases[i].same);
        if (v.kind != cases[i].kind)
            fail_msg("loss %g: %s", cases[i].loss, rb_merge_verdict_names[v.kind]);
        assert_true(v.lambda == 0.5 && v.loss == cases[i].loss && v.metric == 10 * v.loss);
        assert_true(v.parent_loss[0] == 3 && v.parent_loss[1] == 2 && v.parent_metric[1] == 20);
        assert_int_equal(rb_merge_verdict_ranks(&v), v.kind != RB_MERGE_DIFFERENT);
    }
}

/* Without errors, what is above rounding counts; the ends are not "between" themselves. */
static void test_what_is_missing(void **state)
{
    (void)state;
    struct rb_point points[] = {point(0, 2), point(0.5, 2.00001), point(1, 2)};
    struct rb_merge_verdict v;
    rb_merge_verdict_make(points, 3, RB_TASK_MLM, RB_ACCURACY, NULL, NULL, RB_SAME_EXACT, &v);
    assert_int_equal(v.kind, RB_MERGE_BETWEEN);
    points[1].loss = 2.001;
    rb_merge_verdict_make(points, 3, RB_TASK_MLM, RB_ACCURACY, NULL, NULL, RB_SAME_EXACT, &v);
    assert_int_equal(v.kind, RB_MERGE_WORSE);
    rb_merge_verdict_make(points, 2, RB_TASK_MLM, RB_ACCURACY, NULL, NULL, RB_SAME_EXACT, &v);
    assert_int_equal(v.kind, RB_MERGE_NONE);
    rb_merge_verdict_make(NULL, 0, RB_TASK_MLM, RB_ACCURACY, NULL, NULL, RB_SAME_DIFFERENT, &v);
    assert_int_equal(v.kind, RB_MERGE_DIFFERENT);
    assert_true(isnan(v.loss));
}

static void test_wire(void **state)
{
    (void)state;
    struct rb_json w;
    struct rb_merge_verdict v = judge(1.5, RB_SAME_NEAR);
    rb_json_init(&w);
    rb_merge_verdict_encode(&w, NULL, &v, NULL);
    assert_tree(tree_of(&w),
                "{'text':'better than both','label':'better than both','sentence':'Better than "
                "both parents at lambda 0.5: "
                "loss 1.500, the parents 3.000 and 2.000, guessing by frequency 5.000; B was moved "
                "nearly, not exactly.','best_lambda':0.5,'loss':1.5,'midpoint_loss':1.5,"
                "'metric':{'name':'pseudo_perplexity','value':15},"
                "'parents':[{'loss':3,'metric':30},{'loss':2,'metric':20}],"
                "'chance':5,'chance_accuracy':null}");
    v = rb_merge_verdict_none();
    rb_merge_verdict_encode(&w, NULL, &v, NULL);
    assert_tree(tree_of(&w), "null");
}

/* Checkpoints that are no points of the path are told as what they are (METHOD 12), each its own
 * way. */
static void test_what_is_written(void **state)
{
    (void)state;
    static const char *const words[RB_WRITTEN_COUNT] = {
        NULL, "written are solved by least squares: no", "written are trained after the merge: no",
        "written are solved by least squares and trained after it: no"};
    for (int i = 0; i < RB_WRITTEN_COUNT; i++) {
        char sentence[RB_MERGE_SENTENCE_SIZE];
        struct rb_merge_verdict v = judge(1.7, RB_SAME_EXACT);
        v.written = (enum rb_written)i;
        rb_merge_verdict_sentence(&v, NULL, sentence);
        if (words[i] == NULL)
            assert_null(strstr(sentence, "written"));
        else if (strstr(sentence, words[i]) == NULL)
            fail_msg("%s", sentence);
    }
}

/* A point beside an end is told as such, with the loss halfway; a bad answer needs no place. */
static void test_beside_an_end(void **state)
{
    (void)state;
    static const struct {
        double lambda, loss;
        const char *label, *begins;
    } cases[] = {
        {0.95, 2.5, "between, beside B", "Between its parents only beside B, at lambda 0.95: "},
        {0.05, 2.5, "between, beside A", "Between its parents only beside A, at lambda 0.05: "},
        {0.95, 1.7, "better than both, beside B",
         "Better than both parents only beside B, at lambda 0.95: loss 1.700, the parents 3.000 "
         "and "
         "2.000, halfway 4.000, guessing by frequency 5.000."},
        {0.25, 2.5, "between", "Between its parents at lambda 0.25: "},
        {0.75, 2.5, "between", "Between its parents at lambda 0.75: "},
        {0.95, 3.5, "worse than both", "Worse than both parents, at best at lambda 0.95: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double l = cases[i].lambda;
        struct rb_point points[] = {
            point(0, 3), point(l < 0.5 ? l : 0.5, l < 0.5 ? cases[i].loss : 4),
            point(l < 0.5 ? 0.5 : l, l < 0.5 ? 4 : cases[i].loss), point(1, 2)};
        struct rb_chance chance = {.loss = 5, .accuracy = NAN};
        struct rb_merge_verdict v;
        char label[RB_MERGE_LABEL_SIZE], sentence[RB_MERGE_SENTENCE_SIZE];
        rb_merge_verdict_make(points, 4, RB_TASK_MLM, RB_ACCURACY, &chance, NULL, RB_SAME_EXACT,
                              &v);
        assert_true(v.lambda == l && v.midpoint_loss == 4);
        assert_string_equal(rb_merge_verdict_label(&v, label), cases[i].label);
        rb_merge_verdict_sentence(&v, NULL, sentence);
        if (strncmp(sentence, cases[i].begins, strlen(cases[i].begins)) != 0)
            fail_msg("%s", sentence);
        assert_non_null(strstr(sentence, ", halfway 4.000, guessing"));
    }
    struct rb_point points[] = {point(0, 3), point(0.3, 2.5), point(1, 2)};
    struct rb_merge_verdict v;
    rb_merge_verdict_make(points, 3, RB_TASK_MLM, RB_ACCURACY, NULL, NULL, RB_SAME_EXACT, &v);
    assert_true(isnan(v.midpoint_loss)); /* nobody looked there */
}

/* Of three models: the parents are the best and the worst of all, "between" is whatever is not
 * beyond all of them, and the weights are told in words. */
static void test_several(void **state)
{
    (void)state;
    char a[] = "a", b[] = "b", c[] = "c", sentence[RB_MERGE_SENTENCE_SIZE];
    double lambdas[] = {0, 1, 2, 3, 4};
    const double third = 1.0 / 3;
    double weights[] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0.5, 0, third, third, third};
    struct rb_job_spec spec = {.model_a = a,
                               .model_b = b,
                               .more = {c},
                               .more_count = 1,
                               .lambdas = {lambdas, 5},
                               .weights = {weights, 15}};
    static const struct {
        double middle, centroid;
        enum rb_sameness same;
        enum rb_merge_verdict_kind kind;
        const char *begins;
    } cases[] = {
        {1.5, 1.8, RB_SAME_EXACT, RB_MERGE_BETTER,
         "Better than all parents at 0.5 a + 0.5 b: loss 1.500, the parents from 2.000 to 4.000, "
         "guessing by frequency 5.000."},
        {2.9, 2.5, RB_SAME_EXACT, RB_MERGE_BETWEEN,
         "Between its parents at the average of all three: loss 2.500, "},
        {1.9, 2.5, RB_SAME_EXACT, RB_MERGE_BETWEEN, "Between its parents at 0.5 a + 0.5 b: "},
        {4.5, 4.3, RB_SAME_EXACT, RB_MERGE_WORSE,
         "Worse than all parents, at best at the average of all three: "},
        {4.1, 4.3, RB_SAME_EXACT, RB_MERGE_BETWEEN, "Between its parents at 0.5 a + 0.5 b: "},
        {5.5, 5.1, RB_SAME_EXACT, RB_MERGE_CHANCE,
         "No better than chance, at best at the average "},
        {1.5, 1.8, RB_SAME_DIFFERENT, RB_MERGE_DIFFERENT, "Not the same function: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rb_point points[] = {point(0, 3), point(1, 2), point(2, 4),
                                    point(3, cases[i].middle), point(4, cases[i].centroid)};
        struct rb_chance chance = {.loss = 5, .accuracy = NAN};
        const double errors[3] = {0.1, 0.1, 0.1};
        struct rb_merge_verdict v;
        rb_merge_verdict_several(points, 5, 3, RB_TASK_MLM, RB_ACCURACY, &chance, errors,
                                 cases[i].same, &v);
        assert_int_equal(v.kind, cases[i].kind);
        assert_true(v.parent_loss[0] == 2 && v.parent_loss[1] == 4 && isnan(v.midpoint_loss));
        rb_merge_verdict_sentence(&v, &spec, sentence);
        if (strncmp(sentence, cases[i].begins, strlen(cases[i].begins)) != 0)
            fail_msg("%s", sentence);
        rb_merge_verdict_several(points, 3, 3, RB_TASK_MLM, RB_ACCURACY, &chance, errors,
                                 RB_SAME_EXACT, &v);
        assert_int_equal(v.kind, RB_MERGE_NONE); /* nothing but the models */
    }
}

/* Names that a sentence has no room for are counted: its figures stay. */
static void test_several_long_names(void **state)
{
    (void)state;
    enum { MODELS = 32 };
    char name[RB_NAME_SIZE], sentence[RB_MERGE_SENTENCE_SIZE];
    double lambdas[MODELS + 1], weights[(MODELS + 1) * MODELS] = {0};
    struct rb_point points[MODELS + 1];
    memset(name, 'x', RB_NAME_MAX);
    name[RB_NAME_MAX] = '\0';
    for (size_t i = 0; i <= MODELS; i++) {
        lambdas[i] = (double)i;
        points[i] = point((double)i, i < MODELS ? 2 : 1);
        weights[i < MODELS ? i * MODELS + i : i * MODELS] = i < MODELS ? 1 : 0.5;
    }
    for (size_t m = 1; m < MODELS; m++)
        weights[MODELS * MODELS + m] = 0.5 / (MODELS - 1);
    struct rb_job_spec spec = {.model_a = name,
                               .model_b = name,
                               .more_count = MODELS - 2,
                               .lambdas = {lambdas, MODELS + 1},
                               .weights = {weights, sizeof weights / sizeof weights[0]}};
    for (size_t m = 0; m < MODELS - 2; m++)
        spec.more[m] = name;
    struct rb_merge_verdict v;
    rb_merge_verdict_several(points, MODELS + 1, MODELS, RB_TASK_MLM, RB_ACCURACY, NULL, NULL,
                             RB_SAME_EXACT, &v);
    rb_merge_verdict_sentence(&v, &spec, sentence);
    assert_non_null(strstr(sentence, " more: loss 1.000, the parents from 2.000 to 2.000."));
    for (size_t m = 0; m < MODELS; m++)
        weights[MODELS * MODELS + m] = 1.0 / MODELS;
    rb_merge_verdict_sentence(&v, &spec, sentence);
    assert_non_null(strstr(sentence, " at the average of all 32: loss 1.000"));
}

/* In CSV it stands in the row of the best lambda. */
static void test_csv(void **state)
{
    (void)state;
    static const double grid[] = {0, 0.25, 0.5, 1};
    struct rb_point points[] = {point(0, 3), point(0.25, 6), point(0.5, 1.5), point(1, 2)};
    struct rb_merge_verdict v = judge(1.5, RB_SAME_EXACT);
    struct rb_barrier_view view = {.task = RB_TASK_MLM,
                                   .lambdas = grid,
                                   .lambda_count = 4,
                                   .aligned = {points, 4},
                                   .verdict = &v};
    struct rb_error err;
    char *text;
    assert_int_equal(rb_barrier_csv(&view, &text, NULL, &err), RB_OK);
    assert_non_null(strstr(text, ",verdict,chance_loss\n"));
    assert_non_null(strstr(text, "\n0.5,1.5,0,15,better than both,5\n"));
    assert_non_null(strstr(text, "\n1,2,0,20,,\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),       cmocka_unit_test(test_what_is_missing),
        cmocka_unit_test(test_beside_an_end), cmocka_unit_test(test_what_is_written),
        cmocka_unit_test(test_several),       cmocka_unit_test(test_several_long_names),
        cmocka_unit_test(test_wire),          cmocka_unit_test(test_csv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
