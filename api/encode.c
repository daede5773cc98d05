#include "api/encode.h"

#include "api/time.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rb_json_init(struct rb_json *w)
{
    *w = (struct rb_json){0};
}

void rb_json_deinit(struct rb_json *w)
{
    free(w->text);
    rb_json_init(w);
}

/* ---- the buffer ---- */

static bool reserve(struct rb_json *w, size_t more)
{
    if (w->failed)
        return false;
    if (w->capacity - w->bytes > more)
        return true;
    size_t capacity = w->capacity > 0 ? w->capacity : 512;
    while (capacity - w->bytes <= more) {
        if (__builtin_mul_overflow(capacity, 2, &capacity)) {
            w->failed = true;
            return false;
        }
    }
    char *text = realloc(w->text, capacity);
    if (text == NULL) {
        w->failed = true;
        return false;
    }
    w->text = text;
    w->capacity = capacity;
    return true;
}

static void put(struct rb_json *w, const char *text, size_t bytes)
{
    if (!reserve(w, bytes))
        return;
    memcpy(w->text + w->bytes, text, bytes);
    w->bytes += bytes;
}

enum rb_status rb_json_finish(struct rb_json *w, char **ret, size_t *ret_bytes,
                              struct rb_error *err)
{
    assert(w->depth == 0);
    if (!reserve(w, 0)) {
        rb_json_deinit(w);
        return rb_error_set(err, RB_ENOMEM, "not enough memory to write an answer");
    }
    w->text[w->bytes] = '\0';
    *ret = w->text;
    if (ret_bytes != NULL)
        *ret_bytes = w->bytes;
    rb_json_init(w);
    return RB_OK;
}

/* ---- strings ---- */

/* Length of the well-formed UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates), 0 if
 * it is not one. s ends in NUL, which is no continuation byte, so nothing is read beyond it. */
static size_t utf8_span(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    unsigned char low = 0x80, high = 0xbf;
    size_t n = 0;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        n = 2;
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        n = 3;
        low = s[0] == 0xe0 ? 0xa0 : low;
        high = s[0] == 0xed ? 0x9f : high;
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        n = 4;
        low = s[0] == 0xf0 ? 0x90 : low;
        high = s[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

static void put_escape(struct rb_json *w, unsigned char c)
{
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof letters; i += 2) {
        if ((unsigned char)letters[i] == c) {
            put(w, (const char[]){'\\', letters[i + 1]}, 2);
            return;
        }
    }
    char code[8];
    (void)snprintf(code, sizeof code, "\\u%04x", c);
    put(w, code, 6);
}

static void put_quoted(struct rb_json *w, const char *value)
{
    put(w, "\"", 1);
    const unsigned char *s = (const unsigned char *)value;
    const unsigned char *plain = s; /* start of what can be copied as it is */
    while (*s != '\0') {
        size_t n = utf8_span(s);
        if (n > 0 && *s >= 0x20 && *s != '"' && *s != '\\') {
            s += n;
            continue;
        }
        put(w, (const char *)plain, (size_t)(s - plain));
        if (n == 0)
            put(w, "\xef\xbf\xbd", 3);
        else
            put_escape(w, *s);
        plain = ++s;
    }
    put(w, (const char *)plain, (size_t)(s - plain));
    put(w, "\"", 1);
}

/* ---- values ---- */

static void begin_value(struct rb_json *w, const char *key)
{
    assert((key != NULL) == (w->depth > 0 && w->closers[w->depth - 1] == '}'));
    if (w->comma)
        put(w, ",", 1);
    if (key != NULL) {
        put_quoted(w, key);
        put(w, ":", 1);
    }
    w->comma = true;
}

static void put_value(struct rb_json *w, const char *key, const char *text, size_t bytes)
{
    begin_value(w, key);
    put(w, text, bytes);
}

static void begin_level(struct rb_json *w, const char *key, char opener, char closer)
{
    assert(w->depth < sizeof w->closers);
    put_value(w, key, &opener, 1);
    w->closers[w->depth++] = closer;
    w->comma = false;
}

void rb_json_object(struct rb_json *w, const char *key)
{
    begin_level(w, key, '{', '}');
}

void rb_json_array(struct rb_json *w, const char *key)
{
    begin_level(w, key, '[', ']');
}

void rb_json_end(struct rb_json *w)
{
    assert(w->depth > 0);
    put(w, &w->closers[--w->depth], 1);
    w->comma = w->depth > 0;
}

void rb_json_null(struct rb_json *w, const char *key)
{
    put_value(w, key, "null", 4);
}

void rb_json_bool(struct rb_json *w, const char *key, bool value)
{
    put_value(w, key, value ? "true" : "false", value ? 4 : 5);
}

void rb_json_int(struct rb_json *w, const char *key, int64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRId64, value);
    put_value(w, key, text, (size_t)n);
}

void rb_json_uint(struct rb_json *w, const char *key, uint64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRIu64, value);
    put_value(w, key, text, (size_t)n);
}

/* 15 digits always survive a double, 17 always bring it back; the fewest that do is what a person
 * would have written. Relies on LC_NUMERIC "C": rebasind never calls setlocale. */
size_t rb_number_format(double value, char buffer[RB_NUMBER_SIZE])
{
    if (!isfinite(value))
        return (size_t)snprintf(buffer, RB_NUMBER_SIZE, "null");
    value += 0.0; /* no "-0" */
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(buffer, RB_NUMBER_SIZE, "%.*g", digits, value);
        if (strtod(buffer, NULL) == value)
            break;
    }
    return (size_t)n;
}

void rb_json_number(struct rb_json *w, const char *key, double value)
{
    char text[RB_NUMBER_SIZE];
    size_t n = rb_number_format(value, text);
    put_value(w, key, text, n);
}

void rb_json_float(struct rb_json *w, const char *key, float value)
{
    if (!isfinite(value)) {
        rb_json_null(w, key);
        return;
    }
    char text[RB_NUMBER_SIZE];
    int n = 0;
    for (int digits = 6; digits <= 9; digits++) {
        n = snprintf(text, sizeof text, "%.*g", digits, (double)(value + 0.0f));
        if (strtof(text, NULL) == value)
            break;
    }
    put_value(w, key, text, (size_t)n);
}

void rb_json_string(struct rb_json *w, const char *key, const char *value)
{
    if (value == NULL) {
        rb_json_null(w, key);
        return;
    }
    begin_value(w, key);
    put_quoted(w, value);
}

void rb_json_text_or_null(struct rb_json *w, const char *key, const char *value)
{
    rb_json_string(w, key, value != NULL && value[0] != '\0' ? value : NULL);
}

void rb_json_time(struct rb_json *w, const char *key, int64_t unix_ms)
{
    char text[RB_TIME_SIZE];
    rb_json_string(w, key, unix_ms < 0 ? NULL : rb_time_format(unix_ms, text));
}

void rb_json_raw(struct rb_json *w, const char *key, const char *value)
{
    if (value == NULL)
        rb_json_null(w, key);
    else
        put_value(w, key, value, strlen(value));
}
