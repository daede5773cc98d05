/* server/work/moments_cache.h: moments kept below cache/moments/, so that jobs which differ only in
 * how they match, or where they evaluate, collect them once.
 *
 * A file's name is the digest of all that its content depends on: both models' digests, the text's
 * digest and fields, how many sequences of what length, pooling, special tokens, and the taps. The
 * longest unused go first when the limit is passed. */
#ifndef RB_SERVER_WORK_MOMENTS_CACHE_H
#define RB_SERVER_WORK_MOMENTS_CACHE_H

#include "server/base/hash.h"
#include "server/work/run_state.h"

/* The key of a run's moments. */
void rb_moments_key(const struct rb_run *run, char ret[RB_SHA256_HEX]);
/* Of another job of the same group, which aligns the same way: its models, all else is the run's.
 */
void rb_moments_key_for(const struct rb_run *run, const struct rb_job *job,
                        char ret[RB_SHA256_HEX]);
/* The absolute path of the key's file: new, free(); NULL when out of memory. */
char *rb_moments_path(const struct rb_work *w, const char *key);

/* Pool thread. The key's file, whole and synced, its size in *ret_bytes; nothing is written of
 * moments that are mapped from it. RB_EIO, RB_EDISKFULL, RB_ENOMEM. */
enum rb_status rb_moments_write(const struct rb_work *w, const char *key,
                                const struct rb_moments *moments, uint64_t *ret_bytes,
                                struct rb_error *err) RB_MUST_CHECK;

/* Loop thread. Is the key known? Counts a hit or a miss. */
bool rb_moments_known(struct rb_work *w, const char *key);
/* The same, not counted. */
bool rb_moments_there(struct rb_work *w, const char *key);
/* Its file is whole and synced: notes it. A store that fails forgets it. */
void rb_moments_keep(struct rb_work *w, const char *key, uint64_t bytes);
/* Forgets the key and removes its file. */
void rb_moments_drop(struct rb_work *w, const char *key);
/* Removes the longest unused until the rest fits the limit. */
void rb_moments_trim(struct rb_work *w);

#endif
