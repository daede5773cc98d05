/* server/store/events.h: what happened to jobs, in order, for pages and replays.
 *
 * Ids grow and are never used again, even after a job and its events were deleted. Status and point
 * events are written by rb_job_add, rb_job_change, rb_job_edit and rb_point_add, in the transaction
 * they tell of; progress is not kept. Loop thread only. */
#ifndef RB_SERVER_STORE_EVENTS_H
#define RB_SERVER_STORE_EVENTS_H

#include "api/event.h"
#include "server/store/store.h"

/* event.data_json is owned here: rb_event_row_deinit. */
struct rb_event_row {
    struct rb_event event;
};
void rb_event_row_deinit(struct rb_event_row *row);

/* At most `limit` events with id > after, oldest first; job (a job's seq) 0 means of all jobs.
 * The caller owns *ret: rb_events_free. */
enum rb_status rb_events_list(struct rb_store *s, int64_t job, uint64_t after, uint32_t limit,
                              struct rb_event_row **ret, size_t *ret_count,
                              struct rb_error *err) RB_MUST_CHECK;
/* The same of all jobs of a group (server/store/groups.h). */
enum rb_status rb_events_of_group(struct rb_store *s, int64_t group, uint64_t after, uint32_t limit,
                                  struct rb_event_row **ret, size_t *ret_count,
                                  struct rb_error *err) RB_MUST_CHECK;
void rb_events_free(struct rb_event_row *rows, size_t count);
/* Appends a "note" of the job (its seq and id) in a transaction of its own. ret_event: the
 * caller's. */
enum rb_status rb_event_note(struct rb_store *s, int64_t job, const char *job_id, const char *unit,
                             const char *text, int64_t at_ms, struct rb_event_row *ret_event,
                             struct rb_error *err) RB_MUST_CHECK;
/* The newest id given out, 0 if none was. */
enum rb_status rb_events_last(struct rb_store *s, uint64_t *ret_id,
                              struct rb_error *err) RB_MUST_CHECK;

#endif
