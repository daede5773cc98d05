/* The list of faults, pointers, and the words that describe what was found. */

#include "api/problems.h"
#include "api/encode.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void rb_problems_add(struct rb_problems *p, const char *pointer, const char *format, ...)
{
    p->found++;
    if (p->count == RB_PROBLEMS_MAX)
        return;
    struct rb_fault *fault = &p->items[p->count++];
    (void)snprintf(fault->pointer, sizeof fault->pointer, "%s", pointer);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(fault->detail, sizeof fault->detail, format, args);
    va_end(args);
}

enum rb_status rb_problems_status(const struct rb_problems *p, struct rb_error *err)
{
    if (p->out_of_memory)
        return rb_error_set(err, RB_ENOMEM, "not enough memory to read the body");
    if (p->count == 0)
        return RB_OK;
    const struct rb_fault *first = &p->items[0];
    const char *where = first->pointer[0] != '\0' ? first->pointer : "the body";
    if (p->found == 1)
        return rb_error_at(err, RB_EINPUT, first->pointer, "%s: %s", where, first->detail);
    return rb_error_at(err, RB_EINPUT, first->pointer, "%s: %s (and %zu more)", where,
                       first->detail, p->found - 1);
}

void rb_pointer_append(char *pointer, size_t size, const char *token)
{
    size_t used = strnlen(pointer, size);
    if (used + 1 >= size)
        return;
    pointer[used++] = '/';
    for (; *token != '\0'; token++) {
        char escaped[2] = {*token, '\0'};
        if (*token == '~' || *token == '/') {
            escaped[0] = '~';
            escaped[1] = *token == '~' ? '0' : '1';
        }
        size_t n = escaped[1] != '\0' ? 2 : 1;
        if (used + n >= size)
            break;
        memcpy(pointer + used, escaped, n);
        used += n;
    }
    /* Cut short: not in the middle of a character. */
    if (*token != '\0' && ((unsigned char)*token & 0xc0) == 0x80) {
        while (((unsigned char)pointer[used - 1] & 0xc0) == 0x80)
            used--;
        used--;
    }
    pointer[used] = '\0';
}

void rb_pointer_append_index(char *pointer, size_t size, size_t index)
{
    char token[24];
    (void)snprintf(token, sizeof token, "%zu", index);
    rb_pointer_append(pointer, size, token);
}

/* The character that begins at p and its bytes; what is no UTF-8 stands for itself, byte by byte.
 */
static size_t character(const unsigned char *p, size_t left, uint32_t *ret)
{
    size_t n = p[0] < 0xc0 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n > left)
        n = 1;
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3fU);
    *ret = c;
    return n;
}

static bool is_hidden(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        {0x00, 0x1f}, {0x7f, 0x9f}, {0x2028, 0x2029}, {0x202a, 0x202e}, {0x2066, 0x2069}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1])
            return true;
    return false;
}

bool rb_text_hidden(const char *text, size_t bytes, uint32_t *ret, size_t *ret_at)
{
    size_t at = 1;
    for (size_t i = 0; i < bytes; at++) {
        uint32_t c;
        i += character((const unsigned char *)text + i, bytes - i, &c);
        if (!is_hidden(c))
            continue;
        *ret = c;
        *ret_at = at;
        return true;
    }
    return false;
}

/* The beginning of a string, quoted, control characters and what cannot be shown as '?'. */
static void describe_string(const char *text, size_t bytes, char *buffer, size_t size)
{
    enum { SHOWN_MAX = 40 };
    size_t shown = bytes;
    if (bytes > SHOWN_MAX) {
        shown = SHOWN_MAX;
        while (shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80)
            shown--;
    }
    char copy[SHOWN_MAX + 1];
    size_t used = 0;
    for (size_t i = 0, n; i < shown; i += n) {
        uint32_t c;
        n = character((const unsigned char *)text + i, shown - i, &c);
        if (is_hidden(c))
            copy[used++] = '?';
        else
            for (size_t k = 0; k < n; k++)
                copy[used++] = text[i + k];
    }
    copy[used] = '\0';
    (void)snprintf(buffer, size, "\"%s%s\"", copy, shown < bytes ? "…" : "");
}

void rb_json_describe(const json_t *json, char *buffer, size_t size)
{
    char number[RB_NUMBER_SIZE];
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        (void)snprintf(buffer, size, "an object");
        break;
    case JSON_ARRAY:
        (void)snprintf(buffer, size, "an array");
        break;
    case JSON_STRING:
        describe_string(json_string_value(json), json_string_length(json), buffer, size);
        break;
    case JSON_INTEGER:
        (void)snprintf(buffer, size, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        break;
    case JSON_REAL:
        (void)rb_number_format(json_real_value(json), number);
        (void)snprintf(buffer, size, "%s", number);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        (void)snprintf(buffer, size, json_is_true(json) ? "true" : "false");
        break;
    case JSON_NULL:
        (void)snprintf(buffer, size, "null");
        break;
    }
}

/* ---- names ---- */

static uint8_t smaller(uint8_t a, int b)
{
    return b < a ? (uint8_t)b : a;
}

/* Typing mistakes between two words of at most WORD_MAX bytes: letters left out, added, mistaken
 * or swapped with their neighbour (optimal string alignment distance). */
enum { WORD_MAX = 40 };
static size_t edit_distance(const char *a, const char *b)
{
    uint8_t d[WORD_MAX + 1][WORD_MAX + 1];
    size_t rows = strlen(a), columns = strlen(b);
    for (size_t i = 0; i <= rows; i++)
        d[i][0] = (uint8_t)i;
    for (size_t j = 0; j <= columns; j++)
        d[0][j] = (uint8_t)j;
    for (size_t i = 1; i <= rows; i++) {
        for (size_t j = 1; j <= columns; j++) {
            uint8_t least = (uint8_t)(d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            least = smaller(least, d[i - 1][j] + 1);
            least = smaller(least, d[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                least = smaller(least, d[i - 2][j - 2] + 1);
            d[i][j] = least;
        }
    }
    return d[rows][columns];
}

const char *rb_enum_nearest(const char *const *names, const char *found)
{
    size_t length = strlen(found);
    if (length > WORD_MAX)
        return NULL;
    size_t best = (length < 3 ? 1 : length / 3) + 1;
    const char *name = NULL;
    for (; *names != NULL; names++) {
        size_t distance = strlen(*names) > WORD_MAX ? best : edit_distance(found, *names);
        if (distance < best) {
            best = distance;
            name = *names;
        }
    }
    return name;
}

int rb_enum_find(const char *const *names, const char *name)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

void rb_enum_list(const char *const *names, char *buffer, size_t size)
{
    size_t used = 0;
    buffer[0] = '\0';
    for (size_t i = 0; names[i] != NULL && used < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, "%s%s", i > 0 ? ", " : "", names[i]);
}

void rb_enum_describe(const char *const *names, const char *found, char *buffer, size_t size)
{
    char list[400], shown[64];
    rb_enum_list(names, list, sizeof list);
    describe_string(found, strlen(found), shown, sizeof shown);
    const char *meant = rb_enum_nearest(names, found);
    if (meant != NULL)
        (void)snprintf(buffer, size, "expected one of %s, found %s; did you mean \"%s\"?", list,
                       shown, meant);
    else
        (void)snprintf(buffer, size, "expected one of %s, found %s", list, shown);
}
