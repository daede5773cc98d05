#include "api/body.h"
#include "server/http/internal.h"
#include "server/http/reply.h"

#include "server/base/clock.h"
#include "server/base/ids.h"
#include "server/base/log.h"
#include "server/http/admit.h"
#include "server/http/exchange.h"
#include "server/store/tokens.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_FIRST_BYTES = 4096, TICKS_PER_HANG_UP_CHECK = 4 };

/* A revocation counts for what goes on as well as for the next request. */
static bool has_lost_token(const struct rb_request *r)
{
    return r->waits && r->who.token[0] != '\0' &&
           !rb_tokens_valid(r->http->server->tokens, r->who.token);
}

static void tick(struct rb_request *r, uint64_t now_ns, bool check_client)
{
    if (r->due != NULL && r->deadline_ns != 0 && now_ns >= r->deadline_ns) {
        void (*due)(struct rb_request *) = r->due;
        r->due = NULL;
        due(r);
    } else if (check_client && r->held &&
               ((r->watch_client && r->client != NULL && rb_client_hung_up(r->client)) ||
                has_lost_token(r))) {
        rb_request_drop(r);
    }
}

void rb_exchanges_tick(struct rb_http *http, uint64_t now_ns)
{
    bool check_clients = http->ticks++ % TICKS_PER_HANG_UP_CHECK == 0;
    for (struct rb_request *r = http->requests.next; r != &http->requests; r = r->next)
        tick(r, now_ns, check_clients);
}

void rb_exchanges_stop(struct rb_http *http, bool all)
{
    for (struct rb_request *r = http->requests.next; r != &http->requests; r = r->next) {
        if (r->due != NULL && r->stream_read == NULL)
            tick(r, r->deadline_ns = UINT64_MAX, false);
        else if (r->held && (all || r->stream_read != NULL))
            rb_request_drop(r);
    }
}

/* ---- from line to reply ---- */

/* Tokens have no business in a target and are refused there; whoever tries one all the same should
 * not find it in the log. A page's token is no secret. line may be NULL; it is the cache's key
 * until the request has been answered, so this is for the log alone. */
static void hide_secrets(char *line)
{
    static const char name[] = "token=", page[] = "page_";
    size_t n = sizeof page - 1;
    for (char *at = line; at != NULL && (at = strstr(at, name)) != NULL;) {
        bool secret = (size_t)(at - line) < n || strncmp(at - n, page, n) != 0;
        for (at += sizeof name - 1; *at != '\0' && *at != '&'; at++)
            *at = secret ? '*' : *at;
    }
}

static struct rb_request *make(struct rb_http *http, struct rb_client *client, const char *target)
{
    struct rb_request *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->http = http;
    r->client = client;
    r->started_ns = rb_clock_monotonic_ns();
    r->line = strndup(target, RB_REQUEST_LINE_LOGGED);
    rb_request_id_make(r->id);
    r->next = &http->requests;
    r->previous = http->requests.previous;
    r->previous->next = r;
    r->next->previous = r;
    http->request_count++;
    return r;
}

void *rb_exchange_new(void *data, const char *target, struct MHD_Connection *connection)
{
    struct rb_client *client =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct rb_request *r = make(data, client, target);
    if (r == NULL)
        return NULL;
    r->connection = connection;
    (void)!rb_target_parse(target, &r->target, &r->error); /* admit.c reports it */
    rb_client_awaits(client, true, r->started_ns);
    if (client != NULL)
        client->request = r;
    return r;
}

static enum MHD_Result queue_reply(struct rb_request *r)
{
    r->state = RB_EXCHANGE_QUEUED;
    r->queued_ns = rb_clock_monotonic_ns();
    rb_client_is_busy(r->client);
    return MHD_queue_response(r->connection, (unsigned)r->status, r->response);
}

/* The reply's headers as lines, for a head that libmicrohttpd will not write. New; NULL: out of
 * memory. Content-Type is the problem's own. */
