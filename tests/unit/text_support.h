/* What the tests of core/text share: fixture files and the fixture models' tokenizer. */
#ifndef RB_TESTS_UNIT_TEXT_SUPPORT_H
#define RB_TESTS_UNIT_TEXT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/text/packing.h"
#include "core/text/tokenizer_open.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The whole file, NUL-terminated; the caller frees. */
static inline char *read_whole(const char *path, size_t *ret_bytes)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("%s is missing", path);
    fseek(f, 0, SEEK_END);
    long bytes = ftell(f);
    rewind(f);
    char *data = malloc((size_t)bytes + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)bytes, f), bytes);
    data[bytes] = '\0';
    fclose(f);
    *ret_bytes = (size_t)bytes;
    return data;
}

static inline struct rb_tokenizer *open_fixture_tokenizer(const char *model)
{
    char path[512];
    snprintf(path, sizeof path, "%s/models/%s", RB_FIXTURES, model);
    struct rb_tokenizer *t;
    struct rb_error err;
    if (rb_tokenizer_open(path, &t, &err) != RB_OK)
        fail_msg("%s", err.detail);
    return t;
}

static inline void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

static inline double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* The tests' own source of random numbers: the same on every run. */
static inline uint32_t random_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)(rb_mix((*state)++) >> 33) % n;
}

#endif
