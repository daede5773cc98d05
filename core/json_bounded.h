/* core/json_bounded.h: how far a JSON value reaches, before a parser is let at it; and JSON files
 * that strangers wrote.
 *
 * A hostile text of 100 MB can make a JSON parser recurse deeply or allocate gigabytes. Brackets
 * and strings alone tell the extent, the depth and about how many values there are, in one pass
 * without memory. Whether it is JSON at all is for the parser to say. */
#ifndef RB_CORE_JSON_BOUNDED_H
#define RB_CORE_JSON_BOUNDED_H

#include "core/status.h"

#include <jansson.h>

struct rb_json_span {
    size_t bytes;  /* 0: the value does not end within the text */
    size_t depth;  /* brackets open at once: 1 for {}, 2 for {"a":[]} */
    size_t values; /* opening brackets and commas: at least the number of values */
};

/* The bytes of the string literal at text[0] == '"', quotes included; 0 if it does not end. */
size_t rb_json_string_span(const char *text, size_t n);
/* Of the object or array at text[0], which is '{' or '['. */
struct rb_json_span rb_json_span(const char *text, size_t n);

/* Bounds for rb_json_file. */
struct rb_json_limits {
    size_t bytes, depth, values;
};

/* Reads the regular file at path, which must hold one JSON object within the limits, without
 * duplicate keys. Errors begin with the path: `status` for a text that is not so, RB_ENOTFOUND,
 * RB_EIO, RB_ENOMEM. Returns a new reference. */
enum rb_status rb_json_file(const char *path, struct rb_json_limits limits, enum rb_status status,
                            json_t **ret, struct rb_error *err) RB_MUST_CHECK;

#endif
