/* api/body.h: bytes to JSON. */
#ifndef RB_API_BODY_H
#define RB_API_BODY_H

#include "api/status.h"

#include <jansson.h>

enum { RB_BODY_MAX_DEPTH = 32 };

/* Parses a body that must be one JSON value. Duplicate keys, nesting over RB_BODY_MAX_DEPTH,
 * numbers that no double holds, invalid UTF-8 and trailing bytes are refused.
 * RB_EJSON with line and column (1-based, column in characters), RB_ETOOLARGE over max_bytes,
 * RB_ENOMEM. *ret: new reference, json_decref. The target of fuzzing. */
enum rb_status rb_body_parse(const char *text, size_t bytes, size_t max_bytes, json_t **ret,
                             struct rb_error *err) RB_MUST_CHECK;

#endif
