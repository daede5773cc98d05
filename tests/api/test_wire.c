// LINK: rb_api
/* Times, names, page tokens and problems: the small things every answer is made of. */
#include "tests/api/api_support.h"

#include "api/names.h"
#include "api/page.h"
#include "api/problem.h"
#include "api/time.h"

#include <time.h>

static void test_times_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"2026-11-23T10:48:45.123Z", INT64_C(1795430925123)},
        {"2026-11-23T10:48:45.1239999Z", INT64_C(1795430925123)},
        {"2026-11-23t12:48:45.5+02:00", INT64_C(1795430925500)},
        {"2024-02-29T23:59:60z", INT64_C(1709251200000)},
        {"9999-12-31T23:59:59.999Z", INT64_C(253402300799999)},
        {"1970-01-01T00:00:00+00:01", -1}, /* before 1970 */
        {"2023-02-29T00:00:00Z", -1},
        {"2026-13-01T00:00:00Z", -1},
        {"2026-00-01T00:00:00Z", -1},
        {"2026-01-01 00:00:00Z", -1},
        {"2026-01-01T24:00:00Z", -1},
        {"2026-01-01T00:00:00", -1},
        {"2026-01-01T00:00:00.Z", -1},
        {"2026-01-01T00:00:00Zx", -1},
        {"2026-01-01T00:00:00+2:00", -1},
        {"2026-1-1T00:00:00Z", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t ms = -1;
        bool ok = rb_time_parse(rows[i].text, strlen(rows[i].text), &ms);
        if (ok != (rows[i].ms >= 0) || ms != rows[i].ms)
            fail_msg("%s: found %lld", rows[i].text, (long long)ms);
    }
}

