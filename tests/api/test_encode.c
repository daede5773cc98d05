// LINK: rb_api
#include "tests/api/api_support.h"

#include <math.h>

static void test_numbers_in_fewest_digits(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0.05, "0.05"}, {3.0 / 20, "0.15"}, {0.1 + 0.2, "0.30000000000000004"}, {1, "1"},
        {-0.0, "0"},    {1e-7, "1e-07"},    {1.0 / 3, "0.3333333333333333"},    {1e300, "1e+300"},
        {NAN, "null"},  {INFINITY, "null"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[RB_NUMBER_SIZE];
        size_t n = rb_number_format(rows[i].value, text);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(n, strlen(rows[i].text));
    }
    /* Every lambda of every grid reads back to the same bits. */
    for (int points = 2; points <= 1001; points += 37)
        for (int i = 0; i < points; i++) {
            double lambda = (double)i / (points - 1);
            char text[RB_NUMBER_SIZE];
            (void)rb_number_format(lambda, text);
            assert_true(strtod(text, NULL) == lambda);
        }
}

static void test_values_and_nesting(void **state)
{
    (void)state;
    struct rb_json w;
    rb_json_init(&w);
    rb_json_object(&w, NULL);
    rb_json_array(&w, "a");
    rb_json_end(&w);
    rb_json_object(&w, "o");
    rb_json_int(&w, "i", -7);
    rb_json_uint(&w, "u", UINT64_MAX);
    rb_json_end(&w);
    rb_json_array(&w, "v");
    rb_json_bool(&w, NULL, true);
    rb_json_null(&w, NULL);
    rb_json_float(&w, NULL, 0.1f);
    rb_json_float(&w, NULL, NAN);
    rb_json_number(&w, NULL, 2.5);
    rb_json_end(&w);
    rb_json_raw(&w, "r", "{\"x\":1}");
    rb_json_raw(&w, "n", NULL);
    rb_json_string(&w, "s", NULL);
    rb_json_text_or_null(&w, "e", "");
    rb_json_time(&w, "t", 0);
    rb_json_time(&w, "never", -1);
    rb_json_end(&w);
    char *text = text_of(&w);
    assert_string_equal(text, "{\"a\":[],\"o\":{\"i\":-7,\"u\":18446744073709551615},"
                              "\"v\":[true,null,0.1,null,2.5],\"r\":{\"x\":1},\"n\":null,"
                              "\"s\":null,\"e\":null,\"t\":\"1970-01-01T00:00:00.000Z\","
                              "\"never\":null}");
    free(text);
    rb_json_deinit(&w);
}

static void test_strings_are_escaped(void **state)
{
    (void)state;
    struct rb_json w;
    rb_json_init(&w);
    rb_json_string(&w, NULL, "q\" b\\ n\n t\t \x01 \x7f é 漢 😀");
    char *text = text_of(&w);
    assert_string_equal(text, "\"q\\\" b\\\\ n\\n t\\t \\u0001 \x7f é 漢 😀\"");
    free(text);
}

/* What is not UTF-8 becomes U+FFFD, byte by byte, and the answer stays JSON. */
static void test_invalid_utf8_is_replaced(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xf0\x9f\x98",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char sample[16];
        (void)snprintf(sample, sizeof sample, "a%sb", bad[i]);
        struct rb_json w;
        rb_json_init(&w);
        rb_json_string(&w, NULL, sample);
        json_t *json = tree_of(&w);
        assert_non_null(strstr(json_string_value(json), "\xef\xbf\xbd"));
        json_decref(json);
    }
}

static void test_long_documents_grow(void **state)
{
    (void)state;
    struct rb_json w;
    rb_json_init(&w);
    rb_json_array(&w, NULL);
    for (int i = 0; i < 100000; i++)
        rb_json_int(&w, NULL, i);
    rb_json_end(&w);
    json_t *json = tree_of(&w);
    assert_int_equal(json_array_size(json), 100000);
    assert_int_equal(json_integer_value(json_array_get(json, 99999)), 99999);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_in_fewest_digits),
        cmocka_unit_test(test_values_and_nesting),
        cmocka_unit_test(test_strings_are_escaped),
        cmocka_unit_test(test_invalid_utf8_is_replaced),
        cmocka_unit_test(test_long_documents_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
