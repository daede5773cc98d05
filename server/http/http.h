/* server/http/http.h: the HTTP side of the daemon, as cmd_serve.c sees it.
 *
 * rb_http_open makes the listening socket (or takes the one that systemd passed), the pump and the
 * tables; from then on requests are served whenever the loop runs. Loop thread only. */
#ifndef RB_SERVER_HTTP_HTTP_H
#define RB_SERVER_HTTP_HTTP_H

#include "api/status.h"

struct rb_server;
struct rb_work;
struct rb_http;

/* server and work are borrowed; server->http is set. The caller owns *ret: rb_http_close.
 * RB_EUSAGE for an address that cannot be listened on (err names it), RB_ENOMEM, RB_EFILES. */
enum rb_status rb_http_open(struct rb_server *server, struct rb_work *work, struct rb_http **ret,
                            struct rb_error *err) RB_MUST_CHECK;
/* "http://127.0.0.1:8686/merge/", with the port that the kernel chose if it was 0. */
const char *rb_http_url(const struct rb_http *http);

/* Ends long polls and streams and answers 503 to what would start work; other requests, readyz
 * above all, are still served. */
void rb_http_drain(struct rb_http *http);
/* Requests under way, replies not fully sent included. */
unsigned rb_http_active(const struct rb_http *http);
/* Stops listening, drops what is left, and frees once the loop has turned. What runs on the pool
 * for a dropped request goes on, and forgets it. http may be NULL. */
void rb_http_close(struct rb_http *http);

#endif
