/* server/store/migrate.h: the schema, read and brought to the newest; private to server/store. */
#ifndef RB_SERVER_STORE_MIGRATE_H
#define RB_SERVER_STORE_MIGRATE_H

#include "api/status.h"

struct sqlite3;

/* Reads the schema's version, changing nothing: 0 for an empty file. RB_EVERSION if it is newer
 * than ours, RB_ESTORE (not ours, or damaged). */
enum rb_status rb_store_read_version(struct sqlite3 *db, const char *path, int *ret_version,
                                     struct rb_error *err) RB_MUST_CHECK;

/* Brings db from that version to the newest. The failures of store.h. */
enum rb_status rb_store_migrate(struct sqlite3 *db, const char *path, int version,
                                struct rb_error *err) RB_MUST_CHECK;

/* The newest schema this program knows: the number of the last migration. */
int rb_store_schema_version(void);

/* The schema of the database at `path`, without changing it: 0 if there is none yet. Any process.
 * RB_EVERSION and RB_ESTORE as rb_store_open. */
enum rb_status rb_store_peek(const char *path, int *ret_version,
                             struct rb_error *err) RB_MUST_CHECK;

#endif
