/* Events as JSON pages and as server-sent events.
 *
 * DESIGN of a stream. It is a suspended request with a small buffer: no thread, no timer. First it
 * replays from the store, a batch whenever the buffer has run empty, until a batch comes back
 * short; only then does it take what the hub rings. Between the two nothing is lost, because both
 * happen on the loop thread in one go. Progress, which is not stored, is heard only live. A client
 * that reads too slowly to keep its buffer below BUFFER_MAX_BYTES is dropped; it comes back with
 * Last-Event-ID and misses nothing.
 *
 * The stream of one job begins with the job's first event (or after Last-Event-ID) and ends after
 * its last; asked for again then, it answers 204, which tells an EventSource to stop. The stream
 * of all jobs begins with what comes next; that of a sweep with its first event, and never ends by
 * itself: a job of it may be tried again. */
#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/headers.h"
#include "server/http/internal.h"
#include "server/http/reply.h"
#include "server/http/text.h"

#include "api/event.h"
#include "server/base/clock.h"
#include "server/store/events.h"
#include "server/store/groups.h"
#include "server/store/jobs_read.h"
#include "server/work/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REPLAY_BATCH = 100,
    BUFFER_MAX_BYTES = 128 * 1024,
    HEARTBEAT_SECONDS = 15,
};

/* Whose events: a job's (its seq), a group's (its seq), or, both 0, of all jobs. */
struct whose {
    int64_t job, group;
};

static enum rb_status list_events(const struct rb_request *r, struct whose whose, uint64_t after,
                                  uint32_t limit, struct rb_event_row **ret, size_t *ret_count,
                                  struct rb_error *err)
{
    struct rb_store *store = rb_request_server(r)->store;
    return whose.group != 0
               ? rb_events_of_group(store, whose.group, after, limit, ret, ret_count, err)
               : rb_events_list(store, whose.job, after, limit, ret, ret_count, err);
}

/* ---- pages ---- */

static enum rb_status page_read(struct rb_request *r, const void *context,
                                const struct rb_page_request *page, uint32_t limit, void **ret_rows,
                                size_t *ret_count, struct rb_error *err)
{
    struct rb_event_row *rows;
    uint64_t after = page->has_after ? (uint64_t)page->after.number : 0;
    enum rb_status s =
        list_events(r, *(const struct whose *)context, after, limit, &rows, ret_count, err);
    if (s == RB_OK)
        *ret_rows = rows;
    return s;
}

static void page_position(const void *context, const void *rows, size_t i,
                          struct rb_page_position *ret)
{
    (void)context;
    ret->number = (int64_t)((const struct rb_event_row *)rows)[i].event.id;
}

static enum rb_status page_encode(struct rb_request *r, const void *context, struct rb_json *w,
                                  void *rows, size_t i, struct rb_error *err)
{
    (void)r;
    (void)context;
    (void)err;
    rb_event_encode(w, NULL, &((const struct rb_event_row *)rows)[i].event);
    return RB_OK;
}

static void page_free(const void *context, void *rows, size_t count)
{
    (void)context;
    rb_events_free(rows, count);
}

static void reply_page(struct rb_request *r, struct whose whose, const char *name)
{
    const struct rb_page_list list = {.name = name,
                                      .read = page_read,
                                      .position = page_position,
                                      .encode = page_encode,
                                      .rows_free = page_free};
    rb_page_reply_list(r, &list, &whose);
}

/* ---- streams ---- */

struct stream {
    struct rb_request *r;
    struct rb_listener listener;
    char job[RB_JOB_ID_SIZE]; /* "": more than one */
    struct whose whose;
    uint64_t after; /* the last event that went into the buffer */
    bool live;      /* the replay has caught up */
    bool ending;    /* nothing comes after what is in the buffer */
    char *buffer;
    size_t from, to, capacity; /* unsent bytes are [from, to) */
};

static bool append(struct stream *s, const char *text, size_t bytes)
{
    if (s->from > 0) {
        memmove(s->buffer, s->buffer + s->from, s->to - s->from);
        s->to -= s->from;
        s->from = 0;
    }
    if (s->to + bytes > BUFFER_MAX_BYTES)
        return false;
    if (s->to + bytes > s->capacity) {
        size_t capacity = (s->to + bytes) * 2;
        char *grown = realloc(s->buffer, capacity);
        if (grown == NULL)
            return false;
        s->buffer = grown;
        s->capacity = capacity;
    }
    memcpy(s->buffer + s->to, text, bytes);
    s->to += bytes;
    return true;
}

