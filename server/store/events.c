#include "server/store/events.h"
#include "server/store/events_internal.h"

#include "server/store/query.h"
#include "server/store/store.h"

#include <stdlib.h>
#include <string.h>

void rb_event_row_deinit(struct rb_event_row *row)
{
    free((char *)(uintptr_t)row->event.data_json);
    *row = (struct rb_event_row){0};
}

/* Inserts the event; its id goes into it. */
static enum rb_status insert(struct rb_store *s, int64_t job, struct rb_event *e,
                             struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, "INSERT INTO events (job, type, data, created_ms) VALUES (?, ?, ?, ?)", &q);
    rb_bind_int(&q, job);
    rb_bind_text(&q, rb_event_type_names[e->type]);
    rb_bind_text(&q, e->data_json);
    rb_bind_int(&q, e->created_ms);
    enum rb_status status = rb_query_run(&q, err);
    if (status == RB_OK)
        e->id = (uint64_t)rb_store_last_id(s);
    return status;
}

enum rb_status rb_event_add(struct rb_store *s, int64_t job, const char *job_id,
                            enum rb_event_type type, struct rb_json *data, int64_t at_ms,
                            struct rb_event_row *ret, struct rb_error *err)
{
    struct rb_event_row row = {.event = {.type = type, .created_ms = at_ms}};
    char *text;
    enum rb_status status = rb_json_finish(data, &text, NULL, err);
    if (status != RB_OK)
        return status;
    row.event.data_json = text;
    memcpy(row.event.job, job_id, sizeof row.event.job);
    status = insert(s, job, &row.event, err);
    if (status == RB_OK && ret != NULL)
        *ret = row;
    else
        rb_event_row_deinit(&row);
    return status;
}

enum rb_status rb_store_end_with_event(struct rb_store *s, enum rb_status status,
                                       struct rb_event_row *event, struct rb_event_row *ret_event,
                                       struct rb_error *err)
{
    status = rb_store_end(s, status, err);
    if (status == RB_OK && ret_event != NULL)
        *ret_event = *event;
    else
        rb_event_row_deinit(event);
    return status;
}

static void read_row(struct rb_query *q, void *row)
{
    struct rb_event *e = &((struct rb_event_row *)row)->event;
    *e = (struct rb_event){.id = rb_column_uint(q, 0), .created_ms = rb_column_int(q, 4)};
    rb_column_string(q, 1, e->job, sizeof e->job);
    e->type = (enum rb_event_type)rb_column_enum(q, 2, rb_event_type_names);
    e->data_json = rb_column_copy(q, 3);
}

static void deinit_row(void *row)
{
    rb_event_row_deinit(row);
}

static const struct rb_row_kind event_kind = {sizeof(struct rb_event_row), read_row, deinit_row};

void rb_events_free(struct rb_event_row *rows, size_t count)
{
    rb_rows_free(&event_kind, rows, count);
}

#define SELECT_EVENTS                                                                              \
    "SELECT e.id, j.id, e.type, e.data, e.created_ms FROM events e JOIN jobs j ON j.seq = e.job "

/* ?1 after, ?2 limit, ?3 whose, unless that is 0. */
static enum rb_status list(struct rb_store *s, const char *sql, int64_t whose, uint64_t after,
                           uint32_t limit, struct rb_event_row **ret, size_t *ret_count,
                           struct rb_error *err)
{
    struct rb_query q;
    void *rows;
    rb_query_start(s, sql, &q);
    rb_bind_uint(&q, after <= INT64_MAX ? after : INT64_MAX);
    rb_bind_uint(&q, limit);
    if (whose != 0)
        rb_bind_int(&q, whose);
    enum rb_status status = rb_query_list(&q, &event_kind, &rows, ret_count, err);
    if (status == RB_OK)
        *ret = rows;
    return status;
}

enum rb_status rb_events_list(struct rb_store *s, int64_t job, uint64_t after, uint32_t limit,
                              struct rb_event_row **ret, size_t *ret_count, struct rb_error *err)
{
    return list(s,
                job != 0 ? SELECT_EVENTS "WHERE e.job = ?3 AND e.id > ?1 ORDER BY e.id LIMIT ?2"
                         : SELECT_EVENTS "WHERE e.id > ?1 ORDER BY e.id LIMIT ?2",
                job, after, limit, ret, ret_count, err);
}

enum rb_status rb_events_of_group(struct rb_store *s, int64_t group, uint64_t after, uint32_t limit,
                                  struct rb_event_row **ret, size_t *ret_count,
                                  struct rb_error *err)
{
    return list(s,
                SELECT_EVENTS "WHERE e.job IN (SELECT seq FROM jobs WHERE group_seq = ?3) "
                              "AND e.id > ?1 ORDER BY e.id LIMIT ?2",
                group, after, limit, ret, ret_count, err);
}

enum rb_status rb_events_last(struct rb_store *s, uint64_t *ret_id, struct rb_error *err)
{
    return rb_query_number(
        s, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'", ret_id, err);
}

enum rb_status rb_event_note(struct rb_store *s, int64_t job, const char *job_id, const char *unit,
                             const char *text, int64_t at_ms, struct rb_event_row *ret_event,
                             struct rb_error *err)
{
    struct rb_event_row event = {0};
    struct rb_json data;
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    rb_json_init(&data);
    rb_event_note_data(&data, unit, text);
    status = rb_event_add(s, job, job_id, RB_EVENT_NOTE, &data, at_ms, &event, err);
    return rb_store_end_with_event(s, status, &event, ret_event, err);
}
