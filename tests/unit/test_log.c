// LINK: server_base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "server/base/log.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int pipe_fds[2];
static char lines[65536];

static void capture(enum rb_log_format format, enum rb_log_level least)
{
    assert_int_equal(pipe(pipe_fds), 0);
    rb_log_init(format, least, pipe_fds[1]);
}

/* What was logged since capture. */
static const char *captured(void)
{
    close(pipe_fds[1]);
    size_t used = 0;
    for (ssize_t n; (n = read(pipe_fds[0], lines + used, sizeof lines - 1 - used)) > 0;)
        used += (size_t)n;
    lines[used] = '\0';
    close(pipe_fds[0]);
    rb_log_init(RB_LOG_TEXT, RB_LOG_INFO, 2);
    return lines;
}

static void test_text(void **state)
{
    (void)state;
    capture(RB_LOG_TEXT, RB_LOG_INFO);
    errno = 77;
    rb_log_info("job", RB_S("id", "job_1"), RB_S("name", "two words"), RB_I("n", -3),
                RB_U("bytes", UINT64_MAX), RB_D("ms", 1.5), RB_B("ok", true), RB_S("gone", NULL));
    assert_int_equal(errno, 77);
    rb_log_warn("plain");
    rb_log_debug("not written");
    const char *text = captured();
    assert_non_null(strstr(text, "Z INFO  job id=job_1 name=\"two words\" n=-3 "
                                 "bytes=18446744073709551615 ms=1.5 ok=true\n"));
    assert_non_null(strstr(text, "Z WARN  plain\n"));
    assert_null(strstr(text, "not written"));
}

static void test_json(void **state)
{
    (void)state;
    capture(RB_LOG_JSON, RB_LOG_DEBUG);
    rb_log_debug("a \"b\"\n", RB_S("key", "v\x01\x7f\xc2\x9b\xff\xe2\x82\xac\\"),
                 RB_D("nan", (double)NAN), RB_D("x", 0.25));
    json_error_t error;
    json_t *line = json_loads(captured(), 0, &error);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "debug");
    assert_string_equal(json_string_value(json_object_get(line, "message")), "a \"b\"\n");
    assert_string_equal(json_string_value(json_object_get(line, "key")),
                        "v\x01\x7f\xc2\x9b\xef\xbf\xbd\xe2\x82\xac\\");
    assert_true(json_is_null(json_object_get(line, "nan")));
    assert_true(json_real_value(json_object_get(line, "x")) == 0.25);
    json_decref(line);
}

/* Nothing that a terminal would obey, and no second line. */
static void test_control_characters(void **state)
{
    (void)state;
    capture(RB_LOG_TEXT, RB_LOG_INFO);
    rb_log_info("x\x1b[2J\ny", RB_S("path", "/a\r\nINFO forged\x1b]0;t\x07"));
    const char *text = captured();
    assert_null(strchr(text, '\x1b'));
    assert_null(strchr(text, '\r'));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_non_null(strstr(text, "\\u001b[2J\\u000ay"));
}

/* Cut, but still one line of valid JSON. */
static void test_long_lines(void **state)
{
    (void)state;
    char long_text[RB_LOG_LINE_MAX + 300];
    for (size_t cut = 0; cut < 12; cut++) {
        memset(long_text, 'x', sizeof long_text);
        long_text[sizeof long_text - 1] = '\0';
        for (size_t i = RB_LOG_LINE_MAX - 200 - cut; i < sizeof long_text - 1; i++)
            long_text[i] = '\x01';
        capture(RB_LOG_JSON, RB_LOG_INFO);
        rb_log_info("long", RB_S("text", long_text), RB_S("after", "y"), RB_I("n", 1));
        const char *text = captured();
        assert_true(strlen(text) <= RB_LOG_LINE_MAX);
        json_error_t error;
        json_t *line = json_loads(text, 0, &error);
        assert_non_null(line);
        json_decref(line);
    }
}

static void *write_many(void *data)
{
    for (int i = 0; i < 100; i++)
        rb_log_info("line", RB_S("thread", data), RB_I("i", i));
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    capture(RB_LOG_JSON, RB_LOG_INFO);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, "abcd"), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    int count = 0;
    char *rest = strdup(captured());
    for (char *line, *next = rest; (line = strsep(&next, "\n")) != NULL && *line != '\0'; count++) {
        json_error_t error;
        json_t *json = json_loads(line, 0, &error);
        assert_non_null(json);
        json_decref(json);
    }
    free(rest);
    assert_int_equal(count, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
