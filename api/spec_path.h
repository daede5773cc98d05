/* api/spec_path.h: a member of a spec by its way from the root ("align.heads"): what a sweep's grid
 * and `run --set` name. Pure. */
#ifndef RB_API_SPEC_PATH_H
#define RB_API_SPEC_PATH_H

#include <jansson.h>
#include <stdbool.h>

enum { RB_SPEC_PATH_MAX = 64 }; /* characters */

/* Words of a-z, 0-9 and _, with dots between; at most RB_SPEC_PATH_MAX characters. */
bool rb_spec_path_valid(const char *path);
/* Sets that member of the spec; objects on the way that are not there are made. False: no memory,
 * or something else than an object is in the way. Takes nothing: value is the caller's. */
bool rb_spec_path_set(json_t *spec, const char *path, json_t *value);

#endif
