// LINK: rb_api
/* Bundles and products: what is written is read again bit for bit; all else is refused in words. */
#include "api/bundle.h"
#include "api/product.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEAD "{\"format\":1,\"version\":\"0.1.0\",\"unit\":\"points\","
#define JOB "\"job\":\"job_019a2c9e-7c1d-7b3e-8f00-1234567890ab\",\"attempt\":3,\"tries\":2,"
#define SPEC "\"spec\":{\"models\":{\"a\":\"x\",\"b\":\"y\"}},"
#define INPUTS                                                                                     \
    "\"inputs\":[{\"role\":\"model_a\",\"name\":\"x\",\"sha256\":\"" SHA "\",\"path\":\"/m/x\"},"  \
    "{\"role\":\"align_dataset\",\"name\":\"t\",\"sha256\":\"" SHA                                 \
    "\",\"path\":\"/t.tsv\",\"format\":\"tsv\",\"text\":\"a\"}],"
#define FLAGS "\"solved\":true,\"learned\":false,\"certified\":true,"
#define TASKS "\"tasks\":[[[\"aligned\",3],[\"control\",3]],[[\"aligned\",0]]],"
#define END "\"merged\":[0.25,0.5]}"

static void test_bundle_goes_and_comes(void **state)
{
    static const char text[] = HEAD JOB SPEC INPUTS FLAGS TASKS END;
    struct rb_bundle b;
    struct rb_error err;
    struct rb_json w;
    char *again;
    (void)state;
    assert_int_equal(rb_bundle_decode(text, sizeof text - 1, &b, &err), RB_OK);
    assert_int_equal(b.unit, RB_UNIT_POINTS);
    assert_int_equal(b.attempt, 3);
    assert_int_equal(b.tries, 2);
    assert_int_equal(b.tasks, 2);
    assert_int_equal(b.point_count, 3);
    assert_int_equal(b.points[1].curve, RB_CURVE_CONTROL);
    assert_int_equal(b.points[2].task, 1);
    assert_true(b.inputs[0].is_model && !b.inputs[1].is_model);
    rb_json_init(&w);
    rb_bundle_encode(&w, NULL, &b);
    assert_int_equal(rb_json_finish(&w, &again, NULL, &err), RB_OK);
    assert_string_equal(again, text);
    free(again);
    rb_bundle_deinit(&b);
}

static void test_bundles_that_are_none(void **state)
{
    static const char *const rows[] = {
        "",
        "[]",
        "{}",
        "{\"format\":2}",
        HEAD JOB SPEC INPUTS FLAGS TASKS "\"merged\":[2]}",
        HEAD JOB SPEC INPUTS FLAGS TASKS "\"merged\":[],\"more\":1}",
        HEAD JOB SPEC INPUTS FLAGS "\"tasks\":[]," END,
        HEAD JOB SPEC INPUTS FLAGS "\"tasks\":[[[\"aligned\",-1]]]," END,
        HEAD JOB SPEC INPUTS FLAGS "\"tasks\":[[[\"aligned\",1001]]]," END,
        HEAD JOB SPEC INPUTS FLAGS "\"tasks\":[[[\"best\",1]]]," END,
        HEAD JOB SPEC INPUTS FLAGS "\"tasks\":[[[\"aligned\"]]]," END,
        HEAD JOB SPEC INPUTS FLAGS "\"tasks\":7," END,
        HEAD JOB SPEC "\"inputs\":[]," FLAGS TASKS END,
        HEAD JOB SPEC
        "\"inputs\":[{\"role\":\"model_a\",\"name\":\"x\",\"sha256\":\"1\"}]," FLAGS TASKS END,
        HEAD JOB "\"spec\":\"x\"," INPUTS FLAGS TASKS END,
        HEAD "\"job\":\"../x\",\"attempt\":3," SPEC INPUTS FLAGS TASKS END,
        "{\"format\":1,\"version\":\"0.1.0\",\"unit\":\"all\"," JOB SPEC INPUTS FLAGS TASKS END,
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rb_bundle b;
        struct rb_error err = {.detail = ""};
        if (rb_bundle_decode(rows[i], strlen(rows[i]), &b, &err) == RB_OK)
            fail_msg("row %zu is taken", i);
        assert_true(err.detail[0] != '\0');
    }
}

