#include "api/page.h"

#include <stdlib.h>
#include <string.h>

/* A token's bytes: check (4), number (8, big-endian), text without its NUL. */
enum { CHECK_BYTES = 4, NUMBER_BYTES = 8, HEAD_BYTES = CHECK_BYTES + NUMBER_BYTES };
enum { RAW_MAX = HEAD_BYTES + RB_PAGE_TEXT_SIZE - 1 };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* FNV-1a. Tokens are guarded against mistakes, not against forgery: whoever forges one sees what
 * he could have seen by asking. */
static uint32_t fnv(uint32_t hash, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ p[i]) * 16777619U;
    return hash;
}

static uint32_t check_of(const char *scope, const unsigned char *raw, size_t bytes)
{
    uint32_t hash = fnv(2166136261U, scope, strlen(scope) + 1);
    return fnv(hash, raw + CHECK_BYTES, bytes - CHECK_BYTES);
}

static void put_big_endian(unsigned char *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
}

static uint64_t big_endian(const unsigned char *in, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | in[i];
    return value;
}

static void base64url(const unsigned char *raw, size_t bytes, char *out)
{
    for (size_t i = 0; i < bytes; i += 3) {
        uint32_t group = (uint32_t)raw[i] << 16;
        group |= i + 1 < bytes ? (uint32_t)raw[i + 1] << 8 : 0;
        group |= i + 2 < bytes ? (uint32_t)raw[i + 2] : 0;
        size_t chars = bytes - i >= 3 ? 4 : bytes - i + 1;
        for (size_t c = 0; c < chars; c++)
            *out++ = alphabet[group >> (18 - 6 * c) & 63];
    }
    *out = '\0';
}

/* Bytes written to raw (RAW_MAX), 0 if text is not the base64url of 1 to RAW_MAX bytes. */
static size_t base64url_decode(const char *text, unsigned char *raw)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t bytes = 0;
    for (; *text != '\0'; text++) {
        const char *digit = strchr(alphabet, *text);
        if (digit == NULL)
            return 0;
        bits = bits << 6 | (uint32_t)(digit - alphabet);
        held += 6;
        if (held >= 8) {
            if (bytes == RAW_MAX)
                return 0;
            held -= 8;
            raw[bytes++] = (unsigned char)(bits >> held);
        }
    }
    return bytes;
}

char *rb_page_token_encode(const char *scope, const struct rb_page_position *position,
                           char token[RB_PAGE_TOKEN_SIZE])
{
    unsigned char raw[RAW_MAX];
    size_t text_bytes = strnlen(position->text, RB_PAGE_TEXT_SIZE - 1);
    put_big_endian(raw + CHECK_BYTES, (uint64_t)position->number, NUMBER_BYTES);
    memcpy(raw + HEAD_BYTES, position->text, text_bytes);
    put_big_endian(raw, check_of(scope, raw, HEAD_BYTES + text_bytes), CHECK_BYTES);
    base64url(raw, HEAD_BYTES + text_bytes, token);
    return token;
}

enum rb_status rb_page_token_decode(const char *scope, const char *token,
                                    struct rb_page_position *ret, struct rb_error *err)
{
    unsigned char raw[RAW_MAX];
    size_t bytes = base64url_decode(token, raw);
    char canonical[RB_PAGE_TOKEN_SIZE] = "";
    bool whole = bytes >= HEAD_BYTES &&
                 memchr(raw + HEAD_BYTES, '\0', bytes - HEAD_BYTES) == NULL &&
                 big_endian(raw, CHECK_BYTES) == check_of(scope, raw, bytes);
    if (whole)
        base64url(raw, bytes, canonical);
    if (!whole || strcmp(token, canonical) != 0)
        return rb_error_at(err, RB_EQUERY, "page_token",
                           "expected the next_page_token of a list with the same filters and the "
                           "same sort, found another text");
    struct rb_page_position position = {
        .number = (int64_t)big_endian(raw + CHECK_BYTES, NUMBER_BYTES),
    };
    memcpy(position.text, raw + HEAD_BYTES, bytes - HEAD_BYTES);
    *ret = position;
    return RB_OK;
}

enum rb_status rb_page_limit_decode(const char *text, uint32_t *ret, struct rb_error *err)
{
    if (text == NULL) {
        *ret = RB_PAGE_DEFAULT;
        return RB_OK;
    }
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits] != '\0' || strspn(text, "0") == digits)
        return rb_error_at(err, RB_EQUERY, "limit",
                           "expected a whole number from 1 to %d, found \"%.40s\"", RB_PAGE_MAX,
                           text);
    unsigned long long value = strtoull(text, NULL, 10); /* saturates */
    *ret = value > RB_PAGE_MAX ? RB_PAGE_MAX : (uint32_t)value;
    return RB_OK;
}

void rb_page_begin(struct rb_json *w)
{
    rb_json_object(w, NULL);
    rb_json_array(w, "data");
}

void rb_page_end(struct rb_json *w, const char *next_page_token)
{
    rb_json_end(w);
    if (next_page_token != NULL)
        rb_json_string(w, "next_page_token", next_page_token);
    rb_json_end(w);
}
