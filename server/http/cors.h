/* server/http/cors.h: what a browser must be told before a page of another origin may call
 * (Fetch, 3.2). The origins are those of --allowed-origins; without any of them nothing here is
 * ever said. Tokens are sent by the page itself, in the Authorization header: no cookies, so no
 * Access-Control-Allow-Credentials. What each reply to a page must have, reply.c adds. Loop thread
 * only. */
#ifndef RB_SERVER_HTTP_CORS_H
#define RB_SERVER_HTTP_CORS_H

#include "api/status.h"

#include <stdbool.h>

struct rb_request;

/* Finds r->page_origin, if the request is one of a page that may call. Once its headers are there.
 */
void rb_cors_begin(struct rb_request *r);
/* Is it the question that a browser asks before the request itself (OPTIONS)? */
bool rb_cors_is_preflight(const struct rb_request *r);
/* Answers it with 204; allow: the methods of its path, "GET, HEAD, POST". RB_EORIGIN for a page
 * that may not call: no reply has been made. */
enum rb_status rb_cors_answer(struct rb_request *r, const char *allow,
                              struct rb_error *err) RB_MUST_CHECK;

#endif
