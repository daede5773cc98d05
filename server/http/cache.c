#include "server/http/cache.h"
#include "server/http/router.h"

#include "server/http/internal.h"

#include "server/store/store.h"
#include "server/work/work.h"

#include <microhttpd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX_BYTES = 700, HEADERS_MAX = 8 };

/* A body, and how many hold it: its slot, and each response under way. */
struct rb_cache_body {
    unsigned holders;
    size_t bytes;
    char *text;
};

struct rb_cache_slot {
    char *key; /* NULL: empty */
    uint64_t store_changes, pool_items;
    struct rb_cache_body *body;
    struct rb_header headers[HEADERS_MAX];
    size_t header_count;
};

/* ---- bodies ---- */

static void body_drop(void *data)
{
    struct rb_cache_body *b = data;
    if (--b->holders > 0)
        return;
    free(b->text);
    free(b);
}

/* Takes text. */
static struct rb_cache_body *body_new(char *text, size_t bytes)
{
    struct rb_cache_body *b = malloc(sizeof *b);
    if (b == NULL) {
        free(text);
        return NULL;
    }
    *b = (struct rb_cache_body){.holders = 1, .bytes = bytes, .text = text};
    return b;
}

static struct MHD_Response *respond(struct rb_cache_body *b)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback_cls(b->bytes, b->text, body_drop, b);
    if (response != NULL)
        b->holders++;
    return response;
}

/* ---- slots ---- */

static void empty(struct rb_cache_slot *slot)
{
    if (slot->key == NULL)
        return;
    for (size_t i = 0; i < slot->header_count; i++)
        free(slot->headers[i].value);
    body_drop(slot->body);
    free(slot->key);
    *slot = (struct rb_cache_slot){.key = NULL};
}

struct rb_cache_slot *rb_cache_new(void)
{
    return calloc(RB_CACHE_SLOTS, sizeof(struct rb_cache_slot));
}

void rb_cache_free(struct rb_cache_slot *slots)
{
    for (size_t i = 0; slots != NULL && i < RB_CACHE_SLOTS; i++)
        empty(&slots[i]);
    free(slots);
}

static bool write_key(const struct rb_request *r, char key[KEY_MAX_BYTES])
{
    const char *accept = rb_request_header(r, MHD_HTTP_HEADER_ACCEPT);
    int n = snprintf(key, KEY_MAX_BYTES, "%s\n%s", r->line != NULL ? r->line : "",
                     accept != NULL ? accept : "");
    return r->line != NULL && strlen(r->line) < RB_REQUEST_LINE_LOGGED && n > 0 &&
           n < KEY_MAX_BYTES;
}

static struct rb_cache_slot *slot_of(struct rb_cache_slot *slots, const char *key)
{
    static const unsigned char no_secret[crypto_shorthash_KEYBYTES];
    unsigned char hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, (const unsigned char *)key, strlen(key), no_secret);
    return &slots[hash[0] % RB_CACHE_SLOTS];
}

static bool is_cached(const struct rb_request *r)
{
    /* ?mine depends on who asks. */
    return r->route->cached && r->http->cache != NULL && rb_request_header(r, "Prefer") == NULL &&
           !rb_query_flag(&r->target, "mine");
}

bool rb_cache_find(const struct rb_request *r, struct rb_cached *ret)
{
    char key[KEY_MAX_BYTES];
    if (!is_cached(r) || !write_key(r, key))
        return false;
    const struct rb_cache_slot *slot = slot_of(r->http->cache, key);
    if (slot->key == NULL || strcmp(slot->key, key) != 0 ||
        slot->store_changes != rb_store_generation(r->http->server->store) ||
        slot->pool_items != rb_pool_items(r->http->work->pool))
        return false;
    *ret = (struct rb_cached){slot->headers, slot->header_count, slot->body->bytes, slot->body};
    return true;
}

struct MHD_Response *rb_cache_response(const struct rb_cached *c)
{
    return respond(c->body_);
}

static bool copy_headers(struct rb_cache_slot *slot, const struct rb_request *r)
{
    if (r->header_count > HEADERS_MAX)
        return false;
    for (size_t i = 0; i < r->header_count; i++) {
        slot->headers[i] = (struct rb_header){.name = r->headers[i].name};
        slot->headers[i].value = strdup(r->headers[i].value);
        slot->header_count = i + 1;
        if (slot->headers[i].value == NULL)
            return false;
    }
    return true;
}

static void keep(struct rb_request *r, const char *key, struct rb_cache_body *b)
{
    struct rb_cache_slot *slot = slot_of(r->http->cache, key);
    empty(slot);
    slot->key = strdup(key);
    if (slot->key == NULL)
        return;
    slot->body = b;
    b->holders++;
    slot->store_changes = rb_store_generation(r->http->server->store);
    slot->pool_items = rb_pool_items(r->http->work->pool);
    if (!copy_headers(slot, r))
        empty(slot);
}

struct MHD_Response *rb_cache_keep(struct rb_request *r, char *text, size_t bytes)
{
    char key[KEY_MAX_BYTES];
    struct rb_cache_body *b = body_new(text, bytes);
    if (b == NULL)
        return NULL;
    if (is_cached(r) && bytes <= RB_CACHE_BODY_BYTES && write_key(r, key))
        keep(r, key, b);
    struct MHD_Response *response = respond(b);
    body_drop(b);
    return response;
}
