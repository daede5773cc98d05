#include "server/http/headers.h"

#include "server/http/text.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- a cursor over a field value ---- */

static const char *skip_blanks(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

static const char *skip_token(const char *p)
{
    while (rb_text_token_character(*p))
        p++;
    return p;
}

/* The end of the element that begins at p: the next comma outside quotes, or the end. */
static const char *element_end(const char *p, char separator)
{
    bool quoted = false;
    for (; *p != '\0' && (quoted || *p != separator); p++) {
        if (quoted && *p == '\\' && p[1] != '\0')
            p++;
        else if (*p == '"')
            quoted = !quoted;
    }
    return p;
}

static bool same(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(end - p) == n && strncasecmp(p, word, n) == 0;
}

/* ---- Range ---- */

static const char *number(const char *p, uint64_t *ret, bool *ret_some)
{
    uint64_t value = 0;
    *ret_some = false;
    for (; *p >= '0' && *p <= '9'; p++) {
        *ret_some = true;
        /* A number beyond 2^64 lies beyond every file as well: it stays at the largest. */
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            value = UINT64_MAX / 16;
    }
    *ret = value;
    return p;
}

struct rb_range rb_range_parse(const char *value, uint64_t size)
{
    const struct rb_range whole = {.kind = RB_RANGE_WHOLE};
    const struct rb_range none = {.kind = RB_RANGE_UNSATISFIABLE};
    if (value == NULL || strncasecmp(value, "bytes", 5) != 0)
        return whole;
    const char *p = skip_blanks(value + 5);
    if (*p != '=')
        return whole;
    uint64_t first, last;
    bool has_first, has_last;
    p = number(skip_blanks(p + 1), &first, &has_first);
    if (*p != '-')
        return whole;
    p = skip_blanks(number(p + 1, &last, &has_last));
    if (*p != '\0' || (!has_first && !has_last) || (has_first && has_last && last < first))
        return whole;
    if (!has_first) { /* the last N bytes */
        if (last == 0 || size == 0)
            return none;
        uint64_t from = last >= size ? 0 : size - last;
        return (struct rb_range){.kind = RB_RANGE_PART, .first = from, .last = size - 1};
    }
    if (first >= size)
        return none;
    if (!has_last || last >= size)
        last = size - 1;
    return (struct rb_range){.kind = RB_RANGE_PART, .first = first, .last = last};
}

/* ---- entity tags ---- */

bool rb_etag_listed(const char *value, const char *etag, bool weak)
{
    if (value == NULL)
        return false;
    const char *p = skip_blanks(value);
    if (p[0] == '*' && *skip_blanks(p + 1) == '\0')
        return true;
    size_t n = strlen(etag);
    while (*p != '\0') {
        bool is_weak = p[0] == 'W' && p[1] == '/';
        const char *tag = is_weak ? p + 2 : p;
        if (tag[0] != '"')
            return false;
        const char *end = strchr(tag + 1, '"'); /* entity tags know no escapes */
        if (end == NULL)
            return false;
        if ((weak || !is_weak) && (size_t)(end + 1 - tag) == n && memcmp(tag, etag, n) == 0)
            return true;
        p = skip_blanks(end + 1);
        if (*p == ',')
            p = skip_blanks(p + 1);
        else if (*p != '\0')
            return false;
    }
    return false;
}

/* ---- Accept ---- */

/* A weight "0.75" in thousandths; 1000 without one, -1 if malformed. */
static int weight(const char *p, const char *end)
{
    if (p == end || (*p != '0' && *p != '1'))
        return -1;
    int value = (*p++ - '0') * 1000;
    if (p < end && *p == '.') {
        p++;
        for (int scale = 100; p < end && *p >= '0' && *p <= '9' && scale > 0; scale /= 10)
            value += (*p++ - '0') * scale;
    }
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    return p == end && value <= 1000 ? value : -1;
}

struct media_range {
    const char *begin, *slash, *end; /* "text/csv" */
    int weight;                      /* thousandths; -1: malformed, not sent */
};

/* The weight among the parameters from p (";q=0.5", other ones first or after) up to end. */
static int parameters_weight(const char *p, const char *end)
{
    int result = 1000;
    for (p = skip_blanks(p); p < end && *p == ';';) {
        const char *name = skip_blanks(p + 1), *part_end = element_end(name, ';');
        if (part_end > end)
            part_end = end;
        if (strncasecmp(name, "q=", 2) == 0)
            result = weight(name + 2, part_end);
        p = part_end;
    }
    return result;
}

static struct media_range media_range_parse(const char *p, const char *end)
{
    struct media_range m = {.begin = p, .weight = -1};
    m.slash = skip_token(p);
    if (m.slash >= end || *m.slash != '/')
        return m;
    m.end = skip_token(m.slash + 1);
    m.weight = parameters_weight(m.end, end);
    return m;
}

/* How specifically the range names the offer: 0 not at all, 1 by any type, 2 by its first half,
 * 3 exactly. */
static int specificity(const struct media_range *m, const char *offer)
{
    const char *slash = strchr(offer, '/');
    if (same(m->begin, m->end, "*/*"))
        return 1;
    if ((size_t)(m->slash - m->begin) != (size_t)(slash - offer) ||
        strncasecmp(m->begin, offer, (size_t)(slash - offer)) != 0)
        return 0;
    if (same(m->slash + 1, m->end, "*"))
        return 2;
    return same(m->slash + 1, m->end, slash + 1) ? 3 : 0;
}

static int offer_weight(const char *value, const char *offer)
{
    int best = 0, result = 0;
    for (const char *p = skip_blanks(value); *p != '\0';) {
        const char *end = element_end(p, ',');
        struct media_range m = media_range_parse(p, end);
        int how = m.weight >= 0 ? specificity(&m, offer) : 0;
        if (how > best) {
            best = how;
            result = m.weight;
        }
        p = *end == ',' ? skip_blanks(end + 1) : end;
    }
    return result;
}

int rb_accept_choose(const char *value, const char *const *offers, size_t offer_count)
{
    if (value == NULL || *skip_blanks(value) == '\0')
        return 0;
    int best = -1, best_weight = 0;
    for (size_t i = 0; i < offer_count; i++) {
        int w = offer_weight(value, offers[i]);
        if (w > best_weight) {
            best = (int)i;
            best_weight = w;
        }
    }
    return best;
}

/* ---- Accept-Encoding ---- */

bool rb_gzip_accepted(const char *value)
{
    int gzip = -1, any = 0;
    for (const char *p = value == NULL ? "" : skip_blanks(value); *p != '\0';) {
        const char *end = element_end(p, ','), *coding_end = skip_token(p);
        if (same(p, coding_end, "gzip"))
            gzip = parameters_weight(coding_end, end);
        else if (same(p, coding_end, "*"))
            any = parameters_weight(coding_end, end);
        p = *end == ',' ? skip_blanks(end + 1) : end;
    }
    return gzip >= 0 ? gzip > 0 : any > 0;
}

/* ---- Content-Type ---- */

bool rb_content_type_is(const char *value, const char *media_type)
{
    if (value == NULL)
        return false;
    const char *p = skip_blanks(value);
    size_t n = strlen(media_type);
    if (strncasecmp(p, media_type, n) != 0)
        return false;
    p = skip_blanks(p + n);
    if (*p == '\0')
        return true;
    if (*p != ';')
        return false;
    p = skip_blanks(p + 1);
    if (*p == '\0')
        return true;
    if (strncasecmp(p, "charset=", 8) != 0)
        return false;
    p += 8;
    bool quoted = *p == '"';
    p += quoted;
    if (strncasecmp(p, "utf-8", 5) != 0)
        return false;
    p += 5;
    if (quoted && *p++ != '"')
        return false;
    return *skip_blanks(p) == '\0';
}

/* ---- Prefer ---- */

enum rb_status rb_prefer_wait(const char *value, int max_seconds, int *ret, struct rb_error *err)
{
    int wait = -1;
    for (const char *p = value != NULL ? skip_blanks(value) : ""; *p != '\0';) {
        const char *end = element_end(p, ','), *name_end = skip_token(p);
        if (same(p, name_end, "wait") && wait < 0) {
            const char *equals = skip_blanks(name_end);
            uint64_t seconds = 0;
            bool some = false;
            const char *rest = equals;
            bool quoted = false, whole = true;
            if (*equals == '=') {
                rest = skip_blanks(equals + 1);
                quoted = *rest == '"';
                rest = number(rest + quoted, &seconds, &some);
                whole = !quoted || *rest == '"';
                rest = skip_blanks(rest + (quoted && whole));
            }
            if (!some || !whole || (rest != end && *rest != ';') || seconds > (uint64_t)max_seconds)
                return rb_error_at(err, RB_EHEADER, "Prefer",
                                   "Prefer: wait takes 0 to %d seconds, found '%.40s'", max_seconds,
                                   p);
            wait = (int)seconds;
        }
        p = *end == ',' ? skip_blanks(end + 1) : end;
    }
    *ret = wait;
    return RB_OK;
}

/* ---- digests ---- */

/* ":base64:" -> 32 bytes. */
static bool digest_value(const char *p, const char *end, unsigned char digest[32])
{
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t bytes;
    if (end - p < 3 || p[0] != ':' || end[-1] != ':')
        return false;
    return sodium_base642bin(digest, 32, p + 1, (size_t)(end - p) - 2, NULL, &bytes, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           bytes == 32;
}

enum rb_status rb_digest_parse(const char *value, unsigned char digest[32], bool *ret_present,
                               struct rb_error *err)
{
    bool present = false;
    unsigned char found[32];
    if (value == NULL) {
        *ret_present = false;
        return RB_OK;
    }
    for (const char *p = skip_blanks(value); *p != '\0';) {
        const char *end = element_end(p, ','), *name_end = skip_token(p);
        if (name_end == p || *name_end != '=')
            return rb_error_at(err, RB_EHEADER, "Repr-Digest",
                               "expected sha-256=:<base64>:, found '%.80s'", p);
        if (same(p, name_end, "sha-256")) {
            if (!digest_value(name_end + 1, end, found))
                return rb_error_at(err, RB_EHEADER, "Repr-Digest",
                                   "sha-256 takes 32 bytes of base64 between colons, found '%.80s'",
                                   name_end + 1);
            present = true;
        }
        p = *end == ',' ? skip_blanks(end + 1) : end;
    }
    if (!present)
        return rb_error_at(err, RB_EHEADER, "Repr-Digest", "only sha-256 is known, found '%.80s'",
                           value);
    memcpy(digest, found, sizeof found);
    *ret_present = true;
    return RB_OK;
}

char *rb_digest_format(const unsigned char digest[32], char buffer[RB_DIGEST_FIELD_BYTES])
{
    char base64[sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL)];
    sodium_bin2base64(base64, sizeof base64, digest, 32, sodium_base64_VARIANT_ORIGINAL);
    (void)snprintf(buffer, RB_DIGEST_FIELD_BYTES, "sha-256=:%s:", base64);
    return buffer;
}

/* ---- Host, Origin ---- */

static bool port_parse(const char *p, int *ret)
{
    uint64_t port;
    if (!rb_text_uint64(p, 65535, &port))
        return false;
    *ret = (int)port;
    return true;
}

bool rb_host_parse(const char *value, char *host, size_t size, int *ret_port)
{
    bool brackets = value[0] == '[';
    const char *begin = value + brackets;
    const char *end = begin + strcspn(begin, brackets ? "]" : ":");
    size_t n = (size_t)(end - begin);
    if (brackets && *end != ']')
        return false;
    const char *rest = end + brackets;
    int port = -1;
    if (*rest == ':' && !port_parse(rest + 1, &port))
        return false;
    if ((*rest != '\0' && *rest != ':') || n == 0)
        return false;
    if (!brackets && n > 1 && begin[n - 1] == '.')
        n--; /* the root's dot */
    if (n >= size)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = begin[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && strchr(brackets ? ":.%" : ".-_", c) == NULL)
            return false;
        host[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    host[n] = '\0';
    *ret_port = port;
    return true;
}

bool rb_origin_parse(const char *value, char *host, size_t size, int *ret_port)
{
    bool secure = strncasecmp(value, "https://", 8) == 0;
    if (!secure && strncasecmp(value, "http://", 7) != 0)
        return false;
    if (!rb_host_parse(value + (secure ? 8 : 7), host, size, ret_port))
        return false;
    if (*ret_port < 0)
        *ret_port = secure ? 443 : 80;
    return true;
}

/* ---- Authorization ---- */

const char *rb_bearer(const char *value)
{
    if (value == NULL || strncasecmp(value, "Bearer ", 7) != 0)
        return NULL;
    const char *token = skip_blanks(value + 7);
    return rb_text_is_key(token, 256) ? token : NULL;
}
