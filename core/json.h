/* core/json.h: jansson's parser, which does not look whether its own buffers could grow: out of
 * memory it may give a value with characters left out, or say "invalid token". */
#ifndef RB_CORE_JSON_H
#define RB_CORE_JSON_H

#include <jansson.h>
#include <stdbool.h>

/* Seeds jansson's tables, and has it allocate through here so that rb_json_load knows of a failure.
 * Once, before there are threads. */
void rb_json_prepare(void);

/* json_loadb, but NULL with *ret_no_memory set if anything could not be allocated for it. Any
 * thread. */
json_t *rb_json_load(const char *text, size_t bytes, size_t flags, json_error_t *ret_why,
                     bool *ret_no_memory);

#endif
