/* server/store/caches.h: what need not be found out twice: digests of files, moments kept on disk,
 * and how fast this machine is. Losing a row costs time, nothing else. Loop thread only. */
#ifndef RB_SERVER_STORE_CACHES_H
#define RB_SERVER_STORE_CACHES_H

#include "server/base/hash.h"
#include "server/store/store.h"

#include <sys/stat.h>

/* ---- digests of files that have not changed ---- */

/* A file that is written in place, exchanged, or touched changes one of these; its time of change
 * (ctime) cannot be set back by who owns it. */
struct rb_file_id {
    const char *path; /* absolute */
    uint64_t bytes, device, inode;
    int64_t mtime_ns, ctime_ns;
};
/* path is borrowed. */
struct rb_file_id rb_file_id_of(const char *path, const struct stat *st);
/* *ret_found false if the file is unknown or anything of its id is another. */
enum rb_status rb_hash_get(struct rb_store *s, const struct rb_file_id *file, bool *ret_found,
                           unsigned char ret[RB_SHA256_BYTES], struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_hash_put(struct rb_store *s, const struct rb_file_id *file,
                           const unsigned char sha256[RB_SHA256_BYTES], int64_t now_ms,
                           struct rb_error *err) RB_MUST_CHECK;

/* ---- moments below cache/moments/ ---- */

struct rb_moments_row {
    char *key;  /* hex digest of all that the moments depend on */
    char *file; /* name below cache/moments/ */
    uint64_t bytes;
    int64_t created_at_ms, used_at_ms;
};
void rb_moments_row_deinit(struct rb_moments_row *row);
/* Notes the use at now_ms. *ret_found false if the key is unknown. */
enum rb_status rb_moments_get(struct rb_store *s, const char *key, int64_t now_ms, bool *ret_found,
                              struct rb_moments_row *ret, struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_moments_put(struct rb_store *s, const struct rb_moments_row *row,
                              struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_moments_remove(struct rb_store *s, const char *key,
                                 struct rb_error *err) RB_MUST_CHECK;
/* Bytes of all kept moments. */
enum rb_status rb_moments_total(struct rb_store *s, uint64_t *ret_bytes,
                                struct rb_error *err) RB_MUST_CHECK;
/* The one longest unused: the next to go. */
enum rb_status rb_moments_oldest(struct rb_store *s, bool *ret_found, struct rb_moments_row *ret,
                                 struct rb_error *err) RB_MUST_CHECK;

/* ---- how fast a machine is at what (server/work/rates_kept.h) ---- */

struct rb_rate_key {
    const char *cpu, *kernel, *what; /* borrowed */
};
struct rb_rate {
    double rate, seconds; /* seconds: that it was learnt from */
};
/* *ret_found false, and *ret untouched, if nothing is known of that. */
enum rb_status rb_rate_get(struct rb_store *s, const struct rb_rate_key *key, bool *ret_found,
                           struct rb_rate *ret, struct rb_error *err) RB_MUST_CHECK;
/* Inside a transaction. */
enum rb_status rb_rate_put(struct rb_store *s, const struct rb_rate_key *key,
                           const struct rb_rate *rate, struct rb_error *err) RB_MUST_CHECK;

#endif
