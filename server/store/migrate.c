#include "server/store/migrate.h"
#include "server/store/migrations.h"

#include "server/store/query.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* "rbnd": marks the file as ours, for us and for file(1). */
enum { APPLICATION_ID = 0x72626e64 };

static enum rb_status fail(sqlite3 *db, int code, const char *path, struct rb_error *err)
{
    if (code == SQLITE_NOTADB)
        return rb_error_set(err, RB_ESTORE,
                            "%s is not a rebasind database: restore a backup, or move it away",
                            path);
    if ((code & 0xff) == SQLITE_CORRUPT)
        return rb_error_set(err, RB_ESTORE, "%s is damaged (%s): restore a backup, or move it away",
                            path, sqlite3_errmsg(db));
    return rb_error_set(err, rb_sqlite_status(code), "%s: %s", path, sqlite3_errmsg(db));
}

static enum rb_status read_number(sqlite3 *db, const char *path, const char *sql, int *ret,
                                  struct rb_error *err)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *ret = sqlite3_column_int(statement, 0);
        code = sqlite3_step(statement);
    }
    (void)sqlite3_finalize(statement);
    return code == SQLITE_DONE ? RB_OK : fail(db, code, path, err);
}

static enum rb_status execute(sqlite3 *db, const char *path, const char *sql, struct rb_error *err)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? RB_OK : fail(db, code, path, err);
}

/* One transaction, so that a step is taken whole or not at all. */
static enum rb_status take_step(sqlite3 *db, const char *path, int step, struct rb_error *err)
{
    char marks[96];
    (void)snprintf(marks, sizeof marks, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
                   APPLICATION_ID, step + 1);
    enum rb_status status = execute(db, path, "BEGIN IMMEDIATE", err);
    if (status != RB_OK)
        return status;
    status = execute(db, path, rb_migrations[step].sql, err);
    if (status == RB_OK)
        status = execute(db, path, marks, err);
    if (status == RB_OK)
        status = execute(db, path, "COMMIT", err);
    if (status != RB_OK) {
        (void)rb_error_prefix(err, "migration %s: ", rb_migrations[step].name);
        if (!sqlite3_get_autocommit(db))
            (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return status;
}

enum rb_status rb_store_read_version(sqlite3 *db, const char *path, int *ret_version,
                                     struct rb_error *err)
{
    int version = 0, application = 0, tables = 0;
    enum rb_status status = read_number(db, path, "PRAGMA user_version", &version, err);
    if (status == RB_OK)
        status = read_number(db, path, "PRAGMA application_id", &application, err);
    if (status == RB_OK)
        status = read_number(db, path, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (status != RB_OK)
        return status;
    if (application != APPLICATION_ID && (tables > 0 || version > 0))
        return rb_error_set(err, RB_ESTORE, "%s is the database of another program", path);
    if (version > rb_migration_count)
        return rb_error_set(err, RB_EVERSION,
                            "%s has schema %d, this rebasind knows schemas up to %d: install the "
                            "newer one again",
                            path, version, rb_migration_count);
    *ret_version = version;
    return RB_OK;
}

enum rb_status rb_store_migrate(sqlite3 *db, const char *path, int version, struct rb_error *err)
{
    enum rb_status status = RB_OK;
    for (int step = version; status == RB_OK && step < rb_migration_count; step++)
        status = take_step(db, path, step, err);
    return status;
}

enum rb_status rb_store_peek(const char *path, int *ret_version, struct rb_error *err)
{
    sqlite3 *db = NULL;
    enum rb_status status;
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        *ret_version = 0;
        return RB_OK;
    }
    int code = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (code == SQLITE_OK)
        status = rb_store_read_version(db, path, ret_version, err);
    else
        status = fail(db, code, path, err);
    (void)sqlite3_close(db);
    return status;
}

int rb_store_schema_version(void)
{
    return rb_migration_count;
}
