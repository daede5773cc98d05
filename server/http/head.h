/* server/http/head.h: the head of a request, and the lines of a chunked body, looked at before
 * libmicrohttpd sees them.
 *
 * libmicrohttpd 0.9.75 is lenient where RFC 9112 is not (a line ": x" ends its header block, a bare
 * CR ends a line, NUL is taken), and answers some faults by itself, in HTML, or twice, or not at
 * all. So nothing reaches it that has not passed here; what has not is refused by rebasind itself.
 * Lines end with CRLF or LF. Pure functions, fuzzed. */
#ifndef RB_SERVER_HTTP_HEAD_H
#define RB_SERVER_HTTP_HEAD_H

#include "api/status.h"

#include <stddef.h>
#include <stdint.h>

enum {
    RB_HEAD_MAX_BYTES = 32 * 1024,
    RB_HEAD_MAX_LINES = 100, /* headers */
    /* Headers, query parameters and cookies together: libmicrohttpd keeps a record of each. */
    RB_HEAD_MAX_ITEMS = 512,
    RB_HEAD_MAX_COOKIE_BYTES = 16 * 1024, /* it copies them */
    RB_CHUNK_LINE_MAX_BYTES = 256,
    RB_TRAILERS_MAX_BYTES = 8 * 1024,
    RB_HEAD_TEXT = 512, /* of the target, for the log */
};

enum rb_scan {
    RB_SCAN_PARTIAL, /* the end has not arrived */
    RB_SCAN_WHOLE,
    RB_SCAN_BAD, /* err says why; the connection cannot be used again */
};

struct rb_request_head {
    size_t bytes; /* of the head, with the empty line that ends it */
    bool chunked;
    uint64_t content_length; /* 0 if absent or chunked; at most RB_BODY_MAX_BYTES */
    /* For the log, also of a bad head: as sent, printable ASCII, cut; "?" if not there. */
    char method[32], target[RB_HEAD_TEXT + 1];
};
#define RB_BODY_MAX_BYTES ((uint64_t)1 << 62)

/* bytes[0 … n) begins with a head; empty lines before it are part of it. ret is filled as far as
 * something is known. err for RB_SCAN_BAD: RB_EHEADER, RB_EHEADERSIZE or RB_EURITOOLONG. */
enum rb_scan rb_request_head_scan(const char *bytes, size_t n, struct rb_request_head *ret,
                                  struct rb_error *err);
/* The line "size[;extension]" before a chunk: its bytes, and the chunk's. RB_EHEADER. */
enum rb_scan rb_chunk_scan(const char *bytes, size_t n, size_t *ret_line, uint64_t *ret_size,
                           struct rb_error *err);
/* What follows the last chunk: header lines, and an empty one. RB_EHEADER, RB_EHEADERSIZE. */
enum rb_scan rb_trailers_scan(const char *bytes, size_t n, size_t *ret_bytes, struct rb_error *err);

#endif
