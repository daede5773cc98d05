/* What a request's headers must be before its handler sees it. */
#include "server/http/admit.h"
#include "server/http/auth.h"
#include "server/http/cors.h"
#include "server/http/headers.h"
#include "server/http/internal.h"
#include "server/http/reply.h"
#include "server/http/router.h"
#include "server/http/text.h"

#include "server/store/tokens.h"
#include "server/work/queue.h"

#include <stdio.h>
#include <string.h>

/* ---- the shape of the message ---- */

static enum MHD_Result count_hosts(void *data, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    unsigned *hosts = data;
    (void)kind;
    (void)value;
    *hosts += strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0;
    return MHD_YES;
}

/* What head.c leaves to those who know headers; it has passed the framing. */
static enum rb_status check_framing(struct rb_request *r, struct rb_error *err)
{
    unsigned hosts = 0;
    const char *length = rb_request_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, count_hosts, &hosts);
    if (hosts > 1 || (hosts == 0 && strcmp(r->version, "HTTP/1.0") != 0)) {
        r->refuse_at_once = true;
        return rb_error_at(err, RB_EHEADER, "Host", "Host has to stand once, found %u", hosts);
    }
    if (rb_request_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL)
        r->announced_bytes = UINT64_MAX;
    else if (length != NULL && !rb_text_uint64(length, RB_BODY_MAX_BYTES, &r->announced_bytes))
        return rb_error_at(err, RB_EHEADER, "Content-Length",
                           "Content-Length is not a decimal number");
    return RB_OK;
}

/* ---- the body, as announced ---- */

static bool is_json(const struct rb_request *r)
{
    const char *type = rb_request_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    return rb_content_type_is(type, "application/json") ||
           (r->route->method == RB_PATCH &&
            rb_content_type_is(type, "application/merge-patch+json"));
}

static enum rb_status check_length(const struct rb_request *r, uint64_t limit, const char *option,
                                   struct rb_error *err)
{
    if (r->announced_bytes == UINT64_MAX || r->announced_bytes <= limit)
        return RB_OK;
    if (limit == 0)
        return rb_error_set(err, RB_ETOOLARGE, "no body is taken here, found one of %llu bytes",
                            (unsigned long long)r->announced_bytes);
    return rb_error_set(err, RB_ETOOLARGE, "the body has %llu bytes, at most %llu (%s)",
                        (unsigned long long)r->announced_bytes, (unsigned long long)limit, option);
}

static enum rb_status check_body(const struct rb_request *r, struct rb_error *err)
{
    const struct rb_settings *settings = r->http->server->settings;
    const char *encoding = rb_request_header(r, MHD_HTTP_HEADER_CONTENT_ENCODING);
    const char *type = rb_request_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (encoding != NULL && r->announced_bytes > 0 && strcasecmp(encoding, "identity") != 0)
        return rb_error_at(err, RB_EMEDIA, "Content-Encoding",
                           "bodies are taken without Content-Encoding, found '%.40s'", encoding);
    /* RFC 9110, 14.5: a part would be taken for the whole. */
    if (r->method == RB_PUT && rb_request_header(r, MHD_HTTP_HEADER_CONTENT_RANGE) != NULL)
        return rb_error_at(err, RB_EHEADER, "Content-Range",
                           "a PUT takes the whole, not a part of it");
    switch (r->route->body) {
    case RB_BODY_NONE:
        return check_length(r, 0, "none is taken here", err);
    case RB_BODY_EMPTY:
        return check_length(r, RB_BODY_EMPTY_MAX_BYTES, "none or {}", err);
    case RB_BODY_JSON:
        if (!is_json(r))
            return rb_error_at(err, RB_EMEDIA, "Content-Type",
                               "expected application/json, found %s%.80s%s (with curl: --json, or "
                               "-H 'Content-Type: application/json')",
                               type != NULL ? "'" : "", type != NULL ? type : "none",
                               type != NULL ? "'" : "");
        return check_length(r, settings->max_body_bytes, "--max-body-bytes", err);
    case RB_BODY_STREAM:
        return check_length(r, settings->max_upload_bytes, "--max-upload-bytes", err);
    }
    return RB_OK;
}

