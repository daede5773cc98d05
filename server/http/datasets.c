#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/inspections.h"
#include "server/http/registered.h"
#include "server/http/reply.h"
#include "server/http/upload.h"
#include "server/server.h"
#include "server/store/datasets.h"
#include "server/store/terms.h"
#include "server/work/jobdir.h"

#include <stdio.h>
#include <string.h>

static void encode(struct rb_json *w, const void *row)
{
    rb_dataset_encode(w, NULL, &((const struct rb_dataset_row *)row)->resource);
}

static void upload_tag(const struct rb_request *r, const void *row,
                       char tag[RB_REGISTERED_TAG_SIZE])
{
    (void)r;
    rb_registered_tag(&rb_datasets_kind, row, tag);
}

static const struct rb_registered_resource datasets = {
    .kind = &rb_datasets_kind,
    .models = false,
    .encode = encode,
    .place = rb_layout_dataset,
    .upload_tag = upload_tag,
};

/* ---- reading and deleting ---- */

void rb_handle_datasets(struct rb_request *r)
{
    rb_registered_reply_page(r, &datasets);
}

static void reply_dataset(struct rb_request *r, int status, const char *name)
{
    rb_registered_reply(r, &datasets, status, name);
}

void rb_handle_dataset(struct rb_request *r)
{
    reply_dataset(r, MHD_HTTP_OK, r->params[0]);
}

void rb_handle_dataset_delete(struct rb_request *r)
{
    rb_registered_reply_delete(r, &datasets);
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
                                          (post.given & RB_DATASET_FORMAT) != 0, &fields,
                                          rb_inspection_waited, r);
        rb_inspection_by(w->inspection, r->who.name);
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

static void received(struct rb_upload *u)
{
    struct rb_error err;
    char path[RB_PATH_SIZE], name[RB_NAME_SIZE];
    bool exists = false;
    /* A job may have been submitted while the file was on its way. */
    if (rb_registered_may_change(u->r, &datasets, u->name, &exists, &err) != RB_OK ||
        rb_bytes_check(u->r, u->bytes, &err) != RB_OK) {
        rb_reply_error(rb_upload_release(u), &err, NULL);
        return;
    }
    memcpy(name, u->name, sizeof name);
    struct rb_request *r = rb_upload_hand_over(u, path);
    const struct rb_fields fields = asked_fields(r);
    struct rb_inspection_wait *w = rb_inspection_wait_begin(
        r, "datasets", name, exists ? MHD_HTTP_OK : MHD_HTTP_CREATED, reply_dataset);
    if (w == NULL) {
        rb_data_trash(rb_request_work(r), path);
        return;
    }
    w->inspection = rb_dataset_uploaded(rb_request_work(r), name, path, asked_format(r),
                                        rb_request_query(r, "format") != NULL, &fields,
                                        rb_inspection_waited, r);
    rb_inspection_by(w->inspection, r->who.name);
}

static const struct rb_upload_ops ops = {.received = received};

static void begin(struct rb_request *r)
{
    struct rb_problems problems = {0};
    struct rb_error err;
    char path[RB_PATH_SIZE];
    const char *name = r->params[0];
    const struct rb_fields fields = asked_fields(r);
    if (rb_registered_check_name(&datasets, name, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_dataset_fields_check(asked_format(r), fields.text, fields.text_pair, fields.label, NULL,
                            &problems);
    if (rb_problems_status(&problems, &err) != RB_OK) {
        err.status = RB_EQUERY;
        rb_reply_error(r, &err, &problems);
        return;
    }
    if (rb_registered_may_change(r, &datasets, name, NULL, &err) != RB_OK ||
        rb_upload_admit(r, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    /* The inspection gives the file its name, once its digest is known. */
    struct rb_upload *u = rb_upload_begin(r, rb_layout_dataset(name, "new", path), &ops);
    if (u != NULL)
        (void)snprintf(u->name, sizeof u->name, "%s", name);
}

const struct rb_body_stream rb_dataset_stream = {.begin = begin, .data = rb_upload_data};
