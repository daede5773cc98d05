#include "server/work/hub.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

void rb_hub_init(struct rb_hub *hub)
{
    *hub = (struct rb_hub){.count = 0};
    hub->first.next_ = hub->first.previous_ = &hub->first;
}

void rb_hub_deinit(struct rb_hub *hub)
{
    while (hub->first.next_ != &hub->first)
        rb_hub_unlisten(hub, hub->first.next_);
}

void rb_hub_listen(struct rb_hub *hub, struct rb_listener *l)
{
    assert(!l->listening_ && l->heard != NULL);
    l->listening_ = true;
    l->next_ = &hub->first;
    l->previous_ = hub->first.previous_;
    l->previous_->next_ = l;
    hub->first.previous_ = l;
    hub->count++;
}

void rb_hub_unlisten(struct rb_hub *hub, struct rb_listener *l)
{
    if (!l->listening_)
        return;
    if (hub->next_ == l)
        hub->next_ = l->next_;
    l->next_->previous_ = l->previous_;
    l->previous_->next_ = l->next_;
    l->listening_ = false;
    hub->count--;
}

void rb_hub_publish(struct rb_hub *hub, const struct rb_event *event)
{
    assert(hub->next_ == NULL); /* not from inside heard */
    for (struct rb_listener *l = hub->first.next_; l != &hub->first; l = hub->next_) {
        hub->next_ = l->next_;
        if (l->job == NULL || strcmp(l->job, event->job) == 0)
            l->heard(l, event);
    }
    hub->next_ = NULL;
}

void rb_hub_deleted(struct rb_hub *hub, const char *job)
{
    assert(hub->next_ == NULL);
    for (struct rb_listener *l = hub->first.next_; l != &hub->first; l = hub->next_) {
        hub->next_ = l->next_;
        if (l->gone != NULL && l->job != NULL && strcmp(l->job, job) == 0)
            l->gone(l);
    }
    hub->next_ = NULL;
}

void rb_hub_ring(struct rb_hub *hub, struct rb_event_row *row)
{
    if (row->event.data_json != NULL)
        rb_hub_publish(hub, &row->event);
    rb_event_row_deinit(row);
}

void rb_hub_ring_all(struct rb_hub *hub, enum rb_status status, struct rb_event_row *rows,
                     size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (status == RB_OK)
            rb_hub_ring(hub, &rows[i]);
        else
            rb_event_row_deinit(&rows[i]);
}

enum rb_status rb_hub_job_change(struct rb_hub *hub, struct rb_store *store, int64_t job,
                                 const struct rb_job_change *change, struct rb_error *err)
{
    struct rb_event_row event = {0};
    enum rb_status status = rb_job_change(store, job, change, &event, err);
    if (status == RB_OK)
        rb_hub_ring(hub, &event);
    return status;
}
