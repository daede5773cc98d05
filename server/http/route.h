/* server/http/route.h: what the service answers to, as one table (routes.c).
 *
 * A row says everything about an operation that is known before its handler runs: method, path,
 * who may call it, what body it takes and how large, which query parameters there are. router.c
 * and exchange.c enforce it, so a handler sees only requests that fit its row. The table is held
 * against openapi.yaml, both ways, by tests/e2e.
 *
 * Each GET answers HEAD too. */
#ifndef RB_SERVER_HTTP_ROUTE_H
#define RB_SERVER_HTTP_ROUTE_H

#include "server/http/target.h"

struct rb_request;

enum rb_method {
    RB_GET = 1,
    RB_HEAD = 2, /* never in a row: every GET row answers it */
    RB_POST = 4,
    RB_PUT = 8,
    RB_PATCH = 16,
    RB_DELETE = 32,
};

/* Who may call: the weakest token that will do. Without any token configured everyone may. */
enum rb_access { RB_ACCESS_OPEN, RB_ACCESS_READ, RB_ACCESS_SUBMIT, RB_ACCESS_ADMIN };
extern const char *const rb_access_names[]; /* "", "read", "submit", "admin" */

enum rb_body {
    RB_BODY_NONE,  /* a body is refused: 413 */
    RB_BODY_EMPTY, /* none or an empty JSON object, of whatever media type: many clients send one */
    RB_BODY_JSON,  /* required; parsed before the handler runs; --max-body-bytes */
    RB_BODY_STREAM, /* any media type; goes to the row's stream; --max-upload-bytes */
};

enum { RB_BODY_EMPTY_MAX_BYTES = 64 };

enum rb_query_type {
    RB_QUERY_TEXT,  /* `max` bytes at most; the handler decodes it */
    RB_QUERY_FLAG,  /* true, false, or no value at all (true) */
    RB_QUERY_ENUM,  /* one of names[] */
    RB_QUERY_NAME,  /* a model's or dataset's */
    RB_QUERY_JOB,   /* a job id */
    RB_QUERY_GROUP, /* a group's id */
    RB_QUERY_TIME,  /* RFC 3339 */
};

struct rb_query_rule {
    const char *name;
    size_t max;               /* RB_QUERY_TEXT: bytes */
    const char *const *names; /* RB_QUERY_ENUM: NULL-terminated */
    size_t times;             /* how often it may stand; 0 means once */
    enum rb_query_type type;
    bool required;
};

/* How a row with RB_BODY_STREAM takes its body. Each may reply, which ends the upload: what still
 * arrives is thrown away. */
struct rb_body_stream {
    /* After everything in the row was checked, before the first byte. */
    void (*begin)(struct rb_request *r);
    /* bytes >= 1 of the body, in order. Must take them all; may rb_request_hold the request until
     * there is room for more. */
    void (*data)(struct rb_request *r, const void *data, size_t bytes);
};

struct rb_route {
    const char *operation;             /* openapi.yaml's operationId */
    const char *path;                  /* "/v1/jobs/{id}"; the label of metrics */
    const struct rb_query_rule *query; /* ends with a row without name; NULL: no parameters */
    const struct rb_body_stream *stream;
    /* Must reply, now or later (request.h). */
    void (*handle)(struct rb_request *r);
    enum rb_method method;
    enum rb_access access;
    enum rb_body body;
    bool frees;  /* makes room, so served when there is none (server/base/room.h) */
    bool cached; /* the answer depends on the store and the progress of jobs alone (cache.h) */
};

extern const struct rb_route rb_routes[];
extern const size_t rb_route_count;

#endif
