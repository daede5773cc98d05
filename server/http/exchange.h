/* server/http/exchange.h: one request from its first line to its reply's last byte.
 *
 * DESIGN. The states of enum rb_exchange_state, all on the loop thread:
 *
 *      request line            rb_exchange_new
 *          |
 *        LINE                  headers arrive
 *          |                   headers complete: admit.c holds target, host, token, media type,
 *          |                   sizes and query against the route's row
 *          |------ refused, and the client must not send its body ----------------.
 *        BODY                  JSON gathers in memory, a stream goes to the row's  |
 *          |                   rb_body_stream; once a reply is there the rest of   |
 *          |                   the body is thrown away                             |
 *          |------ too much of it: answered past libmicrohttpd (clients.h) --.     |
 *       HANDLED                the row's handler has run. It replied, or     |     |
 *          |                   started something and returned: the request   |     |
 *          |                   is then held, and the reply resumes it        |     |
 *        QUEUED  <-----------------------------------------------------------|-----'
 *          |                   libmicrohttpd sends                           |
 *      completed <-----------------------------------------------------------'
 *                              one line in the log; freed
 *
 * A client that leaves goes from any state to `completed`, by way of `gone`.
 *
 * libmicrohttpd 0.9.75 takes a reply only on two occasions: when headers are complete (and then it
 * drops the connection afterwards), and when the whole body has arrived. So a reply made in between
 * is kept (`response`), what is left of the body is swallowed up to a bound, and the reply goes
 * out in the end, keeping the connection; beyond the bound, or if the body is announced to be
 * longer, it is written past libmicrohttpd and the connection stays open for a while (clients.h). A
 * client that waits for "100 Continue" is refused at once. Nothing is ever queued for a suspended
 * connection.
 */
#ifndef RB_SERVER_HTTP_EXCHANGE_H
#define RB_SERVER_HTTP_EXCHANGE_H

#include "server/http/request.h"

void *rb_exchange_new(void *http, const char *target, struct MHD_Connection *connection);

enum MHD_Result rb_exchange_step(void *http, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload_data,
                                 size_t *upload_bytes, void **request);

void rb_exchange_completed(void *http, struct MHD_Connection *connection, void **request,
                           enum MHD_RequestTerminationCode code);

/* The connection's gate is shut (pump.h): refuses what came past the sound requests, or the body of
 * the one under way. False: that one must be answered first. */
bool rb_exchange_refuse(struct rb_http *http, struct rb_client *client, const struct rb_gate *gate);

/* The connection has gone: ends a request for which libmicrohttpd did not call `completed` (as when
 * it refuses by itself). client may be NULL. */
void rb_exchange_forget(struct rb_client *client);

/* Calls `due` of those whose deadline has passed and drops those whose client hung up. */
void rb_exchanges_tick(struct rb_http *http, uint64_t now_ns);

/* Makes every long poll due and ends every stream. With `all`, drops whatever else waits too. */
void rb_exchanges_stop(struct rb_http *http, bool all);

#endif
