#include "server/http/head.h"

#include "server/http/text.h"

#include <string.h>
#include <strings.h>

/* ---- lines ---- */

struct line {
    const char *text;
    size_t length; /* without its end */
};

/* Cuts a line off *at; false if its end lies beyond `end`. */
static bool next_line(const char **at, const char *end, struct line *ret)
{
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    if (newline == NULL)
        return false;
    size_t n = (size_t)(newline - *at);
    if (n > 0 && (*at)[n - 1] == '\r')
        n--;
    *ret = (struct line){*at, n};
    *at = newline + 1;
    return true;
}

static void printable(const char *from, size_t n, char *to, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < n && used + 1 < size; i++)
        to[used++] = from[i] > ' ' && from[i] < 0x7F ? from[i] : '?';
    to[used] = '\0';
    if (used == 0)
        memcpy(to, "?", 2);
}

/* ---- the request line ---- */

/* What a target may consist of; libmicrohttpd would take a blank for the version's beginning. */
static bool is_target(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7F)
            return false;
    return n > 0;
}

static bool is_method(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!rb_text_token_character(text[i]))
            return false;
    return n > 0 && n < sizeof((struct rb_request_head *)NULL)->method;
}

static enum rb_status check_request_line(struct line l, struct rb_request_head *ret,
                                         const char **version, struct rb_error *err)
{
    const char *end = l.text + l.length;
    const char *blank = memchr(l.text, ' ', l.length);
    printable(l.text, blank != NULL ? (size_t)(blank - l.text) : l.length, ret->method,
              sizeof ret->method);
    const char *target = blank != NULL ? blank + 1 : end;
    const char *last = memrchr(target, ' ', (size_t)(end - target));
    printable(target, (size_t)((last != NULL ? last : end) - target), ret->target,
              sizeof ret->target);
    if (blank == NULL || last == NULL || !is_method(l.text, (size_t)(blank - l.text)) ||
        !is_target(target, (size_t)(last - target)))
        return rb_error_set(err, RB_EHEADER,
                            "the request line is not a method, a target and a version with one "
                            "blank between each");
    *version = last + 1;
    size_t n = (size_t)(end - *version);
    if (n != 8 || (memcmp(*version, "HTTP/1.1", 8) != 0 && memcmp(*version, "HTTP/1.0", 8) != 0))
        return rb_error_set(err, RB_EHEADER,
                            "the request line ends with no version that is served "
                            "here: expected HTTP/1.1");
    return RB_OK;
}

/* ---- header lines ---- */

struct fields {
    unsigned lines, lengths, encodings;
    size_t cookies, cookie_bytes;
    struct line length, encoding;
};

static size_t name_length(struct line l)
{
    size_t n = 0;
    while (n < l.length && rb_text_token_character(l.text[n]))
        n++;
    return n;
}

static bool name_is(struct line l, size_t n, const char *name)
{
    return n == strlen(name) && strncasecmp(l.text, name, n) == 0;
}

static struct line value_of(struct line l, size_t name)
{
    const char *at = l.text + name + 1, *end = l.text + l.length;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct line){at, (size_t)(end - at)};
}

static bool is_value(struct line v)
{
    for (size_t i = 0; i < v.length; i++) {
        unsigned char c = (unsigned char)v.text[i];
        if ((c < ' ' && c != '\t') || c == 0x7F)
            return false;
    }
    return true;
}

static size_t count_byte(const char *text, size_t n, char c)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += text[i] == c;
    return count;
}

