#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/inspections.h"
#include "server/http/reply.h"
#include "server/http/upload.h"
#include "server/server.h"
#include "server/store/datasets.h"
#include "server/store/terms.h"

#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

void rb_handle_datasets(struct rb_request *r)
{
    struct rb_error err;
    struct rb_page_request page;
    struct rb_dataset_row *rows;
    size_t count;
    if (!rb_page_request_read(r, "datasets", &page))
        return;
    /* One more than is shown says whether there is a next page. */
    if (rb_datasets_list(rb_request_server(r)->store, page.has_after ? page.after.text : NULL,
                         page.limit + 1, &rows, &count, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    size_t shown = count > page.limit ? page.limit : count;
    struct rb_page_position next = {.number = 0};
    struct rb_json w;
    rb_json_init(&w);
    rb_page_begin(&w);
    for (size_t i = 0; i < shown; i++)
        rb_dataset_encode(&w, NULL, &rows[i].resource);
    if (count > shown)
        (void)snprintf(next.text, sizeof next.text, "%s", rows[shown - 1].resource.name);
    rb_datasets_free(rows, count);
    rb_page_reply(r, &w, &page, count > shown ? &next : NULL);
}

enum { TAG_SIZE = 48 };

static char *tag_of(const struct rb_dataset_row *row, char tag[TAG_SIZE])
{
    (void)snprintf(tag, TAG_SIZE, "\"%llu-%llx\"", (unsigned long long)row->version,
                   (unsigned long long)row->updated_ms);
    return tag;
}

static void reply_dataset(struct rb_request *r, int status, const char *name)
{
    struct rb_error err;
    struct rb_dataset_row row;
    struct rb_json w;
    if (rb_dataset_get(rb_request_server(r)->store, name, &row, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    char tag[TAG_SIZE];
    rb_reply_etag(r, "%s", tag_of(&row, tag));
    if (!rb_reply_not_modified(r)) {
        rb_json_init(&w);
        rb_dataset_encode(&w, NULL, &row.resource);
        rb_reply_json(r, status, &w);
    }
    rb_dataset_row_deinit(&row);
}

void rb_handle_dataset(struct rb_request *r)
{
    reply_dataset(r, MHD_HTTP_OK, r->params[0]);
}

/* ---- importing ---- */

void rb_handle_dataset_import(struct rb_request *r)
{
    struct rb_problems problems = {0};
    struct rb_dataset_post post;
    struct rb_error err;
    if (rb_dataset_post_decode(r->json, &post, &problems, &err) != RB_OK) {
        rb_reply_error(r, &err, &problems);
        return;
    }
    const struct rb_fields fields = {
        .text = post.fields.text,
        .text_pair = post.fields.text_pair,
        .label = post.fields.label,
    };
    struct rb_inspection_wait *w =
        rb_inspection_wait_begin(r, "datasets", post.name, MHD_HTTP_CREATED, reply_dataset);
    if (w != NULL) {
        r->watch_client = true;
        w->inspection = rb_dataset_import(rb_request_work(r), post.name, post.path, post.format,
                                          &fields, rb_inspection_waited, r);
    }
    rb_dataset_post_deinit(&post);
}

/* ---- uploads ---- */

/* What ?format=, ?text=, ?text_pair= and ?label= say; the strings are the request's. */
static enum rb_format asked_format(const struct rb_request *r)
{
    enum rb_format format = RB_TEXT;
    const char *name = rb_request_query(r, "format"); /* the route's row has checked it */
    if (name != NULL)
        (void)rb_format_from_name(name, &format);
    return format;
}

static struct rb_fields asked_fields(const struct rb_request *r)
{
    return (struct rb_fields){
        .text = rb_request_query(r, "text"),
        .text_pair = rb_request_query(r, "text_pair"),
        .label = rb_request_query(r, "label"),
    };
}

/* May the dataset be replaced: it is not registered in place, and no live job reads it. */
static enum rb_status may_change(struct rb_request *r, const char *name, bool *ret_exists,
                                 struct rb_error *err)
{
    struct rb_store *store = rb_request_server(r)->store;
    struct rb_dataset_row row;
    char tag[TAG_SIZE] = "";
    bool imported = false, used = false;
    enum rb_status s = rb_dataset_get(store, name, &row, err);
    *ret_exists = s == RB_OK;
    if (s == RB_OK) {
        imported = row.imported;
        (void)tag_of(&row, tag);
        rb_dataset_row_deinit(&row);
    }
    if (s == RB_OK || s == RB_ENOTFOUND)
        s = rb_preconditions_check(r, tag[0] != '\0' ? tag : NULL, err);
    if (s == RB_OK)
        s = rb_jobs_use_dataset(store, name, &used, err);
    return s == RB_OK ? rb_registered_check("dataset", name, imported, used, err) : s;
}

static void received(struct rb_upload *u)
{
    struct rb_error err;
    char path[RB_PATH_SIZE], name[RB_NAME_SIZE];
    bool exists = false;
    /* A job may have been submitted while the file was on its way. */
    if (may_change(u->r, u->name, &exists, &err) != RB_OK) {
        rb_reply_error(rb_upload_release(u), &err, NULL);
        return;
    }
    memcpy(name, u->name, sizeof name);
    struct rb_request *r = rb_upload_hand_over(u, path);
    const struct rb_fields fields = asked_fields(r);
    struct rb_inspection_wait *w = rb_inspection_wait_begin(
        r, "datasets", name, exists ? MHD_HTTP_OK : MHD_HTTP_CREATED, reply_dataset);
    if (w != NULL)
        w->inspection = rb_dataset_uploaded(rb_request_work(r), name, path, asked_format(r),
                                            &fields, rb_inspection_waited, r);
    else
        rb_trash(rb_request_server(r), path);
}

static const struct rb_upload_ops ops = {.received = received};

static void begin(struct rb_request *r)
{
    struct rb_problems problems = {0};
    struct rb_error err;
    char path[RB_PATH_SIZE];
    bool exists = false;
    const char *name = r->params[0];
    const struct rb_fields fields = asked_fields(r);
    if (!rb_name_valid(name, strlen(name))) {
        rb_reply_fail(r, RB_EINPUT, "a dataset's name is " RB_NAME_RULE ", found '%.80s'", name);
        return;
    }
    rb_dataset_fields_check(asked_format(r), fields.text, fields.text_pair, fields.label, NULL,
                            &problems);
    if (rb_problems_status(&problems, &err) != RB_OK) {
        err.status = RB_EQUERY;
        rb_reply_error(r, &err, &problems);
        return;
    }
    if (may_change(r, name, &exists, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    /* The inspection gives the file its name, once its digest is known. */
    struct rb_upload *u = rb_upload_begin(r, rb_layout_dataset(name, "new", path), &ops);
    if (u != NULL)
        (void)snprintf(u->name, sizeof u->name, "%s", name);
}

const struct rb_body_stream rb_dataset_stream = {.begin = begin, .data = rb_upload_data};

/* ---- deleting ---- */

void rb_handle_dataset_delete(struct rb_request *r)
{
    struct rb_error err;
    struct rb_dataset_row row;
    char tag[TAG_SIZE] = "";
    enum rb_status s = rb_dataset_get(rb_request_server(r)->store, r->params[0], &row, &err);
    if (s == RB_OK) {
        (void)tag_of(&row, tag);
        rb_dataset_row_deinit(&row);
    }
    if (s == RB_OK)
        s = rb_preconditions_check(r, tag, &err);
    if (s != RB_OK && s != RB_ENOTFOUND) { /* what is not there has no precondition (RFC 9110) */
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_registered_delete(r, false, rb_layout_dataset, rb_dataset_delete);
}
