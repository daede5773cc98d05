// LINK: server_http
/* What of a connection's bytes libmicrohttpd may read: however they arrive, the same. */
#include "server/http/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define HEAD "GET /a HTTP/1.1\r\nHost: x\r\n"
#define CHUNKED "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

/* Feeds text in steps of `step` bytes and reads what is cleared, at most `most` at a time; returns
 * how many bytes were read in all. */
static size_t feed(struct rb_gate *g, const char *text, size_t n, size_t step, size_t most)
{
    size_t read = 0;
    *g = (struct rb_gate){0};
    for (size_t arrived = 0; arrived < n;) {
        arrived = arrived + step < n ? arrived + step : n;
        for (size_t before = read + 1; before != read;) {
            before = read;
            rb_gate_look(g, text + read, arrived - read);
            size_t can = g->cleared < arrived - read ? (size_t)g->cleared : arrived - read;
            can = can < most ? can : most;
            rb_gate_read(g, can);
            read += can;
        }
    }
    return read;
}

static void check(const char *text, size_t passes, bool shut, enum rb_status status)
{
    static const size_t steps[] = {1, 2, 3, 7, 16, 100000};
    size_t n = strlen(text);
    for (size_t s = 0; s < COUNT(steps); s++)
        for (size_t most = 1; most < 4; most++) {
            struct rb_gate g;
            size_t read = feed(&g, text, n, steps[s], most == 3 ? SIZE_MAX : most);
            if (read != passes || (g.state == RB_GATE_SHUT) != shut)
                fail_msg("'%s' in steps of %zu: %zu of %zu bytes, expected %zu", text, steps[s],
                         read, n, passes);
            if (shut)
                assert_int_equal(g.error.status, status);
        }
}

static void test_passes(void **state)
{
    (void)state;
    static const char *const sound[] = {
        HEAD "\r\n",
        HEAD "\r\n" HEAD "\r\n",
        "\r\n\r\n" HEAD "\r\n",
        "GET /a HTTP/1.0\nHost: x\n\n",
        HEAD "Content-Length: 5\r\n\r\nhello" HEAD "\r\n",
        HEAD "Content-Length: \t5\r\n\r\n\r\n\r\n:" HEAD "\r\n",
        CHUNKED "5\r\nhello\r\n0\r\n\r\n" HEAD "\r\n",
        CHUNKED "A;x=\"y\"\r\n0123456789\r\n00\r\nX: y\r\n\r\n" HEAD "\r\n",
        CHUNKED "0\r\n\r\n",
        HEAD "X:\r\nY: \xff\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT(sound); i++)
        check(sound[i], strlen(sound[i]), false, RB_OK);
    /* What is not whole is held back, body and chunks as they come. */
    check(HEAD, 0, false, RB_OK);
    check(HEAD "\r", 0, false, RB_OK);
    check(HEAD "Content-Length: 5\r\n\r\nhel", strlen(HEAD "Content-Length: 5\r\n\r\nhel"), false,
          RB_OK);
    check(HEAD "\r\n" HEAD, strlen(HEAD "\r\n"), false, RB_OK);
    check(CHUNKED "5\r\nhel", strlen(CHUNKED "5\r\nhel"), false, RB_OK);
    check(CHUNKED "5", strlen(CHUNKED), false, RB_OK);
    check(CHUNKED "0\r\nX: y\r\n", strlen(CHUNKED "0\r\n"), false, RB_OK);
}

static void test_shuts(void **state)
{
    (void)state;
    static const char *const heads[] = {
        HEAD ": x\r\n\r\n",
        HEAD "x\r\n\r\n",
        HEAD "x y: z\r\n\r\n",
        HEAD " x: y\r\n\r\n",
        HEAD "X: a\rb\r\n\r\n",
        HEAD "X: a\x01\r\n\r\n",
        HEAD "Content-Length: 1, 1\r\n\r\n",
        HEAD "Content-Length: +1\r\n\r\n",
        HEAD "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        HEAD "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD "Content-Length: 4611686018427387905\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD "Transfer-Encoding: identity\r\n\r\n",
        "GET /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /a\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.10\r\n\r\n",
        "GET /a HTTP/1.2\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT(heads); i++) {
        char text[512];
        check(heads[i], 0, true, RB_EHEADER);
        (void)snprintf(text, sizeof text, "%s%s", HEAD "\r\n", heads[i]);
        check(text, strlen(HEAD "\r\n"), true, RB_EHEADER);
    }
    static const char *const chunks[] = {"x\r\n",  "\r\n",   "+1\r\n",     "1\n",
                                         " 1\r\n", "1 \r\n", "1;\x01\r\n", "4000000000000001\r\n"};
    for (size_t i = 0; i < COUNT(chunks); i++) {
        char text[512];
        (void)snprintf(text, sizeof text, "%s%s", CHUNKED, chunks[i]);
        check(text, strlen(CHUNKED), true, RB_EHEADER);
    }
    check(CHUNKED "1\r\nab", strlen(CHUNKED "1\r\na"), true, RB_EHEADER);
    check(CHUNKED "1\r\na\n", strlen(CHUNKED "1\r\na"), true, RB_EHEADER);
    check(CHUNKED "1\r\na\rb", strlen(CHUNKED "1\r\na"), true, RB_EHEADER);
    check(CHUNKED "0\r\n: x\r\n\r\n", strlen(CHUNKED "0\r\n"), true, RB_EHEADER);
}

/* NUL ends no string here. */
static void test_nul(void **state)
{
    (void)state;
    static const char nul[] = HEAD "X: a\0b\r\n\r\n", method[] = "G\0T / HTTP/1.1\r\n\r\n";
    struct rb_gate g;
    assert_int_equal(feed(&g, nul, sizeof nul - 1, 100, SIZE_MAX), 0);
    assert_int_equal(g.error.status, RB_EHEADER);
    assert_int_equal(feed(&g, method, sizeof method - 1, 100, SIZE_MAX), 0);
    assert_int_equal(g.error.status, RB_EHEADER);
    assert_string_equal(g.head.method, "G?T");
}

/* `count` times `item` between HEAD and the end. */
static void check_many(const char *begin, const char *item, size_t count, const char *end,
                       enum rb_status status)
{
    size_t size = strlen(begin) + strlen(item) * count + strlen(end) + 1;
    char *text = malloc(size), *at = text;
    assert_non_null(text);
    at = stpcpy(at, begin);
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, item);
    at = stpcpy(at, end);
    static const size_t steps[] = {997, 1 << 20};
    for (size_t s = 0; s < COUNT(steps); s++) {
        struct rb_gate g;
        size_t n = (size_t)(at - text), read = feed(&g, text, n, steps[s], SIZE_MAX);
        if (read != (status == RB_OK ? n : 0) || g.error.status != status)
            fail_msg("%zu x '%s' in steps of %zu: %zu of %zu bytes, %s", count, item, steps[s],
                     read, n, rb_status_code(g.error.status));
    }
    free(text);
}

