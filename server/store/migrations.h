/* server/store/migrations.h: the schema's steps, embedded from migrations/ at build time; private
 * to server/store. */
#ifndef RB_SERVER_STORE_MIGRATIONS_H
#define RB_SERVER_STORE_MIGRATIONS_H

struct rb_migration {
    const char *name; /* "0001-init.sql" */
    const char *sql;
};
/* Step i brings user_version i to i + 1. */
extern const struct rb_migration rb_migrations[];
extern const int rb_migration_count;

#endif