static enum rb_status check_field(struct line l, struct fields *f, struct rb_error *err)
{
    size_t n = name_length(l);
    char shown[48];
    if (l.text[0] == ' ' || l.text[0] == '\t')
        return rb_error_set(err, RB_EHEADER,
                            "header line %u begins with a blank: values are "
                            "taken on one line only",
                            f->lines + 1);
    printable(l.text, l.length, shown, sizeof shown);
    if (n == 0 || n == l.length || l.text[n] != ':')
        return rb_error_set(err, RB_EHEADER,
                            "header line %u is no name, a colon and a value: found '%s'",
                            f->lines + 1, shown);
    struct line v = value_of(l, n);
    bool blank_behind = v.text + v.length < l.text + l.length;
    printable(l.text, n, shown, sizeof shown);
    if (!is_value(v))
        return rb_error_at(err, RB_EHEADER, shown, "the value of %s has a control character in it",
                           shown);
    f->lines++;
    /* libmicrohttpd takes it for part of the value, and answers by itself. */
    if (blank_behind && (name_is(l, n, "Content-Length") || name_is(l, n, "Transfer-Encoding")))
        return rb_error_at(err, RB_EHEADER, shown, "the value of %s has a blank behind it", shown);
    if (name_is(l, n, "Content-Length")) {
        f->lengths++;
        f->length = v;
    } else if (name_is(l, n, "Transfer-Encoding")) {
        f->encodings++;
        f->encoding = v;
    } else if (name_is(l, n, "Cookie")) {
        f->cookies += 1 + count_byte(v.text, v.length, ';') + count_byte(v.text, v.length, ',');
        f->cookie_bytes += v.length;
    }
    return RB_OK;
}

/* ---- where the message ends ---- */

static bool parse_length(struct line v, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < v.length; i++) {
        if (v.text[i] < '0' || v.text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(v.text[i] - '0');
        if (value > RB_BODY_MAX_BYTES)
            return false;
    }
    *ret = value;
    return v.length > 0;
}

/* Messages whose end two servers could see in different places are refused (RFC 9112, 6.3 and
 * 11.2). */
static enum rb_status check_framing(const struct fields *f, const char *version,
                                    struct rb_request_head *ret, struct rb_error *err)
{
    static const char chunked[] = "chunked";
    ret->chunked = false;
    ret->content_length = 0;
    if (f->lengths > 1 || f->encodings > 1 || f->lengths + f->encodings > 1)
        return rb_error_at(err, RB_EHEADER, "Content-Length",
                           "Content-Length and Transfer-Encoding may stand once, and only one of "
                           "them");
    if (f->lengths > 0 && !parse_length(f->length, &ret->content_length))
        return rb_error_at(err, RB_EHEADER, "Content-Length",
                           "expected a decimal number of bytes, at most 2^62");
    if (f->encodings == 0)
        return RB_OK;
    if (f->encoding.length != sizeof chunked - 1 ||
        strncasecmp(f->encoding.text, chunked, sizeof chunked - 1) != 0)
        return rb_error_at(err, RB_EHEADER, "Transfer-Encoding", "expected chunked");
    if (memcmp(version, "HTTP/1.0", 8) == 0)
        return rb_error_at(err, RB_EHEADER, "Transfer-Encoding", "HTTP/1.0 does not know it");
    ret->chunked = true;
    return RB_OK;
}

static enum rb_status check_sizes(const struct fields *f, const struct line *first, size_t bytes,
                                  struct rb_error *err)
{
    size_t items = f->lines + f->cookies + count_byte(first->text, first->length, '&');
    if (bytes > RB_HEAD_MAX_BYTES)
        return rb_error_set(err, RB_EHEADERSIZE, "the request's head has more than %d bytes",
                            RB_HEAD_MAX_BYTES);
    if (f->lines > RB_HEAD_MAX_LINES)
        return rb_error_set(err, RB_EHEADERSIZE, "the request has more than %d headers",
                            RB_HEAD_MAX_LINES);
    if (f->cookie_bytes > RB_HEAD_MAX_COOKIE_BYTES)
        return rb_error_set(err, RB_EHEADERSIZE, "the request's cookies have more than %d bytes",
                            RB_HEAD_MAX_COOKIE_BYTES);
    if (items > RB_HEAD_MAX_ITEMS)
        return rb_error_set(err, RB_EHEADERSIZE,
                            "the request has more than %d headers, cookies and query parameters",
                            RB_HEAD_MAX_ITEMS);
    return RB_OK;
}

/* ---- all of it ---- */

static enum rb_scan verdict(enum rb_status s)
{
    return s == RB_OK ? RB_SCAN_WHOLE : RB_SCAN_BAD;
}

