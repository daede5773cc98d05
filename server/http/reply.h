/* server/http/reply.h: answers.
 *
 * Each rb_reply_… below makes the one reply of a request and, if the request waits, resumes it.
 * They never fail: when memory runs out the connection is dropped. What every answer carries
 * (X-Request-Id, Cache-Control, the security headers, an ETag on what a GET finds) is added here,
 * so that no handler can forget it. A GET with a matching If-None-Match becomes 304 here too.
 *
 * Loop thread only. */
#ifndef RB_SERVER_HTTP_REPLY_H
#define RB_SERVER_HTTP_REPLY_H

#include "api/decode.h"
#include "api/encode.h"
#include "api/status.h"

#include <stdint.h>
#include <sys/types.h>

struct rb_request;

/* A header of the reply to come; name is static text, the value is copied. */
void rb_reply_header(struct rb_request *r, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Location of the reply to come: format makes a path from the service's root on ("/v1/jobs/x"); the
 * route prefix goes in front, below which every path works whoever asks. */
void rb_reply_location(struct rb_request *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* ETag of the reply to come, quotes included. Without one, GETs get the hash of their body. */
void rb_reply_etag(struct rb_request *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Does If-None-Match name the ETag set above? Then 304 has been replied. For handlers that can
 * save themselves the work of the body. */
bool rb_reply_not_modified(struct rb_request *r);

/* The JSON in w, which is emptied. */
void rb_reply_json(struct rb_request *r, int status, struct rb_json *w);
/* A text that is the callee's from now on: free()d. */
void rb_reply_text(struct rb_request *r, int status, const char *media_type, char *text,
                   size_t bytes);
/* Bytes that outlive the reply. */
void rb_reply_static(struct rb_request *r, int status, const char *media_type, const void *bytes,
                     size_t count);
/* A response made elsewhere, with `bytes` of body; taken. NULL: out of memory. */
struct MHD_Response;
void rb_reply_response(struct rb_request *r, int status, struct MHD_Response *response,
                       uint64_t bytes);
/* No body: 204, 304, 308. */
void rb_reply_empty(struct rb_request *r, int status);

/* application/problem+json. problems may be NULL. Retryable ones have Retry-After. */
void rb_reply_error(struct rb_request *r, const struct rb_error *err,
                    const struct rb_problems *problems);
/* The same from words. */
void rb_reply_fail(struct rb_request *r, enum rb_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* 503: rb_request_takes found no memory left. */
void rb_reply_no_room(struct rb_request *r);
/* Replies from the cache if it can (cache.h). */
bool rb_reply_cached(struct rb_request *r);

/* A whole file, or the part that Range asks for: 200, 206 or 416. Takes fd, also on failure.
 * sha256: 32 bytes, for Repr-Digest and the ETag. */
void rb_reply_file(struct rb_request *r, int fd, uint64_t bytes, const char *media_type,
                   const unsigned char *sha256);

/* The same for a body whose bytes are computed. read puts 1 to max of those from position on into
 * buffer, or gives RB_SOURCE_BROKEN; release is called once, when nobody will read any more. */
enum { RB_SOURCE_BROKEN = -2 };
struct rb_reply_source {
    ssize_t (*read)(void *data, uint64_t position, char *buffer, size_t max);
    void (*release)(void *data);
    void *data;
};
void rb_reply_computed(struct rb_request *r, const struct rb_reply_source *source, uint64_t bytes,
                       const char *media_type, const unsigned char *sha256);

/* A body that comes piece by piece, of unknown length. read puts up to max bytes into buffer and
 * returns how many; 0: nothing there now (the request is held until rb_request_release);
 * RB_STREAM_END. */
enum { RB_STREAM_END = -1 };
void rb_reply_stream(struct rb_request *r, const char *media_type,
                     ssize_t (*read)(struct rb_request *r, char *buffer, size_t max));

#endif
