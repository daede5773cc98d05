#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/inspections.h"
#include "server/http/reply.h"
#include "server/http/upload.h"
#include "server/server.h"
#include "server/store/models.h"

#include "core/tensor/safetensors.h"
#include "server/store/terms.h"
#include "core/tensor/container.h"

#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

void rb_handle_models(struct rb_request *r)
{
    struct rb_error err;
    struct rb_page_request page;
    struct rb_model_row *rows;
    size_t count;
    if (!rb_page_request_read(r, "models", &page))
        return;
    /* One more than is shown says whether there is a next page. */
    if (rb_models_list(rb_request_server(r)->store, page.has_after ? page.after.text : NULL,
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
        rb_model_encode(&w, NULL, &rows[i].resource);
    if (count > shown)
        (void)snprintf(next.text, sizeof next.text, "%s", rows[shown - 1].resource.name);
    rb_models_free(rows, count);
    rb_page_reply(r, &w, &page, count > shown ? &next : NULL);
}

enum { TAG_SIZE = 80 };

static char *tag_of(const struct rb_model_row *row, char tag[TAG_SIZE])
{
    (void)snprintf(tag, TAG_SIZE, "\"%llu-%llx\"", (unsigned long long)row->version,
                   (unsigned long long)row->updated_ms);
    return tag;
}

static void reply_model(struct rb_request *r, int status, const char *name)
{
    struct rb_error err;
    struct rb_model_row row;
    struct rb_json w;
    if (rb_model_get(rb_request_server(r)->store, name, &row, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    char tag[TAG_SIZE];
    rb_reply_etag(r, "%s", tag_of(&row, tag));
    if (!rb_reply_not_modified(r)) {
        rb_json_init(&w);
        rb_model_encode(&w, NULL, &row.resource);
        rb_reply_json(r, status, &w);
    }
    rb_model_row_deinit(&row);
}

void rb_handle_model(struct rb_request *r)
{
    reply_model(r, MHD_HTTP_OK, r->params[0]);
}

/* ---- importing ---- */

void rb_handle_model_import(struct rb_request *r)
{
    struct rb_problems problems = {0};
    struct rb_model_post post;
    struct rb_error err;
    if (rb_model_post_decode(r->json, &post, &problems, &err) != RB_OK) {
        rb_reply_error(r, &err, &problems);
        return;
    }
    struct rb_inspection_wait *w =
        rb_inspection_wait_begin(r, "models", post.name, MHD_HTTP_CREATED, reply_model);
    if (w != NULL) {
        r->watch_client = true;
        w->inspection = rb_model_import(rb_request_work(r), post.name, post.path, post.hf,
                                        rb_inspection_waited, r);
    }
    rb_model_post_deinit(&post);
}

/* ---- uploads ---- */

/* A file cannot be read back: its tag is the digest that the model tells of it. Empty if there is
 * no such file. */
static void file_tag_of(const struct rb_model_row *row, const char *file, char tag[TAG_SIZE])
{
    tag[0] = '\0';
    for (size_t i = 0; i < row->resource.file_count; i++)
        if (strcmp(row->resource.files[i].name, file) == 0)
            (void)snprintf(tag, TAG_SIZE, "\"%s\"", row->resource.files[i].sha256);
}

/* May files be put into that model: it is ours, and no live job reads it. */
static enum rb_status may_change(struct rb_request *r, const char *name, struct rb_error *err)
{
    struct rb_store *store = rb_request_server(r)->store;
    struct rb_model_row row;
    char tag[TAG_SIZE] = "";
    bool imported = false, used = false;
    enum rb_status s = rb_model_get(store, name, &row, err);
    if (s == RB_OK) {
        imported = row.imported;
        file_tag_of(&row, r->params[1], tag);
        rb_model_row_deinit(&row);
    }
    if (s == RB_OK || s == RB_ENOTFOUND)
        s = rb_preconditions_check(r, tag[0] != '\0' ? tag : NULL, err);
    if (s == RB_OK)
        s = rb_jobs_use_model(store, name, &used, err);
    return s == RB_OK ? rb_registered_check("model", name, imported, used, err) : s;
}

/* Weights are looked through on arrival, so that a damaged file replaces no good one. */
static enum rb_status check_file(struct rb_upload *u, struct rb_error *err)
{
    const struct rb_container_format *format = rb_container_format_of(u->file);
    struct rb_container c = {.format = format};
    if (format == NULL)
        return RB_OK;
    enum rb_status s = format->open_fd(u->writer.fd, u->file, &c, err);
    if (s != RB_OK)
        return s;
    c.format = format;
    rb_container_close(&c);
    return format->check != NULL ? format->check(u->writer.fd, u->file, NULL, NULL, err) : RB_OK;
}

static void file_received(struct rb_upload *u)
{
    struct rb_error err;
    /* A job may have been submitted while the file was on its way. */
    if (may_change(u->r, u->name, &err) != RB_OK) {
        rb_reply_error(rb_upload_release(u), &err, NULL);
        return;
    }
    rb_upload_commit(u);
}

static void file_committed(struct rb_upload *u)
{
    char name[RB_NAME_SIZE];
    int status = u->replaces ? MHD_HTTP_OK : MHD_HTTP_CREATED;
    memcpy(name, u->name, sizeof name);
    struct rb_request *r = rb_upload_release(u);
    struct rb_inspection_wait *w = rb_inspection_wait_begin(r, "models", name, status, reply_model);
    if (w != NULL)
        w->inspection = rb_model_uploaded(rb_request_work(r), name, rb_inspection_waited, r);
}

static const struct rb_upload_ops file_ops = {
    .check = check_file,
    .received = file_received,
    .committed = file_committed,
};

static void begin_file(struct rb_request *r)
{
    struct rb_error err;
    char path[RB_PATH_SIZE];
    const char *name = r->params[0], *file = r->params[1];
    if (!rb_name_valid(name, strlen(name))) {
        rb_reply_fail(r, RB_EINPUT, "a model's name is " RB_NAME_RULE ", found '%.80s'", name);
        return;
    }
    if (!rb_artifact_name_valid(file)) {
        rb_reply_fail(r, RB_EINPUT,
                      "a file's name is 1 to 63 of a-z A-Z 0-9 . _ - not starting with a dot, "
                      "found '%.80s'",
                      file);
        return;
    }
    if (may_change(r, name, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    struct rb_upload *u = rb_upload_begin(r, rb_layout_model(name, file, path), &file_ops);
    if (u == NULL)
        return;
    (void)snprintf(u->name, sizeof u->name, "%s", name);
    (void)snprintf(u->file, sizeof u->file, "%s", file);
}

const struct rb_body_stream rb_model_file_stream = {
    .begin = begin_file,
    .data = rb_upload_data,
};

/* ---- deleting ---- */

void rb_handle_model_delete(struct rb_request *r)
{
    struct rb_error err;
    struct rb_model_row row;
    char tag[TAG_SIZE] = "";
    enum rb_status s = rb_model_get(rb_request_server(r)->store, r->params[0], &row, &err);
    if (s == RB_OK) {
        (void)tag_of(&row, tag);
        rb_model_row_deinit(&row);
    }
    if (s == RB_OK)
        s = rb_preconditions_check(r, tag, &err);
    if (s != RB_OK && s != RB_ENOTFOUND) { /* what is not there has no precondition (RFC 9110) */
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_registered_delete(r, true, rb_layout_model, rb_model_delete);
}
