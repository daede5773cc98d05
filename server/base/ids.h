/* server/base/ids.h: random names. Any thread, after rb_ids_init. */
#ifndef RB_SERVER_BASE_IDS_H
#define RB_SERVER_BASE_IDS_H

#include "api/names.h"
#include "api/status.h"

#include <stdint.h>

enum {
    RB_REQUEST_ID_TEXT = 21, /* "req_" + 16 hex digits + NUL */
    RB_TOKEN_ID_TEXT = 17,   /* "tok_" + 12 hex digits + NUL */
    RB_TOKEN_BYTES = 32,     /* 256 bits */
    RB_TOKEN_TEXT = 47       /* "rb_" + base64url of the bytes + NUL */
};

/* Starts libsodium; call once, first of all. RB_EINTERNAL. */
enum rb_status rb_ids_init(struct rb_error *err) RB_MUST_CHECK;

/* "job_" + UUIDv7 (RFC 9562): sorts by time, and those made within one millisecond by one thread in
 * the order in which they were made (6.2, method 1: a counter in rand_a). */
void rb_job_id_make(int64_t realtime_ms, char ret[RB_JOB_ID_SIZE]);
/* "grp_", otherwise the same. */
void rb_group_id_make(int64_t realtime_ms, char ret[RB_JOB_ID_SIZE]);
void rb_request_id_make(char ret[RB_REQUEST_ID_TEXT]);
void rb_token_id_make(char ret[RB_TOKEN_ID_TEXT]);
/* A new secret. */
void rb_token_make(char ret[RB_TOKEN_TEXT]);

#endif
