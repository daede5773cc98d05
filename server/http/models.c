#include "server/http/common.h"
#include "server/http/handlers.h"
#include "server/http/inspections.h"
#include "server/http/registered.h"
#include "server/http/reply.h"
#include "server/http/upload.h"
#include "server/server.h"
#include "server/store/models.h"

#include "core/tensor/safetensors.h"
#include "server/store/terms.h"
#include "core/tensor/container.h"

#include <stdio.h>
#include <string.h>

static void encode(struct rb_json *w, const void *row)
{
    rb_model_encode(w, NULL, &((const struct rb_model_row *)row)->resource);
}

/* A file cannot be read back: its tag is the digest that the model tells of it. */
static void file_tag(const struct rb_request *r, const void *row, char tag[RB_REGISTERED_TAG_SIZE])
{
    const struct rb_model_resource *m = &((const struct rb_model_row *)row)->resource;
    for (size_t i = 0; i < m->file_count; i++)
        if (strcmp(m->files[i].name, r->params[1]) == 0)
            (void)snprintf(tag, RB_REGISTERED_TAG_SIZE, "\"%s\"", m->files[i].sha256);
}

static const struct rb_registered_resource models = {
    .kind = &rb_models_kind,
    .models = true,
    .encode = encode,
    .place = rb_layout_model,
    .upload_tag = file_tag,
};

/* ---- reading and deleting ---- */

void rb_handle_models(struct rb_request *r)
{
    rb_registered_reply_page(r, &models);
}

static void reply_model(struct rb_request *r, int status, const char *name)
{
    rb_registered_reply(r, &models, status, name);
}

void rb_handle_model(struct rb_request *r)
{
    reply_model(r, MHD_HTTP_OK, r->params[0]);
}

void rb_handle_model_delete(struct rb_request *r)
{
    rb_registered_reply_delete(r, &models);
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
        rb_inspection_by(w->inspection, r->who.name);
    }
    rb_model_post_deinit(&post);
}

/* ---- uploads ---- */

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
    if (rb_registered_may_change(u->r, &models, u->name, NULL, &err) != RB_OK ||
        rb_bytes_check(u->r, u->bytes, &err) != RB_OK) {
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
    if (w == NULL)
        return;
    w->inspection = rb_model_uploaded(rb_request_work(r), name, rb_inspection_waited, r);
    rb_inspection_by(w->inspection, r->who.name);
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
    if (rb_registered_check_name(&models, name, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    if (!rb_artifact_name_valid(file)) {
        rb_reply_fail(r, RB_EINPUT,
                      "a file's name is 1 to 63 of a-z A-Z 0-9 . _ - not starting with a dot, "
                      "found '%.80s'",
                      file);
        return;
    }
    if (rb_registered_may_change(r, &models, name, NULL, &err) != RB_OK ||
        rb_upload_admit(r, &err) != RB_OK) {
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
