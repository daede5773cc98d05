/* server/http/target.h: the request target ("/v1/jobs/x?limit=5"), taken apart.
 *
 * libmicrohttpd hands the target over before it decodes anything, and rebasind decodes it here,
 * once and strictly: a segment is split off before it is decoded, so that "%2F" never makes a new
 * segment; what does not decode to printable UTF-8 is refused. Pure functions, fuzzed. */
#ifndef RB_SERVER_HTTP_TARGET_H
#define RB_SERVER_HTTP_TARGET_H

#include "api/status.h"

#include <stddef.h>

enum {
    RB_TARGET_MAX_BYTES = 16384, /* enough for 300 job ids in one /v1/barriers */
    RB_TARGET_MAX_SEGMENTS = 12,
    RB_TARGET_MAX_PAIRS = 400,
};

struct rb_pair { /* one query parameter; value is "" when there is no '=' */
    const char *name, *value;
};

struct rb_target {
    const char *authority; /* of an absolute-form target ("http://host:port/…"); else NULL */
    const char *segments[RB_TARGET_MAX_SEGMENTS]; /* decoded; "/" has none */
    size_t segment_count;
    bool trailing_slash; /* "/merge/" and "/", but not "/merge" */
    struct rb_pair *pairs;
    size_t pair_count;
    char *storage; /* holds every string above */
};

/* raw: NUL-terminated, as it stood in the request line.
 * RB_EURITOOLONG; RB_ENOTFOUND for a path that cannot name anything here (bad escapes, empty, "."
 * or ".." segments, control characters, too many segments); RB_EQUERY for a query that does not
 * decode; RB_ENOMEM. On success the caller owns *ret: rb_target_deinit. Any thread. */
enum rb_status rb_target_parse(const char *raw, struct rb_target *ret,
                               struct rb_error *err) RB_MUST_CHECK;
/* A zeroed target is fine too. */
void rb_target_deinit(struct rb_target *t);

/* The value of the first pair with that name, NULL if absent. */
const char *rb_target_query(const struct rb_target *t, const char *name);

#endif
