#include "server/http/embedded.h"

#include "server/http/headers.h"
#include "server/http/reply.h"
#include "server/http/request.h"

#include <string.h>

const struct rb_embedded *rb_embedded_find(const char *name)
{
    for (size_t i = 0; i < rb_embedded_count; i++)
        if (strcmp(rb_embedded_files[i].name, name) == 0)
            return &rb_embedded_files[i];
    return NULL;
}

void rb_reply_embedded(struct rb_request *r, const struct rb_embedded *file, const char *media_type)
{
    if (file == NULL) {
        rb_reply_fail(r, RB_ENOTFOUND, "this binary was built without that file");
        return;
    }
    bool gzip = rb_gzip_accepted(rb_request_header(r, MHD_HTTP_HEADER_ACCEPT_ENCODING));
    rb_reply_header(r, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    /* The two forms are two representations (RFC 9110, 8.8.3.3). */
    rb_reply_etag(r, "\"%s%s\"", file->hash, gzip ? "-gzip" : "");
    if (rb_reply_not_modified(r))
        return;
    if (gzip) {
        rb_reply_header(r, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
        rb_reply_static(r, MHD_HTTP_OK, media_type, file->gzip, file->gzip_count);
    } else {
        rb_reply_static(r, MHD_HTTP_OK, media_type, file->bytes, file->count);
    }
}
