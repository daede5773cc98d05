/* What the tests of api/ share: JSON written with ' for ", and the writer's text as a tree. */
#ifndef RB_TESTS_API_SUPPORT_H
#define RB_TESTS_API_SUPPORT_H

#include "api/body.h"
#include "api/decode.h"
#include "api/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The JSON of text with each ' read as "; new reference. */
static inline json_t *json_of(const char *text)
{
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *c = copy; *c != '\0'; c++)
        if (*c == '\'')
            *c = '"';
    json_t *json = NULL;
    struct rb_error err = {0};
    if (rb_body_parse(copy, strlen(copy), 1 << 20, &json, &err) != RB_OK)
        fail_msg("%s\nin %s", err.detail, copy);
    free(copy);
    return json;
}

/* What w wrote; free it. */
static inline char *text_of(struct rb_json *w)
{
    char *text = NULL;
    struct rb_error err = {0};
    assert_int_equal(rb_json_finish(w, &text, NULL, &err), RB_OK);
    return text;
}

/* What w wrote, read back: fails when that is not JSON. New reference. */
static inline json_t *tree_of(struct rb_json *w)
{
    char *text = text_of(w);
    json_error_t why;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (json == NULL)
        fail_msg("%s at %d in %s", why.text, why.position, text);
    free(text);
    return json;
}

/* json is as expected (with ' for "); prints both if not. Takes json. */
static inline void assert_tree(json_t *json, const char *expected_text)
{
    json_t *expected = json_of(expected_text);
    if (!json_equal(json, expected)) {
        char *found = json_dumps(json, JSON_ENCODE_ANY | JSON_SORT_KEYS);
        char *wanted = json_dumps(expected, JSON_ENCODE_ANY | JSON_SORT_KEYS);
        fail_msg("found    %s\nexpected %s", found, wanted);
    }
    json_decref(expected);
    json_decref(json);
}

/* The faults hold one at `pointer` whose detail holds `word`. */
static inline void assert_fault(const struct rb_problems *p, const char *pointer, const char *word,
                                const char *body)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->items[i].pointer, pointer) == 0 && strstr(p->items[i].detail, word) != NULL)
            return;
    for (size_t i = 0; i < p->count; i++)
        print_message("  found %s: %s\n", p->items[i].pointer, p->items[i].detail);
    fail_msg("no fault at %s with \"%s\" for %s", pointer, word, body);
}

#endif
