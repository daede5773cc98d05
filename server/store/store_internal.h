/* server/store/store_internal.h: the inside of a store, for the other files of server/store. */
#ifndef RB_SERVER_STORE_STORE_INTERNAL_H
#define RB_SERVER_STORE_STORE_INTERNAL_H

#include "api/status.h"

#include <sqlite3.h>
#include <stdint.h>

enum { RB_STATEMENTS_MAX = 256 };

struct rb_statement {
    uint64_t hash;
    sqlite3_stmt *prepared;
};

struct rb_store {
    sqlite3 *db;
    struct rb_metrics *metrics;
    char *path;
    unsigned depth;          /* of begun transactions */
    unsigned reading;        /* depth of reads begun outside of transactions */
    bool failed;             /* something inside the transaction did */
    struct rb_error failure; /* the first */
    struct rb_statement statements[RB_STATEMENTS_MAX]; /* open addressing by hash of the text */
    size_t statement_count;
};

/* Around reads that belong together: one state of the database, and its locks taken once. Nests,
 * also in rb_store_begin. Nothing may be written inside. end returns status. */
enum rb_status rb_store_begin_reading(struct rb_store *s, struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_store_end_reading(struct rb_store *s, enum rb_status status) RB_MUST_CHECK;

struct rb_query;
/* Runs a statement that was started (query.h) to its end, in a transaction of its own or as a part
 * of the one begun around it; and ends the query. */
enum rb_status rb_store_run(struct rb_query *q, struct rb_error *err) RB_MUST_CHECK;

#endif
