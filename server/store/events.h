/* server/store/events.h: what happened to jobs, in order, for pages and replays.
 *
 * Ids grow by one and are never used again, even after a job and its events were deleted. Status
 * and point events are written by rb_job_change, rb_job_patch and rb_point_add; progress is not
 * kept. Loop thread only. */
#ifndef RB_SERVER_STORE_EVENTS_H
#define RB_SERVER_STORE_EVENTS_H

#include "server/base/ids.h"
#include "server/store/store.h"

struct rb_event_row {
    int64_t id;
    char job[RB_JOB_ID_TEXT];
    char *type; /* "status", "point" */
    char *data; /* JSON object */
    int64_t at_ms;
};

enum rb_status rb_event_add(struct rb_store *s, int64_t job, const char *type, const char *data,
                            int64_t at_ms, int64_t *ret_id, struct rb_error *err) RB_MUST_CHECK;
/* At most `limit` events with id > after, oldest first; job 0 means of all jobs.
 * The caller owns *ret: rb_events_free. */
enum rb_status rb_events_list(struct rb_store *s, int64_t job, int64_t after, uint32_t limit,
                              struct rb_event_row **ret, size_t *ret_count,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_events_free(struct rb_event_row *rows, size_t count);
/* The newest id given out, 0 if none was. */
enum rb_status rb_events_last(struct rb_store *s, int64_t *ret_id,
                              struct rb_error *err) RB_MUST_CHECK;

#endif