static char *header_lines(const struct rb_request *r)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < r->header_count; i++)
        if (strcmp(r->headers[i].name, MHD_HTTP_HEADER_CONTENT_TYPE) != 0)
            fprintf(out, "%s: %s\r\n", r->headers[i].name, r->headers[i].value);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* Answers past libmicrohttpd, which takes no reply while a body arrives, and goes on reading for a
 * while: a client that finds its connection reset never looks for the answer. */
static enum MHD_Result answer_past(struct rb_request *r)
{
    char *headers = r->failure != RB_OK && r->client != NULL ? header_lines(r) : NULL;
    if (headers == NULL)
        return MHD_NO;
    r->answered = true;
    r->queued_ns = rb_clock_monotonic_ns();
    rb_client_linger(r->client, &r->error, r->id, headers, r->queued_ns);
    free(headers);
    return MHD_YES;
}

static enum MHD_Result begin(struct rb_request *r, const char *method, const char *version)
{
    r->method_text = method;
    r->version = version;
    r->state = RB_EXCHANGE_BODY;
    rb_request_admit(r);
    bool has_body = r->announced_bytes > 0;
    if (r->response == NULL && r->route->body == RB_BODY_STREAM)
        r->route->stream->begin(r);
    if (r->closing)
        return MHD_NO;
    /* A client that waits for leave to send its body gets the refusal instead. */
    bool expects = has_body && rb_request_header(r, MHD_HTTP_HEADER_EXPECT) != NULL;
    if (r->response != NULL && (r->refuse_at_once || expects))
        return queue_reply(r);
    if (!has_body)
        return MHD_YES;
    rb_client_sends_body(r->client, rb_clock_monotonic_ns());
    bool is_long =
        r->announced_bytes > RB_REQUEST_SWALLOW_BYTES && r->announced_bytes != UINT64_MAX;
    return r->response != NULL && is_long ? answer_past(r) : MHD_YES;
}

static void gather(struct rb_request *r, const char *data, size_t bytes)
{
    size_t have = (size_t)r->received_bytes - bytes, need = have + bytes + 1;
    if (need > r->body_capacity) {
        size_t capacity = r->body_capacity > 0 ? r->body_capacity : BODY_FIRST_BYTES;
        while (capacity < need)
            capacity *= 2;
        if (!rb_request_takes(r, capacity - r->body_capacity)) {
            rb_reply_no_room(r);
            return;
        }
        char *grown = realloc(r->body, capacity);
        if (grown == NULL) {
            rb_reply_fail(r, RB_ENOMEM, "no memory for a body of %zu bytes", need);
            return;
        }
        r->body = grown;
        r->body_capacity = capacity;
    }
    memcpy(r->body + have, data, bytes);
    r->body[have + bytes] = '\0';
}

/* A body whose reply is made already: let it pass, and answer in the end if that comes soon. */
static enum MHD_Result swallow(struct rb_request *r, size_t bytes)
{
    r->swallowed_bytes += bytes;
    return r->swallowed_bytes <= RB_REQUEST_SWALLOW_BYTES || r->answered ? MHD_YES : answer_past(r);
}

static enum MHD_Result take(struct rb_request *r, const char *data, size_t bytes)
{
    r->received_bytes += bytes;
    rb_client_body_progress(r->client, bytes, rb_clock_monotonic_ns());
    if (r->response != NULL)
        return swallow(r, bytes);
    const struct rb_settings *settings = r->http->server->settings;
    uint64_t limit = r->route->body == RB_BODY_JSON     ? settings->max_body_bytes
                     : r->route->body == RB_BODY_EMPTY  ? RB_BODY_EMPTY_MAX_BYTES
                     : r->route->body == RB_BODY_STREAM ? settings->max_upload_bytes
                                                        : 0;
    if (r->received_bytes > limit)
        rb_reply_fail(r, RB_ETOOLARGE, "the body has more than the %llu bytes allowed here",
                      (unsigned long long)limit);
    else if (r->route->body == RB_BODY_JSON || r->route->body == RB_BODY_EMPTY)
        gather(r, data, bytes);
    else
        r->route->stream->data(r, data, bytes);
    return r->closing ? MHD_NO : MHD_YES;
}

