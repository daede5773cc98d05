/* server/store/idempotency.h: answers given under an Idempotency-Key, to give again.
 *
 * The row is added in the transaction that adds the jobs, so after a crash either both are there or
 * neither. That a first request is still in flight is known only in memory, to the handler. Loop
 * thread only. */
#ifndef RB_SERVER_STORE_IDEMPOTENCY_H
#define RB_SERVER_STORE_IDEMPOTENCY_H

#include "server/base/hash.h"
#include "server/store/store.h"

enum { RB_IDEMPOTENCY_LIFE_MS = 24 * 60 * 60 * 1000 };

struct rb_idempotency_row {
    char *token; /* id of the token it came with; "" without */
    char *key;
    unsigned char request_sha256[RB_SHA256_BYTES]; /* over method, target and body */
    int http_status;
    char *location; /* or NULL */
    char *response; /* body */
    int64_t created_at_ms;
};
void rb_idempotency_row_deinit(struct rb_idempotency_row *row);

/* RB_ECONFLICT if the pair (token, key) is there already. */
enum rb_status rb_idempotency_add(struct rb_store *s, const struct rb_idempotency_row *row,
                                  struct rb_error *err) RB_MUST_CHECK;
/* *ret_found false if unknown or older than RB_IDEMPOTENCY_LIFE_MS at now_ms. */
enum rb_status rb_idempotency_get(struct rb_store *s, const char *token, const char *key,
                                  int64_t now_ms, bool *ret_found, struct rb_idempotency_row *ret,
                                  struct rb_error *err) RB_MUST_CHECK;
/* Removes up to 1000 rows that have outlived their use. */
enum rb_status rb_idempotency_prune(struct rb_store *s, int64_t now_ms,
                                    struct rb_error *err) RB_MUST_CHECK;

#endif
