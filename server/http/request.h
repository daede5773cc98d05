/* server/http/request.h: one request, as its handler sees it. How it gets there, and how its reply
 * leaves, stands in exchange.h; the replies are in reply.h.
 *
 * Whoever makes a request wait must be able to let go: `gone` is called when the client has left,
 * the daemon stops, or somebody else has replied (413 in the middle of an upload), once, before the
 * request is freed; what still runs for the request must then forget it. Who replies himself clears
 * it first. Loop thread only. */
#ifndef RB_SERVER_HTTP_REQUEST_H
#define RB_SERVER_HTTP_REQUEST_H

#include "server/http/route.h"
#include "server/http/router.h"
#include "server/store/token_file.h"

#include <jansson.h>
#include <microhttpd.h>
#include <stdint.h>

struct rb_http;
struct rb_client;
struct rb_gate;
struct rb_server;
struct rb_work;

enum {
    RB_REQUEST_ID_MAX = 64,                 /* of one that the client chose */
    RB_REQUEST_HEADERS_MAX = 24,            /* headers that a handler may add to its reply */
    RB_REQUEST_SWALLOW_BYTES = 1024 * 1024, /* of a refused body */
    RB_REQUEST_LINE_LOGGED = 512            /* bytes of the target */
};

/* Drawn in exchange.h. */
enum rb_exchange_state {
    RB_EXCHANGE_LINE,
    RB_EXCHANGE_BODY,
    RB_EXCHANGE_HANDLED,
    RB_EXCHANGE_QUEUED
};

struct rb_header {
    const char *name; /* static text */
    char *value;
};

/* Who asks; filled by auth.c. */
struct rb_identity {
    char token[17];               /* id of the token; "" without one */
    char name[RB_SUBMITTER_SIZE]; /* the token's name, its id where it has none; "" without one */
    unsigned scopes;              /* bits of enum rb_scope */
    struct rb_token_limits limits;
    int64_t created_ms, expires_ms; /* of the token; -1: none, never */
    char address[64];               /* of the client, behind trusted proxies too */
};

struct rb_request {
    struct rb_http *http;
    struct rb_client *client; /* NULL once the connection is gone */
    struct MHD_Connection *connection;

    char id[RB_REQUEST_ID_MAX + 1];
    uint64_t started_ns;
    const char *method_text;      /* as sent; valid while headers are */
    const char *version;          /* "HTTP/1.1"; the same */
    unsigned method;              /* of enum rb_method, 0 for unknown ones */
    const struct rb_route *route; /* NULL until found */
    struct rb_target target;
    const char *params[RB_ROUTE_PARAMS_MAX]; /* what stands for the route's {…} */
    struct rb_identity who;
    const char *page_origin; /* of --allowed-origins; NULL: no page that may call (cors.h) */

    /* body */
    uint64_t announced_bytes; /* Content-Length; UINT64_MAX if chunked */
    uint64_t received_bytes;
    char *body; /* of RB_BODY_JSON, NUL-terminated */
    size_t body_capacity;
    json_t *json; /* parsed; from the handler's start on */

    /* reply; made by reply.h */
    struct rb_header headers[RB_REQUEST_HEADERS_MAX];
    size_t header_count;
    const char *etag; /* value of the ETag header, once it is set */
    struct MHD_Response *response;
    uint64_t reply_bytes;
    int status;
    enum rb_status failure; /* what the reply reports; RB_OK if none */
    ssize_t (*stream_read)(struct rb_request *r, char *buffer, size_t max);

    /* what the handler keeps while the request waits */
    void *data;
    void (*gone)(struct rb_request *r); /* cleared before it is called */
    uint64_t deadline_ns;               /* 0: none; then `due` is called once, within 250 ms */
    void (*due)(struct rb_request *r);
    bool waits;        /* a long poll or stream: its time says nothing about the service */
    bool watch_client; /* a client that hangs up while the request waits is noticed */

    /* private to exchange.c, admit.c and reply.c */
    bool refuse_at_once; /* the reply must not wait for the body */
    bool answered;       /* past libmicrohttpd, while the body still came */
    bool held;           /* suspended */
    bool closing;        /* ends without a reply */
    enum rb_exchange_state state;
    char *line;            /* the target as sent, for the log */
    struct rb_error error; /* of the request line, or of the refusal */
    uint64_t swallowed_bytes;
    size_t memory_bytes; /* counted in http->memory_bytes */
    uint64_t queued_ns;
    struct rb_request *next, *previous; /* all requests of http */
};

/* ---- for handlers ---- */

struct rb_server *rb_request_server(const struct rb_request *r);
struct rb_work *rb_request_work(const struct rb_request *r);
/* A request header's value, NULL if absent; the first, where it stands several times. Valid until
 * the reply is queued. */
const char *rb_request_header(const struct rb_request *r, const char *name);
/* A query parameter; NULL if absent. */
const char *rb_request_query(const struct rb_request *r, const char *name);

/* Counts memory that the request holds until it ends against RB_HTTP_MEMORY_BYTES. False: there is
 * none left (rb_reply_no_room). */
bool rb_request_takes(struct rb_request *r, size_t bytes);

/* Suspends the request until a reply is made or rb_request_release: for streams that must wait
 * for room, and for readers that have nothing to send. May be called in a state where the request
 * is held already: then it does nothing. */
void rb_request_hold(struct rb_request *r);
void rb_request_release(struct rb_request *r);
/* Ends the request and its connection without a reply; for a reply that was begun and cannot be
 * finished. */
void rb_request_drop(struct rb_request *r);
/* Calls `gone`: what runs for the request forgets it. For those who end one. */
void rb_request_let_go(struct rb_request *r);

#endif
