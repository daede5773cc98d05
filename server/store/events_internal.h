/* server/store/events_internal.h: how events are appended; private to server/store. */
#ifndef RB_SERVER_STORE_EVENTS_INTERNAL_H
#define RB_SERVER_STORE_EVENTS_INTERNAL_H

#include "server/store/events.h"
#include "api/encode.h"

/* Appends an event of job (its seq and id) inside the present transaction. data is finished and
 * empty afterwards. ret may be NULL. */
enum rb_status rb_event_add(struct rb_store *s, int64_t job, const char *job_id,
                            enum rb_event_type type, struct rb_json *data, int64_t at_ms,
                            struct rb_event_row *ret, struct rb_error *err) RB_MUST_CHECK;

/* rb_store_end for what appends one event: on success it goes to ret_event (unless NULL), on
 * failure it is freed. */
enum rb_status rb_store_end_with_event(struct rb_store *s, enum rb_status status,
                                       struct rb_event_row *event, struct rb_event_row *ret_event,
                                       struct rb_error *err) RB_MUST_CHECK;

#endif