/* Against the C library, over ten thousand years in odd steps. */
static void test_times_written(void **state)
{
    (void)state;
    for (int64_t ms = 7; ms <= INT64_C(253402300799999); ms += INT64_C(12345678987)) {
        char text[RB_TIME_SIZE], date[32], expected[40];
        time_t seconds = (time_t)(ms / 1000);
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
        (void)snprintf(expected, sizeof expected, "%s.%03dZ", date, (int)(ms % 1000));
        assert_string_equal(rb_time_format(ms, text), expected);
        int64_t back = 0;
        assert_true(rb_time_parse(text, strlen(text), &back));
        assert_true(back == ms);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool valid;
    } rows[] = {
        {"bert-a", true}, {"0", true},    {"a.b_c-d", true}, {"", false},
        {"-a", false},    {".a", false},  {"Bert", false},   {"a/b", false},
        {"ä", false},     {"a b", false}, {"..", false},     {"a\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(rb_name_valid(rows[i].name, strlen(rows[i].name)), rows[i].valid);
    char name[66];
    memset(name, 'a', sizeof name);
    assert_true(rb_name_valid(name, 64));
    assert_false(rb_name_valid(name, 65));
}

static void test_job_ids(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        bool valid;
    } rows[] = {
        {"job_019a2c9e-7c1d-7b3e-8f00-1234567890ab", true},
        {"job_019a2c9e-7c1d-4b3e-8f00-1234567890ab", false}, /* not version 7 */
        {"job_019a2c9e-7c1d-7b3e-cf00-1234567890ab", false}, /* another variant */
        {"job_019A2C9E-7C1D-7B3E-8F00-1234567890AB", false},
        {"job_019a2c9e7c1d-7b3e-8f00-1234567890ab", false},
        {"job_019a2c9e-7c1d-7b3e-8f00-1234567890abc", false},
        {"019a2c9e-7c1d-7b3e-8f00-1234567890ab", false},
        {"job_", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(rb_job_id_valid(rows[i].id, strlen(rows[i].id)), rows[i].valid);
}

/* ---- pages ---- */

static void test_page_tokens_come_back(void **state)
{
    (void)state;
    struct rb_page_position at = {.number = -5};
    for (size_t length = 0; length < RB_PAGE_TEXT_SIZE; length++) {
        memset(at.text, 0, sizeof at.text);
        memset(at.text, 'x', length);
        char token[RB_PAGE_TOKEN_SIZE];
        struct rb_page_position back;
        rb_page_token_encode("jobs?sort=-created_at", &at, token);
        assert_int_equal(strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789-_"),
                         strlen(token));
        assert_int_equal(rb_page_token_decode("jobs?sort=-created_at", token, &back, NULL), RB_OK);
        assert_true(back.number == -5);
        assert_string_equal(back.text, at.text);
    }
}

static void test_page_tokens_are_checked(void **state)
{
    (void)state;
    struct rb_page_position at = {.number = INT64_C(1795430925123), .text = "job_1"}, back;
    struct rb_error err = {0};
    char token[RB_PAGE_TOKEN_SIZE];
    rb_page_token_encode("jobs", &at, token);
    /* Another list's. */
    assert_int_equal(rb_page_token_decode("jobs?status=failed", token, &back, &err), RB_EQUERY);
    assert_string_equal(err.pointer, "page_token");
    /* Every character matters. */
    size_t length = strlen(token);
    for (size_t i = 0; i < length; i++) {
        char bent[RB_PAGE_TOKEN_SIZE];
        memcpy(bent, token, sizeof bent);
        bent[i] = bent[i] == 'A' ? 'B' : 'A';
        assert_int_equal(rb_page_token_decode("jobs", bent, &back, NULL), RB_EQUERY);
        memcpy(bent, token, sizeof bent);
        bent[i] = '\0';
        assert_int_equal(rb_page_token_decode("jobs", bent, &back, NULL), RB_EQUERY);
    }
    char longer[400];
    memset(longer, 'A', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(rb_page_token_decode("jobs", longer, &back, NULL), RB_EQUERY);
    assert_int_equal(rb_page_token_decode("jobs", "a b", &back, NULL), RB_EQUERY);
}

/* Where the last character has bits to spare, every other spelling of the same bytes is refused. */
static void test_page_tokens_have_one_spelling(void **state)
{
    (void)state;
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t length = 0; length < 3; length++) {
        struct rb_page_position at = {.number = 7}, back;
        char token[RB_PAGE_TOKEN_SIZE];
        memset(at.text, 'x', length);
        rb_page_token_encode("jobs", &at, token);
        char *last = token + strlen(token) - 1, right = *last;
        for (size_t i = 0; alphabet[i] != '\0'; i++) {
            *last = alphabet[i];
            assert_int_equal(rb_page_token_decode("jobs", token, &back, NULL),
                             alphabet[i] == right ? RB_OK : RB_EQUERY);
        }
    }
}

static void test_page_limits(void **state)
{
    (void)state;
    uint32_t limit = 0;
    assert_int_equal(rb_page_limit_decode(NULL, &limit, NULL), RB_OK);
    assert_int_equal(limit, 50);
    assert_int_equal(rb_page_limit_decode("7", &limit, NULL), RB_OK);
    assert_int_equal(limit, 7);
    assert_int_equal(rb_page_limit_decode("501", &limit, NULL), RB_OK);
    assert_int_equal(limit, 500);
    assert_int_equal(rb_page_limit_decode("99999999999999999999999", &limit, NULL), RB_OK);
    assert_int_equal(limit, 500);
    static const char *const wrong[] = {"", "0", "00", "-1", "+1", "1.5", "x", "1 "};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rb_error err = {0};
        assert_int_equal(rb_page_limit_decode(wrong[i], &limit, &err), RB_EQUERY);
        assert_string_equal(err.pointer, "limit");
    }
}

static void test_pages(void **state)
{
    (void)state;
    struct rb_json w;
    rb_json_init(&w);
    rb_page_begin(&w);
    rb_json_int(&w, NULL, 1);
    rb_page_end(&w, "abc");
    assert_tree(tree_of(&w), "{'data':[1],'next_page_token':'abc'}");
    rb_page_begin(&w);
    rb_page_end(&w, NULL);
    assert_tree(tree_of(&w), "{'data':[]}");
}

/* ---- problems ---- */

static void test_problems(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_json w;
    rb_json_init(&w);
    (void)rb_error_set(&err, RB_ENOTFOUND, "model x is unknown");
    rb_problem_encode(&w, &err, NULL, "req-1");
    assert_tree(tree_of(&w), "{'type':'urn:rebasind:error:not_found','title':'No such resource',"
                             "'status':404,'detail':'model x is unknown','code':'not_found',"
                             "'request_id':'req-1'}");
}

static void test_problems_with_places(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_json w;
    rb_json_init(&w);
    (void)rb_error_at(&err, RB_EQUERY, "limit", "expected a number");
    rb_problem_encode(&w, &err, NULL, NULL);
    json_t *json = tree_of(&w);
    assert_tree(json_incref(json_object_get(json, "errors")),
                "[{'pointer':'limit','detail':'expected a number'}]");
    assert_true(json_is_null(json_object_get(json, "request_id")));
    json_decref(json);

    /* A pointer that the words begin with is not said twice. */
    (void)rb_error_at(&err, RB_EINPUT, "/algn", "/algn: there is no such member");
    rb_problem_encode(&w, &err, NULL, NULL);
    json = tree_of(&w);
    assert_tree(json_incref(json_object_get(json, "errors")),
                "[{'pointer':'/algn','detail':'there is no such member'}]");
    json_decref(json);

    struct rb_problems problems = {0};
    rb_problems_add(&problems, "/a", "one");
    rb_problems_add(&problems, "/b", "two");
    assert_int_equal(rb_problems_status(&problems, &err), RB_EINPUT);
    rb_problem_encode(&w, &err, &problems, "r");
    json = tree_of(&w);
    assert_int_equal(json_integer_value(json_object_get(json, "status")), 422);
    assert_string_equal(json_string_value(json_object_get(json, "detail")), "/a: one (and 1 more)");
    assert_tree(json_incref(json_object_get(json, "errors")),
                "[{'pointer':'/a','detail':'one'},{'pointer':'/b','detail':'two'}]");
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_read),
        cmocka_unit_test(test_times_written),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_job_ids),
        cmocka_unit_test(test_page_tokens_come_back),
        cmocka_unit_test(test_page_tokens_are_checked),
        cmocka_unit_test(test_page_tokens_have_one_spelling),
        cmocka_unit_test(test_page_limits),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_problems),
        cmocka_unit_test(test_problems_with_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
