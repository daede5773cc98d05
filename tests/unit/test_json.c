// LINK: core_base
/* Whichever allocation fails, a text is read rightly or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/json.h"

#include <errno.h>
#include <string.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static size_t calls, fail_first, fail_last; /* 0: none fails */

extern void *__libc_malloc(size_t);
void *malloc(size_t bytes)
{
    calls++;
    if (fail_first != 0 && calls >= fail_first && calls <= fail_last) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(bytes);
}

/* Names and values around the sizes at which jansson's buffer grows, the closing quote included. */
static const char text[] =
    "{\"a\": [1, -2.5e3, true, null, \"\\u00e9\"], \"exactly fourteen\": \"fifteen letters\","
    " \"sixteen letters!\": \"a value that is thirty long, no?\","
    " \"bert.encoder.layer.3.attention.output.LayerNorm.weight\": {\"shape\": [128, 128],"
    " \"data_offsets\": [1234567890123, 1234567890124], \"more\": "
    "\"01234567890123456789012345678901"
    "234567890123456789012345678901\"}, \"\xc3\xa9t\xc3\xa9\": "
    "\"0123456789012345678901234567890\"}";

/* Returns whether the load succeeded; calls first to last of it fail. */
static bool load(json_t *expected, size_t first, size_t last)
{
    json_error_t why;
    bool no_memory;
    calls = 0;
    fail_first = first;
    fail_last = last;
    json_t *json = rb_json_load(text, sizeof text - 1, JSON_REJECT_DUPLICATES, &why, &no_memory);
    fail_first = 0;
    assert_true((json == NULL) == no_memory);
    assert_true(json == NULL || json_equal(json, expected));
    json_decref(json);
    return json != NULL;
}

static void test_every_allocation(void **state)
{
    (void)state;
    json_error_t why;
    bool no_memory;
    rb_json_prepare();
    json_t *expected = rb_json_load(text, sizeof text - 1, 0, &why, &no_memory);
    assert_non_null(expected);
    assert_true(load(expected, 0, 0));
    size_t all = calls;
    assert_true(all > 30);
    for (size_t n = 1; n <= all; n++) {
        assert_false(load(expected, n, n));        /* one */
        assert_false(load(expected, n, SIZE_MAX)); /* all from there on */
    }
    assert_true(load(expected, 0, 0));
    json_decref(expected);
}
#else
static void test_every_allocation(void **state)
{
    (void)state;
    skip(); /* the sanitizer's malloc is not to be replaced */
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
