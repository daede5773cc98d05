/* api/links.h: `links` of a body: absolute paths, with the service's prefix, so that RFC 3986
 * resolves them against whatever the body was read from. */
#ifndef RB_API_LINKS_H
#define RB_API_LINKS_H

#include "api/encode.h"

/* What stands in front of every path: --route-prefix ("/merge"), or "". Borrowed for good; once,
 * before anything is written. */
void rb_links_begin_with(const char *prefix);
/* format makes a path from the service's root on ("/v1/jobs/x"). */
void rb_links_encode(struct rb_json *w, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
