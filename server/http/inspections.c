#include "server/http/inspections.h"

#include "server/http/reply.h"

#include <stdio.h>
#include <stdlib.h>

static void forget(struct rb_request *r)
{
    struct rb_inspection_wait *w = r->data;
    rb_inspection_forget(w->inspection);
    free(w);
}

struct rb_inspection_wait *
rb_inspection_wait_begin(struct rb_request *r, const char *collection, const char *name, int status,
                         void (*reply)(struct rb_request *r, int status, const char *name))
{
    struct rb_inspection_wait *w = calloc(1, sizeof *w);
    if (w == NULL) {
        rb_reply_fail(r, RB_ENOMEM, "no memory to inspect '%s'", name);
        return NULL;
    }
    (void)snprintf(w->name, sizeof w->name, "%s", name);
    w->collection = collection;
    w->status = status;
    w->reply = reply;
    r->data = w;
    r->gone = forget;
    return w;
}

void rb_inspection_waited(void *data, enum rb_status status, const struct rb_error *err)
{
    struct rb_request *r = data;
    struct rb_inspection_wait *w = r->data;
    r->data = NULL;
    r->gone = NULL;
    if (status != RB_OK) {
        rb_reply_error(r, err, NULL);
    } else {
        if (w->status == MHD_HTTP_CREATED)
            rb_reply_location(r, "/v1/%s/%s", w->collection, w->name);
        w->reply(r, w->status, w->name);
    }
    free(w);
}
