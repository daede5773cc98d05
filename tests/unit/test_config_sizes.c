// LINK: core_model
/* A size of a config is an integer from 1 to its maximum, both included. */
#include "unit/numbers.h"

#include "core/model/config.h"

#include <stdio.h>

static enum rb_status read(const char *value, uint32_t most, uint32_t fallback, uint32_t *ret,
                           struct rb_error *err)
{
    const struct rb_config_size row = {"size", most, fallback,
                                       offsetof(struct rb_config, hidden_size)};
    struct rb_config config = {0};
    char text[80];
    (void)snprintf(text, sizeof text, value != NULL ? "{\"size\": %s}" : "{}", value);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    enum rb_status s = rb_config_read_sizes("m", json, &row, 1, &config, err);
    *ret = config.hidden_size;
    json_decref(json);
    return s;
}

static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint32_t most, fallback, expected; /* expected 0: refused */
    } rows[] = {
        {"1", 1, 0, 1},
        {"1024", RB_LAYERS_MAX, 0, RB_LAYERS_MAX},
        {"1025", RB_LAYERS_MAX, 0, 0},
        {"16777216", RB_SIZE_MAX, 0, RB_SIZE_MAX},
        {"16777217", RB_SIZE_MAX, 0, 0},
        {"65536", RB_CLASSES_MAX, 0, RB_CLASSES_MAX},
        {"65537", RB_CLASSES_MAX, 0, 0},
        {"1", RB_SIZE_MAX, 7, 1},
        {"0", RB_SIZE_MAX, 7, 0},
        {"-1", RB_SIZE_MAX, 7, 0},
        {"4294967297", RB_SIZE_MAX, 0, 0},
        {"9223372036854775807", RB_SIZE_MAX, 0, 0},
        {"12.0", RB_SIZE_MAX, 0, 0},
        {"\"12\"", RB_SIZE_MAX, 0, 0},
        {"null", RB_SIZE_MAX, 7, 0},
        {"true", RB_SIZE_MAX, 0, 0},
        {NULL, RB_SIZE_MAX, 7, 7},
        {NULL, RB_SIZE_MAX, 0, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rb_error err;
        uint32_t found = 0;
        enum rb_status s = read(rows[i].value, rows[i].most, rows[i].fallback, &found, &err);
        if (s != (rows[i].expected > 0 ? RB_OK : RB_ECONFIG))
            fail_msg("%s, at most %u: %s", rows[i].value, rows[i].most, rb_status_code(s));
        if (s == RB_OK)
            assert_int_equal(found, rows[i].expected);
        else
            assert_string_equal(err.pointer, "size");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
