#include "server/store/query.h"

#include "api/decode.h"
#include "server/base/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- failures ---- */

enum rb_status rb_sqlite_status(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return RB_OK;
    case SQLITE_FULL:
        return RB_EDISKFULL;
    case SQLITE_NOMEM:
        return RB_ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_PERM:
        return RB_ESTORE;
    default:
        return RB_EINTERNAL;
    }
}

enum rb_status rb_store_fail(struct rb_store *s, int code, struct rb_error *err)
{
    enum rb_status status = rb_sqlite_status(code);
    rb_metrics_add(s->metrics, RB_METER_STORE_ERRORS, 1, rb_problem_code(status), NULL);
    return rb_error_set(err, status, "database: %s (SQLite %d)", sqlite3_errmsg(s->db), code);
}

/* ---- statements ---- */

static uint64_t hash_text(const char *text)
{
    uint64_t h = 0xcbf29ce484222325U;
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3U;
    return h;
}

/* The slot of that text: its own, or the empty one where it would go. */
static struct rb_statement *find_slot(struct rb_store *s, const char *sql)
{
    uint64_t hash = hash_text(sql);
    for (size_t i = hash % RB_STATEMENTS_MAX;; i = (i + 1) % RB_STATEMENTS_MAX) {
        struct rb_statement *slot = &s->statements[i];
        if (slot->prepared == NULL ||
            (slot->hash == hash && strcmp(sqlite3_sql(slot->prepared), sql) == 0))
            return slot;
    }
}

void rb_query_start(struct rb_store *s, const char *sql, struct rb_query *ret)
{
    struct rb_statement *slot = find_slot(s, sql);
    struct rb_query q = {.store = s, .statement = slot->prepared, .kept = true};
    assert(q.statement == NULL || !sqlite3_stmt_busy(q.statement));
    if (q.statement == NULL) {
        /* Lists have many shapes: once the table is three quarters full, new ones serve once. */
        q.kept = s->statement_count < RB_STATEMENTS_MAX / 4 * 3;
        q.failed = sqlite3_prepare_v3(s->db, sql, -1, q.kept ? SQLITE_PREPARE_PERSISTENT : 0,
                                      &q.statement, NULL);
        q.kept = q.kept && q.failed == SQLITE_OK;
        if (q.kept) {
            *slot = (struct rb_statement){.hash = hash_text(sql), .prepared = q.statement};
            s->statement_count++;
        }
    }
    *ret = q;
}

