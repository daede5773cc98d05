#include "server/store/registered.h"

#include "server/store/query.h"

#include <stdlib.h>
#include <string.h>

enum rb_status rb_registered_put(struct rb_query *q, bool *ret_created, struct rb_error *err)
{
    bool more;
    enum rb_status status = rb_query_step(q, &more, err);
    if (status != RB_OK)
        return rb_query_end(q, status, err);
    *ret_created = rb_column_int(q, 0) == 1;
    return rb_query_run(q, err);
}

static enum rb_status no_such(const struct rb_registered_kind *kind, const char *name,
                              struct rb_error *err)
{
    return rb_error_set(err, RB_ENOTFOUND, "there is no %s \"%s\"", kind->noun, name);
}

static enum rb_status remove_unused(struct rb_store *s, const struct rb_registered_kind *kind,
                                    const char *name, struct rb_error *err)
{
    struct rb_query q;
    bool used;
    enum rb_status status = kind->used(s, name, &used, err);
    if (status == RB_OK && used)
        status = rb_error_set(err, RB_EINUSE, "%s \"%s\" is used by a job that has not finished",
                              kind->noun, name);
    if (status != RB_OK)
        return status;
    rb_query_start(s, kind->remove, &q);
    rb_bind_text(&q, name);
    status = rb_query_run(&q, err);
    return status == RB_OK && rb_store_changes(s) == 0 ? no_such(kind, name, err) : status;
}

enum rb_status rb_registered_remove(struct rb_store *s, const struct rb_registered_kind *kind,
                                    const char *name, struct rb_error *err)
{
    enum rb_status status = rb_store_begin(s, err);
    return status == RB_OK ? rb_store_end(s, remove_unused(s, kind, name, err), err) : status;
}

enum rb_status rb_registered_get(struct rb_store *s, const struct rb_registered_kind *kind,
                                 const char *name, void **ret, struct rb_error *err)
{
    struct rb_query q;
    void *rows;
    size_t count;
    rb_query_start(s, kind->select_one, &q);
    rb_bind_text(&q, name);
    enum rb_status status = kind->read(&q, &rows, &count, err);
    if (status != RB_OK)
        return status;
    if (count != 1) {
        rb_registered_free(kind, rows, count);
        return no_such(kind, name, err);
    }
    *ret = rows;
    return RB_OK;
}

enum rb_status rb_registered_read(struct rb_store *s, const struct rb_registered_kind *kind,
                                  const char *name, void *ret, struct rb_error *err)
{
    void *row;
    enum rb_status status = rb_registered_get(s, kind, name, &row, err);
    if (status != RB_OK)
        return status;
    memcpy(ret, row, kind->row_bytes);
    free(row);
    return RB_OK;
}

enum rb_status rb_registered_list(struct rb_store *s, const struct rb_registered_kind *kind,
                                  const char *after, const char *submitted_by, uint32_t limit,
                                  void **ret, size_t *ret_count, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, kind->select_page, &q);
    rb_bind_text(&q, after != NULL ? after : "");
    rb_bind_int(&q, limit);
    rb_bind_text(&q, submitted_by);
    return kind->read(&q, ret, ret_count, err);
}

const void *rb_registered_at(const struct rb_registered_kind *kind, const void *rows, size_t i)
{
    return (const char *)rows + i * kind->row_bytes;
}

void rb_registered_free(const struct rb_registered_kind *kind, void *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kind->deinit((char *)rows + i * kind->row_bytes);
    free(rows);
}