/* ---- all of it, in order ---- */

static enum rb_status find_route(struct rb_request *r, struct rb_error *err)
{
    char allow[RB_ALLOW_BYTES];
    enum rb_status s =
        rb_route_find(&r->http->prefix, r->method, &r->target, &r->route, r->params, allow, err);
    if (s == RB_EMETHOD && rb_cors_is_preflight(r))
        return rb_cors_answer(r, allow, err);
    if (s == RB_EMETHOD)
        rb_reply_header(r, MHD_HTTP_HEADER_ALLOW, "%s", allow);
    return s;
}

static enum rb_status check_draining(const struct rb_request *r, struct rb_error *err)
{
    if (!r->http->server->draining || (r->method & (RB_GET | RB_HEAD)) != 0)
        return RB_OK;
    return rb_error_set(err, RB_EDRAINING,
                        "the daemon is shutting down and takes no new work; try again soon");
}

/* Looked at anew, so that what makes room finds what the reserve has freed. */
static enum rb_status check_room(const struct rb_request *r, struct rb_error *err)
{
    struct rb_room *room = &r->http->server->room;
    if ((r->method & (RB_GET | RB_HEAD)) != 0)
        return RB_OK;
    if (rb_room_look(room))
        rb_queue_wake(r->http->work);
    return r->route->frees ? RB_OK : rb_room_check(room, err);
}

static enum rb_status admit(struct rb_request *r, struct rb_error *err)
{
    enum rb_status s = RB_OK;
    if (r->client != NULL && r->client->refused) {
        r->refuse_at_once = true;
        return rb_error_set(err, RB_EBUSY,
                            "this address, or the service, has too many connections");
    }
    if (r->error.status != RB_OK) {
        *err = r->error;
        return err->status;
    }
    if ((s = check_framing(r, err)) != RB_OK || (s = rb_auth_host(r, err)) != RB_OK ||
        (s = find_route(r, err)) != RB_OK)
        return s;
    if (r->response != NULL) /* a preflight */
        return RB_OK;
    if ((s = rb_auth_token(r, err)) != RB_OK || (s = rb_auth_origin(r, err)) != RB_OK ||
        (s = check_draining(r, err)) != RB_OK || (s = check_room(r, err)) != RB_OK ||
        (s = check_body(r, err)) != RB_OK ||
        (s = rb_query_check(r->route->query, &r->target, err)) != RB_OK)
        return s;
    return RB_OK;
}

/* The page at "/merge" would look for its files beside it, so it moves to "/merge/". */
static bool redirect_bare_prefix(struct rb_request *r)
{
    if ((r->method & (RB_GET | RB_HEAD)) == 0 ||
        !rb_route_is_bare_prefix(&r->http->prefix, &r->target))
        return false;
    rb_reply_header(r, MHD_HTTP_HEADER_LOCATION, "%s/",
                    r->target.segments[r->target.segment_count - 1]);
    rb_reply_empty(r, MHD_HTTP_PERMANENT_REDIRECT);
    return true;
}

void rb_request_admit(struct rb_request *r)
{
    struct rb_error err;
    const char *id = rb_request_header(r, "X-Request-Id");
    if (id != NULL && rb_text_is_key(id, RB_REQUEST_ID_MAX))
        (void)snprintf(r->id, sizeof r->id, "%s", id);
    r->method = rb_method_parse(r->method_text);
    rb_auth_address(r);
    rb_cors_begin(r);
    if (admit(r, &err) == RB_OK) {
        (void)redirect_bare_prefix(r);
        return;
    }
    rb_metrics_add(r->http->server->metrics, RB_METER_REFUSED, 1, rb_problem_code(err.status),
                   NULL);
    rb_reply_error(r, &err, NULL);
}
