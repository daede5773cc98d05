/* core/json.h: jansson's parser made safe for want of memory: by itself it may then give a value
 * with characters left out, write past a buffer, or say "invalid token". */
#ifndef RB_CORE_JSON_H
#define RB_CORE_JSON_H

#include <jansson.h>
#include <stdbool.h>

/* Seeds jansson's tables, and has it allocate through here, which rb_json_load needs for what it
 * promises. Once, before there are threads. */
void rb_json_prepare(void);

/* json_loadb, but NULL with *ret_no_memory set if anything could not be allocated for it. Any
 * thread. */
json_t *rb_json_load(const char *text, size_t bytes, size_t flags, json_error_t *ret_why,
                     bool *ret_no_memory);

#endif