/* No end in sight: is there hope? */
static enum rb_scan wait_for_more(size_t n, size_t max, bool in_first_line, struct rb_error *err)
{
    if (n <= max)
        return RB_SCAN_PARTIAL;
    if (in_first_line)
        (void)rb_error_set(err, RB_EURITOOLONG, "the request line has more than %zu bytes", max);
    else
        (void)rb_error_set(err, RB_EHEADERSIZE, "the request's head has more than %zu bytes", max);
    return RB_SCAN_BAD;
}

enum rb_scan rb_request_head_scan(const char *bytes, size_t n, struct rb_request_head *ret,
                                  struct rb_error *err)
{
    const char *at = bytes, *end = bytes + n, *version = NULL;
    struct line first = {0}, l;
    struct fields f = {0};
    enum rb_status s = RB_OK;
    *ret = (struct rb_request_head){.method = "?", .target = "?"};
    do {
        if (!next_line(&at, end, &first))
            return wait_for_more(n, RB_HEAD_MAX_BYTES, true, err);
    } while (first.length == 0 && at - bytes < 16); /* some clients send a line too many */
    s = first.length <= RB_HEAD_MAX_BYTES
            ? check_request_line(first, ret, &version, err)
            : rb_error_set(err, RB_EURITOOLONG, "the request line has more than %d bytes",
                           RB_HEAD_MAX_BYTES);
    while (s == RB_OK) {
        if (!next_line(&at, end, &l))
            return f.lines > RB_HEAD_MAX_LINES ? verdict(check_sizes(&f, &first, n, err))
                                               : wait_for_more(n, RB_HEAD_MAX_BYTES, false, err);
        if (l.length == 0)
            break;
        s = check_field(l, &f, err);
    }
    ret->bytes = (size_t)(at - bytes);
    if (s == RB_OK)
        s = check_sizes(&f, &first, ret->bytes, err);
    if (s == RB_OK)
        s = check_framing(&f, version, ret, err);
    return verdict(s);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

enum rb_scan rb_chunk_scan(const char *bytes, size_t n, size_t *ret_line, uint64_t *ret_size,
                           struct rb_error *err)
{
    const char *at = bytes;
    struct line l;
    uint64_t size = 0;
    size_t i = 0;
    bool ended = next_line(&at, bytes + n, &l);
    if (!ended && n <= RB_CHUNK_LINE_MAX_BYTES)
        return RB_SCAN_PARTIAL;
    /* CRLF only: what a bare LF ends here another server may read on. */
    bool good =
        ended && at - bytes <= RB_CHUNK_LINE_MAX_BYTES && at - l.text == (ptrdiff_t)l.length + 2;
    for (; good && i < l.length && hex_digit(l.text[i]) >= 0; i++) {
        size = size * 16 + (uint64_t)hex_digit(l.text[i]);
        good = size <= RB_BODY_MAX_BYTES;
    }
    good = good && i > 0 && (i == l.length || l.text[i] == ';') &&
           is_value((struct line){l.text + i, l.length - i});
    if (!good)
        return verdict(rb_error_at(err, RB_EHEADER, "Transfer-Encoding",
                                   "a chunk does not begin with its size in hexadecimal digits"));
    *ret_line = (size_t)(at - bytes);
    *ret_size = size;
    return RB_SCAN_WHOLE;
}

enum rb_scan rb_trailers_scan(const char *bytes, size_t n, size_t *ret_bytes, struct rb_error *err)
{
    const char *at = bytes;
    struct fields f = {0};
    struct line l;
    for (;;) {
        if (!next_line(&at, bytes + n, &l))
            return wait_for_more(n, RB_TRAILERS_MAX_BYTES, false, err);
        if (l.length == 0)
            break;
        if (check_field(l, &f, err) != RB_OK)
            return RB_SCAN_BAD;
    }
    *ret_bytes = (size_t)(at - bytes);
    return *ret_bytes > RB_TRAILERS_MAX_BYTES || f.lines > RB_HEAD_MAX_LINES
               ? wait_for_more(SIZE_MAX, RB_TRAILERS_MAX_BYTES, false, err)
               : RB_SCAN_WHOLE;
}
