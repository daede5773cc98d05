#include "server/http/reply.h"

#include "api/problem.h"
#include "server/base/log.h"
#include "server/http/cache.h"
#include "server/http/headers.h"
#include "server/http/internal.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STREAM_BLOCK_BYTES = 16 * 1024,
    COMPUTED_BLOCK_BYTES = 64 * 1024,
    SMALL_REPLY_BYTES = 8 * 1024, /* not counted, so that every refusal can be said */
};

/* ---- headers ---- */

static bool has_header(const struct rb_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return true;
    return false;
}

__attribute__((format(printf, 3, 0))) static void add_header(struct rb_request *r, const char *name,
                                                             const char *format, va_list args)
{
    char *value;
    if (r->header_count == RB_REQUEST_HEADERS_MAX || vasprintf(&value, format, args) < 0)
        return; /* a reply without that header is better than none */
    r->headers[r->header_count++] = (struct rb_header){.name = name, .value = value};
}

void rb_reply_header(struct rb_request *r, const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_header(r, name, format, args);
    va_end(args);
}

void rb_reply_location(struct rb_request *r, const char *format, ...)
{
    char path[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof path, format, args);
    va_end(args);
    rb_reply_header(r, MHD_HTTP_HEADER_LOCATION, "%s%s", r->http->server->settings->route_prefix,
                    path);
}

void rb_reply_etag(struct rb_request *r, const char *format, ...)
{
    size_t at = r->header_count;
    char text[128];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    rb_reply_header(r, MHD_HTTP_HEADER_ETAG, "%s", text);
    if (r->header_count > at)
        r->etag = r->headers[at].value;
}

/* ---- making the response ---- */

static bool is_read(const struct rb_request *r)
{
    return (r->method & (RB_GET | RB_HEAD)) != 0;
}

/* What a page of another origin may read (cors.h), beside what every page may. */
#define PAGE_HEADERS                                                                               \
    "ETag, Location, Retry-After, Allow, Accept-Ranges, Content-Range, Content-Disposition, "      \
    "Repr-Digest, Idempotency-Replayed, WWW-Authenticate, X-Request-Id"

static void add_page_headers(struct rb_request *r)
{
    if (r->http->server->settings->allowed_origins.count > 0)
        rb_reply_header(r, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ORIGIN);
    if (r->page_origin == NULL)
        return;
    rb_reply_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, "%s", r->page_origin);
    rb_reply_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_EXPOSE_HEADERS, PAGE_HEADERS);
}

static void add_common_headers(struct rb_request *r)
{
    rb_reply_header(r, "X-Request-Id", "%s", r->id);
    rb_reply_header(r, "X-Content-Type-Options", "nosniff");
    rb_reply_header(r, "Referrer-Policy", "no-referrer");
    if (!has_header(r, MHD_HTTP_HEADER_CACHE_CONTROL))
        rb_reply_header(r, MHD_HTTP_HEADER_CACHE_CONTROL,
                        is_read(r) && r->status < 400 ? "private, no-cache" : "no-store");
    if (!has_header(r, "Content-Security-Policy"))
        rb_reply_header(r, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    add_page_headers(r);
}

void rb_reply_response(struct rb_request *r, int status, struct MHD_Response *response,
                       uint64_t bytes)
{
    if (r->response != NULL) { /* a handler that replied twice: the first one stands */
        if (response != NULL)
            MHD_destroy_response(response);
        rb_log_error("second reply", RB_S("request", r->id));
        return;
    }
    if (response == NULL) {
        rb_request_drop(r);
        return;
    }
    r->status = status;
    r->reply_bytes = r->method == RB_HEAD ? 0 : bytes;
    add_common_headers(r);
    for (size_t i = 0; i < r->header_count; i++)
        (void)MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
    r->response = response;
    r->due = NULL;
    rb_request_release(r);
}

/* The hash of a body as its ETag. Not meant to withstand an adversary: it only has to change. */
static void hash_etag(struct rb_request *r, const void *body, size_t bytes)
{
    static const unsigned char key[crypto_shorthash_siphashx24_KEYBYTES] = "rebasind etag v1";
    unsigned char hash[crypto_shorthash_siphashx24_BYTES];
    char hex[sizeof hash * 2 + 1];
    crypto_shorthash_siphashx24(hash, body, bytes, key);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    rb_reply_etag(r, "\"%s\"", hex);
}

bool rb_reply_not_modified(struct rb_request *r)
{
    if (r->etag == NULL || !is_read(r) ||
        !rb_etag_listed(rb_request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH), r->etag, true))
        return false;
    rb_reply_empty(r, MHD_HTTP_NOT_MODIFIED);
    return true;
}

