// LINK: server_http
#include "server/http/route.h"
#include "server/http/router.h"
#include "server/http/target.h"
#include "server/http/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum rb_status parse(const char *raw, struct rb_target *t)
{
    struct rb_error err;
    return rb_target_parse(raw, t, &err);
}

static void refuse(const char *raw, enum rb_status status)
{
    struct rb_target t;
    assert_int_equal(parse(raw, &t), status);
}

static void test_paths(void **state)
{
    (void)state;
    struct rb_target t;
    assert_int_equal(parse("/", &t), RB_OK);
    assert_int_equal(t.segment_count, 0);
    assert_true(t.trailing_slash);
    rb_target_deinit(&t);

    assert_int_equal(parse("/v1/jobs/a%2db%C3%A9?limit=5&x=%26+y&z&&w=1=2", &t), RB_OK);
    assert_int_equal(t.segment_count, 3);
    assert_string_equal(t.segments[2], "a-b\xC3\xA9");
    assert_false(t.trailing_slash);
    assert_int_equal(t.pair_count, 4);
    assert_string_equal(rb_target_query(&t, "limit"), "5");
    assert_string_equal(rb_target_query(&t, "x"), "& y");
    assert_string_equal(rb_target_query(&t, "z"), "");
    assert_string_equal(rb_target_query(&t, "w"), "1=2");
    assert_null(rb_target_query(&t, "v"));
    rb_target_deinit(&t);

    assert_int_equal(parse("/merge/?", &t), RB_OK);
    assert_int_equal(t.segment_count, 1);
    assert_true(t.trailing_slash);
    assert_int_equal(t.pair_count, 0);
    rb_target_deinit(&t);
}

static void test_authority(void **state)
{
    (void)state;
    struct rb_target t;
    assert_int_equal(parse("http://[::1]:80/v1/jobs", &t), RB_OK);
    assert_string_equal(t.authority, "[::1]:80");
    assert_int_equal(t.segment_count, 2);
    rb_target_deinit(&t);
    refuse("http://host", RB_ENOTFOUND);
    refuse("http:///v1", RB_ENOTFOUND);
}

static void test_refused_paths(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "v1",   "*",      "//",     "/v1//jobs", "/..",        "/a/../b",
        "/%2e%2e", "/%2E", "/a%2Fb", "/a%00b", "/%",        "/%4",        "/%zz",
        "/a%0Ab",  "/a b", "/?a b",  "/%80",   "/%C0%AF",   "/%ED%A0%80", "/%F5%80%80%80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(bad[i], RB_ENOTFOUND);
    refuse("/1/2/3/4/5/6/7/8/9/10/11/12/13", RB_ENOTFOUND);
    refuse("/?a=%0a", RB_EQUERY);
    refuse("/?%zz", RB_EQUERY);
    refuse("/?=1", RB_EQUERY);
    char *longest = malloc(RB_TARGET_MAX_BYTES + 2);
    memset(longest, 'a', RB_TARGET_MAX_BYTES + 1);
    longest[0] = '/';
    longest[RB_TARGET_MAX_BYTES + 1] = '\0';
    refuse(longest, RB_EURITOOLONG);
    for (size_t i = 1; i < RB_TARGET_MAX_BYTES; i++)
        longest[i] = i == 1 ? '?' : i % 2 == 0 ? 'a' : '&';
    longest[RB_TARGET_MAX_BYTES] = '\0';
    refuse(longest, RB_EQUERY);
    free(longest);
}

/* ---- routes ---- */

static const struct rb_prefix no_prefix = {.count = 0};
static const struct rb_prefix merge = {.segments = {"lab", "merge"}, .count = 2};

static enum rb_status find(const struct rb_prefix *prefix, unsigned method, const char *path,
                           const char **ret_operation, char allow[RB_ALLOW_BYTES])
{
    static char first_param[64];
    const char *params[RB_ROUTE_PARAMS_MAX] = {NULL};
    const struct rb_route *route = NULL;
    struct rb_target t;
    struct rb_error err;
    assert_int_equal(parse(path, &t), RB_OK);
    enum rb_status s = rb_route_find(prefix, method, &t, &route, params, allow, &err);
    snprintf(first_param, sizeof first_param, "%s", params[0] != NULL ? params[0] : "");
    if (ret_operation != NULL)
        *ret_operation = s == RB_OK ? route->operation : first_param;
    rb_target_deinit(&t);
    return s;
}

