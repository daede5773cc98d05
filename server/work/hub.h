/* server/work/hub.h: who hears what happens to jobs, inside this process.
 *
 * The store is the record; the hub is the bell. Whatever changes a job commits first, then rings
 * here, so a listener that reads the store on hearing finds what it was told of. Server-sent
 * events, long polls and Prefer: wait are listeners. Loop thread only.
 */
#ifndef RB_SERVER_WORK_HUB_H
#define RB_SERVER_WORK_HUB_H

#include "server/store/events.h"
#include "server/store/jobs.h"

/* The caller's storage; zeroed before the first three are set. */
struct rb_listener {
    const char *job; /* borrowed while listening; NULL hears every job */
    /* May unlisten itself or any other listener and make others listen (they hear later notes, or
     * this one too); must not publish. */
    void (*heard)(struct rb_listener *l, const struct rb_event *event);
    /* The job is there no longer; may be NULL. The same rules. */
    void (*gone)(struct rb_listener *l);
    void *data;

    struct rb_listener *next_, *previous_;
    bool listening_;
};

struct rb_hub {
    struct rb_listener first;  /* sentinel of a ring */
    struct rb_listener *next_; /* whom the publish under way rings next */
    uint32_t count;
};

void rb_hub_init(struct rb_hub *hub);
/* All listeners are dropped, without being told. */
void rb_hub_deinit(struct rb_hub *hub);
void rb_hub_listen(struct rb_hub *hub, struct rb_listener *l);
/* Does nothing if l is not listening. */
void rb_hub_unlisten(struct rb_hub *hub, struct rb_listener *l);
void rb_hub_publish(struct rb_hub *hub, const struct rb_event *event);
/* The job was deleted: rings `gone` of those who listen to it alone. */
void rb_hub_deleted(struct rb_hub *hub, const char *job);
/* Publishes the event of a change that was committed, if there was one, and frees the row. */
void rb_hub_ring(struct rb_hub *hub, struct rb_event_row *row);
/* The same of each event of a transaction that ended with that status; unless RB_OK they are only
 * freed. */
void rb_hub_ring_all(struct rb_hub *hub, enum rb_status status, struct rb_event_row *rows,
                     size_t count);
/* Changes the job with that seq and rings: rb_job_change, and its failures. */
enum rb_status rb_hub_job_change(struct rb_hub *hub, struct rb_store *store, int64_t job,
                                 const struct rb_job_change *change,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
