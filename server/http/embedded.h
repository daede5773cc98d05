/* server/http/embedded.h: files that are part of the binary: openapi.yaml, openapi.json and what
 * lies in server/dashboard/. Made at build time by cmake/embed_files.cmake. */
#ifndef RB_SERVER_HTTP_EMBEDDED_H
#define RB_SERVER_HTTP_EMBEDDED_H

#include <stddef.h>

struct rb_embedded {
    const char *name; /* "openapi.yaml", "dashboard/index.html" */
    const unsigned char *bytes;
    size_t count;
};

extern const struct rb_embedded rb_embedded_files[];
extern const size_t rb_embedded_count;

#endif
