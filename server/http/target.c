#include "server/http/target.h"

#include "server/http/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes [from, end) in place and terminates it; false for a bad escape or for what is not
 * printable UTF-8 afterwards. Room for the NUL must be at end or before it. */
static bool decode(char *from, const char *end, bool plus_is_space)
{
    char *to = from;
    for (const char *p = from; p < end; p++) {
        if (*p == '+' && plus_is_space) {
            *to++ = ' ';
        } else if (*p != '%') {
            *to++ = *p;
        } else {
            int high = end - p > 2 ? hex_digit(p[1]) : -1;
            int low = end - p > 2 ? hex_digit(p[2]) : -1;
            if (high < 0 || low < 0)
                return false;
            *to++ = (char)(high * 16 + low);
            p += 2;
        }
    }
    size_t bytes = (size_t)(to - from);
    *to = '\0';
    return rb_text_printable(from, bytes);
}

static bool usable_segment(const char *segment)
{
    return segment[0] != '\0' && strchr(segment, '/') == NULL && strcmp(segment, ".") != 0 &&
           strcmp(segment, "..") != 0;
}

static enum rb_status parse_path(char *path, struct rb_target *t, struct rb_error *err)
{
    if (path[0] != '/')
        return rb_error_set(err, RB_ENOTFOUND, "the path does not begin with '/'");
    char *at = path + 1;
    while (*at != '\0') {
        char *end = strchrnul(at, '/');
        bool last = *end == '\0';
        if (t->segment_count == RB_TARGET_MAX_SEGMENTS)
            return rb_error_set(err, RB_ENOTFOUND, "the path has more than %d segments",
                                RB_TARGET_MAX_SEGMENTS);
        if (!decode(at, end, false) || !usable_segment(at))
            return rb_error_set(err, RB_ENOTFOUND,
                                "segment %zu of the path is empty, '.', '..' or not printable "
                                "UTF-8",
                                t->segment_count + 1);
        t->segments[t->segment_count++] = at;
        if (last)
            return RB_OK;
        at = end + 1;
    }
    t->trailing_slash = true;
    return RB_OK;
}

static enum rb_status parse_pair(char *at, char *end, struct rb_target *t, struct rb_error *err)
{
    char *equals = memchr(at, '=', (size_t)(end - at));
    char *name_end = equals != NULL ? equals : end;
    char *value = equals != NULL ? equals + 1 : end;
    if (t->pair_count == RB_TARGET_MAX_PAIRS)
        return rb_error_set(err, RB_EQUERY, "more than %d query parameters", RB_TARGET_MAX_PAIRS);
    /* The value first: decoding the name writes its NUL over the '='. */
    if (!decode(value, end, true) || !decode(at, name_end, true))
        return rb_error_set(err, RB_EQUERY,
                            "query parameter %zu does not decode to printable UTF-8",
                            t->pair_count + 1);
    if (at[0] == '\0')
        return rb_error_set(err, RB_EQUERY, "query parameter %zu has no name", t->pair_count + 1);
    t->pairs[t->pair_count++] = (struct rb_pair){.name = at, .value = value};
    return RB_OK;
}

static enum rb_status parse_query(char *query, struct rb_target *t, struct rb_error *err)
{
    size_t parts = 1;
    for (const char *p = query; *p != '\0'; p++)
        parts += *p == '&';
    if (parts > RB_TARGET_MAX_PAIRS)
        return rb_error_set(err, RB_EQUERY, "more than %d query parameters", RB_TARGET_MAX_PAIRS);
    t->pairs = calloc(parts, sizeof *t->pairs);
    if (t->pairs == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for %zu query parameters", parts);
    for (char *at = query, *end; *at != '\0'; at = end) {
        end = strchrnul(at, '&');
        bool last = *end == '\0';
        if (end > at) {
            enum rb_status s = parse_pair(at, end, t, err);
            if (s != RB_OK)
                return s;
        }
        end += last ? 0 : 1;
    }
    return RB_OK;
}

/* Splits "http://host:port/path" off; leaves *at on the path. */
static enum rb_status parse_authority(char **at, struct rb_target *t, struct rb_error *err)
{
    size_t scheme = strncasecmp(*at, "http://", 7) == 0    ? 7
                    : strncasecmp(*at, "https://", 8) == 0 ? 8
                                                           : 0;
    if (scheme == 0)
        return RB_OK;
    char *slash = strchr(*at + scheme, '/');
    if (slash == NULL || slash == *at + scheme)
        return rb_error_set(err, RB_ENOTFOUND, "the target has no host or no path");
    /* One byte down, so that the authority's NUL does not eat the path's slash. */
    size_t bytes = (size_t)(slash - (*at + scheme));
    memmove(*at, *at + scheme, bytes);
    (*at)[bytes] = '\0';
    t->authority = *at;
    *at = slash;
    return RB_OK;
}

enum rb_status rb_target_parse(const char *raw, struct rb_target *ret, struct rb_error *err)
{
    struct rb_target t = {0};
    size_t bytes = strlen(raw);
    if (bytes > RB_TARGET_MAX_BYTES)
        return rb_error_set(err, RB_EURITOOLONG, "the request target has %zu bytes, at most %d",
                            bytes, RB_TARGET_MAX_BYTES);
    if (strchr(raw, ' ') != NULL)
        return rb_error_set(err, RB_ENOTFOUND, "the request target has a blank");
    t.storage = strdup(raw);
    if (t.storage == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a request target of %zu bytes", bytes);
    char *at = t.storage;
    enum rb_status s = parse_authority(&at, &t, err);
    char *question = strchr(at, '?');
    if (question != NULL)
        *question = '\0';
    if (s == RB_OK)
        s = parse_path(at, &t, err);
    if (s == RB_OK && question != NULL)
        s = parse_query(question + 1, &t, err);
    if (s != RB_OK) {
        rb_target_deinit(&t);
        return s;
    }
    *ret = t;
    return RB_OK;
}

void rb_target_deinit(struct rb_target *t)
{
    free(t->pairs);
    free(t->storage);
    *t = (struct rb_target){0};
}

const char *rb_target_query(const struct rb_target *t, const char *name)
{
    for (size_t i = 0; i < t->pair_count; i++)
        if (strcmp(t->pairs[i].name, name) == 0)
            return t->pairs[i].value;
    return NULL;
}