enum rb_status rb_query_step(struct rb_query *q, bool *ret_row, struct rb_error *err)
{
    int code = q->failed != 0 ? q->failed : sqlite3_step(q->statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return rb_store_fail(q->store, code, err);
    *ret_row = code == SQLITE_ROW;
    return RB_OK;
}

enum rb_status rb_query_run(struct rb_query *q, struct rb_error *err)
{
    bool row = true;
    enum rb_status status = RB_OK;
    while (status == RB_OK && row)
        status = rb_query_step(q, &row, err);
    return rb_query_end(q, status, err);
}

enum rb_status rb_query_end(struct rb_query *q, enum rb_status status, struct rb_error *err)
{
    if (status == RB_OK && q->failed != 0)
        status = rb_store_fail(q->store, q->failed, err);
    if (q->statement != NULL && q->kept) {
        (void)sqlite3_reset(q->statement);
        (void)sqlite3_clear_bindings(q->statement);
    } else {
        (void)sqlite3_finalize(q->statement);
    }
    q->statement = NULL;
    return status;
}

/* ---- binding ---- */

static void note(struct rb_query *q, int code)
{
    if (code != SQLITE_OK && q->failed == 0)
        q->failed = code;
}

void rb_bind_int(struct rb_query *q, int64_t value)
{
    note(q, sqlite3_bind_int64(q->statement, ++q->bound, value));
}

void rb_bind_uint(struct rb_query *q, uint64_t value)
{
    assert(value <= INT64_MAX);
    rb_bind_int(q, (int64_t)value);
}

void rb_bind_null(struct rb_query *q)
{
    note(q, sqlite3_bind_null(q->statement, ++q->bound));
}

void rb_bind_time(struct rb_query *q, int64_t value)
{
    if (value < 0)
        rb_bind_null(q);
    else
        rb_bind_int(q, value);
}

void rb_bind_double(struct rb_query *q, double value)
{
    note(q, sqlite3_bind_double(q->statement, ++q->bound, value)); /* NaN becomes NULL there */
}

void rb_bind_text(struct rb_query *q, const char *text)
{
    note(q, sqlite3_bind_text(q->statement, ++q->bound, text, -1, SQLITE_STATIC));
}

void rb_bind_texts(struct rb_query *q, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rb_bind_text(q, texts[i]);
}

void rb_bind_text_or_null(struct rb_query *q, const char *text)
{
    rb_bind_text(q, text[0] != '\0' ? text : NULL);
}

void rb_bind_digest(struct rb_query *q, const unsigned char sha256[RB_SHA256_BYTES])
{
    note(q, sqlite3_bind_blob(q->statement, ++q->bound, sha256, RB_SHA256_BYTES, SQLITE_TRANSIENT));
}

void rb_bind_blob(struct rb_query *q, const void *bytes, size_t count)
{
    note(q, sqlite3_bind_blob64(q->statement, ++q->bound, bytes, count, SQLITE_STATIC));
}

void rb_bind_hex_digest(struct rb_query *q, const char *hex)
{
    unsigned char sha256[RB_SHA256_BYTES];
    if (hex[0] == '\0') {
        rb_bind_null(q);
        return;
    }
    bool valid = rb_sha256_from_hex(hex, sha256);
    assert(valid);
    (void)valid;
    rb_bind_digest(q, sha256);
}

/* ---- columns ---- */

int64_t rb_column_int(const struct rb_query *q, int column)
{
    return sqlite3_column_int64(q->statement, column);
}

uint64_t rb_column_uint(const struct rb_query *q, int column)
{
    return (uint64_t)sqlite3_column_int64(q->statement, column);
}

static bool is_null(const struct rb_query *q, int column)
{
    return sqlite3_column_type(q->statement, column) == SQLITE_NULL;
}

int64_t rb_column_time(const struct rb_query *q, int column)
{
    return is_null(q, column) ? -1 : rb_column_int(q, column);
}

double rb_column_double(const struct rb_query *q, int column)
{
    return is_null(q, column) ? (double)NAN : sqlite3_column_double(q->statement, column);
}

const char *rb_column_text(const struct rb_query *q, int column)
{
    return (const char *)sqlite3_column_text(q->statement, column);
}

char *rb_column_copy(struct rb_query *q, int column)
{
    if (is_null(q, column))
        return NULL;
    const char *text = rb_column_text(q, column);
    char *copy = text != NULL ? strdup(text) : NULL;
    note(q, copy != NULL ? SQLITE_OK : SQLITE_NOMEM);
    return copy;
}

void *rb_column_blob_copy(struct rb_query *q, int column, size_t *ret_bytes)
{
    const void *blob = sqlite3_column_blob(q->statement, column);
    size_t bytes = blob != NULL ? (size_t)sqlite3_column_bytes(q->statement, column) : 0;
    void *copy = bytes > 0 ? malloc(bytes) : NULL;
    *ret_bytes = 0;
    if (bytes == 0)
        return NULL;
    note(q, copy != NULL ? SQLITE_OK : SQLITE_NOMEM);
    if (copy != NULL) {
        memcpy(copy, blob, bytes);
        *ret_bytes = bytes;
    }
    return copy;
}

void rb_column_string(const struct rb_query *q, int column, char *ret, size_t size)
{
    const char *text = rb_column_text(q, column);
    size_t length = text != NULL ? strnlen(text, size - 1) : 0;
    if (length > 0)
        memcpy(ret, text, length);
    ret[length] = '\0';
}

int rb_column_enum(struct rb_query *q, int column, const char *const *names)
{
    const char *text = rb_column_text(q, column);
    int found = text != NULL ? rb_enum_find(names, text) : -1;
    note(q, found >= 0 ? SQLITE_OK : SQLITE_CORRUPT);
    return found >= 0 ? found : 0;
}

bool rb_column_digest(const struct rb_query *q, int column, unsigned char ret[RB_SHA256_BYTES])
{
    const void *bytes = sqlite3_column_blob(q->statement, column);
    if (bytes == NULL || sqlite3_column_bytes(q->statement, column) != RB_SHA256_BYTES)
        return false;
    memcpy(ret, bytes, RB_SHA256_BYTES);
    return true;
}

void rb_column_hex_digest(const struct rb_query *q, int column, char ret[RB_SHA256_HEX])
{
    unsigned char sha256[RB_SHA256_BYTES];
    if (rb_column_digest(q, column, sha256))
        rb_sha256_hex(sha256, ret);
    else
        ret[0] = '\0';
}

/* ---- rows ---- */

void rb_rows_free(const struct rb_row_kind *kind, void *rows, size_t count)
{
    for (size_t i = 0; kind->deinit != NULL && i < count; i++)
        kind->deinit((char *)rows + i * kind->bytes);
    free(rows);
}

/* Room for one more; doubles at each power of two, so that no capacity need be kept. */
static void *grow(void *rows, size_t count, size_t bytes)
{
    if ((count & (count - 1)) != 0)
        return rows;
    return realloc(rows, (count == 0 ? 1 : 2 * count) * bytes);
}

enum rb_status rb_query_list(struct rb_query *q, const struct rb_row_kind *kind, void **ret,
                             size_t *ret_count, struct rb_error *err)
{
    char *rows = NULL;
    size_t count = 0;
    bool more = true;
    enum rb_status status;
    while ((status = rb_query_step(q, &more, err)) == RB_OK && more) {
        char *larger = grow(rows, count, kind->bytes);
        if (larger == NULL) {
            status = rb_error_set(err, RB_ENOMEM, "no memory for rows of the database");
            break;
        }
        rows = larger;
        kind->read(q, rows + count++ * kind->bytes);
    }
    status = rb_query_end(q, status, err);
    if (status != RB_OK) {
        rb_rows_free(kind, rows, count);
        return status;
    }
    *ret = rows;
    *ret_count = count;
    return RB_OK;
}

enum rb_status rb_query_number(struct rb_store *s, const char *sql, uint64_t *ret,
                               struct rb_error *err)
{
    struct rb_query q = {0};
    bool row = false;
    rb_query_start(s, sql, &q);
    enum rb_status status = rb_query_step(&q, &row, err);
    uint64_t number = status == RB_OK && row ? rb_column_uint(&q, 0) : 0;
    status = rb_query_end(&q, status, err);
    if (status == RB_OK)
        *ret = number;
    return status;
}

int64_t rb_store_changes(const struct rb_store *s)
{
    return sqlite3_changes64(s->db);
}

int64_t rb_store_last_id(const struct rb_store *s)
{
    return sqlite3_last_insert_rowid(s->db);
}
