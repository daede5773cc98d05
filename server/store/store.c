#include "server/store/query.h"

#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/store/migrate.h"
#include "server/store/migrations.h"
#include "server/store/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- opening ---- */

/* One connection, so no other can make us wait but an operator's sqlite3. */
enum { BUSY_TIMEOUT_MS = 500 };

/* Checkpoints are small and frequent so that none holds up the loop for long. */
static const char pragmas[] = "PRAGMA journal_mode = WAL;"
                              "PRAGMA synchronous = FULL;"
                              "PRAGMA foreign_keys = ON;"
                              "PRAGMA trusted_schema = OFF;"
                              "PRAGMA temp_store = MEMORY;"
                              "PRAGMA cache_size = -32768;"
                              "PRAGMA wal_autocheckpoint = 256;"
                              "PRAGMA journal_size_limit = 67108864;";

static enum rb_status open_connection(struct rb_store *s, const char *vfs, struct rb_error *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(s->path, &s->db, flags, vfs);
    if (code != SQLITE_OK)
        return rb_error_set(err, rb_sqlite_status(code), "%s: %s", s->path,
                            s->db != NULL ? sqlite3_errmsg(s->db) : sqlite3_errstr(code));
    (void)sqlite3_extended_result_codes(s->db, 1);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    int version;
    /* First of all, so that a file which is not for us is left as it is. */
    enum rb_status status = rb_store_read_version(s->db, s->path, &version, err);
    if (status != RB_OK)
        return status;
    code = sqlite3_exec(s->db, pragmas, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return rb_error_set(err, rb_sqlite_status(code), "%s: %s", s->path, sqlite3_errmsg(s->db));
    return rb_store_migrate(s->db, s->path, version, err);
}

enum rb_status rb_store_open(const char *path, const char *vfs, struct rb_metrics *metrics,
                             struct rb_store **ret, struct rb_error *err)
{
    struct rb_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the database");
    s->metrics = metrics;
    s->path = strdup(path);
    enum rb_status status = RB_OK;
    if (s->path == NULL)
        status = rb_error_set(err, RB_ENOMEM, "no memory for the database");
    else
        status = open_connection(s, vfs, err);
    if (status != RB_OK) {
        rb_store_close(s);
        return status;
    }
    *ret = s;
    return RB_OK;
}

void rb_store_close(struct rb_store *s)
{
    if (s == NULL)
        return;
    assert(s->depth == 0);
    for (size_t i = 0; i < RB_STATEMENTS_MAX; i++)
        (void)sqlite3_finalize(s->statements[i].prepared);
    (void)sqlite3_close(s->db);
    free(s->path);
    free(s);
}

/* ---- transactions ---- */

static enum rb_status run(struct rb_store *s, const char *sql, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, sql, &q);
    return rb_query_run(&q, err);
}

enum rb_status rb_store_begin(struct rb_store *s, struct rb_error *err)
{
    assert(s->reading == 0);
    if (s->depth == 0) {
        enum rb_status status = run(s, "BEGIN IMMEDIATE", err);
        if (status != RB_OK)
            return status;
        s->failed = false;
    }
    s->depth++;
    return RB_OK;
}

/* Some failures have rolled back by themselves. */
static void roll_back(struct rb_store *s)
{
    struct rb_error ignored; /* nothing is left to undo */
    if (!sqlite3_get_autocommit(s->db))
        (void)!run(s, "ROLLBACK", &ignored);
}

static enum rb_status commit(struct rb_store *s, struct rb_error *err)
{
    uint64_t begun = rb_clock_monotonic_ns();
    enum rb_status status = run(s, "COMMIT", err);
    if (status != RB_OK)
        roll_back(s);
    rb_metrics_observe(s->metrics, RB_METER_STORE_COMMIT_SECONDS,
                       1e-9 * (double)(rb_clock_monotonic_ns() - begun), NULL);
    return status;
}

enum rb_status rb_store_end(struct rb_store *s, enum rb_status status, struct rb_error *err)
{
    assert(s->depth > 0);
    if (status != RB_OK && !s->failed) {
        s->failed = true;
        s->failure = err != NULL ? *err : (struct rb_error){.status = status};
    }
    if (--s->depth > 0)
        return status;
    if (!s->failed)
        return commit(s, err);
    roll_back(s);
    if (status == RB_OK && err != NULL)
        *err = s->failure;
    return status != RB_OK ? status : s->failure.status;
}

enum rb_status rb_store_begin_reading(struct rb_store *s, struct rb_error *err)
{
    if (s->depth > 0)
        return RB_OK;
    enum rb_status status = s->reading == 0 ? run(s, "BEGIN DEFERRED", err) : RB_OK;
    if (status == RB_OK)
        s->reading++;
    return status;
}

enum rb_status rb_store_end_reading(struct rb_store *s, enum rb_status status)
{
    if (s->depth == 0 && --s->reading == 0)
        roll_back(s); /* nothing was written */
    return status;
}

enum rb_status rb_store_run(struct rb_query *q, struct rb_error *err)
{
    struct rb_store *s = q->store;
    enum rb_status status = rb_store_begin(s, err);
    return status == RB_OK ? rb_store_end(s, rb_query_run(q, err), err)
                           : rb_query_end(q, status, err);
}

/* ---- state ---- */

uint64_t rb_store_generation(const struct rb_store *s)
{
    return (uint64_t)sqlite3_total_changes64(s->db);
}

uint64_t rb_store_bytes(const struct rb_store *s)
{
    static const char *const suffixes[] = {"", "-wal"};
    uint64_t bytes = 0;
    for (size_t i = 0; i < 2; i++) {
        char path[4096];
        struct stat st;
        int n = snprintf(path, sizeof path, "%s%s", s->path, suffixes[i]);
        if (n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0)
            bytes += (uint64_t)st.st_size;
    }
    return bytes;
}

enum rb_status rb_store_ping(struct rb_store *s, struct rb_error *err)
{
    return run(s, "SELECT jobs FROM job_counts", err);
}

enum rb_status rb_store_check(struct rb_store *s, struct rb_error *err)
{
    struct rb_query q;
    bool row;
    rb_query_start(s, "PRAGMA quick_check(1)", &q);
    enum rb_status status = rb_query_step(&q, &row, err);
    if (status == RB_OK && row && strcmp(rb_column_text(&q, 0), "ok") != 0)
        status = rb_error_set(err, RB_ESTORE, "%s is damaged: %s", s->path, rb_column_text(&q, 0));
    return rb_query_end(&q, status, err);
}

const char *rb_store_library_version(void)
{
    return sqlite3_libversion();
}
