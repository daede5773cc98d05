/* server/work/queue.h: which job runs next, and what becomes of those that a dead process left.
 * Loop thread only. */
#ifndef RB_SERVER_WORK_QUEUE_H
#define RB_SERVER_WORK_QUEUE_H

#include "server/work/work_state.h"

/* A job was queued, its priority changed, or a run has ended: the next is claimed, from the loop.
 */
void rb_queue_wake(struct rb_work *w);

/* Jobs that were running when the last process ended are queued again in their old place (at their
 * third crash without anything new on disk they fail with crash_loop), those that were being
 * canceled become canceled. The store's failures. */
enum rb_status rb_queue_recover(struct rb_work *w, struct rb_error *err) RB_MUST_CHECK;

#endif
