#include "server/store/idempotency.h"

#include "server/store/query.h"

#include <stdlib.h>

void rb_idempotency_row_deinit(struct rb_idempotency_row *row)
{
    free(row->token);
    free(row->key);
    free(row->location);
    free(row->response);
    *row = (struct rb_idempotency_row){0};
}

/* A row that has outlived its use makes room. */
static enum rb_status insert(struct rb_store *s, const struct rb_idempotency_row *row,
                             struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "INSERT INTO idempotency VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) "
                   "ON CONFLICT (token, key) DO UPDATE SET request_sha256 = ?3, http_status = ?4, "
                   "location = ?5, response = ?6, created_ms = ?7 WHERE created_ms <= ?7 - ?8",
                   &q);
    rb_bind_text(&q, row->token);
    rb_bind_text(&q, row->key);
    rb_bind_digest(&q, row->request_sha256);
    rb_bind_int(&q, row->http_status);
    rb_bind_text(&q, row->location);
    rb_bind_text(&q, row->response);
    rb_bind_int(&q, row->created_at_ms);
    rb_bind_int(&q, RB_IDEMPOTENCY_LIFE_MS);
    enum rb_status status = rb_query_run(&q, err);
    if (status == RB_OK && rb_store_changes(s) == 0)
        return rb_error_set(err, RB_ECONFLICT, "Idempotency-Key \"%.80s\" has an answer already",
                            row->key);
    return status;
}

enum rb_status rb_idempotency_add(struct rb_store *s, const struct rb_idempotency_row *row,
                                  struct rb_error *err)
{
    enum rb_status status = rb_store_begin(s, err);
    return status == RB_OK ? rb_store_end(s, insert(s, row, err), err) : status;
}

static void read_row(struct rb_query *q, struct rb_idempotency_row *ret)
{
    *ret = (struct rb_idempotency_row){.token = rb_column_copy(q, 0),
                                       .key = rb_column_copy(q, 1),
                                       .http_status = (int)rb_column_int(q, 3),
                                       .location = rb_column_copy(q, 4),
                                       .response = rb_column_copy(q, 5),
                                       .created_at_ms = rb_column_int(q, 6)};
    (void)rb_column_digest(q, 2, ret->request_sha256);
}

enum rb_status rb_idempotency_get(struct rb_store *s, const char *token, const char *key,
                                  int64_t now_ms, bool *ret_found, struct rb_idempotency_row *ret,
                                  struct rb_error *err)
{
    struct rb_query q;
    struct rb_idempotency_row row = {0};
    bool found = false;
    rb_query_start(s,
                   "SELECT token, key, request_sha256, http_status, location, response, "
                   "created_ms FROM idempotency WHERE token = ? AND key = ? AND created_ms > ?",
                   &q);
    rb_bind_text(&q, token);
    rb_bind_text(&q, key);
    rb_bind_int(&q, now_ms - RB_IDEMPOTENCY_LIFE_MS);
    enum rb_status status = rb_query_step(&q, &found, err);
    if (status == RB_OK && found)
        read_row(&q, &row);
    status = rb_query_end(&q, status, err);
    if (status != RB_OK) {
        rb_idempotency_row_deinit(&row);
        return status;
    }
    if (found)
        *ret = row;
    *ret_found = found;
    return RB_OK;
}

enum rb_status rb_idempotency_prune(struct rb_store *s, int64_t now_ms, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency "
                   "WHERE created_ms <= ? ORDER BY created_ms LIMIT 1000)",
                   &q);
    rb_bind_int(&q, now_ms - RB_IDEMPOTENCY_LIFE_MS);
    return rb_store_run(&q, err);
}
