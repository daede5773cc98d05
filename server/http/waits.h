/* server/http/waits.h: requests that wait for a job: Prefer: wait, and the long poll by ETag.
 * Loop thread only. */
#ifndef RB_SERVER_HTTP_WAITS_H
#define RB_SERVER_HTTP_WAITS_H

#include "api/job.h"
#include "server/http/request.h"

enum { RB_WAIT_MAX_SECONDS = 60 };

/* Waits at most `seconds`, then replies `late_status` with the job as it is; until_finished: or
 * earlier, 200 with the finished job; else: or earlier, 200 when its ETag is no longer among those
 * of If-None-Match (304 when time is up). */
void rb_wait_for_job(struct rb_request *r, const char *job_id, int seconds, bool until_finished,
                     int late_status);

#endif
