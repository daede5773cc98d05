#include "server/http/cors.h"

#include "server/http/internal.h"
#include "server/http/reply.h"

#include <string.h>

/* Seconds that a browser may go by the answer. */
#define MAX_AGE "3600"
/* What a page may send, beside what every page may. */
#define REQUEST_HEADERS                                                                            \
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Prefer, "    \
    "Range, Last-Event-ID, Repr-Digest, Content-Digest, X-Request-Id"
void rb_cors_begin(struct rb_request *r)
{
    const struct rb_strings *allowed = &r->http->server->settings->allowed_origins;
    const char *origin = rb_request_header(r, MHD_HTTP_HEADER_ORIGIN);
    for (size_t i = 0; origin != NULL && i < allowed->count; i++)
        if (strcasecmp(allowed->items[i], origin) == 0)
            r->page_origin = origin;
}

bool rb_cors_is_preflight(const struct rb_request *r)
{
    return strcmp(r->method_text, MHD_HTTP_METHOD_OPTIONS) == 0 &&
           rb_request_header(r, MHD_HTTP_HEADER_ORIGIN) != NULL &&
           rb_request_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_REQUEST_METHOD) != NULL;
}

enum rb_status rb_cors_answer(struct rb_request *r, const char *allow, struct rb_error *err)
{
    if (r->page_origin == NULL)
        return rb_error_at(err, RB_EORIGIN, "Origin",
                           "pages of '%.80s' may not call this service (see --allowed-origins)",
                           rb_request_header(r, MHD_HTTP_HEADER_ORIGIN));
    rb_reply_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_METHODS, "%s", allow);
    rb_reply_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    rb_reply_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    rb_reply_empty(r, MHD_HTTP_NO_CONTENT);
    return RB_OK;
}
