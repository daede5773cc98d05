#include "server/http/registered.h"

#include "server/http/common.h"
#include "server/http/reply.h"
#include "server/server.h"
#include "server/work/inspect.h"
#include "server/work/jobdir.h"

#include <stdio.h>
#include <string.h>

void rb_registered_tag(const struct rb_registered_kind *kind, const void *row,
                       char tag[RB_REGISTERED_TAG_SIZE])
{
    struct rb_registered d = kind->describe(row);
    (void)snprintf(tag, RB_REGISTERED_TAG_SIZE, "\"%llu-%llx\"", (unsigned long long)d.version,
                   (unsigned long long)d.updated_ms);
}

/* ---- reading ---- */

static enum rb_status page_read(struct rb_request *r, const void *context,
                                const struct rb_page_request *page, uint32_t limit, void **ret_rows,
                                size_t *ret_count, struct rb_error *err)
{
    const struct rb_registered_resource *what = context;
    return rb_registered_list(rb_request_server(r)->store, what->kind,
                              page->has_after ? page->after.text : NULL, rb_request_mine(r), limit,
                              ret_rows, ret_count, err);
}

static void page_position(const void *context, const void *rows, size_t i,
                          struct rb_page_position *ret)
{
    const struct rb_registered_kind *kind = ((const struct rb_registered_resource *)context)->kind;
    (void)snprintf(ret->text, sizeof ret->text, "%s",
                   kind->describe(rb_registered_at(kind, rows, i)).name);
}

static enum rb_status page_encode(struct rb_request *r, const void *context, struct rb_json *w,
                                  void *rows, size_t i, struct rb_error *err)
{
    const struct rb_registered_resource *what = context;
    (void)r;
    (void)err;
    what->encode(w, rb_registered_at(what->kind, rows, i));
    return RB_OK;
}

static void page_free(const void *context, void *rows, size_t count)
{
    rb_registered_free(((const struct rb_registered_resource *)context)->kind, rows, count);
}

void rb_registered_reply_page(struct rb_request *r, const struct rb_registered_resource *what)
{
    const struct rb_page_list list = {.name = what->kind->plural,
                                      .read = page_read,
                                      .position = page_position,
                                      .encode = page_encode,
                                      .rows_free = page_free};
    rb_page_reply_list(r, &list, what);
}

void rb_registered_reply(struct rb_request *r, const struct rb_registered_resource *what,
                         int status, const char *name)
{
    struct rb_error err;
    struct rb_json w;
    void *row;
    if (rb_registered_get(rb_request_server(r)->store, what->kind, name, &row, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    char tag[RB_REGISTERED_TAG_SIZE];
    rb_registered_tag(what->kind, row, tag);
    rb_reply_etag(r, "%s", tag);
    if (!rb_reply_not_modified(r)) {
        rb_json_init(&w);
        what->encode(&w, row);
        rb_reply_json(r, status, &w);
    }
    rb_registered_free(what->kind, row, 1);
}

/* ---- changing ---- */

static enum rb_status check_free(struct rb_request *r, const struct rb_registered_kind *kind,
                                 const char *name, bool imported, struct rb_error *err)
{
    bool used;
    enum rb_status s = kind->used(rb_request_server(r)->store, name, &used, err);
    if (s != RB_OK)
        return s;
    if (imported)
        return rb_error_set(err, RB_ECONFLICT,
                            "%s '%s' is registered in place; delete it first to upload under its "
                            "name",
                            kind->noun, name);
    if (used)
        return rb_error_set(err, RB_EINUSE, "%s '%s' is used by a live job", kind->noun, name);
    return RB_OK;
}

enum rb_status rb_registered_check_name(const struct rb_registered_resource *what, const char *name,
                                        struct rb_error *err)
{
    if (rb_name_valid(name, strlen(name)))
        return RB_OK;
    return rb_error_set(err, RB_EINPUT, "a %s's name is " RB_NAME_RULE ", found '%.80s'",
                        what->kind->noun, name);
}

enum rb_status rb_registered_may_change(struct rb_request *r,
                                        const struct rb_registered_resource *what, const char *name,
                                        bool *ret_exists, struct rb_error *err)
{
    const struct rb_registered_kind *kind = what->kind;
    char tag[RB_REGISTERED_TAG_SIZE] = "";
    bool imported = false;
    void *row;
    enum rb_status s = rb_registered_get(rb_request_server(r)->store, kind, name, &row, err);
    bool exists = s == RB_OK;
    if (exists) {
        imported = kind->describe(row).imported;
        what->upload_tag(r, row, tag);
        s = rb_owner_check(r, kind->noun, name, kind->describe(row).submitted_by, err);
        rb_registered_free(kind, row, 1);
    }
    if (s == RB_OK || s == RB_ENOTFOUND)
        s = rb_preconditions_check(r, tag[0] != '\0' ? tag : NULL, err);
    if (s == RB_OK)
        s = check_free(r, kind, name, imported, err);
    if (s == RB_OK && ret_exists != NULL)
        *ret_exists = exists;
    return s;
}

/* ---- deleting ---- */

static enum rb_status check_conditions(struct rb_request *r, const struct rb_registered_kind *kind,
                                       const char *name, struct rb_error *err)
{
    char tag[RB_REGISTERED_TAG_SIZE];
    void *row;
    enum rb_status s = rb_registered_get(rb_request_server(r)->store, kind, name, &row, err);
    if (s == RB_ENOTFOUND) /* what is not there has no precondition (RFC 9110) */
        return RB_OK;
    if (s != RB_OK)
        return s;
    rb_registered_tag(kind, row, tag);
    s = rb_owner_check(r, kind->noun, name, kind->describe(row).submitted_by, err);
    rb_registered_free(kind, row, 1);
    return s == RB_OK ? rb_preconditions_check(r, tag, err) : s;
}

void rb_registered_reply_delete(struct rb_request *r, const struct rb_registered_resource *what)
{
    struct rb_server *server = rb_request_server(r);
    struct rb_error err;
    char folder[RB_PATH_SIZE];
    const char *name = r->params[0];
    enum rb_status s = check_conditions(r, what->kind, name, &err);
    if (s == RB_OK) {
        s = rb_registered_remove(server->store, what->kind, name, &err);
        /* While it is being imported there is no row yet. */
        if (s == RB_ENOTFOUND && rb_inspections_delete(server->work, what->models, name)) {
            rb_reply_empty(r, MHD_HTTP_NO_CONTENT);
            return;
        }
    }
    if (s != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_data_trash(server->work, what->place(name, NULL, folder));
    rb_reply_empty(r, MHD_HTTP_NO_CONTENT);
}
