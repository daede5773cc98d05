// LINK: rb_api
/* What stands beside a merged checkpoint. */
#include "tests/api/api_support.h"

#include "api/model_card.h"

#include <math.h>

static const char spec[] = "{\"models\":{\"a\":\"x\",\"b\":\"y\"},\"name\":\"```\\n---\"}";
static const double lambdas[] = {0, 0.5, 1};
static const struct rb_point points[] = {
    {.lambda = 0, .loss = 1}, {.lambda = 0.5, .loss = 1.75}, {.lambda = 1, .loss = 2},
    {.lambda = 0, .loss = 1}, {.lambda = 0.5, .loss = 3.5},  {.lambda = 1, .loss = 2}};
static const struct rb_certificate certificate = {.present = true,
                                                  .equivalent = true,
                                                  .max_abs_logit_difference = 1e-5,
                                                  .tolerance = 1e-3,
                                                  .sequences = 8};
static struct rb_job_input inputs[2] = {{"model_a", "x", "aa"}, {"model_b", "y", "bb"}};

static struct rb_model_card card(const struct rb_barrier_view *v)
{
    struct rb_model_card c = {.job = "job_1",
                              .version = "9.9",
                              .spec = spec,
                              .dtype = "source",
                              .lambda = 0.5,
                              .inputs = inputs,
                              .input_count = 2,
                              .curve = v,
                              .moved = true,
                              .certificate = &certificate};
    c.parent_count = 2;
    (void)snprintf(c.parents[0].name, sizeof c.parents[0].name, "x");
    (void)snprintf(c.parents[0].source, sizeof c.parents[0].source, "hf:google/multi@0123");
    (void)snprintf(c.parents[1].name, sizeof c.parents[1].name, "y");
    (void)snprintf(c.parents[1].source, sizeof c.parents[1].source, "import");
    for (int i = 0; i < 2; i++)
        (void)snprintf(c.parents[i].license, RB_LICENSE_SIZE, "mit");
    return c;
}

static struct rb_barrier_view view(void)
{
    return (struct rb_barrier_view){.job = "job_1",
                                    .lambdas = lambdas,
                                    .lambda_count = 3,
                                    .aligned = {points, 3},
                                    .has_control = true,
                                    .control = {points + 3, 3}};
}

static char *write_card(const struct rb_model_card *c)
{
    struct rb_error err;
    char *text;
    size_t bytes;
    assert_int_equal(rb_model_card_write(c, "c.svg", &text, &bytes, &err), RB_OK);
    assert_int_equal(strlen(text), bytes);
    return text;
}

static void assert_says(const char *text, const char *words)
{
    if (strstr(text, words) == NULL)
        fail_msg("\"%s\" is not in:\n%s", words, text);
}

static void test_card(void **state)
{
    (void)state;
    struct rb_barrier_view v = view();
    struct rb_model_card c = card(&v);
    char *text = write_card(&c);
    static const char head[] = "---\nbase_model:\n- \"google/multi\"\n- \"y\"\ntags:\n- merge\n- "
                               "rebasind\nlicense: mit\n---\n\n# google/multi and y, merged at "
                               "lambda 0.5\n";
    assert_memory_equal(text, head, sizeof head - 1);
    assert_says(text, "![Loss over lambda](c.svg)");
    assert_says(text, "| loss of this model | 1.7500 ± 0.0000 | 3.5000 ± 0.0000 |\n");
    assert_says(text, "| barrier over the chord | 0.2500 at 0.50 | 2.0000 at 0.50 |\n");
    assert_null(strstr(text, "folded"));
    assert_says(text, "Moved B computes the same function as B: on 8 sequences");
    assert_says(text, "| model_b | y | `bb` |");
    assert_says(text, "\n  \"name\": \"```\\n---\"\n}\n```\n"); /* a name does not end the fence */
    free(text);
    const struct rb_folded_control once = {.lambda = 0.5, .loss = 3, .standard_error = 0.125};
    v.folded_once = &once;
    text = write_card(&c);
    assert_says(text,
                "norms folded, averaged and not aligned: loss 3.0000 ± 0.1250, 1.5000 over the "
                "chord, at 0.50.");
    free(text);
    c.parents[1].license[0] = 'g';
    c.curve = NULL;
    c.moved = false;
    text = write_card(&c);
    assert_null(strstr(text, "license"));
    assert_null(strstr(text, "svg"));
    assert_says(text, "nothing was aligned");
    free(text);
}

