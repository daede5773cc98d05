/* server/work/share.h: jobs of a matrix (api/matrix.h) share what they collect: the first that
 * needs moments runs all their models over the text once and keeps the moments of every pair that
 * still waits for them (moments_cache.h), as many at once as --moments-cache-bytes and a quarter of
 * --memory-limit take. The others find theirs there, the same bits as if they had collected them
 * alone.
 *
 * Loop thread, but where said. */
#ifndef RB_SERVER_WORK_SHARE_H
#define RB_SERVER_WORK_SHARE_H

#include "server/work/run_state.h"

struct rb_share;

/* How many pairs of that plan are collected at once, 1 at least. Any thread. */
size_t rb_share_pairs(const struct rb_plan *plan, const struct rb_work_options *o);

/* Is there nothing for the run to do now: another one collects the moments of its key, or of some
 * matrix, while it would do that, too? */
bool rb_share_waits(const struct rb_run *run, const char *key);

/* own: the run's own moments, the callee's; NULL on failure. */
typedef void rb_share_ended(void *data, enum rb_status status, const struct rb_error *err,
                            struct rb_moments *own);

/* While no other is under way (rb_share_waits). Begins to collect, in the run's aligning stage, the
 * moments of key, which is the run's own, and of its group's other pairs. A pair whose models
 * cannot be read, or are not what they were, is left to its own job. *ret NULL: there is nothing to
 * share, and nothing was begun. Else the caller frees *ret in the stage's `leave`, and `ended`
 * comes later, once. */
enum rb_status rb_share_begin(struct rb_run *run, const char *key, rb_share_ended *ended,
                              void *data, struct rb_share **ret,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_share_free(struct rb_share *s); /* s may be NULL; nothing of it runs */

#endif
