#include "server/http/upload.h"
#include "server/base/beneath.h"

#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/http/common.h"
#include "server/http/headers.h"
#include "server/http/reply.h"
#include "server/server.h"
#include "server/work/work.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* One read of the socket on top of a buffer that is nearly full. */
enum { BUFFER_CAPACITY = RB_UPLOAD_BUFFER_BYTES + 64 * 1024 };

static struct rb_upload *upload_of(struct rb_async *async)
{
    return async->data;
}

static void free_upload(struct rb_upload *u)
{
    if (u->writer_open)
        rb_file_abort(&u->writer);
    free(u->buffers[0]);
    free(u->buffers[1]);
    rb_hasher_free(u->hash);
    free(u);
}

struct rb_request *rb_upload_release(struct rb_upload *u)
{
    struct rb_request *r = u->r;
    if (r != NULL) {
        r->data = NULL;
        r->gone = NULL;
    }
    free_upload(u);
    return r;
}

struct rb_request *rb_upload_hand_over(struct rb_upload *u, char path[RB_PATH_SIZE])
{
    memcpy(path, u->writer.temporary, RB_PATH_SIZE);
    (void)close(u->writer.fd);
    u->writer_open = false;
    return rb_upload_release(u);
}

static void on_gone(struct rb_request *r)
{
    struct rb_upload *u = r->data;
    u->r = NULL;
    if (!u->busy)
        free_upload(u);
}

/* ---- what runs on the pool ---- */

static void write_buffer(struct rb_upload *u)
{
    rb_hasher_add(u->hash, u->buffers[1], u->flushing);
    u->status = rb_file_write(&u->writer, u->buffers[1], u->flushing, &u->error);
}

static void on_write(struct rb_async *async)
{
    write_buffer(upload_of(async));
}

static enum rb_status verify(struct rb_upload *u)
{
    char found[RB_SHA256_HEX], wanted[RB_SHA256_HEX];
    rb_hasher_end(u->hash, u->digest);
    if (u->has_expected && memcmp(u->digest, u->expected, sizeof u->digest) != 0) {
        rb_sha256_hex(u->digest, found);
        rb_sha256_hex(u->expected, wanted);
        return rb_error_at(&u->error, RB_EDIGEST, "Repr-Digest",
                           "the body's sha-256 is %s, Repr-Digest says %s", found, wanted);
    }
    return u->ops->check != NULL ? u->ops->check(u, &u->error) : RB_OK;
}

static void on_last_write(struct rb_async *async)
{
    struct rb_upload *u = upload_of(async);
    write_buffer(u);
    if (u->status == RB_OK)
        u->status = verify(u);
}

