#include "server/http/request.h"

#include "server/http/internal.h"

struct rb_server *rb_request_server(const struct rb_request *r)
{
    return r->http->server;
}

struct rb_work *rb_request_work(const struct rb_request *r)
{
    return r->http->work;
}

const char *rb_request_header(const struct rb_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *rb_request_query(const struct rb_request *r, const char *name)
{
    return rb_target_query(&r->target, name);
}

bool rb_request_takes(struct rb_request *r, size_t bytes)
{
    if (bytes > RB_HTTP_MEMORY_BYTES - r->http->memory_bytes)
        return false;
    r->memory_bytes += bytes;
    r->http->memory_bytes += bytes;
    return true;
}

/* ---- waiting ---- */

void rb_request_hold(struct rb_request *r)
{
    if (r->held)
        return;
    r->held = true;
    rb_pump_suspend(r->http->pump, r->connection);
}

void rb_request_release(struct rb_request *r)
{
    if (!r->held)
        return;
    r->held = false;
    rb_pump_resume(r->http->pump, r->connection);
}

void rb_request_let_go(struct rb_request *r)
{
    void (*gone)(struct rb_request *) = r->gone;
    r->gone = NULL;
    r->due = NULL;
    r->watch_client = false;
    if (gone != NULL)
        gone(r);
}

void rb_request_drop(struct rb_request *r)
{
    r->closing = true;
    rb_request_let_go(r);
    rb_request_release(r);
}
