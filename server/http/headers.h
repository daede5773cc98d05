/* server/http/headers.h: the request headers that mean something here, parsed.
 *
 * Pure functions over NUL-terminated field values, none of which is trusted; fuzzed. A field that
 * RFC 9110 lets a server ignore is ignored when it is malformed (Range, If-None-Match, Accept);
 * one that the client relies on is an error (Repr-Digest, If-Match, Prefer: wait). */
#ifndef RB_SERVER_HTTP_HEADERS_H
#define RB_SERVER_HTTP_HEADERS_H

#include "api/status.h"

#include <stddef.h>
#include <stdint.h>

/* ---- Range (RFC 9110, 14.2) ---- */
enum rb_range_kind {
    RB_RANGE_WHOLE,         /* no, malformed, foreign or several ranges: answer 200 */
    RB_RANGE_PART,          /* answer 206 with bytes first … last */
    RB_RANGE_UNSATISFIABLE, /* answer 416 */
};
struct rb_range {
    enum rb_range_kind kind;
    uint64_t first, last; /* inclusive; only for RB_RANGE_PART */
};
/* value may be NULL; size is the representation's. */
struct rb_range rb_range_parse(const char *value, uint64_t size);

/* ---- entity tags (RFC 9110, 8.8.3) ----
 * Is etag (with its quotes, strong) in the list `value`, or is that "*"? `weak`: compare weakly, as
 * If-None-Match does; If-Match and If-Range compare strongly. value may be NULL: false. */
bool rb_etag_listed(const char *value, const char *etag, bool weak);

/* ---- Accept ----
 * The index of the offer (media types without parameters, best first) that the client likes most,
 * -1 if it refuses all. value NULL: 0. A range that is malformed counts as not sent. */
int rb_accept_choose(const char *value, const char *const *offers, size_t offer_count);

/* ---- Accept-Encoding ----
 * Is gzip named there, or "*", with a weight above 0? value may be NULL: false, since many a client
 * that says nothing (curl) does not decode. */
bool rb_gzip_accepted(const char *value);

/* ---- Content-Type ----
 * Is value `media_type`, with no parameter but charset=utf-8? value may be NULL: false. */
bool rb_content_type_is(const char *value, const char *media_type);

/* ---- Prefer (RFC 7240) ----
 * *ret: the seconds of wait=N, -1 if there is no such preference; others are ignored.
 * RB_EHEADER if N is not a number of 0 … max_seconds. value may be NULL. */
enum rb_status rb_prefer_wait(const char *value, int max_seconds, int *ret,
                              struct rb_error *err) RB_MUST_CHECK;

/* ---- Repr-Digest, Content-Digest (RFC 9530) ----
 * *ret_present: a sha-256 is in the dictionary, and digest its 32 bytes. Other algorithms are
 * ignored. RB_EHEADER when the field is malformed, or holds only other algorithms. */
enum rb_status rb_digest_parse(const char *value, unsigned char digest[32], bool *ret_present,
                               struct rb_error *err) RB_MUST_CHECK;
/* "sha-256=:…:" into buffer; returns buffer. */
enum { RB_DIGEST_FIELD_BYTES = 64 };
char *rb_digest_format(const unsigned char digest[32], char buffer[RB_DIGEST_FIELD_BYTES]);

/* ---- Host, Origin ----
 * Lower-case host without port, brackets and trailing dot from "host[:port]", into host.
 * false if malformed or longer than size. *ret_port: -1 when absent. */
bool rb_host_parse(const char *value, char *host, size_t size, int *ret_port);
/* The same from an origin "scheme://host[:port]"; the port defaults to the scheme's. "null" and
 * foreign schemes: false. */
bool rb_origin_parse(const char *value, char *host, size_t size, int *ret_port);

/* ---- Authorization ----
 * The token of "Bearer <token>" (b64token of RFC 6750, at most 256 bytes), NULL if it is anything
 * else. Points into value. */
const char *rb_bearer(const char *value);

#endif
