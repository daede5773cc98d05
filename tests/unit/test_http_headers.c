// LINK: server_http
#include "server/http/auth.h"
#include "server/http/clients.h"
#include "server/http/common.h"
#include "server/http/headers.h"

#include "server/base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_range(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint64_t size;
        struct rb_range range;
    } rows[] = {
        {NULL, 10, {RB_RANGE_WHOLE, 0, 0}},
        {"bytes=0-0", 10, {RB_RANGE_PART, 0, 0}},
        {"bytes=0-", 10, {RB_RANGE_PART, 0, 9}},
        {"bytes=3-99", 10, {RB_RANGE_PART, 3, 9}},
        {"bytes=3-10", 10, {RB_RANGE_PART, 3, 9}},
        {"bytes=3-9", 10, {RB_RANGE_PART, 3, 9}},
        {"BYTES = 3-4 ", 10, {RB_RANGE_PART, 3, 4}},
        {"bytes=-3", 10, {RB_RANGE_PART, 7, 9}},
        {"bytes=-99", 10, {RB_RANGE_PART, 0, 9}},
        {"bytes=9-", 10, {RB_RANGE_PART, 9, 9}},
        {"bytes=10-", 10, {RB_RANGE_UNSATISFIABLE, 0, 0}},
        {"bytes=99999999999999999999999-", 10, {RB_RANGE_UNSATISFIABLE, 0, 0}},
        {"bytes=0-99999999999999999999999", 10, {RB_RANGE_PART, 0, 9}},
        {"bytes=-0", 10, {RB_RANGE_UNSATISFIABLE, 0, 0}},
        {"bytes=0-", 0, {RB_RANGE_UNSATISFIABLE, 0, 0}},
        {"bytes=-1", 0, {RB_RANGE_UNSATISFIABLE, 0, 0}},
        {"bytes=4-3", 10, {RB_RANGE_WHOLE, 0, 0}},
        {"bytes=0-1,3-4", 10, {RB_RANGE_WHOLE, 0, 0}},
        {"bytes=-", 10, {RB_RANGE_WHOLE, 0, 0}},
        {"bytes=a-b", 10, {RB_RANGE_WHOLE, 0, 0}},
        {"bytes=1--2", 10, {RB_RANGE_WHOLE, 0, 0}},
        {"lines=0-1", 10, {RB_RANGE_WHOLE, 0, 0}},
        {"bytes", 10, {RB_RANGE_WHOLE, 0, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rb_range r = rb_range_parse(rows[i].value, rows[i].size);
        assert_int_equal(r.kind, rows[i].range.kind);
        assert_int_equal(r.first, rows[i].range.first);
        assert_int_equal(r.last, rows[i].range.last);
    }
}

static void test_etags(void **state)
{
    (void)state;
    assert_true(rb_etag_listed("\"a\"", "\"a\"", true));
    assert_true(rb_etag_listed("*", "\"a\"", false));
    assert_true(rb_etag_listed(" \"x\", W/\"a\" ", "\"a\"", true));
    assert_false(rb_etag_listed("W/\"a\"", "\"a\"", false));
    assert_true(rb_etag_listed("\"x,\" , \"a\"", "\"a\"", false));
    assert_false(rb_etag_listed("\"ab\"", "\"a\"", true));
    assert_false(rb_etag_listed("a", "\"a\"", true));
    assert_false(rb_etag_listed("\"a", "\"a\"", true));
    assert_false(rb_etag_listed("", "\"a\"", true));
    assert_false(rb_etag_listed(NULL, "\"a\"", true));
    assert_false(rb_etag_listed("\"x\" \"a\"", "\"a\"", true));
}

static void test_accept(void **state)
{
    (void)state;
    static const char *const offers[] = {"application/json", "text/csv"};
    static const struct {
        const char *value;
        int choice;
    } rows[] = {
        {NULL, 0},
        {"", 0},
        {"*/*", 0},
        {"text/csv", 1},
        {"TEXT/CSV", 1},
        {"text/*", 1},
        {"text/csv, */*;q=0.1", 1},
        {"text/csv;q=0.1, */*", 0},
        {"application/json;q=0.5, text/csv;q=0.8", 1},
        {"application/json;q=0, */*", 1},
        {"text/html", -1},
        {"text/html, application/xhtml+xml, */*;q=0.8", 0},
        {"text/csv;q=0", -1},
        {"text/csv;header=present", 1},
        {"text/csv;a=\"x,y;q=0\"", 1},
        {"garbage", -1},
        {"text/csv;q=2, application/json;q=0.1", 0},
        {"text/csvx", -1},
        {"text/cs", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rb_accept_choose(rows[i].value, offers, 2) != rows[i].choice)
            fail_msg("Accept: %s", rows[i].value);
}

static void test_accept_encoding(void **state)
{
    (void)state;
    static const char *const yes[] = {"gzip",
                                      "GZip",
                                      " deflate , gzip",
                                      "gzip;q=0.001",
                                      "*",
                                      "gzip, deflate, br, zstd",
                                      "br;q=1.0, gzip ; q=0.8, *;q=0"};
    static const char *const no[] = {
        NULL,          "",      "identity", "br",  "gzip;q=0", "gzip; q=0.000", "*;q=0",
        "*, gzip;q=0", "gzipx", "x-gzip",   "gzi", ",",        ";q=1"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (!rb_gzip_accepted(yes[i]))
            fail_msg("refused: %s", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        if (rb_gzip_accepted(no[i]))
            fail_msg("taken: %s", no[i] == NULL ? "NULL" : no[i]);
}

static void test_content_type(void **state)
{
    (void)state;
    static const char *const good[] = {"application/json",
                                       "Application/JSON",
                                       " application/json ",
                                       "application/json;",
                                       "application/json; charset=utf-8",
                                       "application/json;charset=\"UTF-8\""};
    static const char *const bad[] = {"text/json",
                                      "application/jsonx",
                                      "application/json+x",
                                      "application/json; charset=latin1",
                                      "application/json; charset=\"utf-8",
                                      "application/json; charset=utf-8; x=y",
                                      ""};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(rb_content_type_is(good[i], "application/json"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(rb_content_type_is(bad[i], "application/json"));
    assert_false(rb_content_type_is(NULL, "application/json"));
}

static void test_prefer(void **state)
{
    (void)state;
    struct rb_error err;
    int wait = 7;
    static const struct {
        const char *value;
        int wait;
    } rows[] = {{NULL, -1},
                {"respond-async", -1},
                {"wait=10", 10},
                {"WAIT = 0", 0},
                {"respond-async, wait=5", 5},
                {"wait=5;x=y", 5},
                {"wait=3, wait=9", 3},
                {"wait=\"5\"", 5},
                {"x, wait = \"6\" ; y", 6},
                {"x=\"wait=9\"", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(rb_prefer_wait(rows[i].value, 60, &wait, &err), RB_OK);
        assert_int_equal(wait, rows[i].wait);
    }
    static const char *const bad[] = {
        "wait=\"5", "wait=5\"", "wait=\"\"", "wait=61", "wait",
        "wait=",    "wait=x",   "wait=1x",   "wait=-1", "wait=99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(rb_prefer_wait(bad[i], 60, &wait, &err), RB_EHEADER);
}

static void test_digest(void **state)
{
    (void)state;
    struct rb_error err;
    unsigned char digest[32], zeros[32] = {0};
    char field[RB_DIGEST_FIELD_BYTES], list[160];
    bool present = true;
    assert_int_equal(rb_digest_parse(NULL, digest, &present, &err), RB_OK);
    assert_false(present);
    rb_digest_format(zeros, field);
    assert_string_equal(field, "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:");
    snprintf(list, sizeof list, "sha-512=:AAAA:, %s ", field);
    memset(digest, 1, sizeof digest);
    assert_int_equal(rb_digest_parse(list, digest, &present, &err), RB_OK);
    assert_true(present);
    assert_memory_equal(digest, zeros, 32);
    static const char *const bad[] = {
        "",           "sha-256",        "sha-256=", "sha-256=AAAA", "sha-256=:AAAA:",
        "sha-256=::", "sha-512=:AAAA:", "x",        "sha-256=:*:"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(rb_digest_parse(bad[i], digest, &present, &err), RB_EHEADER);
}

static void test_hosts(void **state)
{
    (void)state;
    char host[64];
    int port;
    static const struct {
        const char *value, *host;
        int port;
    } rows[] = {{"localhost", "localhost", -1},  {"LocalHost:8686", "localhost", 8686},
                {"127.0.0.1:0", "127.0.0.1", 0}, {"[::1]", "::1", -1},
                {"[::1]:80", "::1", 80},         {"merge.lab.", "merge.lab", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(rb_host_parse(rows[i].value, host, sizeof host, &port));
        assert_string_equal(host, rows[i].host);
        assert_int_equal(port, rows[i].port);
    }
    static const char *const bad[] = {"",    ":80", "[::1",   "::1",      "a b",
                                      "a/b", "a:",  "a:x",    "a:65536",  "[::1]x",
                                      "a@b", "[]",  "a:80:1", "\xC3\xA9", "[a]b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (rb_host_parse(bad[i], host, sizeof host, &port))
            fail_msg("Host: %s", bad[i]);
    assert_false(rb_host_parse("0123456789012345678901234567890123456789012345678901234567890123",
                               host, sizeof host, &port));
    assert_true(rb_origin_parse("https://Lab.example", host, sizeof host, &port));
    assert_string_equal(host, "lab.example");
    assert_int_equal(port, 443);
    assert_true(rb_origin_parse("http://a:81", host, sizeof host, &port));
    assert_int_equal(port, 81);
    assert_false(rb_origin_parse("null", host, sizeof host, &port));
    assert_false(rb_origin_parse("ftp://a", host, sizeof host, &port));
}

static void test_bearer(void **state)
{
    (void)state;
    assert_string_equal(rb_bearer("Bearer rb_abc-_"), "rb_abc-_");
    assert_string_equal(rb_bearer("bearer   x"), "x");
    assert_null(rb_bearer("Basic abc"));
    assert_null(rb_bearer("Bearer"));
    assert_null(rb_bearer("Bearer "));
    assert_null(rb_bearer("Bearer a b"));
    assert_null(rb_bearer(NULL));
}

static void test_networks(void **state)
{
    (void)state;
    struct rb_address a;
    char text[64];
    assert_true(rb_address_parse("10.1.2.3", &a));
    assert_string_equal(rb_address_format(&a, text, sizeof text), "10.1.2.3");
    assert_true(rb_network_holds("10.0.0.0/8", &a));
    assert_true(rb_network_holds("10.1.2.2/31", &a));
    assert_false(rb_network_holds("10.1.2.0/31", &a));
    assert_true(rb_network_holds("10.1.2.3", &a));
    assert_true(rb_network_holds("0.0.0.0/0", &a));
    assert_true(rb_network_holds("::ffff:10.0.0.0/104", &a));
    assert_false(rb_network_holds("10.0.0.0/33", &a));
    assert_false(rb_network_holds("10.0.0.0/", &a));
    assert_false(rb_network_holds("10.0.0.0/8x", &a));
    assert_false(rb_network_holds("x", &a));
    assert_true(rb_address_parse("2001:db8::1", &a));
    assert_true(rb_network_holds("2001:db8::/32", &a));
    assert_false(rb_network_holds("0.0.0.0/0", &a));
    assert_false(rb_address_parse("10.1", &a));
}

static void test_allowed_hosts(void **state)
{
    (void)state;
    char own[] = "192.0.2.7:8686", any[] = "0.0.0.0:8686", extra[] = "Merge.Lab";
    char *extras[] = {extra};
    struct rb_settings s = {.listen = own, .allowed_hosts = {.items = extras, .count = 1}};
    assert_true(rb_host_allowed(&s, "localhost"));
    assert_true(rb_host_allowed(&s, "127.0.0.1"));
    assert_true(rb_host_allowed(&s, "::1"));
    assert_true(rb_host_allowed(&s, "192.0.2.7"));
    assert_true(rb_host_allowed(&s, "merge.lab"));
    assert_false(rb_host_allowed(&s, "192.0.2.8"));
    assert_false(rb_host_allowed(&s, "evil.example"));
    s.listen = any;
    assert_true(rb_host_allowed(&s, "192.0.2.8"));
    assert_false(rb_host_allowed(&s, "evil.example"));
}

/* Progress is no change: "7" and "7-0.25" are the same version, "70" is not. */
static void test_job_tags(void **state)
{
    (void)state;
    static const struct {
        const char *if_match;
        uint64_t version;
        bool matches;
    } rows[] = {
        {"\"7\"", 7, true},
        {"\"7-0.25\"", 7, true},
        {"*", 7, true},
        {"\"6\", \"7\"", 7, true},
        {"\"6\",\"7-1\"", 7, true},
        {"\"70\"", 7, false},
        {"\"7x\"", 7, false},
        {"\"7", 7, false},
        {"\"7 \"", 7, false},
        {"7", 7, false},
        {"\"17\"", 7, false},
        {"\"07\"", 7, false},
        {"W/\"7\"", 7, false},
        {"", 7, false},
        {"\"8\", \"9\"", 7, false},
        {"\"12\"", 1, false},
        {"\"1\"", 12, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rb_job_tag_matches(rows[i].if_match, rows[i].version) != rows[i].matches)
            fail_msg("%s and version %llu", rows[i].if_match, (unsigned long long)rows[i].version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_tags),      cmocka_unit_test(test_range),
        cmocka_unit_test(test_etags),         cmocka_unit_test(test_accept),
        cmocka_unit_test(test_content_type),  cmocka_unit_test(test_prefer),
        cmocka_unit_test(test_digest),        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_bearer),        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_allowed_hosts), cmocka_unit_test(test_accept_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
