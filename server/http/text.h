/* server/http/text.h: small checks of text that strangers sent. Pure; any thread. */
#ifndef RB_SERVER_HTTP_TEXT_H
#define RB_SERVER_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Valid UTF-8 (no overlong forms, no surrogates) without control characters (below U+0020, U+007F).
 */
bool rb_text_printable(const char *text, size_t bytes);

/* Letters, digits and "-._:~+/=", 1 to max_bytes bytes: what an X-Request-Id or an Idempotency-Key
 * may be made of, so that it can stand in a log line and a header as it is. */
bool rb_text_is_key(const char *text, size_t max_bytes);

/* A token of RFC 9110: what methods and header names are made of. */
bool rb_text_token_character(char c);

/* The whole text is a decimal number without sign, leading '+' or blanks, at most max. */
bool rb_text_uint64(const char *text, uint64_t max, uint64_t *ret);

#endif
