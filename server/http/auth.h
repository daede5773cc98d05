/* server/http/auth.h: who asks, from where, and may they.
 *
 * Host: a browser can be made to send requests here under a foreign name (DNS rebinding), so the
 * Host header must name the listen address, localhost or a loopback address, an entry of
 * --allowed-hosts, or, when listening on every address, any numeric address (which cannot be
 * rebound). Origin: an unsafe method that carries an Origin (or Sec-Fetch-Site) must come from the
 * service's own pages or --allowed-origins. Tokens: only in the Authorization header; once any
 * token exists, every route but the open ones needs one. X-Forwarded-For and X-Forwarded-Host are
 * believed from --trusted-proxies only.
 *
 * Loop thread only. */
#ifndef RB_SERVER_HTTP_AUTH_H
#define RB_SERVER_HTTP_AUTH_H

#include "api/status.h"

struct rb_request;

/* Fills r->who.address. */
void rb_auth_address(struct rb_request *r);
/* RB_EHOST, RB_EHEADER (absent or malformed). */
enum rb_status rb_auth_host(struct rb_request *r, struct rb_error *err) RB_MUST_CHECK;
/* For methods other than GET and HEAD. RB_EORIGIN. */
enum rb_status rb_auth_origin(struct rb_request *r, struct rb_error *err) RB_MUST_CHECK;
/* Fills r->who.token and scopes. RB_EAUTH (then WWW-Authenticate is set), RB_ESCOPE. */
enum rb_status rb_auth_token(struct rb_request *r, struct rb_error *err) RB_MUST_CHECK;

/* For tests: is host (lower case, no port) one that may be named? */
struct rb_settings;
bool rb_host_allowed(const struct rb_settings *settings, const char *host);

#endif
