/* server/http/gate.h: how much of what has arrived on a connection libmicrohttpd may read.
 *
 * DESIGN. A gate follows one connection's messages from head to head: it clears a head once all of
 * it has arrived and is sound (head.h), with it a body of known length, and of a chunked one each
 * piece after its line. The pump (pump.c) hands libmicrohttpd no byte that is not cleared, so what
 * is unsound is never read by it, not even behind a sound request on a connection that is kept; the
 * gate is then shut, and whoever owns the connection refuses. Pure; fuzzed with head.c. */
#ifndef RB_SERVER_HTTP_GATE_H
#define RB_SERVER_HTTP_GATE_H

#include "server/http/head.h"

/* Zero-initialise. */
struct rb_gate {
    enum { RB_GATE_HEAD, RB_GATE_CHUNK, RB_GATE_CHUNK_END, RB_GATE_TRAILERS, RB_GATE_SHUT } state;
    uint64_t cleared;            /* bytes, from the first that was not read on */
    unsigned heads;              /* cleared, and not begun by libmicrohttpd */
    bool in_head;                /* a head has begun to arrive and is not whole */
    bool shut_in_body;           /* by a chunk, not by a head */
    struct rb_request_head head; /* the latest, the refused one included */
    struct rb_error error;       /* once shut */
};

/* bytes[0 … n): what has arrived and was not read. Clears as much of it as can be. */
void rb_gate_look(struct rb_gate *gate, const char *bytes, size_t n);
/* That many cleared bytes were read. */
void rb_gate_read(struct rb_gate *gate, size_t n);

/* A look never needs more than this many bytes beyond the cleared ones. */
enum { RB_GATE_WINDOW = RB_HEAD_MAX_BYTES + 1 };

#endif