static void test_points_keep_their_bits(void **state)
{
    struct rb_block blocks[2] = {{0.1 + 0.2, 1.0 / 3, 17}, {-1e-300, 0, 1}};
    struct rb_product_point p = {
        .curve = RB_CURVE_CONTROL, .index = 7, .blocks = blocks, .block_count = 2};
    struct rb_product_point q;
    struct rb_error err;
    struct rb_json w;
    char *text;
    size_t bytes;
    (void)state;
    p.point = (struct rb_point){.lambda = 0.1, .loss = 2.0 / 3, .standard_error = 1e-17};
    for (int m = 0; m < RB_METRIC_COUNT; m++)
        p.point.metrics[m] = m == 0 ? 1.0 / 7 : (double)NAN;
    rb_json_init(&w);
    rb_product_point_encode(&w, NULL, &p);
    assert_int_equal(rb_json_finish(&w, &text, &bytes, &err), RB_OK);
    assert_int_equal(rb_product_point_decode(text, bytes, &q, &err), RB_OK);
    assert_int_equal(q.curve, p.curve);
    assert_int_equal(q.index, 7);
    assert_memory_equal(&q.point.loss, &p.point.loss, sizeof(double));
    assert_memory_equal(&q.point.standard_error, &p.point.standard_error, sizeof(double));
    assert_memory_equal(&q.point.metrics[0], &p.point.metrics[0], sizeof(double));
    assert_true(isnan(q.point.metrics[1]));
    assert_int_equal(q.block_count, 2);
    assert_memory_equal(q.blocks, blocks, sizeof blocks);
    rb_product_point_deinit(&q);
    text[bytes - 1] = ' ';
    assert_int_equal(rb_product_point_decode(text, bytes, &q, &err), RB_EJSON);
    free(text);
}

static void test_outcomes(void **state)
{
    struct rb_outcome o, q;
    struct rb_error err;
    static const char ok[] = "{\"job_failed\":false,\"code\":\"ok\",\"detail\":\"\"}";
    static const char own[] = "{\"job_failed\":true,\"code\":\"conflict\",\"detail\":\"changed\"}";
    static const char odd[] = "{\"job_failed\":true,\"code\":\"no such\",\"detail\":\"?\"}";
    (void)state;
    assert_int_equal(rb_outcome_decode(ok, sizeof ok - 1, &o, &err), RB_OK);
    assert_int_equal(o.status, RB_OK);
    assert_int_equal(rb_outcome_decode(own, sizeof own - 1, &q, &err), RB_OK);
    assert_true(q.job_failed && q.status == RB_ECONFLICT);
    assert_int_equal(rb_outcome_decode(odd, sizeof odd - 1, &q, &err), RB_OK);
    assert_int_equal(q.status, RB_EINTERNAL);
    assert_int_equal(rb_outcome_decode("{}", 2, &q, &err), RB_EINPUT);
    assert_string_equal(o.warning, "");
    struct rb_outcome warns = {.warning = "learning starts anew"};
    struct rb_json w;
    char *text;
    size_t bytes;
    rb_json_init(&w);
    rb_outcome_encode(&w, NULL, &warns);
    assert_int_equal(rb_json_finish(&w, &text, &bytes, &err), RB_OK);
    rb_json_deinit(&w);
    assert_int_equal(rb_outcome_decode(text, bytes, &q, &err), RB_OK);
    assert_string_equal(q.warning, warns.warning);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bundle_goes_and_comes),
        cmocka_unit_test(test_bundles_that_are_none),
        cmocka_unit_test(test_points_keep_their_bits),
        cmocka_unit_test(test_outcomes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
