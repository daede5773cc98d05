/* server/store/query.h: statements, and what failures mean; private to server/store.
 *
 * A query is written as
 *
 *     struct rb_query q;
 *     enum rb_status st;
 *     bool row;
 *     rb_query_start(s, "SELECT a FROM t WHERE b = ?", &q);
 *     rb_bind_text(&q, b);
 *     while ((st = rb_query_step(&q, &row, err)) == RB_OK && row) …rb_column_int(&q, 0)…
 *     return rb_query_end(&q, st, err);
 *
 * Binding goes from left to right; failures of starting, binding and copying columns stick to the
 * query and come out of the next step or the end. Statements are prepared once and kept; one may
 * not be started again before it has ended.
 */
#ifndef RB_SERVER_STORE_QUERY_H
#define RB_SERVER_STORE_QUERY_H

#include "server/base/hash.h"
#include "server/store/store_internal.h"

#include <sqlite3.h>

struct rb_query {
    struct rb_store *store;
    sqlite3_stmt *statement;
    bool kept;  /* in the store's cache */
    int bound;  /* parameters so far */
    int failed; /* SQLite code of the first failure, 0 if none */
};

void rb_query_start(struct rb_store *s, const char *sql, struct rb_query *ret);
void rb_bind_int(struct rb_query *q, int64_t value);
/* Counts, which SQLite has no type for: at most INT64_MAX is asserted. */
void rb_bind_uint(struct rb_query *q, uint64_t value);
/* NULL below 0. */
void rb_bind_time(struct rb_query *q, int64_t value);
/* NULL for NaN. */
void rb_bind_double(struct rb_query *q, double value);
/* Borrowed until the query's end; NULL binds NULL. */
void rb_bind_text(struct rb_query *q, const char *text);
void rb_bind_texts(struct rb_query *q, const char *const *texts, size_t count);
/* NULL for "". */
void rb_bind_text_or_null(struct rb_query *q, const char *text);
void rb_bind_digest(struct rb_query *q, const unsigned char sha256[RB_SHA256_BYTES]);
/* From hex; "" binds NULL. */
void rb_bind_hex_digest(struct rb_query *q, const char *hex);
/* Borrowed until the query's end. */
void rb_bind_blob(struct rb_query *q, const void *bytes, size_t count);
void rb_bind_null(struct rb_query *q);

enum rb_status rb_query_step(struct rb_query *q, bool *ret_row, struct rb_error *err) RB_MUST_CHECK;
/* Steps to the end and ends the query: for statements whose rows do not matter. */
enum rb_status rb_query_run(struct rb_query *q, struct rb_error *err) RB_MUST_CHECK;
/* Returns status, or what stuck to the query if that is RB_OK. */
enum rb_status rb_query_end(struct rb_query *q, enum rb_status status, struct rb_error *err);

int64_t rb_column_int(const struct rb_query *q, int column);
uint64_t rb_column_uint(const struct rb_query *q, int column);
int64_t rb_column_time(const struct rb_query *q, int column);  /* -1 for NULL */
double rb_column_double(const struct rb_query *q, int column); /* NaN for NULL */
/* Valid until the next step; NULL for NULL. */
const char *rb_column_text(const struct rb_query *q, int column);
/* A copy, NULL for NULL and when out of memory, which then sticks to the query. */
char *rb_column_copy(struct rb_query *q, int column);
/* A copy of a blob's bytes, for free(); NULL and 0 for NULL, an empty one, and when out of memory,
 * which then sticks to the query. */
void *rb_column_blob_copy(struct rb_query *q, int column, size_t *ret_bytes);
/* Into a buffer that holds every value this column can have; "" for NULL. */
void rb_column_string(const struct rb_query *q, int column, char *ret, size_t size);
/* Index among names (NULL-terminated); a name that is not there is damage and sticks. */
int rb_column_enum(struct rb_query *q, int column, const char *const *names);
/* false for NULL. */
bool rb_column_digest(const struct rb_query *q, int column, unsigned char ret[RB_SHA256_BYTES]);
/* "" for NULL. */
void rb_column_hex_digest(const struct rb_query *q, int column, char ret[RB_SHA256_HEX]);

/* Reads all rows into a new array and ends the query. deinit frees what a row holds, when a later
 * one fails; NULL if rows hold nothing. The caller owns *ret. */
struct rb_row_kind {
    size_t bytes;
    void (*read)(struct rb_query *q, void *row);
    void (*deinit)(void *row);
};
enum rb_status rb_query_list(struct rb_query *q, const struct rb_row_kind *kind, void **ret,
                             size_t *ret_count, struct rb_error *err) RB_MUST_CHECK;
/* Frees such an array; rows may be NULL. */
void rb_rows_free(const struct rb_row_kind *kind, void *rows, size_t count);

/* The first column of the only row of a query without parameters. */
enum rb_status rb_query_number(struct rb_store *s, const char *sql, uint64_t *ret,
                               struct rb_error *err) RB_MUST_CHECK;

/* What SQLite's result code means, with its message; counts it in the metrics. */
enum rb_status rb_store_fail(struct rb_store *s, int code, struct rb_error *err);

/* The same for a connection without a store. */
enum rb_status rb_sqlite_status(int code);

/* Rows changed by the last statement. */
int64_t rb_store_changes(const struct rb_store *s);
int64_t rb_store_last_id(const struct rb_store *s);

#endif