/* What is common to every body in memory. False: 304 has been replied instead. */
static bool prepare_body(struct rb_request *r, int status, const char *media_type, const void *body,
                         size_t bytes)
{
    if (is_read(r) && status == MHD_HTTP_OK) {
        if (r->etag == NULL)
            hash_etag(r, body, bytes);
        if (rb_reply_not_modified(r))
            return false;
    }
    rb_reply_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "%s", media_type);
    return true;
}

void rb_reply_text(struct rb_request *r, int status, const char *media_type, char *text,
                   size_t bytes)
{
    if (bytes > SMALL_REPLY_BYTES && !rb_request_takes(r, bytes)) {
        free(text);
        rb_reply_no_room(r);
        return;
    }
    if (!prepare_body(r, status, media_type, text, bytes)) {
        free(text);
        return;
    }
    struct MHD_Response *response;
    if (status == MHD_HTTP_OK && is_read(r) && r->response == NULL) {
        response = rb_cache_keep(r, text, bytes);
    } else {
        response = MHD_create_response_from_buffer(bytes, text, MHD_RESPMEM_MUST_FREE);
        if (response == NULL)
            free(text);
    }
    rb_reply_response(r, status, response, bytes);
}

void rb_reply_static(struct rb_request *r, int status, const char *media_type, const void *bytes,
                     size_t count)
{
    if (!prepare_body(r, status, media_type, bytes, count))
        return;
    /* libmicrohttpd takes a plain pointer and only reads what is persistent. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(count, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT);
    rb_reply_response(r, status, response, count);
}

void rb_reply_empty(struct rb_request *r, int status)
{
    rb_reply_response(r, status, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT),
                      0);
}

void rb_reply_json(struct rb_request *r, int status, struct rb_json *w)
{
    struct rb_error err;
    char *text;
    size_t bytes;
    if (rb_json_finish(w, &text, &bytes, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_reply_text(r, status, "application/json", text, bytes);
}

/* ---- problems ---- */

/* Seconds after which trying again makes sense. */
static unsigned retry_after_s(enum rb_status status)
{
    static const struct {
        enum rb_status status;
        unsigned seconds;
    } rows[] = {{RB_EQUEUEFULL, 10}, {RB_EDISKFULL, 60}, {RB_EDRAINING, 5}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status)
            return rows[i].seconds;
    return 1;
}

/* A tag that was set for the body that did not come about. */
static void drop_etag(struct rb_request *r)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (r->headers[i].value != r->etag)
            continue;
        free(r->headers[i].value);
        r->headers[i] = r->headers[--r->header_count];
    }
    r->etag = NULL;
}

void rb_reply_error(struct rb_request *r, const struct rb_error *err,
                    const struct rb_problems *problems)
{
    struct rb_json w;
    char *text;
    size_t bytes;
    r->error = *err;
    r->failure = err->status;
    drop_etag(r);
    rb_json_init(&w);
    rb_problem_encode(&w, err, problems, r->id);
    if (rb_json_finish(&w, &text, &bytes, NULL) != RB_OK) {
        rb_request_drop(r);
        return;
    }
    if (rb_problem_retryable(err->status))
        rb_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "%u", retry_after_s(err->status));
    rb_reply_text(r, rb_problem_http(err->status), RB_PROBLEM_MEDIA_TYPE, text, bytes);
}

void rb_reply_fail(struct rb_request *r, enum rb_status status, const char *format, ...)
{
    struct rb_error err = {.status = status};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err.detail, sizeof err.detail, format, args);
    va_end(args);
    rb_reply_error(r, &err, NULL);
}

void rb_reply_no_room(struct rb_request *r)
{
    rb_reply_fail(r, RB_ENOMEM, "other requests fill the memory set aside for them");
}

/* ---- from the cache ---- */

bool rb_reply_cached(struct rb_request *r)
{
    struct rb_cached c;
    if (!rb_cache_find(r, &c))
        return false;
    for (size_t i = 0; i < c.header_count; i++) {
        const struct rb_header *h = &c.headers[i];
        if (strcmp(h->name, MHD_HTTP_HEADER_ETAG) == 0)
            rb_reply_etag(r, "%s", h->value);
        else
            rb_reply_header(r, h->name, "%s", h->value);
    }
    if (!rb_reply_not_modified(r))
        rb_reply_response(r, MHD_HTTP_OK, rb_cache_response(&c), c.bytes);
    return true;
}

/* ---- files ---- */

