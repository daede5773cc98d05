/* server/http/registered.h: what the resources models and datasets do alike: lists, one of them,
 * what may be replaced, DELETE. Loop thread only. */
#ifndef RB_SERVER_HTTP_REGISTERED_H
#define RB_SERVER_HTTP_REGISTERED_H

#include "api/encode.h"
#include "server/base/layout.h"
#include "server/http/request.h"
#include "server/store/registered.h"

enum { RB_REGISTERED_TAG_SIZE = 80 };

struct rb_registered_resource {
    const struct rb_registered_kind *kind;
    bool models; /* or datasets, to rb_inspections_delete */
    void (*encode)(struct rb_json *w, const void *row);
    /* Its folder below the data folder, or a file in it (rb_layout_model). */
    char *(*place)(const char *name, const char *file, char buffer[RB_PATH_SIZE]);
    /* The entity tag, with quotes, of what an upload by r replaces; "": nothing. */
    void (*upload_tag)(const struct rb_request *r, const void *row,
                       char tag[RB_REGISTERED_TAG_SIZE]);
};

/* The row's own entity tag, for resources whose upload replaces all of it. */
void rb_registered_tag(const struct rb_registered_kind *kind, const void *row,
                       char tag[RB_REGISTERED_TAG_SIZE]);

/* Replies GET of the collection, a page. */
void rb_registered_reply_page(struct rb_request *r, const struct rb_registered_resource *what);
/* Replies the one of that name with its ETag, or that it has not changed. */
void rb_registered_reply(struct rb_request *r, const struct rb_registered_resource *what,
                         int status, const char *name);

enum rb_status rb_registered_check_name(const struct rb_registered_resource *what, const char *name,
                                        struct rb_error *err) RB_MUST_CHECK; /* RB_EINPUT */
/* May an upload by r write to the one of that name, and do the request's conditions hold?
 * RB_ECONFLICT if it is registered in place, RB_EINUSE if a live job uses it, RB_EPRECOND.
 * *ret_exists: it is there already; may be NULL. */
enum rb_status rb_registered_may_change(struct rb_request *r,
                                        const struct rb_registered_resource *what, const char *name,
                                        bool *ret_exists, struct rb_error *err) RB_MUST_CHECK;

/* Replies a DELETE of {name}: its row goes, then its folder. */
void rb_registered_reply_delete(struct rb_request *r, const struct rb_registered_resource *what);

#endif
