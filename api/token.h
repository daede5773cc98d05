/* api/token.h: a token as GET /v1/tokens/self tells of it. Pure. */
#ifndef RB_API_TOKEN_H
#define RB_API_TOKEN_H

#include "api/encode.h"

struct rb_token_view {
    const char *id, *name;           /* "": null: no token is needed here */
    bool read, submit, admin;        /* scopes */
    int64_t created_ms, expires_ms;  /* -1: null */
    uint64_t queued, running, bytes; /* limits; 0: null */
    uint64_t queued_now, running_now, bytes_now;
};

/* {"id","name","scopes":["read",…],"created_at","expires_at","limits":{"queued","running","bytes"},
 * "usage":{the same}}. */
void rb_token_encode(struct rb_json *w, const struct rb_token_view *t);

#endif