static struct rb_range wanted_range(const struct rb_request *r, uint64_t bytes)
{
    const char *if_range = rb_request_header(r, MHD_HTTP_HEADER_IF_RANGE);
    if (r->method != RB_GET || (if_range != NULL && !rb_etag_listed(if_range, r->etag, false)))
        return (struct rb_range){.kind = RB_RANGE_WHOLE};
    return rb_range_parse(rb_request_header(r, MHD_HTTP_HEADER_RANGE), bytes);
}

static void refuse_range(struct rb_request *r, uint64_t bytes)
{
    rb_reply_header(r, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes */%llu", (unsigned long long)bytes);
    rb_reply_fail(r, RB_ERANGE, "the file has %llu bytes", (unsigned long long)bytes);
}

struct part { /* of a body that is wanted */
    uint64_t first, count;
    int status;
};

/* Sets the headers of a body of that digest. False: 304 or 416 has been replied instead. */
static bool begin_part(struct rb_request *r, uint64_t bytes, const char *media_type,
                       const unsigned char *sha256, struct part *ret)
{
    char hex[65], digest[RB_DIGEST_FIELD_BYTES];
    sodium_bin2hex(hex, sizeof hex, sha256, 32);
    rb_reply_etag(r, "\"%s\"", hex);
    if (rb_reply_not_modified(r))
        return false;
    rb_reply_header(r, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    struct rb_range range = wanted_range(r, bytes);
    if (range.kind == RB_RANGE_UNSATISFIABLE) {
        refuse_range(r, bytes);
        return false;
    }
    rb_reply_header(r, "Repr-Digest", "%s", rb_digest_format(sha256, digest));
    rb_reply_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "%s", media_type);
    *ret = (struct part){0, bytes, MHD_HTTP_OK};
    if (range.kind == RB_RANGE_PART) {
        *ret = (struct part){range.first, range.last - range.first + 1, MHD_HTTP_PARTIAL_CONTENT};
        rb_reply_header(r, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes %llu-%llu/%llu",
                        (unsigned long long)range.first, (unsigned long long)range.last,
                        (unsigned long long)bytes);
    }
    return true;
}

void rb_reply_file(struct rb_request *r, int fd, uint64_t bytes, const char *media_type,
                   const unsigned char *sha256)
{
    struct part part;
    if (!begin_part(r, bytes, media_type, sha256, &part)) {
        (void)close(fd);
        return;
    }
    struct MHD_Response *response =
        MHD_create_response_from_fd_at_offset64(part.count, fd, part.first);
    if (response == NULL)
        (void)close(fd);
    rb_reply_response(r, part.status, response, part.count);
}

/* ---- computed bodies ---- */

struct computed {
    struct rb_reply_source source;
    uint64_t first;
};

static ssize_t read_computed(void *data, uint64_t position, char *buffer, size_t max)
{
    const struct computed *c = data;
    ssize_t n = c->source.read(c->source.data, c->first + position, buffer, max);
    return n == RB_SOURCE_BROKEN ? MHD_CONTENT_READER_END_WITH_ERROR : n;
}

static void free_computed(void *data)
{
    struct computed *c = data;
    c->source.release(c->source.data);
    free(c);
}

void rb_reply_computed(struct rb_request *r, const struct rb_reply_source *source, uint64_t bytes,
                       const char *media_type, const unsigned char *sha256)
{
    struct part part;
    struct MHD_Response *response = NULL;
    struct computed *c = malloc(sizeof *c);
    if (c == NULL || !begin_part(r, bytes, media_type, sha256, &part)) {
        bool replied = c != NULL;
        free(c);
        source->release(source->data);
        if (!replied)
            rb_request_drop(r);
        return;
    }
    *c = (struct computed){*source, part.first};
    response = MHD_create_response_from_callback(part.count, COMPUTED_BLOCK_BYTES, read_computed, c,
                                                 free_computed);
    if (response == NULL)
        free_computed(c);
    rb_reply_response(r, part.status, response, part.count);
}

/* ---- streams ---- */

static ssize_t read_stream(void *data, uint64_t position, char *buffer, size_t max)
{
    struct rb_request *r = data;
    (void)position;
    if (r->closing)
        return MHD_CONTENT_READER_END_OF_STREAM;
    ssize_t n = r->stream_read(r, buffer, max);
    if (n == RB_STREAM_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0)
        rb_request_hold(r);
    else
        r->reply_bytes += (uint64_t)n;
    return n;
}

void rb_reply_stream(struct rb_request *r, const char *media_type,
                     ssize_t (*read)(struct rb_request *r, char *buffer, size_t max))
{
    rb_reply_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "%s", media_type);
    r->stream_read = read;
    rb_reply_response(r, MHD_HTTP_OK,
                      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
                                                        read_stream, r, NULL),
                      0);
}
