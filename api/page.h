/* api/page.h: page tokens. A token is where a list was left: the sort key and id of the last row
 * shown, so that pages stay right while rows are added and removed. Opaque to clients: base64url
 * with a checksum, bound to the sort order and filters of the list that made it. */
#ifndef RB_API_PAGE_H
#define RB_API_PAGE_H

#include "api/encode.h"
#include "api/status.h"

#include <stdint.h>

enum {
    RB_PAGE_DEFAULT = 50,
    RB_PAGE_MAX = 500,
    RB_PAGE_TEXT_SIZE = 65,
    RB_PAGE_TOKEN_SIZE = 120,
};

struct rb_page_position {
    int64_t number;               /* the sort key: created_at in ms, priority, an event's id … */
    char text[RB_PAGE_TEXT_SIZE]; /* what breaks ties: a job id, a model's name */
};

/* scope names the list, its order and its filters ("jobs?sort=-created_at&status=failed"): any
 * text that is equal for equal queries. Returns token. */
char *rb_page_token_encode(const char *scope, const struct rb_page_position *position,
                           char token[RB_PAGE_TOKEN_SIZE]);

/* RB_EQUERY at "page_token": damaged, or made by a list with another scope. */
enum rb_status rb_page_token_decode(const char *scope, const char *token,
                                    struct rb_page_position *ret,
                                    struct rb_error *err) RB_MUST_CHECK;

/* ?limit=: NULL gives RB_PAGE_DEFAULT, above RB_PAGE_MAX gives RB_PAGE_MAX (the one place where
 * openapi.yaml clamps); RB_EQUERY at "limit" if it is not a positive integer. */
enum rb_status rb_page_limit_decode(const char *text, uint32_t *ret,
                                    struct rb_error *err) RB_MUST_CHECK;

/* A page around its rows: begin, append each row with key NULL, end. next may be NULL (the end). */
void rb_page_begin(struct rb_json *w);
void rb_page_end(struct rb_json *w, const char *next_page_token);

#endif
