/* server/http/internal.h: the struct behind http.h; for server/http only. A header of types: what
 * is done with them stands in the files' own headers. */
#ifndef RB_SERVER_HTTP_INTERNAL_H
#define RB_SERVER_HTTP_INTERNAL_H

#include "server/http/clients.h"
#include "server/http/pump.h"
#include "server/http/request.h"
#include "server/http/router.h"
#include "server/server.h"

enum { RB_HTTP_TICK_MS = 250 };
/* What the bodies that gather and the replies that leave may take together. Beyond it requests are
 * answered 503 out_of_memory, so that no crowd of slow clients can make the daemon grow. */
#define RB_HTTP_MEMORY_BYTES ((size_t)256 * 1024 * 1024)

struct rb_http {
    struct rb_server *server; /* borrowed */
    struct rb_work *work;     /* borrowed */
    struct rb_pump *pump;
    struct rb_clients clients;
    struct rb_cache_slot *cache; /* cache.h; NULL: nothing is kept */
    uv_timer_t tick;
    struct rb_request requests; /* sentinel of the ring of all requests */
    unsigned request_count;
    unsigned ticks;
    size_t memory_bytes; /* of RB_HTTP_MEMORY_BYTES */
    unsigned listeners;  /* open event streams */
    char *demo;          /* demo.h; NULL: null */
    char *prefix_text;   /* holds prefix.segments */
    struct rb_prefix prefix;
    char url[256];
    bool draining;
    /* Idempotency keys whose first request is under way: a ring (submissions.c). */
    struct rb_submitting *submitting;
};

#endif