/* Does the event tell that its job has ended? Its data is our own: rb_event_status_data. */
static bool is_last(const struct stream *s, const struct rb_event *event)
{
    static const char begins[] = "{\"status\":\"";
    char name[16];
    if (s->whose.job == 0 || event->type != RB_EVENT_STATUS ||
        strncmp(event->data_json, begins, sizeof begins - 1) != 0)
        return false;
    const char *from = event->data_json + sizeof begins - 1;
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(from, "\""), from);
    int status = rb_enum_find(rb_job_status_names, name);
    return status >= 0 && rb_job_status_terminal((enum rb_job_status)status);
}

static bool append_event(struct stream *s, const struct rb_event *event)
{
    char *frame;
    size_t bytes;
    if (rb_event_frame(event, &frame, &bytes, NULL) != RB_OK)
        return false;
    bool kept = append(s, frame, bytes);
    free(frame);
    if (kept && event->id != 0)
        s->after = event->id;
    return kept;
}

/* Fills the buffer from the store; false when that fails. */
static bool replay(struct stream *s)
{
    struct rb_event_row *rows;
    size_t count;
    if (list_events(s->r, s->whose, s->after, REPLAY_BATCH, &rows, &count, NULL) != RB_OK)
        return false;
    bool fine = true;
    for (size_t i = 0; i < count && fine; i++)
        fine = append_event(s, &rows[i].event);
    s->live = count < REPLAY_BATCH;
    /* Changes of its labels may follow the event that ended the job. */
    s->ending = s->live && count > 0 && is_last(s, &rows[count - 1].event);
    rb_events_free(rows, count);
    return fine;
}

static ssize_t read_stream(struct rb_request *r, char *buffer, size_t max)
{
    struct stream *s = r->data;
    if (s->from == s->to && !s->live && !s->ending && !replay(s))
        return RB_STREAM_END;
    if (s->from == s->to)
        return s->ending ? RB_STREAM_END : 0;
    size_t n = s->to - s->from;
    if (n > max)
        n = max;
    memcpy(buffer, s->buffer + s->from, n);
    s->from += n;
    return (ssize_t)n;
}

static void on_heard(struct rb_listener *l, const struct rb_event *event)
{
    struct stream *s = l->data;
    if (!s->live || s->ending || (event->id != 0 && event->id <= s->after) ||
        (s->whose.group != 0 &&
         !rb_group_has(rb_request_server(s->r)->store, s->whose.group, event->job)))
        return;
    s->ending = is_last(s, event);
    if (append_event(s, event))
        rb_request_release(s->r);
    else
        rb_request_drop(s->r);
}

static void beat(struct rb_request *r);

static void arm(struct rb_request *r)
{
    r->deadline_ns = rb_clock_monotonic_ns() + HEARTBEAT_SECONDS * (uint64_t)1000000000;
    r->due = beat;
}

static void beat(struct rb_request *r)
{
    struct stream *s = r->data;
    arm(r);
    if (s->from != s->to || !s->live)
        return; /* not idle */
    if (append(s, RB_EVENT_HEARTBEAT, strlen(RB_EVENT_HEARTBEAT)))
        rb_request_release(r);
}

static void count_listeners(struct rb_http *http, int by)
{
    http->listeners += (unsigned)by;
    rb_metrics_set(http->server->metrics, RB_METER_LISTENERS, http->listeners, NULL, NULL);
}

static void on_gone(struct rb_request *r)
{
    struct stream *s = r->data;
    rb_hub_unlisten(&rb_request_work(r)->hub, &s->listener);
    count_listeners(r->http, -1);
    free(s->buffer);
    free(s);
}

/* False: an error has been replied. *ret_given: there was a Last-Event-ID. */
static bool read_last_id(struct rb_request *r, uint64_t *ret, bool *ret_given)
{
    const char *value = rb_request_header(r, "Last-Event-ID");
    *ret = 0;
    *ret_given = value != NULL && value[0] != '\0';
    if (!*ret_given || rb_text_uint64(value, INT64_MAX, ret))
        return true;
    rb_reply_fail(r, RB_EHEADER, "Last-Event-ID takes the id of an event, found '%.60s'", value);
    return false;
}