static void test_routes(void **state)
{
    (void)state;
    const char *operation;
    char allow[RB_ALLOW_BYTES];
    static const struct {
        unsigned method;
        const char *path, *operation;
    } rows[] = {
        {RB_GET, "/v1/jobs", "listJobs"},
        {RB_HEAD, "/v1/jobs", "listJobs"},
        {RB_POST, "/v1/jobs", "createJob"},
        {RB_POST, "/v1/jobs/batch", "createJobs"},
        {RB_GET, "/v1/jobs/batch", "getJob"},
        {RB_PATCH, "/v1/jobs/x", "patchJob"},
        {RB_POST, "/v1/jobs/x/cancel", "cancelJob"},
        {RB_GET, "/", "getDashboard"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(find(&no_prefix, rows[i].method, rows[i].path, &operation, allow), RB_OK);
        assert_string_equal(operation, rows[i].operation);
        char below[64];
        snprintf(below, sizeof below, "/lab/merge%s", rows[i].path);
        assert_int_equal(find(&merge, rows[i].method, below, &operation, allow), RB_OK);
        assert_string_equal(operation, rows[i].operation);
        assert_int_equal(find(&merge, rows[i].method, rows[i].path, &operation, allow), RB_OK);
        assert_int_equal(find(&no_prefix, rows[i].method, below, NULL, allow), RB_ENOTFOUND);
    }
    assert_int_equal(find(&no_prefix, RB_PUT, "/v1/jobs/x", NULL, allow), RB_EMETHOD);
    assert_string_equal(allow, "GET, HEAD, PATCH, DELETE");
    assert_int_equal(find(&no_prefix, 0, "/v1/jobs/x/cancel", NULL, allow), RB_EMETHOD);
    assert_string_equal(allow, "POST");
    assert_int_equal(find(&no_prefix, RB_GET, "/v1/jobs/", NULL, allow), RB_ENOTFOUND);
    assert_int_equal(find(&no_prefix, RB_GET, "/v1", NULL, allow), RB_ENOTFOUND);
    assert_int_equal(find(&merge, RB_GET, "/lab", NULL, allow), RB_ENOTFOUND);
}

static void test_bare_prefix(void **state)
{
    (void)state;
    struct rb_target t;
    assert_int_equal(parse("/lab/merge", &t), RB_OK);
    assert_true(rb_route_is_bare_prefix(&merge, &t));
    assert_false(rb_route_is_bare_prefix(&no_prefix, &t));
    rb_target_deinit(&t);
    assert_int_equal(parse("/lab/merge/", &t), RB_OK);
    assert_false(rb_route_is_bare_prefix(&merge, &t));
    rb_target_deinit(&t);
}

/* Each row can be reached, and its parameters fit. */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < rb_route_count; i++) {
        const struct rb_route *route = &rb_routes[i];
        char allow[RB_ALLOW_BYTES], path[128];
        const char *operation;
        size_t params = 0, n = 0;
        for (const char *p = route->path; *p != '\0'; p++) {
            if (*p == '{') {
                path[n++] = 'x';
                params++;
                p += strcspn(p, "}");
            } else {
                path[n++] = *p;
            }
        }
        path[n] = '\0';
        assert_true(params <= RB_ROUTE_PARAMS_MAX);
        assert_int_equal(find(&no_prefix, route->method, path, &operation, allow), RB_OK);
        assert_string_equal(operation, route->operation);
        assert_non_null(route->handle);
        assert_int_equal(route->body == RB_BODY_STREAM, route->stream != NULL);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(rb_routes[j].operation, route->operation);
    }
}

/* ---- queries ---- */

static const char *const names[] = {"a", "b", NULL};
static const struct rb_query_rule rules[] = {
    {.name = "text", .max = 3},
    {.name = "flag", .type = RB_QUERY_FLAG},
    {.name = "enum", .type = RB_QUERY_ENUM, .names = names},
    {.name = "job", .type = RB_QUERY_JOB, .times = 2},
    {.name = "time", .type = RB_QUERY_TIME},
    {.name = NULL},
};
static const struct rb_query_rule required[] = {
    {.name = "job", .type = RB_QUERY_JOB, .required = true},
    {.name = NULL},
};

static enum rb_status check(const struct rb_query_rule *r, const char *query, struct rb_error *err)
{
    struct rb_target t;
    assert_int_equal(parse(query, &t), RB_OK);
    enum rb_status s = rb_query_check(r, &t, err);
    rb_target_deinit(&t);
    return s;
}

#define JOB "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"

static void test_queries(void **state)
{
    (void)state;
    struct rb_error err;
    static const char *const good[] = {"/?text=abc",
                                       "/?flag",
                                       "/?flag=true",
                                       "/?flag=false",
                                       "/?enum=b",
                                       "/?job=" JOB,
                                       "/?",
                                       "/?job=" JOB "&job=" JOB,
                                       "/?time=2026-01-02T03:04:05Z"};
    static const char *const bad[] = {
        "/?text=abcd", "/?flag=1",    "/?enum=c",
        "/?job=x",     "/?time=now",  "/?other=1",
        "/?Text=a",    "/?flag&flag", "/?job=" JOB "&job=" JOB "&job=" JOB};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(check(rules, good[i], &err), RB_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(check(rules, bad[i], &err), RB_EQUERY);
        assert_string_not_equal(err.pointer, "");
    }
    assert_int_equal(check(NULL, "/?a=1", &err), RB_EQUERY);
    assert_int_equal(check(NULL, "/", &err), RB_OK);
    assert_int_equal(check(required, "/", &err), RB_EQUERY);
    assert_string_equal(err.pointer, "job");
}

static void test_text(void **state)
{
    (void)state;
    uint64_t n = 7;
    assert_true(rb_text_uint64("18446744073709551615", UINT64_MAX, &n));
    assert_true(n == UINT64_MAX);
    assert_false(rb_text_uint64("18446744073709551616", UINT64_MAX, &n));
    assert_false(rb_text_uint64("", 9, &n));
    assert_false(rb_text_uint64("+1", 9, &n));
    assert_false(rb_text_uint64(" 1", 9, &n));
    assert_false(rb_text_uint64("10", 9, &n));
    assert_true(rb_text_is_key("a-Z9._:~+/=", 11));
    assert_false(rb_text_is_key("a-Z9._:~+/=", 10));
    assert_false(rb_text_is_key("", 10));
    assert_false(rb_text_is_key("a b", 10));
    assert_false(rb_text_is_key("a\nb", 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),         cmocka_unit_test(test_authority),
        cmocka_unit_test(test_refused_paths), cmocka_unit_test(test_routes),
        cmocka_unit_test(test_bare_prefix),   cmocka_unit_test(test_table),
        cmocka_unit_test(test_queries),       cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