static void test_curve(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_barrier_view v = view();
    struct rb_model_card c = card(&v);
    char *text;
    size_t bytes;
    assert_int_equal(rb_model_card_svg(&c, &text, &bytes, &err), RB_OK);
    assert_says(text, "points=\"64.0,320.0 344.0,233.6 624.0,204.8\""); /* 1, 1.75, 2 of 1 … 3.5 */
    assert_says(text, "points=\"64.0,320.0 344.0,32.0 624.0,204.8\"");
    free(text);
    v.aligned.count = 1; /* one point alone has no height */
    v.has_control = false;
    assert_int_equal(rb_model_card_svg(&c, &text, &bytes, &err), RB_OK);
    assert_says(text, "points=\"64.0,176.0\"");
    assert_null(strstr(text, "nan"));
    free(text);
}

static void test_provenance(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_model_card c = card(NULL);
    char *text;
    size_t bytes;
    c.spec = "{\"models\":{}}";
    c.environment = "{\"cpu\":\"z\"}";
    c.build = "{\"commit\":\"c0ffee\"}";
    assert_int_equal(rb_model_card_provenance(&c, &text, &bytes, &err), RB_OK);
    assert_string_equal(
        text,
        "{\"job\":\"job_1\",\"version\":\"9.9\",\"lambda\":0.5,\"dtype\":\"source\",\"inputs\":["
        "{\"role\":\"model_a\",\"name\":\"x\",\"sha256\":\"aa\",\"source\":\"hf:google/"
        "multi@0123\",\"license\":\"mit\"},"
        "{\"role\":\"model_b\",\"name\":\"y\",\"sha256\":\"bb\",\"source\":\"import\",\"license\":"
        "\"mit\"}],\"spec\":{\"models\":{}},\"barrier\":null,\"certificate\":{\"equivalent\":true,"
        "\"max_abs_logit_difference\":1e-05,\"tolerance\":0.001,\"sequences\":8,\"kind\":\"exact\"}"
        ",\"environment\":{"
        "\"cpu\":\"z\"},\"build\":{\"commit\":\"c0ffee\"}}");
    free(text);
}

/* Near is never called the same function, and says how near. */
static void test_near(void **state)
{
    (void)state;
    struct rb_certificate near = certificate;
    struct rb_model_card c = card(NULL);
    near.equivalent = false;
    near.near = true;
    near.kl = 0.03125;
    near.top1_agreement = 0.875;
    near.loss_before = 2.5;
    near.loss_after = 2.53;
    c.certificate = &near;
    char *text = write_card(&c);
    assert_non_null(strstr(text, "Moved B is **near** B, not the same function"));
    assert_non_null(strstr(text, "is 0.0312 nats, and 87.5 % of first choices are the same"));
    assert_non_null(strstr(text, "B's loss is 2.5000 as it was and 2.5300 moved"));
    assert_null(strstr(text, "computes the same function"));
    free(text);
}

static void test_license(void **state)
{
    (void)state;
    static const struct {
        const char *card, *license;
    } rows[] = {
        {"---\nlicense: mit\n---\n", "mit"},
        {"---\r\na: b\r\nlicense: \"apache-2.0\" \r\n---\r\nx", "apache-2.0"},
        {"---\nlicense: 'cc-by-4.0'\n---", "cc-by-4.0"},
        {"---\nlicense: mit\n", ""},            /* the head does not end */
        {"# x\nlicense: mit\n---\n", ""},       /* no head */
        {"---\nx: y\n---\nlicense: mit\n", ""}, /* below it */
        {"---\nlicense:\n- mit\n---\n", ""},    /* a list */
        {"---\nlicense: mit]\n---\n", ""},      /* no word */
        {"---\nlicense: a: b\n---\n", ""},
        {"---\n  license: mit\n---\n", ""},
        {"", ""},
        {"---\nlicense: "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n---\n",
         ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char license[RB_LICENSE_SIZE] = "x";
        rb_card_license(rows[i].card, strlen(rows[i].card), license);
        assert_string_equal(license, rows[i].license);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_card),       cmocka_unit_test(test_curve),
        cmocka_unit_test(test_provenance), cmocka_unit_test(test_near),
        cmocka_unit_test(test_license),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
