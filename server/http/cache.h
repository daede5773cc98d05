/* server/http/cache.h: answers that are still true.
 *
 * A lab dashboard asks for the same few things hundreds of times a second. An answer of a route
 * marked `cached` is kept, and given again for as long as nothing it could depend on has moved: no
 * row of the store (rb_store_generation) and no item of the pool (rb_pool_items: progress). So it
 * never says anything that the handler would not have said at the end of the last item; only the
 * times that a running phase has taken so far may lag behind by that much.
 *
 * Entries lie in a table by the hash of their key (target and Accept); a new one takes the place of
 * whatever was there. Whether a request may ask at all was decided before. Loop thread only. */
#ifndef RB_SERVER_HTTP_CACHE_H
#define RB_SERVER_HTTP_CACHE_H

#include <stdbool.h>
#include <stddef.h>

struct rb_request;
struct MHD_Response;

enum {
    RB_CACHE_SLOTS = 256,
    RB_CACHE_BODY_BYTES = 64 * 1024, /* larger answers are not kept */
};

struct rb_cache {
    struct rb_cache_slot *slots; /* NULL: out of memory at the start, nothing is kept */
};

void rb_cache_init(struct rb_cache *c);
void rb_cache_deinit(struct rb_cache *c);

/* Replies from the cache if it can. */
bool rb_cache_reply(struct rb_request *r);
/* For reply.c: keeps the 200 that is about to be sent with the headers set so far, if its route is
 * cached, and makes the response. Takes text, on failure too; NULL: out of memory. */
struct MHD_Response *rb_cache_keep(struct rb_request *r, char *text, size_t bytes);

#endif
