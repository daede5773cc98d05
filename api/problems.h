/* api/problems.h: what is wrong with an input, and the words for it. Pure functions; any
 * thread. */
#ifndef RB_API_PROBLEMS_H
#define RB_API_PROBLEMS_H

#include "api/status.h"

#include <jansson.h>
#include <stdint.h>

enum { RB_PROBLEMS_MAX = 16 };

struct rb_fault {
    char pointer[160]; /* RFC 6901, "" for the whole body */
    char detail[512];  /* UTF-8 */
};

/* Zero-initialise. */
struct rb_problems {
    size_t count; /* of items */
    size_t found; /* all that were found; may exceed count */
    bool out_of_memory;
    struct rb_fault items[RB_PROBLEMS_MAX];
};

/* Adds one; the 17th and later are only counted. */
void rb_problems_add(struct rb_problems *p, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The list as a status: RB_OK if empty, RB_ENOMEM, else RB_EINPUT with the first fault's pointer
 * and detail in err (and how many more there are). */
enum rb_status rb_problems_status(const struct rb_problems *p, struct rb_error *err) RB_MUST_CHECK;

/* Looks a string up; -1 if it is not among names. For query parameters and the store. */
int rb_enum_find(const char *const *names, const char *name);

/* "a, b, c" into buffer. */
void rb_enum_list(const char *const *names, char *buffer, size_t size);

/* The name that `found` probably meant: at most a third of it mistyped. NULL if none. */
const char *rb_enum_nearest(const char *const *names, const char *found);

/* "expected one of a, b, c, found \"x\"; did you mean \"b\"?" into buffer; for query parameters. */
void rb_enum_describe(const char *const *names, const char *found, char *buffer, size_t size);

/* Appends "/token" to pointer (size bytes), escaped by RFC 6901; cut at a character if too long. */
void rb_pointer_append(char *pointer, size_t size, const char *token);
void rb_pointer_append_index(char *pointer, size_t size, size_t index);

/* A character of text (UTF-8) that would not be seen, or would turn its surroundings around, in a
 * log or a terminal: control characters (C0, DEL, C1), line and paragraph separators, overrides and
 * isolates of direction. False if there is none; else *ret is it and *ret_at its number from 1. */
bool rb_text_hidden(const char *text, size_t bytes, uint32_t *ret, size_t *ret_at);

/* What a value is, for messages: `"x"`, `7`, `null`, `an object`; long strings are cut. */
void rb_json_describe(const json_t *json, char *buffer, size_t size);

#endif
