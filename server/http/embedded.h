/* server/http/embedded.h: files that are part of the binary: openapi.yaml, openapi.json and the
 * dashboard. The table is made at build time by cmake/embed_files.cmake. */
#ifndef RB_SERVER_HTTP_EMBEDDED_H
#define RB_SERVER_HTTP_EMBEDDED_H

#include <stddef.h>

struct rb_request;

struct rb_embedded {
    const char *name; /* "openapi.yaml", "dashboard/index.html" */
    const char *hash; /* of the bytes, in hex: the ETag */
    const unsigned char *bytes, *gzip;
    size_t count, gzip_count;
};

extern const struct rb_embedded rb_embedded_files[];
extern const size_t rb_embedded_count;

/* NULL: this binary was built without it. Any thread. */
const struct rb_embedded *rb_embedded_find(const char *name);

/* Replies with the file, compressed if the client takes that; file NULL: 404. Headers set before go
 * with it. Loop thread only. */
void rb_reply_embedded(struct rb_request *r, const struct rb_embedded *file,
                       const char *media_type);

#endif
