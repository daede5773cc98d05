/* server/http/pump.h: libmicrohttpd, driven by the daemon's one uv loop.
 *
 * DESIGN. libmicrohttpd runs without a thread of its own: it keeps all its sockets in one epoll
 * set, and the loop polls that set's descriptor. Six things do not follow from that by themselves
 * (each was measured against 0.9.75):
 *  - its sockets are edge-triggered inside the set, so one MHD_run may leave work that no
 *    descriptor will announce: the pump runs it again while MHD_get_timeout says 0, and otherwise
 *    arms a timer at min(timeout, RB_PUMP_TICK_MS), or an accept could stall at the limit;
 *  - resuming a suspended connection announces nothing either: rb_pump_resume wakes the pump;
 *  - the runs in a row are bounded, so that a flood of requests cannot keep the loop from its other
 *    work; what is left over comes after one turn of the loop;
 *  - after an accept that failed for want of descriptors it accepts nothing until one of its
 *    connections goes, and without any it tries again without a pause: from then on the pump
 * accepts, too, and looks only once a tick while there are neither descriptors nor connections;
 *  - it answers some malformed requests by itself, in HTML or twice or not at all, and reads others
 *    as what they are not; it has no hook for what it reads. But it reads with recv(), and the pump
 *    defines that name: the dynamic linker gives libmicrohttpd the program's, and a static link the
 *    first. On the pump's connections it hands out only what their gate has cleared (gate.h), from
 *    the first request to the last of a connection; elsewhere it is libc's. A request that came
 *    past it all the same is dropped and logged;
 *  - stopping with suspended connections aborts the process: whoever suspends must have resumed
 *    all before rb_pump_close (server/http/http.c does).
 *
 * Loop thread only. */
#ifndef RB_SERVER_HTTP_PUMP_H
#define RB_SERVER_HTTP_PUMP_H

#include "api/status.h"
#include "server/http/gate.h"

#include <microhttpd.h>
#include <uv.h>

enum { RB_PUMP_TICK_MS = 250, RB_PUMP_RUNS_IN_A_ROW = 8 };

struct rb_pump;

struct rb_pump_options {
    uv_loop_t *loop;
    int listen_fd; /* bound, listening, non-blocking; taken, on failure too */
    unsigned connection_limit;
    unsigned idle_seconds;          /* a connection on which nothing moves that long is closed */
    size_t connection_memory_bytes; /* read buffer, headers and write buffer of one connection */
    void *data;                     /* first argument of the callbacks */
    /* A connection was accepted (socket_context is its own to set) or has gone. */
    MHD_NotifyConnectionCallback connection;
    /* The request line has arrived; what is returned becomes the request's context. */
    void *(*request_line)(void *data, const char *target, struct MHD_Connection *connection);
    MHD_AccessHandlerCallback request;
    MHD_RequestCompletedCallback completed;
    /* A head has begun to arrive and is not whole. context: of the connection. */
    void (*head_begun)(void *data, void *context);
    /* The connection's gate is shut. False: a request is under way that must be answered before;
     * asked again. What arrives from then on is thrown away. */
    bool (*refuse)(void *data, void *context, const struct rb_gate *gate);
    /* A line libmicrohttpd wants logged, without newline; grave: what must never happen. */
    void (*log)(void *data, bool grave, const char *line);
};

/* The caller owns *ret: rb_pump_close. RB_EIO, RB_ENOMEM, RB_EFILES. */
enum rb_status rb_pump_open(const struct rb_pump_options *options, struct rb_pump **ret,
                            struct rb_error *err) RB_MUST_CHECK;

/* Runs the pump soon, on the loop's next turn at the latest. */
void rb_pump_wake(struct rb_pump *pump);
/* Suspends; resumes and wakes. Each suspend has exactly one resume. */
void rb_pump_suspend(struct rb_pump *pump, struct MHD_Connection *connection);
void rb_pump_resume(struct rb_pump *pump, struct MHD_Connection *connection);

/* Nothing may be suspended. Drops every connection (each is told to `completed` and `connection`
 * within this call), then closes the handles; the pump's memory goes once the loop has turned.
 * pump may be NULL. */
void rb_pump_close(struct rb_pump *pump);

#endif