/* Left empty where that fails: the file is then hashed once more. */
static void describe_committed(struct rb_upload *u)
{
    struct stat st;
    if (fstatat(u->writer.root_fd, u->writer.path, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        (uint64_t)st.st_size != u->bytes)
        return;
    u->committed = rb_file_id_of(NULL, &st);
}

static void on_commit(struct rb_async *async)
{
    struct rb_upload *u = upload_of(async);
    char folder[sizeof u->writer.path];
    (void)snprintf(folder, sizeof folder, "%s", u->writer.path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    u->status = slash != NULL ? rb_mkdirs_beneath(u->writer.root_fd, folder, &u->error) : RB_OK;
    if (u->status != RB_OK)
        return;
    u->replaces = faccessat(u->writer.root_fd, u->writer.path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    u->writer_open = false;
    u->status = rb_file_commit(&u->writer, &u->error);
    if (u->status == RB_OK)
        describe_committed(u);
}

/* ---- on the loop ---- */

static void start(struct rb_upload *u, void (*work)(struct rb_async *),
                  void (*done)(struct rb_async *))
{
    u->async = (struct rb_async){.work = work, .done = done, .data = u};
    u->busy = true;
    rb_async_start(rb_request_work(u->r)->pool, &u->async);
}

/* After an async: false if the upload ends here, because the client left or something failed. */
static bool goes_on(struct rb_upload *u)
{
    u->busy = false;
    if (u->r == NULL) {
        free_upload(u);
        return false;
    }
    if (u->status == RB_OK && !u->ended)
        u->status = rb_room_check(&rb_request_server(u->r)->room, &u->error);
    if (u->status == RB_OK)
        return true;
    struct rb_error err = u->error;
    rb_reply_error(rb_upload_release(u), &err, NULL);
    return false;
}

/* So that the inspection need not read the file again. The store's failure costs time, no more. */
static void remember_digest(struct rb_upload *u)
{
    struct rb_server *server = rb_request_server(u->r);
    char path[sizeof server->data_dir + sizeof u->writer.path + 1];
    (void)snprintf(path, sizeof path, "%s/%s", server->data_dir, u->writer.path);
    u->committed.path = path;
    (void)!rb_hash_put(server->store, &u->committed, u->digest, rb_clock_realtime_ms(), NULL);
    u->committed.path = NULL;
}

static void after_commit(struct rb_async *async)
{
    struct rb_upload *u = upload_of(async);
    if (u->r != NULL && u->committed.bytes > 0)
        remember_digest(u);
    if (goes_on(u))
        u->ops->committed(u);
}

void rb_upload_commit(struct rb_upload *u)
{
    start(u, on_commit, after_commit);
}

static void after_last_write(struct rb_async *async)
{
    struct rb_upload *u = upload_of(async);
    if (goes_on(u))
        u->ops->received(u);
}

static void after_write(struct rb_async *async);

static void flush(struct rb_upload *u)
{
    unsigned char *full = u->buffers[0];
    u->buffers[0] = u->buffers[1];
    u->buffers[1] = full;
    u->flushing = u->filled;
    u->filled = 0;
    if (u->ended)
        start(u, on_last_write, after_last_write);
    else
        start(u, on_write, after_write);
}

static void after_write(struct rb_async *async)
{
    struct rb_upload *u = upload_of(async);
    if (!goes_on(u))
        return;
    if (u->ended || u->filled >= RB_UPLOAD_BUFFER_BYTES)
        flush(u);
    if (!u->ended)
        rb_request_release(u->r);
}

/* A list may be spread over lines (RFC 9110, 5.3), one algorithm in each. */
struct digest_lines {
    const char *name;
    char text[1024];
};

static enum MHD_Result join_line(void *data, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct digest_lines *lines = data;
    size_t used = strlen(lines->text);
    (void)kind;
    if (strcasecmp(name, lines->name) == 0 && value != NULL)
        (void)snprintf(lines->text + used, sizeof lines->text - used, "%s%s", used > 0 ? ", " : "",
                       value);
    return MHD_YES;
}

static bool read_digest(struct rb_request *r, struct rb_upload *u)
{
    struct rb_error err;
    /* Content-Digest is the same thing without encodings. */
    struct digest_lines lines = {
        .name = rb_request_header(r, "Repr-Digest") != NULL ? "Repr-Digest" : "Content-Digest"};
    const char *value = rb_request_header(r, lines.name) != NULL ? lines.text : NULL;
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, join_line, &lines);
    if (rb_digest_parse(value, u->expected, &u->has_expected, &err) == RB_OK)
        return true;
    rb_reply_error(r, &err, NULL);
    return false;
}

enum rb_status rb_upload_admit(const struct rb_request *r, struct rb_error *err)
{
    return rb_bytes_check(r, r->announced_bytes != UINT64_MAX ? r->announced_bytes : 0, err);
}

struct rb_upload *rb_upload_begin(struct rb_request *r, const char *path,
                                  const struct rb_upload_ops *ops)
{
    struct rb_error err;
    if (!rb_request_takes(r, 2 * (size_t)BUFFER_CAPACITY)) {
        rb_reply_no_room(r);
        return NULL;
    }
    struct rb_upload *u = calloc(1, sizeof *u);
    if (u != NULL) {
        u->buffers[0] = malloc(BUFFER_CAPACITY);
        u->buffers[1] = malloc(BUFFER_CAPACITY);
        u->hash = rb_hasher_new();
    }
    if (u == NULL || u->buffers[0] == NULL || u->buffers[1] == NULL || u->hash == NULL) {
        rb_reply_fail(r, RB_ENOMEM, "no memory for the buffers of an upload");
        goto err_after_alloc;
    }
    u->r = r;
    u->ops = ops;
    if (!read_digest(r, u))
        goto err_after_alloc;
    if (rb_file_begin(rb_request_server(r)->data_fd, path, &u->writer, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        goto err_after_alloc;
    }
    u->writer_open = true;
    r->data = u;
    r->gone = on_gone;
    return u;

err_after_alloc:
    if (u != NULL)
        free_upload(u);
    return NULL;
}

void rb_upload_data(struct rb_request *r, const void *data, size_t bytes)
{
    struct rb_upload *u = r->data;
    while (bytes > 0) {
        size_t room = BUFFER_CAPACITY - u->filled, n = bytes < room ? bytes : room;
        if (n == 0) { /* the socket's reads are larger than CONNECTION_MEMORY_BYTES allows */
            rb_reply_fail(rb_upload_release(u), RB_EINTERNAL, "the upload's buffer is full");
            return;
        }
        memcpy(u->buffers[0] + u->filled, data, n);
        u->filled += n;
        u->bytes += n;
        data = (const unsigned char *)data + n;
        bytes -= n;
        if (u->filled >= RB_UPLOAD_BUFFER_BYTES && !u->busy)
            flush(u);
    }
    if (u->filled >= RB_UPLOAD_BUFFER_BYTES)
        rb_request_hold(r);
}

void rb_upload_end(struct rb_request *r)
{
    struct rb_upload *u = r->data;
    rb_metrics_add(rb_request_server(r)->metrics, RB_METER_UPLOAD_BYTES, (double)u->bytes, NULL,
                   NULL);
    u->ended = true;
    if (!u->busy)
        flush(u);
}