static void test_sizes(void **state)
{
    (void)state;
    check_many(HEAD, "X: y\r\n", RB_HEAD_MAX_LINES - 1, "\r\n", RB_OK);
    check_many(HEAD, "X: y\r\n", RB_HEAD_MAX_LINES, "\r\n", RB_EHEADERSIZE);
    check_many(HEAD "X: ", "y", RB_HEAD_MAX_BYTES - strlen(HEAD "X: \r\n\r\n"), "\r\n\r\n", RB_OK);
    check_many(HEAD "X: ", "y", RB_HEAD_MAX_BYTES - strlen(HEAD "X: \r\n\r\n") + 1, "\r\n\r\n",
               RB_EHEADERSIZE);
    check_many("GET /", "y", RB_HEAD_MAX_BYTES + 1, "", RB_EURITOOLONG);
    check_many("GET /?", "a&", RB_HEAD_MAX_ITEMS, " HTTP/1.1\r\n\r\n", RB_OK);
    check_many("GET /?", "a&", RB_HEAD_MAX_ITEMS + 1, " HTTP/1.1\r\n\r\n", RB_EHEADERSIZE);
    check_many(HEAD "Cookie: ", "a;", RB_HEAD_MAX_ITEMS - 3, "\r\n\r\n", RB_OK);
    check_many(HEAD "Cookie: ", "a;", RB_HEAD_MAX_ITEMS - 2, "\r\n\r\n", RB_EHEADERSIZE);
    check_many(HEAD "Cookie: ", "a", RB_HEAD_MAX_COOKIE_BYTES, "\r\n\r\n", RB_OK);
    check_many(HEAD "Cookie: ", "a", RB_HEAD_MAX_COOKIE_BYTES + 1, "\r\n\r\n", RB_EHEADERSIZE);
}

static void test_counts_heads(void **state)
{
    (void)state;
    static const char two[] = HEAD "\r\n" HEAD "Content-Length: 1\r\n\r\nx";
    struct rb_gate g;
    (void)feed(&g, two, strlen(two), 5, SIZE_MAX);
    assert_int_equal(g.heads, 2);
    assert_false(g.in_head);
    (void)feed(&g, HEAD, strlen(HEAD), 5, SIZE_MAX);
    assert_int_equal(g.heads, 0);
    assert_true(g.in_head);
    (void)feed(&g, CHUNKED "x\r\n", strlen(CHUNKED "x\r\n"), 5, SIZE_MAX);
    assert_true(g.shut_in_body);
    (void)feed(&g, ": x\r\n", 5, 5, SIZE_MAX);
    assert_false(g.shut_in_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes),       cmocka_unit_test(test_shuts),
        cmocka_unit_test(test_nul),          cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_counts_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
