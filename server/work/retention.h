/* server/work/retention.h: finished jobs, or their merged checkpoints, are removed once they have
 * been kept long enough. */
#ifndef RB_SERVER_WORK_RETENTION_H
#define RB_SERVER_WORK_RETENTION_H

#include "api/retention.h"
#include "server/work/work_state.h"

/* Removes some of what is due at now_ms (server/store/retention.h says what is), in one
 * transaction; each is a line of the log and counts in the metrics. *ret_more: there may be more,
 * so call again soon. Loop thread. The store's failures: nothing was removed then. */
enum rb_status rb_retention_run(struct rb_work *w, const struct rb_retention *keep, int64_t now_ms,
                                bool *ret_more, struct rb_error *err) RB_MUST_CHECK;

#endif
