// LINK: server_base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *render(const struct rb_metrics *m)
{
    char *text;
    size_t bytes;
    struct rb_error err;
    assert_int_equal(rb_metrics_render(m, &text, &bytes, &err), RB_OK);
    assert_int_equal(strlen(text), bytes);
    return text;
}

static void assert_line(const char *text, const char *line)
{
    const char *found = strstr(text, line);
    size_t length = strlen(line);
    if (found == NULL || (found != text && found[-1] != '\n') || found[length] != '\n')
        fail_msg("no line \"%s\" in\n%s", line, text);
}

static void test_kinds(void **state)
{
    (void)state;
    struct rb_metrics *m = rb_metrics_new();
    rb_metrics_add(m, RB_METER_REQUESTS, 1, "/v1/jobs", "200");
    rb_metrics_add(m, RB_METER_REQUESTS, 2, "/v1/jobs", "404");
    rb_metrics_add(m, RB_METER_REQUESTS, 1, "/v1/jobs", "200");
    rb_metrics_set(m, RB_METER_QUEUE_DEPTH, 7, NULL, NULL);
    rb_metrics_set(m, RB_METER_QUEUE_DEPTH, 5, NULL, NULL);
    rb_metrics_set(m, RB_METER_BUILD, 1, "a\"b\\c\nd", NULL);
    rb_metrics_observe(m, RB_METER_REQUEST_SECONDS, 0.0005, "/v1/jobs"); /* on the bound */
    rb_metrics_observe(m, RB_METER_REQUEST_SECONDS, 0.3, "/v1/jobs");
    rb_metrics_observe(m, RB_METER_REQUEST_SECONDS, 99, "/v1/jobs");
    char *text = render(m);
    assert_line(text, "# TYPE rebasind_http_requests_total counter");
    assert_line(text, "rebasind_http_requests_total{route=\"/v1/jobs\",status=\"200\"} 2");
    assert_line(text, "rebasind_http_requests_total{route=\"/v1/jobs\",status=\"404\"} 2");
    assert_line(text, "rebasind_queue_depth 5");
    assert_line(text, "# HELP rebasind_queue_depth Jobs that wait");
    assert_line(text, "rebasind_build_info{version=\"a\\\"b\\\\c\\nd\"} 1");
    assert_line(
        text, "rebasind_http_request_duration_seconds_bucket{route=\"/v1/jobs\",le=\"0.0005\"} 1");
    assert_line(text,
                "rebasind_http_request_duration_seconds_bucket{route=\"/v1/jobs\",le=\"0.25\"} 1");
    assert_line(text,
                "rebasind_http_request_duration_seconds_bucket{route=\"/v1/jobs\",le=\"0.5\"} 2");
    assert_line(text,
                "rebasind_http_request_duration_seconds_bucket{route=\"/v1/jobs\",le=\"+Inf\"} 3");
    assert_line(text, "rebasind_http_request_duration_seconds_count{route=\"/v1/jobs\"} 3");
    assert_line(text,
                "rebasind_loop_lag_seconds_count 0"); /* without labels: there from the start */
    free(text);
    assert_true(rb_metrics_get(m, RB_METER_REQUEST_SECONDS, "/v1/jobs", NULL) == 3);
    assert_true(rb_metrics_get(m, RB_METER_REQUESTS, "/v1/jobs", "404") == 2);
    assert_true(rb_metrics_get(m, RB_METER_REQUESTS, "/nowhere", "404") == 0);
    rb_metrics_free(m);
}

/* However many label values come, memory stays bounded and nothing is lost from the sum. */
static void test_series_limit(void **state)
{
    (void)state;
    struct rb_metrics *m = rb_metrics_new();
    for (int i = 0; i < 3 * RB_METRICS_SERIES_MAX; i++) {
        char route[32];
        (void)snprintf(route, sizeof route, "/%d", i);
        rb_metrics_add(m, RB_METER_REQUESTS, 1, route, "200");
    }
    assert_true(rb_metrics_get(m, RB_METER_REQUESTS, "other", "other") ==
                2 * RB_METRICS_SERIES_MAX + 1);
    assert_true(rb_metrics_get(m, RB_METER_REQUESTS, "/1022", "200") == 1);
    rb_metrics_free(m);
}

static void test_process(void **state)
{
    (void)state;
    struct rb_metrics *m = rb_metrics_new();
    rb_metrics_collect_process(m);
    assert_true(rb_metrics_get(m, RB_METER_RESIDENT, NULL, NULL) > 100000);
    assert_true(rb_metrics_get(m, RB_METER_OPEN_FILES, NULL, NULL) >= 3);
    rb_metrics_free(m);
    rb_metrics_add(NULL, RB_METER_POOL_ITEMS, 1, NULL, NULL);
    assert_true(rb_metrics_get(NULL, RB_METER_POOL_ITEMS, NULL, NULL) == 0);
    rb_metrics_free(NULL);
}

/* Every line is a comment or a sample, and each family has HELP and TYPE before its samples. */
static void test_shape(void **state)
{
    (void)state;
    struct rb_metrics *m = rb_metrics_new();
    char *text = render(m), family[128] = "";
    for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
        char name[128], kind[32];
        double value;
        if (sscanf(line, "# HELP %127s", name) == 1) {
            strcpy(family, name);
        } else if (sscanf(line, "# TYPE %127s %31s", name, kind) == 2) {
            assert_string_equal(name, family);
            bool total = strcmp(name + strlen(name) - 6, "_total") == 0;
            assert_int_equal(strcmp(kind, "counter") == 0, total);
        } else {
            assert_int_equal(strncmp(line, family, strlen(family)), 0);
            assert_int_equal(sscanf(strrchr(line, ' '), " %lf", &value), 1);
        }
    }
    free(text);
    rb_metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_series_limit),
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
