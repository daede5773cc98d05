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

struct rb_cache_body;
struct rb_cache_slot;
struct rb_header;
struct rb_request;
struct MHD_Response;

enum {
    RB_CACHE_SLOTS = 256,
    RB_CACHE_BODY_BYTES = 64 * 1024, /* larger answers are not kept */
};

/* The table, empty; NULL: out of memory, and nothing is kept. The caller owns it. */
struct rb_cache_slot *rb_cache_new(void);
void rb_cache_free(struct rb_cache_slot *slots); /* may be NULL */

/* An answer that is still true; valid until the next request. */
struct rb_cached {
    const struct rb_header *headers;
    size_t header_count, bytes;
    struct rb_cache_body *body_;
};
/* The answer to r, if there is one. */
bool rb_cache_find(const struct rb_request *r, struct rb_cached *ret);
/* New; NULL: out of memory. */
struct MHD_Response *rb_cache_response(const struct rb_cached *c);

/* For reply.c: keeps the 200 that is about to be sent with the headers set so far, if its route is
 * cached, and makes the response. Takes text, on failure too; NULL: out of memory. */
struct MHD_Response *rb_cache_keep(struct rb_request *r, char *text, size_t bytes);

#endif
