/* server/store/migrations.h: the schema's steps, embedded from migrations/ at build time; private
 * to server/store. */
#ifndef RB_SERVER_STORE_MIGRATIONS_H
#define RB_SERVER_STORE_MIGRATIONS_H

#include "api/status.h"

struct sqlite3;

struct rb_migration {
    const char *name; /* "0001-init.sql" */
    const char *sql;
};
/* Step i brings user_version i to i + 1. */
extern const struct rb_migration rb_migrations[];
extern const int rb_migration_count;

/* Reads the schema's version, changing nothing: 0 for an empty file. RB_EVERSION if it is newer
 * than ours, RB_ESTORE (not ours, or damaged). */
enum rb_status rb_store_read_version(struct sqlite3 *db, const char *path, int *ret_version,
                                     struct rb_error *err) RB_MUST_CHECK;
/* Brings db from that version to the newest. The failures of store.h. */
enum rb_status rb_store_migrate(struct sqlite3 *db, const char *path, int version,
                                struct rb_error *err) RB_MUST_CHECK;

#endif
