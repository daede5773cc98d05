/* What goes by its age, and what would at another one. */
#include "server/http/handlers.h"
#include "server/http/request.h"
#include "server/http/reply.h"

#include "server/base/clock.h"
#include "server/base/options.h"
#include "server/server.h"
#include "server/store/retention.h"

#include <stdio.h>
#include <stdlib.h>

enum { LISTED_MAX = 500 };

/* The age that the query names, else the daemon's own. */
static enum rb_status read_age(const struct rb_request *r, const char *name, uint64_t own_ms,
                               uint64_t *ret_ms, struct rb_error *err)
{
    struct rb_error why;
    const char *text = rb_request_query(r, name);
    *ret_ms = own_ms;
    if (text == NULL || rb_duration_parse(name, text, ret_ms, &why) == RB_OK)
        return RB_OK;
    return rb_error_at(err, RB_EQUERY, name, "%s", why.detail);
}

void rb_handle_retention(struct rb_request *r)
{
    struct rb_server *server = rb_request_server(r);
    int64_t now_ms = rb_clock_realtime_ms();
    struct rb_retention keep;
    struct rb_retention_totals totals = {0};
    struct rb_retired *items = NULL;
    size_t count = 0;
    struct rb_json w;
    struct rb_error err;
    enum rb_status s =
        read_age(r, "keep_jobs", server->settings->keep_jobs_ms, &keep.jobs_ms, &err);
    if (s == RB_OK)
        s = read_age(r, "keep_artifacts", server->settings->keep_artifacts_ms, &keep.artifacts_ms,
                     &err);
    if (s == RB_OK)
        s = rb_retention_count(server->store, &keep, now_ms, &totals, &err);
    if (s == RB_OK)
        s = rb_retention_list(server->store, &keep, now_ms, -1, LISTED_MAX, &items, &count, &err);
    if (s != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_json_init(&w);
    rb_retention_encode(&w, &keep, &totals, items, count);
    free(items);
    rb_reply_json(r, MHD_HTTP_OK, &w);
}
