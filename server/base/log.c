/* DESIGN. A line is put together in a buffer on the caller's stack and leaves in one write(2); the
 * kernel keeps writes of that size to a pipe or file apart, so no lock is needed. What does not fit
 * is cut, but the line always ends as its form demands. */
#include "server/base/log.h"

#include "api/time.h"
#include "server/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of one width, so that columns line up. */
static const char *const level_words[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
const char *const rb_log_level_names[] = {"debug", "info", "warn", "error", NULL};
const char *const rb_log_format_names[] = {"text", "json", NULL};

static atomic_int log_format = RB_LOG_TEXT, log_least = RB_LOG_INFO, log_fd = STDERR_FILENO;

void rb_log_init(enum rb_log_format format, enum rb_log_level least, int fd)
{
    log_format = (int)format;
    log_least = (int)least;
    log_fd = fd;
}

bool rb_log_enabled(enum rb_log_level level)
{
    return (int)level >= atomic_load_explicit(&log_least, memory_order_relaxed);
}

struct line {
    bool json, full;
    size_t used;
    char text[RB_LOG_LINE_MAX];
};

/* Strings stop at CONTENT_END, fields begin only before FIELDS_END; so keys, numbers, closing
 * quotes, brace and newline always fit, and a JSON line is valid however much was cut. */
enum { CONTENT_END = RB_LOG_LINE_MAX - 8, FIELDS_END = RB_LOG_LINE_MAX - 128 };

static void put(struct line *l, const char *bytes, size_t count)
{
    assert(count <= sizeof l->text - l->used);
    memcpy(l->text + l->used, bytes, count);
    l->used += count;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* One character of a string, whole or, with all that follow it, not at all. */
static void put_character(struct line *l, const char *bytes, size_t count)
{
    l->full = l->full || count > CONTENT_END - l->used;
    if (!l->full)
        put(l, bytes, count);
}

/* Bytes of the UTF-8 character at s, 0 if it is not one (RFC 3629: shortest form, no surrogates).
 */
static size_t utf8_length(const unsigned char *s)
{
    size_t n = s[0] < 0x80   ? 1
               : s[0] < 0xc2 ? 0
               : s[0] < 0xe0 ? 2
               : s[0] < 0xf0 ? 3
               : s[0] < 0xf5 ? 4
                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    return overlong || beyond ? 0 : n;
}

static void put_escape(struct line *l, unsigned char byte, bool valid)
{
    char out[8];
    int n;
    if (!valid)
        n = snprintf(out, sizeof out, "\xef\xbf\xbd"); /* U+FFFD */
    else if (byte == '"' || byte == '\\')
        n = snprintf(out, sizeof out, "\\%c", byte);
    else
        n = snprintf(out, sizeof out, "\\u%04x", byte);
    put_character(l, out, (size_t)n);
}

static void put_escaped(struct line *l, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        size_t n = utf8_length(s);
        /* U+0080 to U+009F too are control characters to a terminal. */
        bool control = s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && n == 2 && s[1] < 0xa0);
        if (n == 0 || control || s[0] == '"' || s[0] == '\\')
            put_escape(l, s[0] == 0xc2 && control ? s[1] : s[0], n > 0);
        else
            put_character(l, (const char *)s, n);
        s += n > 0 ? n : 1;
    }
}

static void put_string(struct line *l, const char *text)
{
    put_text(l, "\"");
    put_escaped(l, text);
    put_text(l, "\"");
}

/* Plain words stand without quotes in the text form. */
static bool is_plain(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text >= 0x7f || strchr("\"\\=", *text) != NULL)
            return false;
    return true;
}

static void put_value(struct line *l, const struct rb_log_field *f)
{
    char number[40];
    switch (f->type) {
    case RB_LOG_FIELD_STRING:
        if (!l->json && is_plain(f->string))
            put_text(l, f->string);
        else
            put_string(l, f->string);
        return;
    case RB_LOG_FIELD_INT:
        (void)snprintf(number, sizeof number, "%" PRId64, f->integer);
        break;
    case RB_LOG_FIELD_UINT:
        (void)snprintf(number, sizeof number, "%" PRIu64, f->natural);
        break;
    case RB_LOG_FIELD_DOUBLE:
        if (isfinite(f->number))
            (void)snprintf(number, sizeof number, "%.6g", f->number);
        else
            (void)snprintf(number, sizeof number, "null");
        break;
    case RB_LOG_FIELD_BOOL:
        (void)snprintf(number, sizeof number, "%s", f->boolean ? "true" : "false");
        break;
    }
    put_text(l, number);
}

static void put_field(struct line *l, const struct rb_log_field *f)
{
    if (f->type == RB_LOG_FIELD_STRING && f->string == NULL)
        return;
    if (l->used > FIELDS_END)
        return;
    put_text(l, l->json ? ",\"" : " ");
    put_text(l, f->key);
    put_text(l, l->json ? "\":" : "=");
    put_value(l, f);
}

static void put_head(struct line *l, enum rb_log_level level, const char *message)
{
    char now[RB_TIME_SIZE];
    rb_time_format(rb_clock_realtime_ms(), now);
    put_text(l, l->json ? "{\"time\":\"" : "");
    put_text(l, now);
    put_text(l, l->json ? "\",\"level\":\"" : " ");
    put_text(l, l->json ? rb_log_level_names[level] : level_words[level]);
    put_text(l, l->json ? "\",\"message\":" : " ");
    if (l->json)
        put_string(l, message);
    else
        put_escaped(l, message);
}

void rb_log_write(enum rb_log_level level, const char *message, const struct rb_log_field *fields)
{
    if (!rb_log_enabled(level))
        return;
    int kept_errno = errno;
    struct line l;
    l.json = atomic_load_explicit(&log_format, memory_order_relaxed) == RB_LOG_JSON;
    l.full = false;
    l.used = 0;
    put_head(&l, level, message);
    for (; fields->key != NULL; fields++)
        put_field(&l, fields);
    if (l.json)
        l.text[l.used++] = '}';
    l.text[l.used++] = '\n';
    ssize_t n = write(atomic_load_explicit(&log_fd, memory_order_relaxed), l.text, l.used);
    (void)n; /* nowhere to say that the log cannot be written */
    errno = kept_errno;
}
