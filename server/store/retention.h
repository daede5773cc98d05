/* server/store/retention.h: which finished jobs have been kept long enough. Loop thread only. */
#ifndef RB_SERVER_STORE_RETENTION_H
#define RB_SERVER_STORE_RETENTION_H

#include "api/retention.h"
#include "server/store/events.h"

/* Up to limit jobs whose time is over at now_ms, by keep: first those that go whole, then those
 * that lose their merged checkpoints, each the oldest first. Never one that waits or runs, nor one
 * whose alignment another job that is there was given (align.from_job), which its retry would want
 * again. looked_ms: merged checkpoints of jobs that ended by then are known to be gone; -1: nothing
 * is known. The caller frees *ret: free(). */
enum rb_status rb_retention_list(struct rb_store *s, const struct rb_retention *keep,
                                 int64_t now_ms, int64_t looked_ms, uint32_t limit,
                                 struct rb_retired **ret, size_t *ret_count,
                                 struct rb_error *err) RB_MUST_CHECK;

/* The same, counted: of each kind the oldest, up to RB_RETENTION_COUNTED of them. */
enum { RB_RETENTION_COUNTED = 2000 };
enum rb_status rb_retention_count(struct rb_store *s, const struct rb_retention *keep,
                                  int64_t now_ms, struct rb_retention_totals *ret,
                                  struct rb_error *err) RB_MUST_CHECK;

/* Forgets the job's merged checkpoints; counts its version up, with an event ("status") to ring.
 * Their files are the caller's. Inside a transaction. RB_ENOTFOUND. */
enum rb_status rb_merged_forget(struct rb_store *s, int64_t job, int64_t at_ms,
                                struct rb_event_row *ret_event, struct rb_error *err) RB_MUST_CHECK;

/* Forgets groups made before then of which no job is left. */
enum rb_status rb_groups_prune(struct rb_store *s, int64_t before_ms,
                               struct rb_error *err) RB_MUST_CHECK;

#endif