static void open_stream(struct rb_request *r, struct whose whose, const char *job, uint64_t after)
{
    struct stream *s = calloc(1, sizeof *s);
    static const char hello[] = "retry: 2000\n\n";
    if (s == NULL || !append(s, hello, sizeof hello - 1)) {
        free(s);
        rb_reply_fail(r, RB_ENOMEM, "no memory for a stream of events");
        return;
    }
    s->r = r;
    s->whose = whose;
    s->after = after;
    (void)snprintf(s->job, sizeof s->job, "%s", job);
    s->listener.job = whose.job != 0 ? s->job : NULL;
    s->listener.heard = on_heard;
    s->listener.data = s;
    rb_hub_listen(&rb_request_work(r)->hub, &s->listener);
    count_listeners(r->http, 1);
    r->data = s;
    r->gone = on_gone;
    r->waits = true;
    r->watch_client = true;
    rb_reply_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    rb_reply_header(r, "X-Accel-Buffering", "no"); /* nginx would hold events back */
    rb_reply_stream(r, "text/event-stream", read_stream);
    arm(r);
}

/* ---- the operations ---- */

static const char *const offers[] = {"application/json", "text/event-stream"};

/* False: refused. */
static bool choose(struct rb_request *r, bool *ret_stream)
{
    int offer = rb_accept_choose(rb_request_header(r, MHD_HTTP_HEADER_ACCEPT), offers, 2);
    if (offer < 0) {
        rb_reply_fail(r, RB_EACCEPT, "events come as application/json or text/event-stream");
        return false;
    }
    rb_reply_header(r, MHD_HTTP_HEADER_VARY, "Accept");
    *ret_stream = offer == 1;
    if (*ret_stream && rb_request_server(r)->draining) {
        rb_reply_fail(r, RB_EDRAINING, "the daemon is shutting down");
        return false;
    }
    return true;
}

void rb_handle_events(struct rb_request *r)
{
    struct rb_error err;
    bool stream, given;
    uint64_t after;
    if (!choose(r, &stream))
        return;
    if (!stream) {
        reply_page(r, (struct whose){0}, "events");
        return;
    }
    if (!read_last_id(r, &after, &given))
        return;
    if (!given && rb_events_last(rb_request_server(r)->store, &after, &err) != RB_OK)
        rb_reply_error(r, &err, NULL);
    else
        open_stream(r, (struct whose){0}, "", after);
}

/* Has the job ended, and is there nothing of it after that event? */
static bool is_over(struct rb_request *r, const struct rb_job_row *row, uint64_t after)
{
    struct rb_event_row *rows;
    size_t count = 1;
    if (rb_job_status_terminal(row->job.status) &&
        rb_events_list(rb_request_server(r)->store, row->seq, after, 1, &rows, &count, NULL) ==
            RB_OK)
        rb_events_free(rows, count);
    return count == 0;
}

void rb_handle_job_events(struct rb_request *r)
{
    struct rb_job_row row;
    bool stream, given;
    uint64_t after;
    char list[RB_JOB_ID_SIZE + 8];
    if (!choose(r, &stream) || !rb_job_row_read(r, &row))
        return;
    (void)snprintf(list, sizeof list, "events/%s", row.job.id);
    if (!stream) {
        reply_page(r, (struct whose){.job = row.seq}, list);
    } else if (read_last_id(r, &after, &given)) {
        if (is_over(r, &row, after))
            rb_reply_empty(r, MHD_HTTP_NO_CONTENT);
        else
            open_stream(r, (struct whose){.job = row.seq}, row.job.id, after);
    }
    rb_job_row_deinit(&row);
}

void rb_handle_sweep_events(struct rb_request *r)
{
    struct rb_error err;
    struct rb_group_row group;
    bool stream, given;
    uint64_t after;
    char list[RB_JOB_ID_SIZE + 8];
    if (!choose(r, &stream))
        return;
    if (rb_group_get(rb_request_server(r)->store, r->params[0], &group, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    struct whose whose = {.group = group.seq};
    (void)snprintf(list, sizeof list, "events/%s", group.id);
    rb_group_row_deinit(&group);
    if (!stream)
        reply_page(r, whose, list);
    else if (read_last_id(r, &after, &given))
        open_stream(r, whose, "", after);
}