static enum rb_status parse_body(struct rb_request *r, struct rb_error *err)
{
    enum rb_status s =
        rb_body_parse(r->body != NULL ? r->body : "", (size_t)r->received_bytes,
                      (size_t)r->http->server->settings->max_body_bytes, &r->json, err);
    if (r->route->body == RB_BODY_JSON || s == RB_ENOMEM)
        return s;
    if (s != RB_OK || !json_is_object(r->json) || json_object_size(r->json) > 0)
        return rb_error_set(err, RB_ETOOLARGE, "no body is taken here but {}");
    free(r->body); /* the same request as one without */
    r->body = NULL;
    return RB_OK;
}

static void handle(struct rb_request *r)
{
    struct rb_error err;
    rb_client_is_busy(r->client);
    if (r->response != NULL)
        return;
    if ((r->route->body == RB_BODY_JSON ||
         (r->route->body == RB_BODY_EMPTY && r->received_bytes > 0)) &&
        parse_body(r, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    if (!rb_reply_cached(r))
        r->route->handle(r);
}

enum MHD_Result rb_exchange_step(void *data, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload_data,
                                 size_t *upload_bytes, void **request)
{
    struct rb_request *r = *request;
    (void)data;
    (void)connection;
    (void)url;
    if (r == NULL || r->closing || (r->answered && *upload_bytes == 0))
        return MHD_NO;
    if (r->state == RB_EXCHANGE_LINE)
        return begin(r, method, version);
    if (r->state == RB_EXCHANGE_BODY && *upload_bytes > 0) {
        size_t bytes = *upload_bytes;
        *upload_bytes = 0;
        return take(r, upload_data, bytes);
    }
    if (r->state == RB_EXCHANGE_BODY) {
        r->state = RB_EXCHANGE_HANDLED;
        handle(r);
    }
    if (r->closing)
        return MHD_NO;
    if (r->response != NULL)
        return queue_reply(r);
    rb_request_hold(r);
    return MHD_YES;
}

/* ---- the end ---- */

/* Who changed what: a line for each request that did. What was made is named by its Location. */
static void record_change(const struct rb_request *r, int status)
{
    const char *what = r->params[0];
    if (r->route == NULL || (r->method & (RB_GET | RB_HEAD)) != 0 || status >= 300 ||
        rb_query_flag(&r->target, "dry_run"))
        return;
    for (size_t i = 0; i < r->header_count; i++)
        if (strcmp(r->headers[i].name, MHD_HTTP_HEADER_LOCATION) == 0)
            what = r->headers[i].value;
    rb_log_info("change", RB_S("by", r->who.name[0] != '\0' ? r->who.name : "anybody"),
                RB_S("operation", r->route->operation), RB_S("what", what), RB_I("status", status),
                RB_S("request", r->id), RB_S("client", r->who.address));
}

static void record(const struct rb_request *r, int status)
{
    char status_text[12];
    struct rb_metrics *m = r->http->server->metrics;
    const char *route = r->route != NULL ? r->route->path : "none";
    uint64_t end_ns = r->queued_ns != 0 ? r->queued_ns : rb_clock_monotonic_ns();
    (void)snprintf(status_text, sizeof status_text, "%d", status);
    rb_metrics_add(m, RB_METER_REQUESTS, 1, route, status_text);
    rb_metrics_add(m, RB_METER_REQUEST_BYTES, (double)r->received_bytes, NULL, NULL);
    rb_metrics_add(m, RB_METER_REPLY_BYTES, (double)r->reply_bytes, NULL, NULL);
    if (!r->waits)
        rb_metrics_observe(m, RB_METER_REQUEST_SECONDS, (double)(end_ns - r->started_ns) * 1e-9,
                           route);
    record_change(r, status);
    enum rb_log_level level = status >= 500 ? RB_LOG_WARN : RB_LOG_INFO;
    hide_secrets(r->line);
    RB_LOG(level, "request", RB_S("request", r->id), RB_S("client", r->who.address),
           RB_S("method", r->method_text != NULL ? r->method_text : "?"),
           RB_S("target", r->line != NULL ? r->line : "?"), RB_I("status", status),
           RB_D("ms", (double)(end_ns - r->started_ns) * 1e-6), RB_U("in", r->received_bytes),
           RB_U("out", r->reply_bytes),
           RB_S("token", r->who.token[0] != '\0' ? r->who.token : NULL),
           RB_S("code", r->failure != RB_OK ? rb_problem_code(r->failure) : NULL));
}

static void free_request(struct rb_request *r)
{
    if (r->client != NULL && r->client->request == r)
        r->client->request = NULL;
    r->previous->next = r->next;
    r->next->previous = r->previous;
    r->http->request_count--;
    r->http->memory_bytes -= r->memory_bytes;
    for (size_t i = 0; i < r->header_count; i++)
        free(r->headers[i].value);
    if (r->response != NULL)
        MHD_destroy_response(r->response);
    json_decref(r->json);
    rb_target_deinit(&r->target);
    free(r->body);
    free(r->line);
    free(r);
}

/* What libmicrohttpd answered by itself (a malformed request), 499 for a client that left. */
static int status_without_reply(const struct rb_request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_HTTP_STATUS);
    return info != NULL && info->http_status != 0 ? (int)info->http_status : 499;
}

static void end(struct rb_request *r)
{
    rb_request_let_go(r);
    record(r, r->state == RB_EXCHANGE_QUEUED || r->answered ? r->status : status_without_reply(r));
    rb_client_awaits(r->client, false, rb_clock_monotonic_ns());
    free_request(r);
}

void rb_exchange_completed(void *data, struct MHD_Connection *connection, void **request,
                           enum MHD_RequestTerminationCode code)
{
    struct rb_request *r = *request;
    (void)data;
    (void)connection;
    (void)code;
    if (r == NULL)
        return;
    *request = NULL;
    end(r);
}

void rb_exchange_forget(struct rb_client *client)
{
    if (client != NULL && client->request != NULL)
        end(client->request);
}

/* ---- what the gate refuses ---- */

static void refuse_head(struct rb_http *http, struct rb_client *client, const struct rb_gate *gate)
{
    struct rb_request *r = make(http, client, gate->head.target);
    if (r == NULL) {
        rb_client_end(client, &gate->error, NULL);
        return;
    }
    r->method_text = gate->head.method;
    (void)rb_address_format(&client->address, r->who.address, sizeof r->who.address);
    rb_metrics_add(http->server->metrics, RB_METER_REFUSED, 1, rb_problem_code(gate->error.status),
                   NULL);
    rb_reply_error(r, &gate->error, NULL);
    (void)answer_past(r);
    record(r, r->status);
    free_request(r);
}

bool rb_exchange_refuse(struct rb_http *http, struct rb_client *client, const struct rb_gate *gate)
{
    struct rb_request *r = client->request;
    if (gate->heads > 0)
        return false;
    if (r == NULL && !gate->shut_in_body)
        refuse_head(http, client, gate);
    if (r == NULL || r->answered || r->closing)
        return true;
    if (!gate->shut_in_body || r->state != RB_EXCHANGE_BODY)
        return false;
    if (r->response == NULL)
        rb_reply_error(r, &gate->error, NULL);
    if (answer_past(r) != MHD_YES)
        rb_client_end(client, NULL, NULL);
    return true;
}
