/* server/store/store.h: the database: opening, migrating, transactions, failures.
 *
 * DESIGN. One SQLite file, WAL, synchronous=FULL, one connection that does every write, every
 * read and every checkpoint, on the loop thread. (With two connections that write or checkpoint a
 * WAL can be corrupted before SQLite 3.51.3.) A committed transaction has been
 * synced: what was committed before a reply left survives power loss. A read takes some ten
 * microseconds, a commit one or two syncs of the disk.
 *
 * Tables are one file each: jobs.h, results.h (stages, points, artifacts), events.h, models.h,
 * datasets.h, tokens.h, idempotency.h, caches.h. Rows are plain structs whose strings the
 * struct owns; `rb_<thing>_row_deinit` frees them and zeroes the struct. Where api/ has a struct
 * for what a table holds, the row has that struct in it.
 *
 * Failures: RB_EDISKFULL (SQLITE_FULL), RB_ENOMEM, RB_ESTORE (BUSY, IOERR, READONLY, CANTOPEN,
 * PROTOCOL: may pass), RB_EINTERNAL (CONSTRAINT where none can fail, MISUSE, CORRUPT). Every
 * function below can give these; headers name only what is added to these.
 */
#ifndef RB_SERVER_STORE_STORE_H
#define RB_SERVER_STORE_STORE_H

#include "api/status.h"

#include <stdint.h>

struct rb_store;
struct rb_metrics;

/* Opens or makes the database `path` and brings it to the newest schema, each migration in one
 * transaction that also sets user_version. vfs: name of a registered SQLite VFS (fault injection),
 * NULL for the default. metrics may be NULL; borrowed. RB_EVERSION: a newer rebasind wrote it;
 * RB_ESTORE: damaged, or no database of ours, with what to do. The caller owns *ret. */
enum rb_status rb_store_open(const char *path, const char *vfs, struct rb_metrics *metrics,
                             struct rb_store **ret, struct rb_error *err) RB_MUST_CHECK;
/* Checkpoints and closes. store may be NULL. */
void rb_store_close(struct rb_store *store);

/* ---- transactions ----
 * Each writing function is a transaction of its own, or part of the one begun around it. They nest:
 * only the outermost commit writes. A rollback anywhere undoes all, and so does any function that
 * fails: the commit then refuses with that first failure. Never left open over a return to the
 * loop. Use:
 *     if ((st = rb_store_begin(s, err)) != RB_OK) return st;
 *     if ((st = rb_job_add(s, …, err)) == RB_OK) st = rb_idempotency_add(s, …, err);
 *     return rb_store_end(s, st, err);
 */
enum rb_status rb_store_begin(struct rb_store *store, struct rb_error *err) RB_MUST_CHECK;
/* Commits if status is RB_OK, rolls back if not; returns status, or why the commit failed. */
enum rb_status rb_store_end(struct rb_store *store, enum rb_status status,
                            struct rb_error *err) RB_MUST_CHECK;

/* ---- state ---- */

/* Bytes of the database and its log on disk. */
uint64_t rb_store_bytes(const struct rb_store *store);
/* Grows with every row that is written, changed or removed through this store: what was read stays
 * true as long as this stands still. Cheap. */
uint64_t rb_store_generation(const struct rb_store *store);
/* A trivial read; for readyz. */
enum rb_status rb_store_ping(struct rb_store *store, struct rb_error *err) RB_MUST_CHECK;
/* PRAGMA quick_check; slow on large files. RB_ESTORE with its first finding. */
enum rb_status rb_store_check(struct rb_store *store, struct rb_error *err) RB_MUST_CHECK;
/* "3.40.1", of the library linked. */
const char *rb_store_library_version(void);

#endif
